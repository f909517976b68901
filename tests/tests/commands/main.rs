//! Commands end to end: real processes, a real Redis, dashboards over WebSocket, runners over HTTP.

mod approvals;
mod asking;
mod borders;
mod edges;
mod hidden;
mod kills;
mod soak;
mod whispers;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Plan};
use tidings_tests::http::{self, Answer};
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::viewer::websocket::{Connection, Heard};
use tidings_tests::wait::{eventually, within};

/// The project.
const PROJECT: &str = "hive";

/// Services that share the tests' secret.
fn secured() -> Plan {
    Cluster::on_redis().set(SECRET_VARIABLE, SECRET)
}

/// A dashboard: it asks, and writes down every event that it is told. It comes back when its connection breaks.
struct Dashboard {
    gateways: Vec<SocketAddr>,
    token: String,
    connection: Option<Connection>,
    /// Behind this it goes on.
    position: String,
    /// All events, in order.
    events: Vec<Value>,
    asked: usize,
}

impl Dashboard {
    /// Who watches the project from its start, at the first of these gateways that is there.
    async fn open(user: &str, gateways: &[SocketAddr]) -> Dashboard {
        Dashboard::open_with(user, "read command approve", gateways).await
    }

    /// The same with these scopes.
    async fn open_with(user: &str, scopes: &str, gateways: &[SocketAddr]) -> Dashboard {
        let token = token(user, PROJECT, scopes);
        let mut dashboard = Dashboard {
            gateways: gateways.to_vec(),
            token,
            connection: None,
            position: "start".to_owned(),
            events: Vec::new(),
            asked: 0,
        };
        dashboard.come_back().await;
        dashboard
    }

    /// Connects and resumes.
    async fn come_back(&mut self) {
        let mut connection = eventually("a gateway that is there", async || {
            for gateway in &self.gateways {
                if let Ok(connection) = Connection::open_as(*gateway, &self.token).await {
                    return Some(connection);
                }
            }
            None
        })
        .await;
        let subscribe = json!({"op": "subscribe", "project": PROJECT, "after": self.position});
        connection.say(&subscribe).await.expect("it is open");
        self.connection = Some(connection);
    }

    /// The next frame, over however many connections.
    async fn frame(&mut self) -> Value {
        loop {
            if self.connection.is_none() {
                self.come_back().await;
            }
            if let Some(frame) = self.hear().await {
                return frame;
            }
        }
    }

    /// The next frame of this connection; none: it broke.
    async fn hear(&mut self) -> Option<Value> {
        match self.connection.as_mut()?.hear_raw().await {
            Ok(Heard::Text(text)) => {
                let frame: Value = serde_json::from_str(&text).expect("a frame is JSON");
                if let Some(position) = frame["event"]["position"].as_str() {
                    position.clone_into(&mut self.position);
                    self.events.push(frame["event"].clone());
                }
                Some(frame)
            }
            Ok(Heard::Closed { .. }) | Err(_) => {
                self.connection = None;
                None
            }
        }
    }

    /// Asks, and is told at once: the frame of the answer. Asks again when the connection breaks.
    async fn ask(&mut self, command: &Value) -> Value {
        self.asked += 1;
        let reference = self.asked.to_string();
        let frame = json!({"op": "command", "project": PROJECT, "ref": reference, "command": command});
        within("an answer to a command", async {
            loop {
                if self.connection.is_none() {
                    self.come_back().await;
                }
                let connection = self.connection.as_mut().expect("it came back");
                if connection.say(&frame).await.is_err() {
                    self.connection = None;
                    continue;
                }
                while let Some(frame) = self.hear().await {
                    if frame["ref"] == reference.as_str() {
                        return frame;
                    }
                }
            }
        })
        .await
    }

    /// The same, which must be taken; the status.
    async fn asks(&mut self, command: &Value) -> String {
        let frame = self.ask(command).await;
        assert_eq!(frame["op"], "command", "{command}: {frame}");
        frame["status"].as_str().expect("a status").to_owned()
    }

    /// The same, which must be refused; the code.
    async fn is_refused(&mut self, command: &Value) -> String {
        let frame = self.ask(command).await;
        assert_eq!(frame["op"], "error", "{command}: {frame}");
        frame["code"].as_str().expect("a code").to_owned()
    }

