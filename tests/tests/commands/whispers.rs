//! Answers are for who asked in every dialect, too: no message and no route of theirs tells them to anybody else.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tidings_tests::http::{self, Answer};
use tidings_tests::tokens::token;
use tidings_tests::wait::within;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::{PROJECT, Runner, secured};

/// A word that only the answers have.
const WORD: &str = "whispered";
/// A word of the last event, which is for everybody.
const LAST: &str = "sentinel";

/// A client of a dialect, and everything that it was told.
struct Client {
    socket: WebSocketStream<TcpStream>,
    told: String,
}

impl Client {
    async fn open(gateway: SocketAddr, path: &str, user: &str) -> Client {
        let mut request = format!("ws://{gateway}{path}").into_client_request().expect("an address");
        let bearer = format!("Bearer {}", token(user, PROJECT, "read command"));
        request.headers_mut().insert("authorization", bearer.parse().expect("a header"));
        let stream = TcpStream::connect(gateway).await.expect("the gateway listens");
        Client { socket: client_async(request, stream).await.expect("it may connect").0, told: String::new() }
    }

    async fn says(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("it is open");
    }

    /// Hears until that was said.
    async fn hears(&mut self, what: &str) {
        within(what, async {
            while !self.told.contains(what) {
                let message = self.socket.next().await.expect("it stays open").expect("a message");
                if let Message::Text(text) = message {
                    self.told.push_str(&text);
                }
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_dialect_tells_an_answer_to_anybody_else() {
    let plan = secured().gateways(2).set("TIDINGS_DIALECTS__SERVE", "agentcraft,agent_swarm,pygent");
    let plan =
        plan.set("TIDINGS_DIALECTS__AGENTCRAFT_PROJECT", PROJECT).set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT);
    let cluster = plan.set("TIDINGS_DIALECTS__AGENT_SWARM_PROJECT", PROJECT).start().await;
    let (ingest, gateways) = (cluster.ingests[0].address(), [0, 1].map(|index| cluster.gateways[index].address()));
    let runner = Runner::new("r1", ingest);
    runner.is_there().await;
    runner.publishes(&json!({"type": "session.started", "session": "s", "data": {"title": "t"}})).await;

    // Who asks, and who looks on, with a client of each dialect; both at the other's gateway, too.
    let mut clients = Vec::new();
    for (user, gateway) in [("alice", gateways[0]), ("bob", gateways[1]), ("bob", gateways[0])] {
        let mut craft = Client::open(gateway, &format!("/ws/agent-tracking/{user}-{}", gateway.port()), user).await;
        craft.hears("active_sessions").await;
        craft.says(r#"{"type":"start_log_streaming"}"#).await;
        craft.hears("log_streaming_started").await;
        let mut swarm = Client::open(gateway, &format!("/ws/admin/agent-swarm/{PROJECT}"), user).await;
        swarm.hears("project_progress").await;
        let mut session = Client::open(gateway, &format!("/ws/admin/agent-swarm/{PROJECT}:s"), user).await;
        session.hears("project_progress").await;
        let mut native = Client::open(gateway, "/ws", user).await;
        // An answer from state: it has a viewer, which hears what comes.
        native.says(r#"{"type":"get_system_status"}"#).await;
        native.hears("system_status").await;
        let mut socket_io = Client::open(gateway, "/socket.io/?EIO=4&transport=websocket", user).await;
        socket_io.says("40").await;
        socket_io.says(r#"42["get_system_status"]"#).await;
        socket_io.hears("system_status").await;
        clients.push((user, [craft, swarm, session, native, socket_io]));
    }

    // To connect them all may have taken longer than it is there by its last word.
    runner.is_there().await;
    let asked = http::client().post(format!("http://{}/v1/projects/{PROJECT}/commands", gateways[0]));
    let asked = asked.bearer_auth(token("alice", PROJECT, "command")).header("content-type", "application/json");
    let asked = asked.body(json!({"type": "chat", "id": "c-1", "session": "s"}).to_string());
    assert_eq!(asked.send().await.expect("an answer").status(), 202);
    let taken = runner.takes_one().await;
    let said = json!([
        {"type": "log", "session": "s", "agent": "a", "data": {"level": "info", "message": WORD}},
        {"type": "agent.status", "session": "s", "agent": WORD, "data": {"name": WORD, "status": "processing", "progress": 5}},
        {"type": "output", "session": "s", "data": {"content": WORD}},
        {"type": "message.completed", "session": "s", "data": {"message_id": "m", "role": "assistant", "text": WORD}},
        {"type": "command.completed", "data": {"result": WORD}},
    ]);
    runner.says(&taken, &said).await;
    runner.publishes(&json!({"type": "log", "session": "s", "data": {"level": "info", "message": LAST}})).await;
    runner.publishes(&json!({"type": "typing", "session": "s", "data": {"user": LAST, "typing": true}})).await;

    let names = ["agentcraft", "agent_swarm", "agent_swarm of a session", "pygent", "pygent over socket.io"];
    for (user, clients) in &mut clients {
        for (name, client) in names.iter().zip(clients) {
            client.hears(LAST).await;
            assert_eq!(client.told.contains(WORD), *user == "alice", "{user}, {name}: {}", client.told);
        }
    }

    // What is read by HTTP: a log tells its lines to whom they are for, state holds none of them.
    let swarm = |path: &str| format!("/v1/public/agent-swarms/{path}");
    let [of_project, of_session] = [PROJECT.to_owned(), format!("{PROJECT}:s")].map(|id| format!("projects/{id}"));
    let mut reads = Vec::new();
    for id in [&of_project, &of_session] {
        for path in ["logs", "logs/export?format=json", "logs/export?format=csv", "logs/export?format=txt", "download"]
        {
            reads.push((swarm(&format!("{id}/{path}")), true));
        }
        for path in ["", "/status", "/agents"] {
            reads.push((swarm(&format!("{id}{path}")), false));
        }
    }
    reads.push((swarm("projects"), false));
    reads.push((format!("/api/v1/admin/agent-swarm/{of_project}/logs"), true));
    reads.push((format!("/api/v1/admin/agent-swarms/{of_project}/agents"), false));
    for path in ["sessions/s/logs", "sessions/s/state", "stats"] {
        reads.push((format!("/api/ws/{path}"), false));
    }
    reads.push(("/api/efficiency/health-check".to_owned(), false));
    for gateway in gateways {
        for (path, of_the_log) in &reads {
            let read = async |user: &str| {
                let request = http::client().get(format!("http://{gateway}{path}"));
                let request = request.bearer_auth(token(user, PROJECT, "read"));
                let answer = Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer");
                assert_eq!(answer.status, 200, "{path}");
                String::from_utf8_lossy(&answer.body).into_owned()
            };
            let (hers, his) = (read("alice").await, read("bob").await);
            assert!(!his.contains(WORD), "{path}: {his}");
            assert_eq!(hers.contains(WORD), *of_the_log, "{path}: {hers}");
        }
    }
}
