//! The shell's side of [`Draw`]: randomness and the wall clock.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tidings_protocol::gap::{GapCause, deletion};
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::timestamp::rfc3339;
use tidings_protocol::wire;
use ulid::Ulid;

use super::machine::{Draw, Lost};

/// Draws from the process's randomness and clock.
pub(super) struct Chance;

impl Draw for Chance {
    fn branch(&mut self) -> Branch {
        Branch::from_random(rand::random())
    }

    fn writer(&mut self) -> Arc<str> {
        writer_id()
    }

    fn gap(&mut self, lost: &Lost) -> wire::Event {
        gap_event(lost, &Ulid::new().to_string(), unix_ms())
    }
}

/// A writer's id, never drawn before.
pub(super) fn writer_id() -> Arc<str> {
    format!("{}{}", Branch::from_random(rand::random()), Branch::from_random(rand::random())).into()
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The event that deletes a session, or stands for the deletion of the project.
pub(super) fn deletion_event(session: Option<&str>) -> wire::Event {
    deletion(session, &Ulid::new().to_string(), unix_ms())
}

/// The event that tells of acknowledged events that the log lacks. Its bounds are exclusive, so `before` is one above the
/// last position that was acknowledged.
pub(super) fn gap_event(lost: &Lost, id: &str, now_ms: u64) -> wire::Event {
    let Lost { after, acknowledged, certain } = *lost;
    let before = Position::new(acknowledged.ms(), acknowledged.n() + 1, acknowledged.branch);
    let cause = GapCause::Failover.as_str();
    let time = rfc3339(now_ms);
    let json = format!(
        "{{\"type\":\"gap\",\"id\":\"{id}\",\"time\":\"{time}\",\"received\":\"{time}\",\
         \"data\":{{\"after\":\"{after}\",\"before\":\"{before}\",\"cause\":\"{cause}\",\"certain\":{certain}}}}}"
    );
    let gap = wire::Gap {
        after: after.to_string(),
        before: before.to_string(),
        cause: cause.to_owned(),
        lost: None,
        certain,
    };
    wire::Event {
        json: json.into(),
        r#type: "gap".into(),
        id: id.into(),
        lane: wire::Lane::Control.into(),
        received_ms: now_ms,
        gap: Some(gap),
        ..wire::Event::default()
    }
}
