//! What a gateway keeps of an entry that holds events of sampled traces, for the spans of its deliveries.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use tidings_protocol::intake::is_sampled;
use tidings_protocol::wire;

/// Of one entry on one gateway.
#[derive(Debug)]
pub struct Traced {
    heard: SystemTime,
    told: AtomicU32,
    fan_out: OnceLock<String>,
}

impl Traced {
    /// None, at the cost of a look at each event, unless some event is of a sampled trace.
    pub(crate) fn of(events: &[wire::Event]) -> Option<Box<Traced>> {
        let sampled = events.iter().any(|event| is_sampled(&event.traceparent));
        let heard = sampled.then(SystemTime::now)?;
        Some(Box::new(Traced { heard, told: AtomicU32::new(0), fan_out: OnceLock::new() }))
    }

    /// When the gateway had the entry.
    pub fn heard(&self) -> SystemTime {
        self.heard
    }

    /// Counts a delivery: how many were before.
    pub fn turn(&self) -> u32 {
        self.told.fetch_add(1, Ordering::Relaxed)
    }

    /// The span of the fan-out, which the first delivery records: its `traceparent`.
    pub fn fan_out(&self, record: impl FnOnce() -> Option<String>) -> Option<&str> {
        let recorded = self.fan_out.get_or_init(|| record().unwrap_or_default());
        Some(recorded.as_str()).filter(|traceparent| !traceparent.is_empty())
    }
}
