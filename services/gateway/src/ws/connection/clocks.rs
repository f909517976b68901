//! What a connection knows of time: when it was last heard, pinged, and since when its socket takes nothing.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// How often a connection looks at its clocks.
const TICK: Duration = Duration::from_secs(2);

/// A connection's clocks.
pub(super) struct Clocks {
    /// When to look at the others.
    pub tick: Interval,
    ping_every: Duration,
    stalled_after: Duration,
    /// When the peer last sent anything.
    pub heard_at: Instant,
    pinged_at: Instant,
    /// Since when the socket takes nothing.
    pub blocked_since: Option<Instant>,
}

impl Clocks {
    /// Everything happened just now.
    pub(super) fn new(now: Instant, ping_every: Duration, stalled_after: Duration) -> Clocks {
        let mut tick = tokio::time::interval_at(now + TICK, TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Clocks { tick, ping_every, stalled_after, heard_at: now, pinged_at: now, blocked_since: None }
    }

    /// Nothing could be written for too long.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.blocked_since.is_some_and(|since| now.duration_since(since) >= self.stalled_after)
    }

    /// Two pings were not answered.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        now.duration_since(self.heard_at) >= self.ping_every * 2 + TICK
    }

    /// Whether to ping now; true counts as done.
    pub(super) fn ping_is_due(&mut self, now: Instant) -> bool {
        is_due(&mut self.pinged_at, self.ping_every, now)
    }
}

/// Whether something that was done last then is to be done now; true counts as done.
pub(crate) fn is_due(last: &mut Instant, every: Duration, now: Instant) -> bool {
    let due = now.duration_since(*last) >= every;
    if due {
        *last = now;
    }
    due
}
