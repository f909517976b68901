//! Scenario 10: every kind of position, at every face, in every mode: exact events, or a gap with the exact count.
//!
//! The log has more forks than it lists: 33 that took nothing, since only the store's name changed, one that took
//! events which their ingest put back, one that took events together with their ingest, and those that a first replica
//! makes when it attaches. Its beginning was trimmed. One gateway saw it all, the other one reads it from the store;
//! the rings of both are small, so that most of it comes from pages.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::fold::fold;
use tidings_tests::http;
use tidings_tests::place::Place;
use tidings_tests::redis::Redis;
use tidings_tests::runner::Acknowledged;
use tidings_tests::swarm::Swarm;
use tidings_tests::viewer::sse::Stream;
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::viewer::{Directory, Kind, Plan, Said, Viewers};
use tidings_tests::wait::{eventually, within};

use crate::positions::{Fork, GAP, History, Item, Stands};
use crate::steps::{acknowledged, export, has_put_back, path, quick, snapshot};

/// Forks that take nothing; meta lists 32 in all.
const RENAMED: usize = 33;

/// What the log keeps, forks counted.
const KEPT: u64 = 560;

/// Bytes that each of the many events has more than it needs.
const PADDING: usize = 700;

/// The type that a filter lets through.
const FILTERED: &str = "log";

/// Types of which a newer event may stand for older ones.
const MERGED: [&str; 3] = ["agent.status", "message.delta", "session.progress"];

/// Events of one answer to a poll.
const POLLED: usize = 37;

