//! What a connection knows of time: when it was last heard, pinged, and since when its socket takes nothing; and its one
//! timer, which is set for the next time at which any of that matters. A connection that is told nothing wakes to be pinged.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// What the answer to a second ping may take.
const GRACE: Duration = Duration::from_secs(2);

/// A connection's clocks.
pub(super) struct Clocks {
    alarm: Pin<Box<Sleep>>,
    /// The alarm went off, and was not set since.
    rang: bool,
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
        // The first ping comes early by chance, or those that came together would be pinged together from then on.
        let early = ping_every.mul_f64(rand::random_range(0.0..0.5));
        let pinged_at = now.checked_sub(early).unwrap_or(now);
        let alarm = Box::pin(tokio::time::sleep_until(pinged_at + ping_every));
        Clocks { alarm, rang: false, ping_every, stalled_after, heard_at: now, pinged_at, blocked_since: None }
    }

    /// Ready once at a time that [`Clocks::wake_by`] was told, or earlier.
    pub(super) fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(self.alarm.as_mut().poll(cx));
        self.rang = true;
        Poll::Ready(Instant::now())
    }

    /// Sees to it that the context is woken at this time at the latest.
    pub(super) fn wake_by(&mut self, at: Instant, cx: &mut Context<'_>) {
        // What has moved into the future is looked at when its old time comes: seldom, where setting the timer each time
        // would cost something with everything that is heard or written.
        if !self.rang && at >= self.alarm.deadline() {
            return;
        }
        self.rang = false;
        self.alarm.as_mut().reset(at);
        if self.alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// When the next of them says something about a connection that is open.
    pub(super) fn next(&self) -> Instant {
        let next = self.silent_at().min(self.pinged_at + self.ping_every);
        self.stalled_at().map_or(next, |stalled_at| next.min(stalled_at))
    }

    /// When it has been too long that nothing could be written.
    pub(super) fn stalled_at(&self) -> Option<Instant> {
        self.blocked_since.map(|since| since + self.stalled_after)
    }

    /// Nothing could be written for too long.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.stalled_at().is_some_and(|at| now >= at)
    }

    fn silent_at(&self) -> Instant {
        self.heard_at + self.ping_every * 2 + GRACE
    }

    /// Two pings were not answered.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        now >= self.silent_at()
    }

    /// Whether to ping now; true counts as done.
    pub(super) fn ping_is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.pinged_at + self.ping_every;
        if due {
            self.pinged_at = now;
        }
        due
    }
}
