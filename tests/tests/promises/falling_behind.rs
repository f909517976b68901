//! Promises 5 and 6: bounded memory, and one bad client hurts nobody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tidings_tests::audit::Audit;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::fold::fold;
use tidings_tests::http;
use tidings_tests::throttle::Throttled;
use tidings_tests::viewer::websocket::{Connection, subscription};
use tidings_tests::viewer::{Kind, Plan, Record, Said};
use tidings_tests::wait::{eventually, within};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::FIFTY;

/// Viewers that fall behind at once.
const CROWD: usize = 1_000;

/// Events that they are behind: ten seconds of a lively project.
const BACKLOG: usize = 2_000;

/// Bytes of each of these events, about.
const EVENT_BYTES: usize = 1_500;

/// Events that come while they catch up.
const LIVE: usize = 200;

/// Encoded bytes that a page of the log holds.
const PAGE_BYTES: usize = 512 * 1024;

const MIB: u64 = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_viewers_that_fall_behind_at_once_cost_redis_one_read_a_page() {
    let mut cluster = Cluster::on_redis().set("TIDINGS_GATEWAY__RING_BYTES_MAX", 64 * 1024).start().await;
    let gateway = cluster.gateways[0].address();
    let mut healthy = cluster.viewers();
    healthy.add(Plan::new(Kind::WebSocket, PROJECT));
    healthy.add(Plan::new(Kind::Sse, PROJECT));
    let mut runner = cluster.runner("one");
    runner.swarm = std::mem::replace(&mut runner.swarm, tidings_tests::swarm::Swarm::new("one", 1)).padded(EVENT_BYTES);
    runner.post(BACKLOG, 1..200).await;
    healthy.have_reached(cluster.ledger.last_n()).await;
    let until = cluster.ledger.last_n() + LIVE as u64;

    let connected = Arc::new(Barrier::new(CROWD + 1));
    let mut crowd = JoinSet::new();
    for _ in 0..CROWD {
        let connected = connected.clone();
        crowd.spawn(async move {
            let mut connection = Connection::open(gateway).await.expect("the gateway listens");
            connected.wait().await;
            connection.say(&subscription(&Plan::new(Kind::WebSocket, PROJECT), None)).await.expect("it is open");
            count_up_to(&mut connection, until).await
        });
    }
    let (reads, hits) = (cluster.gateways[0].metric(READS).await, cluster.gateways[0].metric(HITS).await);
    let calls = cluster.redis().calls().await;
    within("the crowd connects", connected.wait()).await;
    runner.post(LIVE, 1..20).await;
    let posted = Instant::now();
    healthy.have_reached(until).await;
    let delay = posted.elapsed();
    let told: usize = within("the crowd catches up", async {
        let mut told = 0;
        while let Some(counted) = crowd.join_next().await {
            told += counted.expect("viewers do not panic");
        }
        told
    })
    .await;
    let reads = cluster.gateways[0].metric(READS).await - reads;
    let hits = cluster.gateways[0].metric(HITS).await - hits;
    let calls = cluster.redis().calls().await.since(&calls);
    assert_eq!(told, CROWD * (BACKLOG + LIVE), "each of them got every event, one after the other");

    let pages = (BACKLOG * EVENT_BYTES).div_ceil(PAGE_BYTES);
    println!(
        "{CROWD} viewers, {BACKLOG} events behind ({pages} pages), got {told} events: {reads} pages read, {hits} from the \
         cache; Redis: {} XRANGE; meanwhile healthy viewers had the last event {delay:?} after its acknowledgement",
        calls.of("xrange")
    );
    // The head moves on meanwhile, so that its page is read again now and then.
    let most = u32::try_from(pages * 3 + LIVE / 5).expect("a small number");
    assert!(reads >= 1.0 && reads <= f64::from(most), "{reads} reads of {pages} pages");
    let ranges = calls.of("xrange") + calls.of("xrevrange");
    assert!(ranges <= u64::from(most) * 2, "{ranges} ranges asked of Redis");
    let records = healthy.reach(until).await;
    assert!(records.iter().all(|record| record.breaks.is_empty()), "nobody healthy was cut");
    Audit::of(&records, &cluster.ledger).assert_flawless("beside a thousand that fell behind");
}

const READS: &str = "tidings_gateway_page_reads_total";
const HITS: &str = "tidings_gateway_page_hits_total";

/// Counts events one after the other up to a running count; each must be the one behind the last.
async fn count_up_to(connection: &mut Connection, until: u64) -> usize {
    let mut n = 0;
    while n < until {
        match connection.hear().await.expect("the gateway goes on") {
            Said::Event(event) => {
                let (_, rest) = event.position.split_once('-').expect("a position");
                let told: u64 = rest.split('.').next().and_then(|n| n.parse().ok()).expect("a position");
                assert_eq!(told, n + 1, "each event once, in order");
                n = told;
            }
            Said::Hello { .. } | Said::Subscribed { .. } | Said::Degraded(_) => {}
            other => panic!("unexpected: {other:?}"),
        }
    }
    usize::try_from(n).expect("a count")
}

