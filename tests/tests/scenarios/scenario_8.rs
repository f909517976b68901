//! Scenario 8: a producer's batches are swapped over two ingests, some of them answered 504, then a failover rolls the
//! producer's field back, with an ingest alive and with it dead; and a stream of lines that broke is resumed at line 51
//! under the same key. No acknowledged event is missing, and none stands twice.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use serde_json::{Value, json};
use tidings_tests::cluster::Cluster;
use tidings_tests::http::Answer;
use tidings_tests::proxy::Link;
use tidings_tests::wait::{eventually, within};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::steps::{acknowledged, export, log, path, post, posted, quick};

/// A batch of the producer: these numbers.
fn batch(seqs: RangeInclusive<u64>) -> Vec<Value> {
    let event = |seq: u64| {
        let data = json!({"level": "info", "message": format!("seq {seq}")});
        json!({"type": "log", "session": "s", "data": data, "producer": {"id": "p", "epoch": 1, "seq": seq}})
    };
    seqs.map(event).collect()
}

/// How often each number from 1 on stands in the log, as soon as a gateway has heard of the last one.
async fn stands(gateway: SocketAddr, seqs: u64) -> Vec<usize> {
    eventually("the gateway has the last number", async || {
        let rows = export(gateway).await;
        let count = |seq: u64| rows.iter().filter(|row| row["data"]["message"] == format!("seq {seq}")).count();
        (count(seqs) > 0).then(|| (1..=seqs).map(count).collect())
    })
    .await
}

