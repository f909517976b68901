//! Where commands are taken and answered, over HTTP.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidings_protocol::project::Project;
use tokio::time::Instant;

use crate::client::access::Access;
use crate::client::backoff::Backoff;
use crate::client::refusal::Refusal;
use crate::client::{Address, cause, http};

/// How long the server lets an empty-handed runner wait, in seconds.
const WAIT_S: u64 = 25;

/// How long an answer may pause: longer than that.
const SILENCE: Duration = Duration::from_secs(40);

/// Largest list of commands that is read, in bytes.
const TAKEN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The first pause after an attempt that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// How long a good-bye may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// A command as the server tells it.
#[derive(Debug, Clone)]
pub(super) struct Command {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// The session that it is about.
    pub session: Option<String>,
    /// The lease under which it was taken.
    pub lease: u64,
    /// It only tells something: nobody waits for an answer.
    pub is_notice: bool,
    /// All of it, as one line of JSON.
    pub line: String,
    /// When an answer is of no use any more.
    pub deadline: Option<Instant>,
    data: Value,
}

impl Command {
    pub(super) fn of(value: &Value) -> Option<Command> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        // Never by this machine's clock, which may be wrong.
        let left = value.get("deadline_in_ms").and_then(Value::as_u64);
        Some(Command {
            id: text("id")?,
            kind: text("type")?,
            session: text("session"),
            lease: value.get("lease").and_then(Value::as_u64)?,
            is_notice: value.get("notice").and_then(Value::as_bool).unwrap_or(false),
            line: value.to_string(),
            deadline: left.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms))),
            data: value.get("data").cloned().unwrap_or_default(),
        })
    }

    #[cfg(test)]
    pub(super) fn sample(session: &str) -> Command {
        let line = json!({"id": "c-1", "type": "chat", "session": session, "lease": 1});
        Command::of(&line).expect("a command")
    }

    /// Which command this one ends.
    pub(super) fn cancelled(&self) -> Option<&str> {
        self.data.get("command_id").and_then(Value::as_str)
    }
}

/// What came of asking for commands.
pub(super) enum Taken {
    /// These; none: nothing came in a while.
    Commands(Vec<Command>),
    /// Not now.
    Away {
        /// Why.
        why: String,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Not without a change.
    Refused(Refusal),
}

/// What came of telling an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It stands.
    Taken,
    /// The command is another runner's, is answered, or is gone.
    Over(String),
    /// It is not valid.
    Invalid(String),
}

/// A runner's place at an ingest.
pub(super) struct Counter {
    http: Client,
    address: Address,
    project: Project,
    runner: String,
    capabilities: Vec<String>,
}

#[derive(Deserialize)]
struct List {
    commands: Vec<Value>,
}

impl Counter {
    /// Takes nothing yet.
    pub(super) fn new(
        address: &Address,
        project: &Project,
        access: &Access,
        runner: &str,
        capabilities: &[String],
    ) -> anyhow::Result<Counter> {
        Ok(Counter {
            http: http(address, SILENCE, access)?,
            address: address.clone(),
            project: project.clone(),
            runner: runner.to_owned(),
            capabilities: capabilities.to_vec(),
        })
    }

    /// Waits for commands. The server lets a runner have `in_hand` of them at a time; what tells it to end one comes all the
    /// same. Dropping the future may leave commands taken that nobody knows of, until their leases run out.
    pub(super) async fn take(&self, in_hand: u32) -> Taken {
        let mut url = self.address.below(&self.project, &["commands"]);
        url.query_pairs_mut()
            .append_pair("runner", &self.runner)
            .extend_pairs(self.capabilities.iter().map(|capability| ("capability", capability)))
            .append_pair("limit", &in_hand.clamp(1, 100).to_string())
            .append_pair("in_hand", &in_hand.to_string())
            .append_pair("wait", &WAIT_S.to_string());
        let response = match self.http.get(url).send().await {
            Ok(response) => response,
            Err(error) => return Taken::Away { why: cause(&error), retry_after: None },
        };
        if !response.status().is_success() {
            let refusal = Refusal::read(response).await;
            return if refusal.may_pass() {
                Taken::Away { why: refusal.to_string(), retry_after: refusal.retry_after() }
            } else {
                Taken::Refused(refusal)
            };
        }
        match response.bytes().await {
            Ok(body) if body.len() <= TAKEN_BYTES_MAX => match serde_json::from_slice::<List>(&body) {
                Ok(list) => Taken::Commands(list.commands.iter().filter_map(Command::of).collect()),
                Err(_) => Taken::Away { why: "the answer is no list of commands".to_owned(), retry_after: None },
            },
            Ok(_) => Taken::Away { why: "the answer is too long".to_owned(), retry_after: None },
            Err(error) => Taken::Away { why: cause(&error), retry_after: None },
        }
    }

    /// Says that it works on the command.
    pub(super) async fn accept(&self, command: &Command) -> Told {
        self.tell(command, event(command, "command.accepted", json!({}))).await
    }

    /// Posts an event of a command, again and again while the server is away; not beyond the command's deadline.
    pub(super) async fn tell(&self, command: &Command, mut event: Map<String, Value>) -> Told {
        // Repeated by each attempt, so that they are one event.
        event.entry("id").or_insert_with(|| ulid::Ulid::new().to_string().into());
        let body = Bytes::from(Value::Object(event).to_string());
        let mut backoff = Backoff::new(FIRST_PAUSE);
        let until = Instant::now() + SILENCE;
        loop {
            let post = self.http.post(self.at(command, "events")).header(CONTENT_TYPE, "application/json");
            let why = match post.body(body.clone()).send().await {
                Ok(response) if response.status().is_success() => return Told::Taken,
                Ok(response) => {
                    let status = response.status();
                    let refusal = Refusal::read(response).await;
                    if let Some(pause) = refusal.retry_after() {
                        backoff.hint(pause);
                    }
                    if status == StatusCode::CONFLICT || status == StatusCode::GONE {
                        return Told::Over(refusal.to_string());
                    }
                    if !refusal.may_pass() {
                        return Told::Invalid(refusal.to_string());
                    }
                    refusal.to_string()
                }
                Err(error) => cause(&error),
            };
            let pause = backoff.next(rand::random());
            if Instant::now() + pause >= until {
                return Told::Over(format!("it could not be told: {why}"));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Says good-bye: this runner takes no more.
    pub(super) async fn leave(&self) {
        let url = self.address.below(&self.project, &["runners", &self.runner]);
        // Who cannot say so is forgotten all the same, a little later.
        let _ = tokio::time::timeout(FAREWELL, self.http.delete(url).send()).await;
    }

    fn at(&self, command: &Command, what: &str) -> Url {
        let mut url = self.address.below(&self.project, &["commands", &command.id, what]);
        let lease = command.lease.to_string();
        url.query_pairs_mut().append_pair("runner", &self.runner).append_pair("lease", &lease);
        url
    }
}

/// An event of a command, in its session.
pub(super) fn event(command: &Command, kind: &str, data: Value) -> Map<String, Value> {
    let mut event = Map::new();
    event.insert("type".to_owned(), kind.into());
    if let Some(session) = &command.session {
        event.insert("session".to_owned(), session.as_str().into());
    }
    event.insert("data".to_owned(), data);
    event
}
