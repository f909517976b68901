//! Who is there, over real gateways and a real Redis: told on every gateway, gone with a gateway that is killed, stale and
//! harmless while Redis is away; runners for as long as they say.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT, Plan};
use tidings_tests::http;
use tidings_tests::viewer::Said;
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::wait::eventually;

/// Long enough that no gateway lets its lease lapse on a busy machine.
const LEASE: Duration = Duration::from_secs(5);

/// Longer than any wait of a test.
const NEVER: Duration = Duration::from_mins(10);

fn presence(lease: Duration) -> Plan {
    let plan = Cluster::on_redis().set("TIDINGS_GATEWAY__PRESENCE_LEASE_MS", lease.as_millis());
    plan.set("TIDINGS_GATEWAY__PRESENCE_ROUND_MS", 200)
}

/// A viewer, by the id that it was greeted with.
struct Viewer {
    id: String,
    connection: Connection,
}

impl Viewer {
    /// Subscribes; `presence` says whether it wants to know who is there.
    async fn enter(gateway: SocketAddr, presence: bool) -> Viewer {
        let mut connection = Connection::open(gateway).await.expect("it may connect");
        let id =
            connection.hear_until("hello", |said| if let Said::Hello { viewer } = said { Some(viewer) } else { None });
        let id = id.await;
        let frame = json!({"op": "subscribe", "project": PROJECT, "presence": presence});
        connection.say(&frame).await.expect("it is open");
        connection.hear_until("the subscription", |said| matches!(said, Said::Subscribed { .. }).then_some(())).await;
        Viewer { id, connection }
    }

    /// The next list for which `find` finds something; who comes and goes before it is passed over.
    async fn list<T>(&mut self, what: &str, find: impl Fn(&Value) -> Option<T>) -> T {
        self.connection.hear_until(what, |said| if let Said::Presence(list) = said { find(&list) } else { None }).await
    }

    /// Waits until these have done so (`joined`, `left`), in whatever order; nobody else may.
    async fn hears(&mut self, kind: &str, who: &[&str]) {
        let mut waiting: BTreeSet<String> = who.iter().map(|who| (*who).to_owned()).collect();
        let what = format!("{kind}: {who:?}");
        self.connection
            .hear_until(&what, |said| {
                match said {
                    Said::Presence(list) => assert_eq!(list["stale"], false, "{what}: {list}"),
                    Said::Change(event) => {
                        assert_eq!((&event["project"], event.get("position")), (&json!(PROJECT), None), "{event}");
                        let told = event["data"]["viewer"].as_str().or(event["data"]["runner"].as_str());
                        let told = told.unwrap_or_else(|| panic!("nobody: {event}"));
                        let expected = event["type"] == format!("presence.{kind}") && waiting.remove(told);
                        assert!(expected, "{what}, but {event}");
                    }
                    _ => {}
                }
                waiting.is_empty().then_some(())
            })
            .await;
    }
}

fn ids(list: &Value) -> BTreeSet<&str> {
    list["viewers"].as_array().expect("a list").iter().map(|one| one["viewer"].as_str().expect("an id")).collect()
}

