//! A new build: what is asked for, what runners get, what is answered.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tidings_protocol::timestamp::rfc3339;

use super::refusals::{Fault, Refusal};
use super::target::Target;
use super::words;
use crate::Command;

/// How long a build takes, as their dashboard reckons until it is told otherwise, in milliseconds.
const ESTIMATE_MS: u64 = 300 * 1_000;
/// How long a build that was asked for may take to begin, in milliseconds: for so long it is shown as one that will.
pub const BEGINS_WITHIN_MS: u64 = 10 * 60 * 1_000;
/// What the ids of sessions that were asked for begin with; a ULID follows.
const PREFIX: &str = "build-";
/// Characters of a ULID that hold its time.
const ULID_TIME_CHARS: usize = 10;
/// Characters of a ULID.
const ULID_CHARS: usize = 26;

/// A build that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Orchestrate {
    /// `project_type`.
    pub project_type: String,
    /// `description`.
    pub description: String,
    /// The whole body, as runners get it.
    whole: Map<String, Value>,
}

impl Orchestrate {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] with every fault of it.
    pub fn parse(body: &[u8]) -> Result<Orchestrate, Refusal> {
        let parsed = serde_json::from_slice(body);
        let Value::Object(whole) = parsed.map_err(|error: serde_json::Error| {
            let msg = format!("JSON decode error: line {}, column {}", error.line(), error.column());
            Refusal::Invalid(vec![Fault { loc: vec!["body".into()], msg, kind: "json_invalid" }])
        })?
        else {
            let msg = "Input should be an object".to_owned();
            return Err(Refusal::Invalid(vec![Fault { loc: vec!["body".into()], msg, kind: "dict_type" }]));
        };
        let mut faults = Vec::new();
        for name in ["project_type", "description"] {
            match whole.get(name) {
                Some(Value::String(text)) if !text.trim().is_empty() => {}
                Some(Value::String(_)) => {
                    let msg = "String should have at least 1 character";
                    faults.push(Fault::of("body", name, "string_too_short", msg));
                }
                Some(_) => faults.push(Fault::of("body", name, "string_type", "Input should be a valid string")),
                None => faults.push(Fault::of("body", name, "missing", "Field required")),
            }
        }
        for name in ["features", "technologies"] {
            if whole.get(name).is_some_and(|value| !value.is_array() && !value.is_null()) {
                faults.push(Fault::of("body", name, "list_type", "Input should be a valid list"));
            }
        }
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults));
        }
        let text = |name: &str| whole[name].as_str().unwrap_or_default().to_owned();
        Ok(Orchestrate { project_type: text("project_type"), description: text("description"), whole })
    }

    /// What runners are asked: to begin this session.
    pub fn command(&self, session: &str) -> Command {
        let mut data = self.whole.clone();
        data.insert("session".into(), session.into());
        // It is bound to no runner, since nobody has published for it yet; what becomes of it is the session's.
        let session = Some(session.to_owned());
        Command { kind: "session.create".into(), id: None, session, agent: None, data: data.into() }
    }

    /// The answer.
    pub fn created(&self, target: &Target, now_ms: u64) -> String {
        #[derive(Serialize)]
        struct Created<'a> {
            project_id: &'a str,
            project_type: &'a str,
            description: &'a str,
            status: &'a str,
            agents_config: Map<String, Value>,
            created_at: String,
            updated_at: String,
            estimated_completion: String,
            message: &'a str,
        }
        let config = words::AGENTS.map(|agent| (agent.to_owned(), json!({"enabled": true, "status": "pending"})));
        let created = Created {
            project_id: &target.id(),
            project_type: &self.project_type,
            description: &self.description,
            status: words::project_status(None),
            agents_config: config.into_iter().collect(),
            created_at: rfc3339(now_ms),
            updated_at: rfc3339(now_ms),
            estimated_completion: rfc3339(now_ms + ESTIMATE_MS),
            message: "Agent swarm orchestration started",
        };
        serde_json::to_string(&created).expect("an answer has string keys only")
    }
}

/// The id of a session that is asked for. `ulid` is a fresh one.
pub fn session_id(ulid: &str) -> String {
    format!("{PREFIX}{ulid}")
}

/// Whether a session of this id, which nobody has begun, was asked for a short while ago. Its id says when.
pub fn is_awaited(session: &str, now_ms: u64) -> bool {
    let Some(ulid) = session.strip_prefix(PREFIX).filter(|ulid| ulid.len() == ULID_CHARS && ulid.is_ascii()) else {
        return false;
    };
    let asked_ms = ulid[..ULID_TIME_CHARS].bytes().try_fold(0_u64, |ms, digit| {
        // Crockford's alphabet.
        let value = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".iter().position(|known| *known == digit)?;
        Some(ms * 32 + value as u64)
    });
    asked_ms.is_some_and(|asked_ms| asked_ms <= now_ms + BEGINS_WITHIN_MS && now_ms <= asked_ms + BEGINS_WITHIN_MS)
}

/// `session.stop` or `session.restart` of a build.
pub fn control(kind: &str, session: &str) -> Command {
    Command { kind: kind.into(), id: None, session: Some(session.into()), agent: None, data: json!({}) }
}
