//! PyGent Factory's clients, unchanged, over two gateways behind a balancer without stickiness, on a real Redis: the native
//! WebSocket, and Socket.IO's own library. `tests/pygent` has the clients.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use tidings_tests::balancer::Balancer;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::process::{Process, free_port};
use tidings_tests::redis::{Durability, Redis};
use tidings_tests::service::{Service, command};
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::wait::eventually;

/// What its clients are called in the gateways' figures.
const CONNECTIONS: &str = "tidings_gateway_connections";

/// Requests that were answered.
const REQUESTS: &str = "tidings_http_request_seconds_count";

fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

async fn cluster() -> Cluster {
    let plan = Cluster::on_redis().gateways(2).set("TIDINGS_DIALECTS__SERVE", "pygent");
    let plan =
        plan.set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT).set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read,command");
    plan.start().await
}

fn node(link: &str, script: &str, clients_go: &Balancer, cluster: &Cluster, lost: &Path, goes: Goes) -> Process {
    let mut node = Command::new("node");
    node.arg(script).current_dir(folder("pygent"));
    node.env("TIDINGS_URL", format!("http://{}", clients_go.address())).env("TIDINGS_LINK", link);
    node.env("TIDINGS_INGEST", format!("http://{}", cluster.ingests[0].address())).env("TIDINGS_PROJECT", PROJECT);
    node.env("TIDINGS_GOLDEN", folder("../crates/dialects/tests")).env("TIDINGS_LOST", lost);
    node.env("TIDINGS_GOES", format!("{goes:?}"));
    Process::start(format!("{script} {link}"), node)
}

/// Ends the gateway that has the client; of one that polls, any.
async fn end_its_gateway(cluster: &mut Cluster, goes: Goes) {
    let mut most = (0.0, 0);
    for (index, gateway) in cluster.gateways.iter().enumerate() {
        let open = gateway.metric(CONNECTIONS).await;
        if open > most.0 {
            most = (open, index);
        }
    }
    let process = &mut cluster.gateways[most.1].process;
    match goes {
        Goes::Killed => process.kill(),
        Goes::Drained => {
            process.signal("TERM");
            process.ended().await;
        }
    }
}

/// How a gateway goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// It is killed.
    Killed,
    /// It is told to stop, and sends its clients away.
    Drained,
}

async fn lives(link: &str, goes: Goes) {
    let mut cluster = cluster().await;
    let clients_go = Balancer::over(cluster.gateways.iter().map(Service::address).collect()).await;
    let files = tempfile::tempdir().expect("there is room");
    let lost = files.path().join("lost");
    let mut client = node(link, "client.mjs", &clients_go, &cluster, &lost, goes);
    client.line("that it is ready to be cut off", |line| (line == "lose it").then_some(())).await;
    if link == "polling" {
        for gateway in &cluster.gateways {
            let asked = gateway.metric(REQUESTS).await;
            assert!(asked >= 20.0, "{asked} requests landed here");
        }
    }
    end_its_gateway(&mut cluster, goes).await;
    std::fs::write(lost, "").expect("there is room");
    let ended = client.ended().await;
    assert!(ended.success(), "{}", client.output());
}

#[tokio::test]
async fn a_native_client_sees_every_message_and_survives_its_gateway() {
    lives("native", Goes::Killed).await;
}

#[tokio::test]
async fn socket_ios_own_client_does_so_over_a_websocket() {
    lives("websocket", Goes::Killed).await;
}

#[tokio::test]
async fn and_by_polling_with_each_request_at_another_gateway() {
    lives("polling", Goes::Killed).await;
}

#[tokio::test]
async fn a_gateway_that_stops_sends_a_native_client_on() {
    lives("native", Goes::Drained).await;
}

#[tokio::test]
async fn a_gateway_that_stops_sends_socket_ios_client_on() {
    lives("websocket", Goes::Drained).await;
}