/// Events that flow past them: more bytes than sockets can hold.
const FLOOD: usize = 8_000;

/// Bytes that a gateway may hold beyond what it held before the flood, in all. Its own budget is 16 MiB here; the rest is
/// what 50 sockets and an allocator take.
const GROWTH_MAX: u64 = 128 * MIB;

/// A connection that the kernel buffers little for.
async fn narrow(gateway: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 * 1024).expect("a small buffer");
    socket.connect(gateway).await.expect("the gateway listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_viewer_hurts_nobody_else() {
    Box::pin(beside_bad_viewers_all_is_well(Cluster::on_redis())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_viewer_hurts_nobody_else_in_dev_mode() {
    Box::pin(beside_bad_viewers_all_is_well(Cluster::dev())).await;
}

async fn beside_bad_viewers_all_is_well(cluster: tidings_tests::cluster::Plan) {
    let cluster = cluster
        .set("TIDINGS_GATEWAY__RING_BYTES_MAX", MIB)
        .set("TIDINGS_GATEWAY__PAGES_BYTES_MAX", 4 * MIB)
        .set("TIDINGS_GATEWAY__MEMORY_BYTES_MAX", 16 * MIB)
        .set("TIDINGS_GATEWAY__STALLED_MS", 5_000)
        .start()
        .await;
    let gateway = cluster.gateways[0].address();
    let mut healthy = cluster.viewers();
    for (kind, count) in FIFTY {
        (0..count).for_each(|_| healthy.add(Plan::new(kind, PROJECT)));
    }
    let plan = Plan { lag: "compact", keeps_events: true, ..Plan::new(Kind::WebSocket, PROJECT) };

    // One that reads a byte a second, and one that never reads.
    let mut slow = Connection::over(Throttled::new(narrow(gateway).await), gateway).await.expect("a handshake");
    slow.say(&subscription(&plan, None)).await.expect("it is open");
    slow.stream().byte_every(Some(Duration::from_secs(1)));
    let mut record = Record::new(&plan);
    let mut never = Connection::over(narrow(gateway).await, gateway).await.expect("a handshake");
    never.say(&subscription(&plan, None)).await.expect("it is open");

    let before = cluster.gateways[0].process.resident_bytes();
    let mut runner = cluster.runner("one");
    runner.swarm = std::mem::replace(&mut runner.swarm, tidings_tests::swarm::Swarm::new("one", 1)).padded(1_000);
    let mut highest = before;
    let flood = async {
        for _ in 0..8 {
            runner.post(FLOOD / 8, 1..200).await;
            highest = highest.max(cluster.gateways[0].process.resident_bytes());
        }
    };
    let crawl = async {
        loop {
            if let Ok(said) = slow.hear().await {
                record.hear(said);
            } else {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = flood => {}
        () = crawl => {}
    }
    let last_n = cluster.ledger.last_n();
    let records = healthy.reach(last_n).await;
    highest = highest.max(cluster.gateways[0].process.resident_bytes());
    assert!(records.iter().all(|record| record.breaks.is_empty()), "nobody healthy was cut");
    Audit::of(&records, &cluster.ledger).assert_flawless("healthy viewers beside a slow one and one that never reads");
    println!("resident memory of the gateway: {} MiB before, {} MiB at most", before / MIB, highest / MIB);
    assert!(highest - before < GROWTH_MAX, "{highest} bytes resident");
    assert!(record.position_n() < last_n, "it was slow");

    // Who takes nothing at all is sent away, to resume.
    eventually("who never reads is cut", || async {
        (cluster.gateways[0].metric("tidings_gateway_stalled_total").await >= 1.0).then_some(())
    })
    .await;
    drop(never);

    // Let go, the slow one catches up, on another connection if this one was cut, and knows what all others know.
    slow.stream().byte_every(None);
    within("the slow viewer catches up", async {
        while record.position_n() < last_n {
            match slow.hear().await {
                Ok(Said::Subscribed { .. }) if record.position().is_some() => {}
                Ok(said) => record.hear(said),
                Err(_) => {
                    let stream = Throttled::new(TcpStream::connect(gateway).await.expect("the gateway listens"));
                    slow = Connection::over(stream, gateway).await.expect("a handshake");
                    slow.say(&subscription(&plan, record.position())).await.expect("it is open");
                }
            }
        }
    })
    .await;
    println!("the slow viewer got {} of {FLOOD} events, in {} compacted frames", record.told.len(), record.compacted);
    assert!(record.compacted > 0, "its backlog was compacted");
    let path = format!("/v1/projects/{PROJECT}/snapshot");
    let snapshot = http::get(gateway, &path).await.expect("the gateway answers").json();
    assert_eq!(snapshot["position"], json!(record.position()));
    assert_eq!(snapshot["state"], fold(record.texts.iter().map(|text| &**text)), "the same state in the end");
}