    /// Waits for an event, of those that it was told already, too.
    async fn sees(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        within(what, async {
            loop {
                if let Some(event) = self.events.iter().find(|event| is_it(event)) {
                    return event.clone();
                }
                self.frame().await;
            }
        })
        .await
    }

    /// Waits for the final answer to a command: its type, and its data.
    async fn answer(&mut self, id: &str) -> (String, Value) {
        let event = self.sees(&format!("the answer to {id}"), |event| is_answer(event, id)).await;
        (event["type"].as_str().expect("a type").to_owned(), event["data"].clone())
    }

    /// Waits for everything up to now, and counts the final answers to a command.
    async fn answers(&mut self, ingest: SocketAddr, id: &str) -> usize {
        let last = say(ingest, &json!({"type": "sentinel", "data": {}})).await;
        self.sees("a sentinel", |event| event["id"] == last.as_str()).await;
        self.events.iter().filter(|event| is_answer(event, id)).count()
    }
}

fn is_answer(event: &Value, id: &str) -> bool {
    matches!(event["type"].as_str(), Some("command.completed" | "command.failed")) && event["data"]["command_id"] == id
}

/// A runner: it takes commands and posts events, each by one request.
struct Runner {
    ingest: SocketAddr,
    name: &'static str,
    token: String,
}

/// A command that a runner has.
#[derive(Debug, Clone)]
struct Taken {
    id: String,
    lease: u64,
    told: Value,
}

impl Runner {
    fn new(name: &'static str, ingest: SocketAddr) -> Runner {
        Runner { ingest, name, token: token(name, PROJECT, "publish work") }
    }

    async fn get(&self, path: &str) -> Answer {
        let request = http::client().get(format!("http://{}/v1/projects/{PROJECT}/{path}", self.ingest));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer")
    }

    /// Says that it is there, and takes at most so many.
    async fn takes(&self, limit: u32, wait: u32) -> Vec<Taken> {
        let query = format!("runner={}&capability=chat&capability=session&limit={limit}&wait={wait}", self.name);
        let answer = self.get(&format!("commands?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let commands = answer.json()["commands"].as_array().expect("commands").clone();
        let taken = |told: Value| Taken {
            id: told["id"].as_str().expect("an id").to_owned(),
            lease: told["lease"].as_u64().expect("a lease"),
            told,
        };
        commands.into_iter().map(taken).collect()
    }

    /// Is there, and takes nothing: nothing may wait.
    async fn is_there(&self) {
        assert!(self.takes(1, 0).await.is_empty(), "something waits");
    }

    /// Waits for one.
    async fn takes_one(&self) -> Taken {
        eventually("a command", async || self.takes(1, 5).await.pop()).await
    }

    /// Posts events of a command.
    async fn posts(&self, taken: &Taken, events: &Value) -> Answer {
        self.posts_with(taken, "", events).await
    }

    async fn posts_with(&self, taken: &Taken, more: &str, events: &Value) -> Answer {
        let Taken { id, lease, .. } = taken;
        let path = format!("/v1/projects/{PROJECT}/commands/{id}/events?runner={}&lease={lease}{more}", self.name);
        self.post(&path, events).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        http::post(self.ingest, path, &headers, body.to_string()).await.expect("an answer")
    }

    /// Posts what must be taken.
    async fn says(&self, taken: &Taken, events: &Value) {
        let answer = self.posts(taken, events).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    async fn accepts(&self, taken: &Taken) {
        self.says(taken, &json!({"type": "command.accepted"})).await;
    }

    async fn completes(&self, taken: &Taken) {
        self.says(taken, &json!({"type": "command.completed", "data": {"result": {"by": self.name}}})).await;
    }

    /// Publishes for a session.
    async fn publishes(&self, event: &Value) {
        let answer = self.post(&format!("/v1/projects/{PROJECT}/events"), event).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Publishes an event; its id.
async fn say(ingest: SocketAddr, event: &Value) -> String {
    let runner = Runner::new("narrator", ingest);
    let answer = runner.post(&format!("/v1/projects/{PROJECT}/events"), event).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["results"][0]["id"].as_str().expect("an id").to_owned()
}