fn statuses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let results = answer.json()["results"].as_array().cloned().unwrap_or_default();
    results.iter().map(|result| result["status"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Posts until it is acknowledged.
async fn until_taken(ingest: SocketAddr, events: &[Value]) -> Vec<String> {
    eventually("it is acknowledged", async || {
        let answer = post(ingest, events).await;
        assert!(matches!(answer.status, 200 | 503 | 504), "{}", answer.text());
        (answer.status == 200).then(|| statuses(&answer))
    })
    .await
}

/// Up to where the producer's numbers survive the failover; up to where they were acknowledged before it.
const SURVIVES: u64 = 10;
const ACKNOWLEDGED: u64 = 50;

/// The swapped batches, up to the failover that takes all but the first.
async fn rolled_back(dies: bool) -> Cluster {
    let plan = quick(Cluster::on_redis().ingests(2).replicated()).set("TIDINGS_INGEST__DEADLINE_MS", 1_000);
    let mut cluster = plan.start().await;
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    posted(two, &[log("beside")]).await;
    statuses(&post(one, &batch(1..=SURVIVES)).await);
    cluster.replicated().await;
    cluster.cut_replication();

    // 11 to 20: appended, but the answer is lost; the retry elsewhere finds them there.
    let lost = cluster.ingest_link(0).swallow_answer(|call| call.appends("seq 11"));
    let answer = post(one, &batch(11..=20)).await;
    assert_eq!((answer.status, answer.code().as_str()), (504, "outcome_unknown"), "{}", answer.text());
    assert!(lost.answered().await.contains("appended"));
    assert_eq!(statuses(&post(two, &batch(11..=20)).await), ["duplicate"; 10]);
    statuses(&post(two, &batch(21..=30)).await);
    cluster.ingest_link(0).commands(Link::Open);
    // 41 to 50 overtake 31 to 40.
    let early = until_answered(one, &batch(41..=50)).await;
    assert_eq!((early.status, early.code().as_str()), (409, "out_of_sequence"), "{}", early.text());
    statuses(&post(two, &batch(31..=40)).await);
    assert_eq!(until_taken(one, &batch(41..=50)).await, ["appended"; 10]);
    assert_eq!(stands(cluster.gateways[0].address(), ACKNOWLEDGED).await, [1; 50]);

    cluster.redis().kill();
    cluster.ingest_link(0).commands(Link::Cut);
    if dies {
        cluster.ingests[0].process.kill();
    }
    cluster.fail_over().await;
    cluster
}

/// Posts until the answer is about the events.
async fn until_answered(ingest: SocketAddr, events: &[Value]) -> Answer {
    eventually("an answer that is about the events", async || {
        let answer = post(ingest, events).await;
        (!matches!(answer.status, 503 | 504)).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_misses_nothing_when_its_field_is_rolled_back() {
    let cluster = rolled_back(false).await;
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    // The second ingest puts back what it acknowledged (11 to 40) and takes what comes first behind the fork, a jump
    // over 41 to 50; the first one fills that hole when it is back.
    assert_eq!(until_taken(two, &batch(51..=60)).await, ["appended"; 10]);
    cluster.ingest_link(0).commands(Link::Open);
    assert_eq!(until_taken(one, &batch(61..=70)).await, ["appended"; 10]);
    // The producer was told 504 for none of it any more; a retry of anything is known.
    for seqs in [1..=10, 11..=20, 41..=50, 61..=70] {
        assert_eq!(until_taken(two, &batch(seqs)).await, ["duplicate"; 10]);
    }
    for gateway in &cluster.gateways {
        assert_eq!(stands(gateway.address(), 70).await, [1; 70]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_misses_nothing_but_what_died_with_its_ingest_and_that_is_told() {
    let cluster = rolled_back(true).await;
    let two = cluster.ingests[1].address();
    assert_eq!(until_taken(two, &batch(51..=60)).await, ["appended"; 10]);
    let stands = stands(cluster.gateways[0].address(), 60).await;
    // Only the dead one had acknowledged 41 to 50.
    let expected = [vec![1; 40], vec![0; 10], vec![1; 10]].concat();
    assert_eq!(stands, expected);
    let rows = export(cluster.gateways[0].address()).await;
    let told = rows.iter().filter(|row| row["type"] == "gap" && row["data"]["cause"] == "failover").count();
    assert_eq!(told, 1, "everybody is told that something may be missing");
    // The producer still has them, and may send them: they fill the hole.
    assert_eq!(until_taken(two, &batch(41..=50)).await, ["appended"; 10]);
}

/// Lines of the stream, and the last one that is answered before it breaks.
const LINES: u64 = 100;
const ANSWERED: u64 = 50;

/// A stream of lines, written by hand so that it can be broken at a line.
struct Lines {
    out: OwnedWriteHalf,
    answers: BufReader<OwnedReadHalf>,
}

impl Lines {
    async fn open(ingest: SocketAddr, first: u64) -> Lines {
        let (answers, mut out) = TcpStream::connect(ingest).await.expect("ingest listens").into_split();
        let head = format!(
            "POST {}?first_line={first} HTTP/1.1\r\nhost: {ingest}\r\ncontent-type: application/x-ndjson\r\n\
             idempotency-key: the same\r\ntransfer-encoding: chunked\r\n\r\n",
            path("/events")
        );
        out.write_all(head.as_bytes()).await.expect("it listens");
        Lines { out, answers: BufReader::new(answers) }
    }

    async fn send(&mut self, lines: RangeInclusive<u64>) {
        for line in lines {
            let event =
                json!({"type": "log", "session": "s", "data": {"level": "info", "message": format!("seq {line}")}});
            let text = format!("{event}\n");
            let chunk = format!("{:x}\r\n{text}\r\n", text.len());
            self.out.write_all(chunk.as_bytes()).await.expect("it listens");
        }
    }

    async fn end(&mut self) {
        self.out.write_all(b"0\r\n\r\n").await.expect("it listens");
    }

    /// Waits for an answer that holds all of this.
    async fn hear(&mut self, parts: &[&str]) -> String {
        within("an answer", async {
            loop {
                let mut line = String::new();
                let count = self.answers.read_line(&mut line).await.expect("it goes on");
                assert_ne!(count, 0, "it ended without {parts:?}");
                if parts.iter().all(|part| line.contains(part)) {
                    return line;
                }
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_lines_is_resumed_at_line_51_after_a_failover() {
    let mut cluster = quick(Cluster::on_redis().ingests(2).replicated()).start().await;
    let [one, two] = [cluster.ingests[0].address(), cluster.ingests[1].address()];
    posted(two, &[log("beside")]).await;
    let mut lines = Lines::open(one, 1).await;
    lines.send(1..=20).await;
    lines.hear(&["\"line\":20,", "\"appended\""]).await;
    cluster.replicated().await;
    cluster.cut_replication();
    lines.send(21..=ANSWERED).await;
    lines.hear(&["\"line\":50,", "\"appended\""]).await;
    // Ten more are on their way when the connection breaks: their answers never come.
    lines.send(ANSWERED + 1..=ANSWERED + 10).await;
    drop(lines);
    cluster.redis().kill();
    cluster.fail_over().await;
    eventually("the other ingest is back", async || (post(two, &[log("back")]).await.status == 200).then_some(()))
        .await;
    let mut lines = Lines::open(two, ANSWERED + 1).await;
    lines.send(ANSWERED + 1..=LINES).await;
    lines.end().await;
    lines.hear(&["\"done\"", "\"accepted\":50", "\"rejected\":0"]).await;
    acknowledged(one, &[log("one is back")]).await;
    assert_eq!(stands(cluster.gateways[0].address(), LINES).await, [1; 100]);
}
