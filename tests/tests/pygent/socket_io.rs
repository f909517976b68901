//! Socket.IO by polling, packet by packet.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::wait::eventually;

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
    assert!(joined.starts_with(r#"40{"pid":""#), "{joined}");
    let binary = r#"451-["photo",{"_placeholder":true,"num":0}]"#;
    assert_eq!(say(&sid, &format!("{binary}\u{1e}bAQID\u{1e}42[\"dance\"]")).await.0, 200);
    let errors = r#"42["error",{"message":"Binary messages are not supported"}]"#.to_owned()
        + "\u{1e}"
        + r#"42["error",{"message":"Unknown message type: dance"}]"#;
    assert_eq!(poll().await.text(), errors);
    assert_eq!(say(&sid, "nonsense").await.0, 200);
    assert_eq!(poll().await.text(), "1", "the session is over");
}

/// A session that polls.
pub(crate) struct Polling {
    pub(crate) address: SocketAddr,
    authorization: Option<String>,
    /// As in the query.
    pub(crate) sid: String,
    /// What it was told when it joined.
    pub(crate) welcome: Value,
}

impl Polling {
    /// A session that joined.
    pub(crate) async fn open(address: SocketAddr, token: Option<&str>) -> Polling {
        Polling::joins(address, token, "40").await
    }

    /// The same, which joins with these words.
    pub(crate) async fn joins(address: SocketAddr, token: Option<&str>, joins: &str) -> Polling {
        let authorization = token.map(|token| format!("Bearer {token}"));
        let mut session = Polling { address, authorization, sid: String::new(), welcome: Value::Null };
        let open: Value =
            serde_json::from_str(session.poll().await.strip_prefix('0').expect("a session")).expect("JSON");
        assert_eq!(open["upgrades"], json!(["websocket"]));
        session.sid = format!("&sid={}", open["sid"].as_str().expect("a text"));
        assert_eq!(session.say(joins).await, 200);
        let welcome = session.poll().await;
        session.welcome = serde_json::from_str(welcome.strip_prefix("40").expect("it joined")).expect("JSON");
        session
    }

    fn of(&self, token: Option<&str>) -> Polling {
        let authorization = token.map(|token| format!("Bearer {token}"));
        Polling { address: self.address, authorization, sid: self.sid.clone(), welcome: Value::Null }
    }

    pub(crate) async fn ask(&self, method: reqwest::Method, body: String) -> http::Answer {
        let url = format!("http://{}/socket.io/?EIO=4&transport=polling{}", self.address, self.sid);
        let mut request = http::client().request(method, url).body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        http::Answer::read(request.send().await.expect("an answer")).await.expect("a body")
    }

    pub(crate) async fn poll(&self) -> String {
        self.ask(reqwest::Method::GET, String::new()).await.text()
    }

    pub(crate) async fn say(&self, packets: &str) -> u16 {
        self.ask(reqwest::Method::POST, packets.to_owned()).await.status
    }
}

/// A gateway and an ingest that share memory, with this setting beside.
pub(crate) async fn memory(setting: Option<(&'static str, &str)>) -> Cluster {
    let plan = Cluster::dev().set("TIDINGS_DIALECTS__SERVE", "pygent").set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT);
    let plan = plan.set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read,command");
    setting.into_iter().fold(plan, |plan, (name, value)| plan.set(name, value)).start().await
}

/// Posts an event, which its gateway has then.
pub(crate) async fn happens(cluster: &Cluster, event: Value) {
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

pub(crate) fn typing(user: &str) -> Value {
    json!({ "type": "typing", "data": { "user": user, "typing": true } })
}

pub(crate) fn typed(user: &str) -> String {
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
