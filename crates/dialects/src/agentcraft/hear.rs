//! What its clients say. Whatever is not known is passed over in silence, as the original does.

use serde_json::Value;

use super::message::Message;
use super::{AgentCraft, LOGS_MAX, words};
use crate::{Action, Ask, Dialect as _};

/// The session that log streaming names where the client names none.
const NO_SESSION: &str = "default";
/// What became of what the client asked for.
const STARTED: &str = "CrewAI log streaming enabled";
const STOPPED: &str = "CrewAI log streaming disabled";

/// The close of a connection that is cut without a close frame: its clients come back only from an end that was not clean.
const CUT: Action = Action::Close { code: 1006, reason: "" };

pub(super) fn actions(dialect: AgentCraft, text: &str, now_ms: u64) -> Vec<Action> {
    let Ok(message @ Value::Object(_)) = serde_json::from_str::<Value>(text) else { return vec![CUT] };
    let session = words::text(&message, "session_id");
    let timestamp = words::seconds(now_ms);
    match words::text(&message, "type") {
        Some("get_session_logs") => asked(session, |session| Ask::Logs { session, limit: LOGS_MAX }),
        Some("get_session_state") => asked(session, Ask::Session),
        Some("start_log_streaming") => {
            let session_id = session.unwrap_or(NO_SESSION);
            let said = Message::LogStreamingStarted { session_id, timestamp, message: STARTED };
            // The answer first: its lines come behind it.
            vec![Action::Say(said.text()), Action::Become(dialect.streaming(true).variant())]
        }
        Some("stop_log_streaming") => {
            let said = Message::LogStreamingStopped { timestamp, message: STOPPED };
            vec![Action::Become(dialect.streaming(false).variant()), Action::Say(said.text())]
        }
        _ => Vec::new(),
    }
}

fn asked(session: Option<&str>, ask: impl FnOnce(String) -> Ask) -> Vec<Action> {
    session.map(|session| Action::Present(ask(session.to_owned()))).into_iter().collect()
}