/// A log with a past, and who tells of it.
struct Past {
    cluster: Cluster,
    /// Who watched it all at the first gateway.
    watching: Viewers,
    history: History,
    positions: Vec<(&'static str, Place)>,
    head: String,
}

/// Says events and keeps what became of them.
struct Author {
    swarm: Swarm,
    said: Vec<Stands>,
}

impl Author {
    /// So many requests of so many events, each an entry; where they stand.
    async fn says(&mut self, cluster: &Cluster, requests: usize, events: usize) -> Vec<Place> {
        let mut places = Vec::new();
        for _ in 0..requests {
            let batch = self.swarm.events(events);
            let results = acknowledged(cluster.ingests[0].address(), &batch).await;
            for (event, Acknowledged { id, position, .. }) in batch.iter().zip(results) {
                let kind = event["type"].as_str().expect("a type").to_owned();
                let place = position.parse().expect("a position");
                self.said.push(Stands { id, kind, place, was: None });
                places.push(place);
            }
        }
        places
    }
}

async fn meta(redis: &Redis, field: &str) -> String {
    redis.command(&["HGET", &format!("tidings:{{{PROJECT}}}:meta"), field]).await
}

/// A replica takes over that lacks everything since `lose` began.
async fn lose(cluster: &mut Cluster, author: &mut Author, ingest_dies: bool) -> Vec<Place> {
    cluster.follow().await;
    cluster.replicated().await;
    cluster.cut_replication();
    let lost = author.says(cluster, 4, 5).await;
    cluster.redis().kill();
    if ingest_dies {
        cluster.ingests[0].process.kill();
    }
    cluster.fail_over().await;
    if ingest_dies {
        cluster.ingests[0].kill_and_restart().await;
    }
    lost
}

impl Past {
    async fn new() -> Past {
        let plan = quick(Cluster::on_redis().gateways(2).links_can_be_cut())
            .redis_options(&["--enable-debug-command", "yes"])
            .set("TIDINGS_GATEWAY__RING_BYTES_MAX", 64 * 1024)
            .set("TIDINGS_PROJECTS__RETENTION_EVENTS", KEPT);
        let mut cluster = plan.start().await;
        let mut watching = Viewers::new(Directory::new(vec![cluster.gateways[0].address()]));
        watching.add(Plan::new(Kind::WebSocket, PROJECT));
        let mut author = Author { swarm: Swarm::new("a", 10), said: Vec::new() };
        let oldest = author.says(&cluster, 4, 5).await;
        let mut renamed = Vec::new();
        for _ in 0..RENAMED {
            let _: String = cluster.redis().command(&["DEBUG", "CHANGE-REPL-ID"]).await;
            renamed.push(author.says(&cluster, 1, 5).await);
        }
        // Two forks back from the end, and off every ring.
        author.swarm = Swarm::new("b", 11).padded(PADDING);
        let two_back = author.says(&cluster, 30, 7).await;
        let healed = lose(&mut cluster, &mut author, false).await;
        has_put_back(&cluster, 0, u32::try_from(healed.len()).expect("a few")).await;
        let one_back = author.says(&cluster, 8, 7).await;
        let lost = lose(&mut cluster, &mut author, true).await;
        let open = author.says(&cluster, 40, 5).await;

        let last: Place = meta(cluster.redis(), "last").await.parse().expect("a position");
        let trimmed = trimmed_to(cluster.redis(), last).await;
        let forks = Fork::list(&meta(cluster.redis(), "forks").await);
        cluster.gateways[1].kill_and_restart().await;

        watching.have_reached(last.n).await;
        let made_up = Place { branch: *b"zzzzzzzzzzzz", ..open[50] };
        let positions = vec![
            ("open", open[104]),
            ("open, in the middle of a batch", open[101]),
            ("the head", last),
            ("closed", *one_back.last().expect("some")),
            ("closed, in the middle of a batch", one_back[10]),
            ("closed, and lost", lost[9]),
            ("closed, and lost, in the middle of a batch", lost[11]),
            ("two forks back", two_back[6]),
            ("two forks back, in the middle of a batch", two_back[31]),
            ("two forks back, and put back", healed[9]),
            ("two forks back, and put back, in the middle of a batch", healed[12]),
            ("trimmed", renamed[6][4]),
            ("trimmed, in the middle of a batch", renamed[7][2]),
            ("33 forks back", renamed[1][4]),
            ("the first branch of all", oldest[7]),
            ("unknown", made_up),
            ("ahead", Place { n: last.n + 1_000, ..last }),
            ("a place where nothing ever stood", Place { ms: open[104].ms + 1, ..open[104] }),
            ("before birth", Place::default()),
        ];
        let events = stands(author.said, &lost, &healed, &export(cluster.gateways[0].address()).await);
        let history = History { events, forks, last, trimmed };
        Past { cluster, watching, history, positions, head: last.to_string() }
    }
}

/// Waits until the janitor has trimmed all that it may.
async fn trimmed_to(redis: &Redis, last: Place) -> Place {
    eventually("the log is trimmed", async || {
        let trimmed: Place = meta(redis, "trimmed").await.parse().expect("a position");
        (last.n - trimmed.n <= KEPT).then_some(trimmed)
    })
    .await
}

/// What stands in the log: all that was acknowledged, but for what was lost; and what was put back where the log has
/// it.
fn stands(said: Vec<Stands>, lost: &[Place], healed: &[Place], rows: &[Value]) -> Vec<Stands> {
    let now = |stands: Stands| {
        if !healed.contains(&stands.place) {
            return stands;
        }
        let row = rows.iter().find(|row| row["id"] == stands.id.as_str()).expect("what was put back is there");
        let place: Place = row["position"].as_str().expect("a position").parse().expect("a position");
        assert_ne!(place, stands.place);
        Stands { place, was: Some(stands.place), ..stands }
    };
    let mut all: Vec<Stands> = said.into_iter().filter(|event| !lost.contains(&event.place)).map(now).collect();
    // When meta's list is full, an ingest cannot know what became of the oldest branch, and says so in the log.
    let by_ingest = |row: &&Value| row["type"] == GAP && row["id"].is_string();
    all.extend(rows.iter().filter(by_ingest).map(|row| Stands {
        id: row["id"].as_str().expect("a text").to_owned(),
        kind: GAP.to_owned(),
        place: row["position"].as_str().expect("a position").parse().expect("a position"),
        was: None,
    }));
    all.sort_by_key(|event| event.place.n);
    all
}

/// What a reader was told.
#[derive(Debug, Default)]
struct Heard {
    items: Vec<Item>,
    texts: Vec<String>,
    /// The state, and how many items came before it.
    snapshot: Option<(usize, Value)>,
    position: String,
}

impl Heard {
    fn take(&mut self, said: Said) {
        match said {
            Said::Event(event) => {
                self.items.push(Item::Event(event.id.into()));
                self.texts.push(event.json.into());
                self.position = event.position;
            }
            Said::Compacted { position, events } => {
                for event in events {
                    self.items.push(Item::Event(event.id.into()));
                    self.texts.push(event.json.into());
                }
                self.position = position;
            }
            Said::Gap(gap) => {
                self.items.push(Item::Gap { cause: gap.cause, lost: gap.lost, certain: gap.certain });
                self.position = gap.position;
            }
            Said::Snapshot { position, state } => {
                self.snapshot = Some((self.items.len(), state));
                self.position = position;
            }
            Said::Subscribed { position } | Said::At { position } => self.position = position,
            _ => {}
        }
    }

