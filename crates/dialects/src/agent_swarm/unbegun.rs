//! Builds that were asked for and did not begin: nothing but the answer to who asked tells of them.

use serde_json::{Value, json};
use tidings_protocol::effects::{MESSAGE_BYTES_MAX, cut_text};
use tidings_protocol::timestamp::rfc3339;

use super::{PART_END, words};
use crate::{Ask, Told};

/// A build that did not begin, as long as no event of its own says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbegun {
    /// The session that it was to have.
    pub session: String,
    /// Why.
    pub error: String,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

impl Unbegun {
    /// What an event says of a build that was asked for, if it says that it will not begin.
    pub fn of(told: &Told<'_>) -> Option<Unbegun> {
        let is_it = told.kind() == "command.failed" && told.text("type") == Some("session.create");
        let error = cut_text(words::refusal(told), MESSAGE_BYTES_MAX).into_owned();
        let unbegun = || Unbegun { session: told.session().to_owned(), error, time_ms: told.time_ms() };
        (is_it && !told.session().is_empty()).then(unbegun)
    }

    /// The session as a snapshot would have it.
    pub fn value(&self) -> Value {
        json!({"status": "failed", "ended": rfc3339(self.time_ms), "outcome": {"error": self.error}})
    }

    /// What makes it due: whether it began all the same the state says. No id is empty, so that no other ask is like it.
    pub(super) fn ask(&self) -> Ask {
        let Unbegun { session, error, time_ms } = self;
        Ask::Other(format!("{PART_END}{session}{PART_END}{time_ms}{PART_END}{error}"))
    }

    /// Reads such an ask.
    pub(super) fn of_ask(parts: &str) -> Option<Unbegun> {
        let mut parts = parts.strip_prefix(PART_END)?.splitn(3, PART_END);
        let (session, time_ms, error) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        Some(Unbegun { session: session.to_owned(), error: error.to_owned(), time_ms })
    }
}