#[tokio::test]
async fn a_gateway_that_stops_costs_a_polling_client_nothing() {
    lives("polling", Goes::Drained).await;
}

/// Lines of shell of the page for those who come from the system itself, in their order.
fn steps() -> Vec<String> {
    let page = std::fs::read_to_string(folder("../docs/migrate/pygent.md")).expect("there is such a page");
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_steps_for_those_who_come_from_the_system_do_what_they_say() {
    let redis = Redis::with(Durability::Memory, &[]).await;
    let address = format!("127.0.0.1:{}", free_port());
    let (mut settings, mut services, mut answers) = (Vec::new(), None, Vec::new());
    for line in steps() {
        let line = line.replace("127.0.0.1:8000", &address).replace("redis://127.0.0.1:6379", &redis.url());
        if let Some(setting) = line.strip_prefix("export ") {
            let (name, value) = setting.split_once('=').expect("a setting has a value");
            settings.push((name.to_owned(), value.trim_matches('"').to_owned()));
        } else if let Some(arguments) = line.strip_prefix("tidings ") {
            let mut started = command();
            started.args(arguments.split(' ')).args(["--admin-listen", &format!("127.0.0.1:{}", free_port())]);
            started.envs(settings.iter().map(|(name, value)| (name, value)));
            services = Some(Process::start("tidings all", started));
            let ready = || async { http::get(address.parse().expect("an address"), "/ws-test").await.ok() };
            eventually("the services answer", ready).await;
        } else {
            assert!(line.starts_with("curl ") && services.is_some(), "no test here runs this line: {line}");
            let shell = tokio::task::spawn_blocking(move || Command::new("sh").arg("-c").arg(&line).output());
            let output = shell.await.expect("it does not panic").expect("it starts");
            answers.push(String::from_utf8(output.stdout).expect("output is text"));
        }
    }
    let [test, poll, taken, posted @ ..] = answers.as_slice() else { panic!("{answers:?}") };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(json(test)["endpoint"], "/ws");
    assert_eq!(json(poll.strip_prefix('0').expect("it opens a session"))["pingInterval"], 25_000);
    assert_eq!(json(taken)["commands"], Value::Array(Vec::new()));
    assert_eq!(posted.len(), 3);
    for answer in posted {
        assert_eq!(json(answer)["results"][0]["status"], "appended", "{answer}");
    }
}

/// Requests to `/socket.io/` of a server that has all in memory.
#[tokio::test]
async fn socket_io_refuses_in_its_own_words() {
    let cluster = Cluster::dev().start().await;
    let address = cluster.gateways[0].address();
    let ask = async |query: &str| {
        let answer = http::get(address, &format!("/socket.io/?{query}")).await.expect("an answer");
        (answer.status, serde_json::from_str::<Value>(&answer.text()).map_or(Value::Null, |body| body["code"].clone()))
    };
    for (query, code) in [
        ("EIO=3&transport=polling", 5),
        ("transport=polling", 5),
        ("EIO=4&transport=pigeon", 0),
        ("EIO=4", 0),
        ("EIO=4&transport=polling&sid=nobody", 1),
        ("EIO=4&transport=websocket&sid=nobody", 3),
    ] {
        assert_eq!(ask(query).await, (400, Value::from(code)), "{query}");
    }
    let say = async |query: &str, body: &str| {
        let path = format!("/socket.io/?EIO=4&transport=polling{query}");
        let answer = http::post(address, &path, &[], body.to_owned()).await.expect("an answer");
        (answer.status, answer.text())
    };
    assert_eq!(say("", "40").await.0, 400, "a session begins with GET");
    let open = http::get(address, "/socket.io/?EIO=4&transport=polling").await.expect("an answer").text();
    let open: Value = serde_json::from_str(open.strip_prefix('0').expect("an open packet")).expect("JSON");
    let sid = format!("&sid={}", open["sid"].as_str().expect("a text"));
    let poll =
        async || http::get(address, &format!("/socket.io/?EIO=4&transport=polling{sid}")).await.expect("an answer");
    assert_eq!(say(&sid, "").await.0, 400, "nothing is no payload");
    assert_eq!(say(&sid, "40/admin,\u{1e}40").await, (200, "ok".to_owned()));
    let packets = poll().await.text();
    let (refused, joined) = packets.split_once('\u{1e}').expect("two packets");
    assert_eq!(refused, r#"44/admin,{"message":"Invalid namespace"}"#);
    assert!(joined.starts_with(r#"40{"sid":""#), "{joined}");
    assert_eq!(say(&sid, "bAQID\u{1e}42[\"dance\"]").await.0, 200);
    let errors = r#"42["error",{"message":"Binary messages are not supported"}]"#.to_owned()
        + "\u{1e}"
        + r#"42["error",{"message":"Unknown message type: dance"}]"#;
    assert_eq!(poll().await.text(), errors);
    assert_eq!(say(&sid, "nonsense").await.0, 200);
    assert_eq!(poll().await.text(), "1", "the session is over");
}

/// A session that polls.
struct Polling {
    address: SocketAddr,
    authorization: Option<String>,
    sid: String,
}

impl Polling {
    /// A session that joined.
    async fn open(address: SocketAddr, token: Option<&str>) -> Polling {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let mut session = Polling { address, authorization, sid: String::new() };
        let open: Value =
            serde_json::from_str(session.poll().await.strip_prefix('0').expect("a session")).expect("JSON");
        session.sid = format!("&sid={}", open["sid"].as_str().expect("a text"));
        assert_eq!(session.say("40").await, 200);
        assert!(session.poll().await.starts_with(r#"40{"sid":""#));
        session
    }

    fn of(&self, token: Option<&str>) -> Polling {
        let authorization = token.map(|token| format!("Bearer {token}"));
        Polling { address: self.address, authorization, sid: self.sid.clone() }
    }

    async fn ask(&self, method: reqwest::Method, body: String) -> http::Answer {
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling{}", self.address, self.sid);
        let mut request = http::client().request(method, url).body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        http::Answer::read(request.send().await.expect("an answer")).await.expect("a body")
    }

    async fn poll(&self) -> String {
        self.ask(reqwest::Method::GET, String::new()).await.text()
    }

    async fn say(&self, packets: &str) -> u16 {
        self.ask(reqwest::Method::POST, packets.to_owned()).await.status
    }
}

/// A gateway and an ingest that share memory, with this setting beside.
async fn memory(setting: Option<(&'static str, &str)>) -> Cluster {
    let plan = Cluster::dev().set("TIDINGS_DIALECTS__SERVE", "pygent").set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT);
    let plan = plan.set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read,command");
    setting.into_iter().fold(plan, |plan, (name, value)| plan.set(name, value)).start().await
}

/// Posts an event, which its gateway has then.
async fn happens(cluster: &Cluster, event: Value) {
    let path = format!("/v1/projects/{PROJECT}/events");
    let posted = http::post_json(cluster.gateways[0].address(), &path, &event).await.expect("an answer").json();
    assert_eq!(posted["results"][0]["status"], "appended", "{posted}");
    let position = posted["results"][0]["position"].as_str().expect("a position").to_owned();
    there(cluster, &position).await;
}

/// Waits until the gateway has this position.
async fn there(cluster: &Cluster, position: &str) {
    let path = format!("/v1/projects/{PROJECT}/snapshot");
    let n = |position: &str| position.split(['-', '.']).nth(1).and_then(|n| n.parse::<u64>().ok());
    let gateway = cluster.gateways[0].address();
    eventually("the gateway has it", || async {
        let state = http::get(gateway, &path).await.ok()?.json();
        (n(state["position"].as_str()?) >= n(position)).then_some(())
    })
    .await;
}

fn typing(user: &str) -> Value {
    json!({ "type": "typing", "data": { "user": user, "typing": true } })
}

fn typed(user: &str) -> String {
    format!(r#"42["typing_indicator",{{"typing":true,"user_id":"{user}"}}]"#)
}

#[tokio::test]
async fn who_polls_is_told_what_happened_before_the_first_poll_and_behind_a_gap_how_things_stand() {
    let cluster = memory(None).await;
    let session = Polling::open(cluster.gateways[0].address(), None).await;
    happens(&cluster, typing("early")).await;
    assert_eq!(session.poll().await, typed("early"));
    // Who is met by a gap is greeted again; what was deleted is not told.
    happens(&cluster, typing("before")).await;
    let deleted = http::delete(cluster.gateways[0].address(), &format!("/v1/projects/{PROJECT}")).await;
    assert_eq!(deleted.expect("an answer").status, 200);
    let reasoning = json!({ "title": "why", "mode": "reasoning" });
    happens(&cluster, json!({ "type": "session.started", "session": "r1", "data": reasoning })).await;
    let told = session.poll().await;
    assert!(told.starts_with(r#"42["reasoning_update","#) && told.contains(r#""session_id":"r1""#), "{told}");
}

#[tokio::test]
async fn a_session_belongs_to_who_began_it() {
    let plan = Cluster::on_redis().set(SECRET_VARIABLE, SECRET).set("TIDINGS_DIALECTS__SERVE", "pygent");
    let plan = plan.set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT).set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read");
    let cluster = plan.start().await;
    let address = cluster.gateways[0].address();
    let [ann, eve] = ["ann", "eve"].map(|user| token(user, PROJECT, "read"));
    let (known, unknown) = (Polling::open(address, Some(&ann)).await, Polling::open(address, None).await);
    let no = (400, json!({ "code": 1, "message": "Session ID unknown" }));
    for other in [known.of(None), known.of(Some(&eve)), unknown.of(Some(&ann))] {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let answer = other.ask(method, "42[\"dance\"]".to_owned()).await;
            assert_eq!((answer.status, answer.json()), no);
        }
    }
    for own in [&known, &unknown] {
        assert_eq!(own.say("2").await, 200);
        assert_eq!(own.poll().await, "3");
    }
}

#[tokio::test]
async fn the_newest_poll_of_a_session_is_answered_and_each_holds_a_place() {
    let cluster = memory(Some(("TIDINGS_LIMITS__USER_CONNECTIONS_MAX", "2"))).await;
    let address = cluster.gateways[0].address();
    let (session, other) = (Polling::open(address, None).await, Polling::open(address, None).await);
    let (mut one, mut two) = (Box::pin(session.poll()), Box::pin(session.poll()));
    let (ended, newest) = tokio::select! {
        told = &mut one => (told, &mut two),
        told = &mut two => (told, &mut one),
    };
    assert_eq!(ended, "6");
    let more = Box::pin(other.poll());
    let refused = other.ask(reqwest::Method::GET, String::new());
    let refused = tokio::select! {
        told = newest.as_mut() => told,
        told = more => told,
        answer = refused => answer.text(),
    };
    assert_eq!(refused, r#"{"code":4,"message":"Too many requests"}"#);
    happens(&cluster, typing("x")).await;
    assert_eq!(newest.await, typed("x"));
}

#[tokio::test]
async fn a_session_that_lets_itself_be_told_nothing_ends() {
    let cluster = memory(None).await;
    let session = Polling::open(cluster.gateways[0].address(), None).await;
    let pings = ["2"; 64].join("\u{1e}");
    for _ in 0..4 {
        assert_eq!(session.say(&pings).await, 200);
    }
    assert_eq!(session.poll().await.split('\u{1e}').count(), 256);
    for _ in 0..5 {
        assert_eq!(session.say(&pings).await, 200);
    }
    assert_eq!(session.poll().await, "1");
}