    /// Whether there is nothing more to hear: the head was reached, and the state was told where one is due.
    fn is_over(&self, head: &str, follows: bool) -> bool {
        self.position == head && (!follows || self.snapshot.is_some())
    }
}

/// How a reader wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Filtered,
    Compact,
    Snapshot,
}

impl Mode {
    fn lag(self) -> &'static str {
        if self == Mode::Compact { "compact" } else { "full" }
    }

    fn types(self) -> Vec<&'static str> {
        if self == Mode::Filtered { vec![FILTERED] } else { Vec::new() }
    }
}

async fn by_websocket(gateway: SocketAddr, after: &str, mode: Mode, head: &str) -> Heard {
    let follows = mode == Mode::Snapshot;
    let mut socket = Connection::open(gateway).await.expect("the gateway listens");
    let subscribe = json!({
        "op": "subscribe", "project": PROJECT, "after": after, "lag": mode.lag(), "snapshot": follows,
        "filter": {"types": mode.types()},
    });
    socket.say(&subscribe).await.expect("it is open");
    let mut heard = Heard::default();
    let name = format!("websocket {mode:?} behind {after} reaches the head");
    within(&name, async {
        while !heard.is_over(head, follows) {
            heard.take(socket.hear().await.expect("it goes on"));
        }
    })
    .await;
    heard
}

async fn by_sse(gateway: SocketAddr, after: &str, mode: Mode, head: &str) -> Heard {
    let follows = mode == Mode::Snapshot;
    let query = format!("lag={}&snapshot={follows}&types={}", mode.lag(), mode.types().join(","));
    let url = format!("http://{gateway}{}", path(&format!("/events?after={after}&{query}")));
    let mut stream = Stream::open(&http::client(), &url, None).await.expect("the gateway answers");
    let mut heard = Heard { position: after.to_owned(), ..Heard::default() };
    let name = format!("server-sent events {mode:?} behind {after} reach the head");
    within(&name, async {
        while !heard.is_over(head, follows) {
            heard.take(stream.hear().await.expect("it goes on"));
        }
    })
    .await;
    heard
}

async fn by_polls(gateway: SocketAddr, after: &str, mode: Mode, head: &str) -> Heard {
    let mut heard = Heard { position: after.to_owned(), ..Heard::default() };
    let name = format!("polls {mode:?} behind {after} reach the head");
    let client = http::client();
    within(&name, async {
        while heard.position != head {
            let query = format!("limit={POLLED}&types={}", mode.types().join(","));
            let url = format!("http://{gateway}{}", path(&format!("/events?after={}&{query}", heard.position)));
            let answer = client.get(url).send().await.expect("the gateway answers");
            let answer: Value = answer.json().await.expect("JSON");
            for event in answer["events"].as_array().unwrap_or_else(|| panic!("{answer}")) {
                heard.take(Said::from_event(&event.to_string()).expect("an event"));
            }
            answer["next"].as_str().expect("a position").clone_into(&mut heard.position);
        }
    })
    .await;
    heard
}

/// What was told in whole.
fn check(what: &str, heard: &Heard, expected: &[Item]) {
    for (index, (told, wanted)) in heard.items.iter().zip(expected).enumerate() {
        assert_eq!(told, wanted, "{what}: item {index} of {}", expected.len());
    }
    assert_eq!(heard.items.len(), expected.len(), "{what}: then {:?}", heard.items.last());
}

