//! Gaps: the honest word for what a viewer will not get.

use serde::{Deserialize, Serialize};

use crate::position::Position;
use crate::timestamp::rfc3339;
use crate::wire;

/// Why a stretch of the log is missing. The strings are wire contract and metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// The project or the session was deleted.
    Deleted,
    /// The store changed; acknowledged events may be missing.
    Failover,
    /// The log starts anew; the position means nothing in it.
    LogReset,
    /// The producer says that it dropped events before they reached ingest.
    ProducerDropped,
    /// Retention removed the stretch.
    Trimmed,
}

impl GapCause {
    /// Every cause, for metrics and tables.
    pub const ALL: [GapCause; 5] =
        [GapCause::Deleted, GapCause::Failover, GapCause::LogReset, GapCause::ProducerDropped, GapCause::Trimmed];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            GapCause::Deleted => "deleted",
            GapCause::Failover => "failover",
            GapCause::LogReset => "log_reset",
            GapCause::ProducerDropped => "producer_dropped",
            GapCause::Trimmed => "trimmed",
        }
    }

    /// The cause that a word names.
    pub fn parse(word: &str) -> Option<GapCause> {
        GapCause::ALL.into_iter().find(|cause| cause.as_str() == word)
    }
}

/// Whether the event is a session's deletion (docs/log.md L19). Only ingest makes such events.
pub fn deletes_session(event: &wire::Event) -> bool {
    !event.session.is_empty() && says_deleted(event)
}

/// Whether the event stands for the deletion of the whole project: writers keep it to do it again, no log holds it.
pub fn deletes_project(event: &wire::Event) -> bool {
    event.session.is_empty() && says_deleted(event)
}

fn says_deleted(event: &wire::Event) -> bool {
    event.gap.as_ref().is_some_and(|gap| gap.cause == GapCause::Deleted.as_str())
}

/// The event that deletes a session with all that its state holds, or (without one) stands for the project's deletion.
pub fn deletion(session: Option<&str>, id: &str, received_ms: u64) -> wire::Event {
    let time = rfc3339(received_ms);
    let (after, cause) = (Position::ZERO, GapCause::Deleted.as_str());
    let of_session = session.map(|session| format!("\"session\":{},", serde_json::Value::from(session)));
    let json = format!(
        "{{\"type\":\"gap\",\"id\":\"{id}\",\"time\":\"{time}\",{}\"received\":\"{time}\",\
         \"data\":{{\"after\":\"{after}\",\"cause\":\"{cause}\",\"certain\":true}}}}",
        of_session.unwrap_or_default(),
    );
    let all = wire::Effect { op: wire::effect::Op::Delete.into(), ..wire::Effect::default() };
    let gap = wire::Gap { after: after.to_string(), cause: cause.to_owned(), certain: true, ..wire::Gap::default() };
    wire::Event {
        json: json.into(),
        r#type: "gap".into(),
        id: id.to_owned(),
        session: session.unwrap_or_default().to_owned(),
        lane: wire::Lane::Control.into(),
        received_ms,
        effects: session.map(|_| all).into_iter().collect(),
        gap: Some(gap),
        ..wire::Event::default()
    }
}

/// A missing stretch: both bounds are exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The last position before the stretch that the reader had.
    pub after: Position,
    /// The first position behind it; [`Position::ZERO`] when the stretch reaches to the head.
    pub before: Position,
    /// Why.
    pub cause: GapCause,
    /// How many events, where that is known exactly.
    pub lost: Option<u64>,
    /// False: perhaps nothing is missing, or what is counted may have been told already.
    pub certain: bool,
    /// Where to resume.
    pub position: Position,
}
