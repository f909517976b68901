//! Claude Code's HTTP hooks: what the tool says of itself becomes native events, and a decision becomes the answer that it
//! understands (docs/claude-code.md).
//!
//! Not a dialect of viewers: it is the runner's side. Pure; what it is given besides the hook is a name that is fresh.

mod answer;
mod body;
mod events;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use answer::{Decision, answer, no_opinion};
pub use body::read;

/// The agent that a session's own loop is; those that it starts have ids of their own.
pub const MAIN_AGENT: &str = "main";

/// What a hook comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// Native events as a runner would post them, in order; none: the hook is of no interest.
    pub events: Vec<Value>,
    /// The hook asks for a permission, by the approval that the last event requests.
    pub approval: Option<Approval>,
}

/// A permission that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// The approval's id.
    pub id: String,
    /// What may be granted for good, as the tool said: goes back to it with the decision `allow_always`.
    pub suggestions: Option<Value>,
}

/// Why a body is no hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAHook {
    /// It is no JSON object.
    #[error("a hook is a JSON object")]
    NoObject,
    /// A member is not there, or no text.
    #[error("`{0}` is required, a text that is not empty")]
    Missing(&'static str),
}

impl NotAHook {
    /// The member that is missing.
    pub fn field(self) -> Option<&'static str> {
        match self {
            NotAHook::NoObject => None,
            NotAHook::Missing(field) => Some(field),
        }
    }
}

/// Maps a hook's body. `fresh` names what the hook does not name itself; `deadline` (RFC 3339) is that of an approval.
///
/// # Errors
/// If the body is no hook: it needs `session_id` and `hook_event_name`. Hooks of a kind that is not known become a log line.
pub fn map(hook: &Value, fresh: &str, deadline: &str) -> Result<Mapped, NotAHook> {
    let members = hook.as_object().ok_or(NotAHook::NoObject)?;
    let session = required(members, "session_id")?;
    let kind = required(members, "hook_event_name")?;
    let mut events = events::Events::new(members, session, kind, fresh);
    let approval = events.push(deadline);
    Ok(Mapped { events: events.list, approval })
}

fn required<'a>(members: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, NotAHook> {
    let text = members.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.ok_or(NotAHook::Missing(name))
}