/// What was told of a backlog that was merged: the same gaps, whatever may not be merged, and the same state in the
/// end.
fn check_merged(what: &str, heard: &Heard, whole: &Heard, history: &History) {
    let gaps = |heard: &Heard| heard.items.iter().filter(|item| item.is_gap()).cloned().collect::<Vec<_>>();
    assert_eq!(gaps(heard), gaps(whole), "{what}");
    let merges = |item: &&Item| {
        let Item::Event(id) = item else { return false };
        let event = history.events.iter().find(|event| event.id == *id);
        event.is_some_and(|event| MERGED.contains(&event.kind.as_str()) && event.was.is_none())
    };
    let kept = |heard: &Heard| heard.items.iter().filter(|item| !merges(item)).cloned().collect::<Vec<_>>();
    assert_eq!(kept(heard), kept(whole), "{what}");
    assert!(heard.items.len() <= whole.items.len(), "{what}");
    assert_eq!(fold(heard.texts.iter().map(String::as_str)), fold(whole.texts.iter().map(String::as_str)), "{what}");
}

/// What was told to who follows snapshots: the state at the head, behind the last gap.
fn check_snapshot(what: &str, heard: &Heard, expected: &[Item], state: &Value) {
    let (before, told) = heard.snapshot.as_ref().expect("it was waited for");
    assert_eq!(told, state, "{what}");
    assert_eq!(*before, heard.items.len(), "{what}: the state comes last");
    // What it is told on the way is told in order; it may leave out what the state holds.
    let mut rest = expected.iter();
    assert!(heard.items.iter().all(|item| rest.any(|wanted| wanted == item)), "{what}: {:?}", heard.items);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_position_at_every_face_is_told_exact_events_or_an_exact_gap() {
    let Past { cluster, watching, history, positions, head } = Past::new().await;
    assert_eq!(history.forks.len(), 32, "as many as meta lists");
    println!("{} events stand, up to {} were trimmed, the head is {head}", history.events.len(), history.trimmed);
    let mut merged = 0;
    for (which, gateway) in [("warm", &cluster.gateways[0]), ("cold", &cluster.gateways[1])] {
        let gateway = gateway.address();
        let state = snapshot(gateway, history.last.n).await["state"].clone();
        for (name, at) in &positions {
            let after = at.to_string();
            let expected = history.told(*at, |_| true);
            let filtered = history.told(*at, |event| event.kind == FILTERED);
            let what = |face: &str| format!("{which} gateway, {name} ({after}), {face}");
            let whole = by_websocket(gateway, &after, Mode::Plain, &head).await;
            check(&what("websocket"), &whole, &expected);
            check(&what("sse"), &by_sse(gateway, &after, Mode::Plain, &head).await, &expected);
            check(&what("polls"), &by_polls(gateway, &after, Mode::Plain, &head).await, &expected);
            for (face, heard) in [
                ("websocket, filtered", by_websocket(gateway, &after, Mode::Filtered, &head).await),
                ("sse, filtered", by_sse(gateway, &after, Mode::Filtered, &head).await),
                ("polls, filtered", by_polls(gateway, &after, Mode::Filtered, &head).await),
            ] {
                check(&what(face), &heard, &filtered);
            }
            for (face, heard) in [
                ("websocket, compact", by_websocket(gateway, &after, Mode::Compact, &head).await),
                ("sse, compact", by_sse(gateway, &after, Mode::Compact, &head).await),
            ] {
                check_merged(&what(face), &heard, &whole, &history);
                merged += whole.items.len() - heard.items.len();
            }
            for (face, heard) in [
                ("websocket, snapshot", by_websocket(gateway, &after, Mode::Snapshot, &head).await),
                ("sse, snapshot", by_sse(gateway, &after, Mode::Snapshot, &head).await),
            ] {
                check_snapshot(&what(face), &heard, &expected, &state);
            }
        }
        let mut exported = Heard::default();
        for row in export(gateway).await {
            exported.take(Said::from_event(&row.to_string()).expect("a row"));
        }
        check(&format!("{which} gateway, export"), &exported, &history.told(Place::default(), |_| true));
    }
    let watched = watching.reach(history.last.n).await.remove(0);
    assert!(watched.gaps.iter().all(|(_, gap)| gap.cause == "failover") && watched.gaps.len() >= RENAMED + 2);
    println!("{merged} events were left out of merged backlogs");
    assert!(merged > 100, "backlogs were merged: {merged}");
}
