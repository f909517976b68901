//! Where a reader starts: words and times become positions.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_broker::{Broker, Span};
use tidings_log::topic::Topic;
use tidings_protocol::frames::After;
use tidings_protocol::position::{LogId, Position};

/// Wait between tries while the store is away.
const RETRY: Duration = Duration::from_millis(200);

/// Where a reader of this (started) topic starts. Waits while the store is away, if the log must be asked.
pub(crate) async fn locate(topic: &Topic, broker: &Arc<dyn Broker>, after: After) -> Position {
    match after {
        After::Position(position) => position,
        After::Start => Position::ZERO,
        After::Now => topic.view().position(),
        After::Ago(ago_ms) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
            since(topic, broker, now_ms.saturating_sub(ago_ms)).await
        }
    }
}

/// The position before the first event at or after a time. A hint, by the log's clock; nothing is said of what retention
/// has removed before it.
async fn since(topic: &Topic, broker: &Arc<dyn Broker>, ms: u64) -> Position {
    loop {
        match broker.read(topic.project().clone(), Span::After(LogId { ms, n: 0 }), 1).await {
            // All events of an entry share their time.
            Ok(page) => return page.entries.first().map_or(page.head.last, |first| first.prev),
            Err(error) => {
                tracing::debug!(%error, project = %topic.project(), "cannot look for a time yet");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