async fn listed(gateway: SocketAddr) -> Value {
    let answer = http::get(gateway, &format!("/v1/projects/{PROJECT}/presence")).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_and_goes_is_told_on_every_gateway() {
    let cluster = presence(NEVER).gateways(2).start().await;
    let [one, two] = [0, 1].map(|index| cluster.gateways[index].address());
    let mut alice = Viewer::enter(one, true).await;
    let first = alice.list("the first list", |list| Some(list.clone())).await;
    assert_eq!((ids(&first), &first["stale"]), (BTreeSet::from([&*alice.id]), &json!(false)), "{first}");

    let bob = Viewer::enter(two, false).await;
    alice.hears("joined", &[&bob.id]).await;
    let stream = http::client().get(format!("http://{two}/v1/projects/{PROJECT}/events"));
    let stream = stream.header("accept", "text/event-stream").send().await.expect("a stream");
    let there = listed(two).await;
    let streaming = there["viewers"].as_array().expect("a list").iter().find(|one| one["transports"] == json!(["sse"]));
    let streaming = streaming.unwrap_or_else(|| panic!("{there}"))["viewer"].as_str().expect("an id").to_owned();
    alice.hears("joined", &[&streaming]).await;

    // Whoever only asks is told the same, wherever.
    for gateway in [one, two] {
        let there = listed(gateway).await;
        assert_eq!(ids(&there), BTreeSet::from([&*alice.id, &*bob.id, &*streaming]), "{there}");
        assert_eq!(there["gateways"].as_array().map(Vec::len), Some(2), "{there}");
    }
    let gone = bob.id.clone();
    drop(bob);
    alice.hears("left", &[&gone]).await;
    drop(stream);
    assert!(cluster.gateways[0].metric("tidings_presence_joins_total").await >= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_leaves_no_ghosts() {
    let mut cluster = presence(LEASE).gateways(3).start().await;
    let addresses: Vec<SocketAddr> = cluster.gateways.iter().map(tidings_tests::service::Service::address).collect();
    let mut watchers = [Viewer::enter(addresses[0], true).await, Viewer::enter(addresses[1], true).await];
    let mut ghosts = Vec::new();
    for _ in 0..3 {
        ghosts.push(Viewer::enter(addresses[2], false).await);
    }
    let names: Vec<&str> = ghosts.iter().map(|ghost| &*ghost.id).collect();
    for watcher in &mut watchers {
        // All of them, in a list or one by one.
        let mut there: BTreeSet<String> = BTreeSet::new();
        watcher
            .connection
            .hear_until("all three", |said| {
                match said {
                    Said::Presence(list) => there.extend(ids(&list).into_iter().map(str::to_owned)),
                    Said::Change(event) => drop(there.insert(event["data"]["viewer"].as_str()?.to_owned())),
                    _ => {}
                }
                names.iter().all(|name| there.contains(*name)).then_some(())
            })
            .await;
    }
    // Both know each other by now, too, so that nobody's coming is on its way.
    for gateway in &addresses[..2] {
        eventually("all five", async || (ids(&listed(*gateway).await).len() == 5).then_some(())).await;
    }
    cluster.gateways[2].process.kill();
    let [first, second] = &mut watchers;
    let left = |event: &Value| event["type"] == "presence.left";
    for watcher in [first, second] {
        let mut gone = BTreeSet::new();
        watcher
            .connection
            .hear_until("all three leave", |said| {
                if let Said::Change(event) = said
                    && left(&event)
                {
                    let name = event["data"]["viewer"].as_str().expect("a viewer").to_owned();
                    assert!(names.contains(&&*name), "somebody else left: {event}");
                    gone.insert(name);
                }
                (gone.len() == names.len()).then_some(())
            })
            .await;
    }
    let there = listed(addresses[0]).await;
    assert_eq!(there["gateways"].as_array().map(Vec::len), Some(2), "{there}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_takes_its_viewers_off_at_once() {
    let cluster = presence(NEVER).gateways(2).start().await;
    let [one, two] = [0, 1].map(|index| cluster.gateways[index].address());
    let mut alice = Viewer::enter(one, true).await;
    alice.list("the first list", |_| Some(())).await;
    let bob = Viewer::enter(two, false).await;
    alice.hears("joined", &[&bob.id]).await;
    cluster.gateways[1].process.signal("TERM");
    alice.hears("left", &[&bob.id]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_makes_presence_stale_and_ends_nothing() {
    let mut cluster = presence(LEASE).gateways(2).start().await;
    let [one, two] = [0, 1].map(|index| cluster.gateways[index].address());
    let mut alice = Viewer::enter(one, true).await;
    alice.list("the first list", |_| Some(())).await;
    let bob = Viewer::enter(two, false).await;
    alice.hears("joined", &[&bob.id]).await;
    cluster.redis().pause();
    let both = BTreeSet::from([&*alice.id, &*bob.id].map(str::to_owned));
    let stale = |stale: bool| {
        let both = &both;
        move |list: &Value| {
            let there: BTreeSet<String> = ids(list).into_iter().map(str::to_owned).collect();
            assert_eq!(there, *both, "nobody is taken off: {list}");
            (list["stale"] == stale).then_some(())
        }
    };
    let (find, mut watching) = (stale(true), alice.connection);
    let heard = |said| if let Said::Presence(list) = said { find(&list) } else { None };
    watching.hear_until("a stale list", heard).await;
    assert_eq!(listed(one).await["stale"], true);
    // All leases run out meanwhile.
    tokio::time::sleep(LEASE).await;
    cluster.redis().resume();
    let find = stale(false);
    watching
        .hear_until("a good list", |said| match said {
            Said::Presence(list) => find(&list),
            Said::Change(event) => panic!("nobody came or went: {event}"),
            Said::Closed { code, .. } => panic!("closed: {code}"),
            _ => None,
        })
        .await;
    // The other one noticed nothing.
    let mut bob = bob.connection;
    bob.say(&json!({"op": "ping"})).await.expect("it is open");
    bob.hear_until("pong", |said| matches!(said, Said::Other(op) if op == "pong").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_is_there_for_as_long_as_it_says() {
    let cluster = presence(NEVER).start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mut alice = Viewer::enter(gateway, true).await;
    alice.list("the first list", |_| Some(())).await;
    let runner = format!("http://{ingest}/v1/projects/{PROJECT}/runners/r-7");
    let put = async |ttl: u64| {
        let body = json!({"ttl": ttl, "name": "Seven", "capabilities": ["chat"], "labels": {"region": "eu"}});
        let answer = http::client().put(&runner).json(&body).send().await.expect("an answer");
        http::Answer::read(answer).await.expect("a whole answer")
    };
    let said = put(1).await;
    assert_eq!((said.status, &said.json()["runner"]), (200, &json!("r-7")), "{}", said.text());
    alice.hears("joined", &["r-7"]).await;
    alice.hears("left", &["r-7"]).await;
    put(600).await;
    alice.hears("joined", &["r-7"]).await;
    let there = listed(gateway).await;
    assert_eq!(
        (&there["runners"][0]["name"], &there["runners"][0]["labels"]["region"]),
        (&json!("Seven"), &json!("eu"))
    );
    let gone = http::client().delete(&runner).send().await.expect("an answer");
    assert_eq!(gone.status().as_u16(), 204);
    alice.hears("left", &["r-7"]).await;
}
