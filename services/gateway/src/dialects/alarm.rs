//! One timer of a connection, set again and again.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep};

/// Wakes a task at the earliest of the times that were said since it was last reset. Costs nothing until one was.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Forgets the times.
    pub(super) fn reset(&mut self) {
        self.at = None;
    }

    /// Not later than this.
    pub(super) fn by(&mut self, at: Instant) {
        self.at = Some(self.at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Sees to it that the context is woken then. A time that is over wakes it at once.
    pub(super) fn arm(&mut self, cx: &mut Context<'_>) {
        let Some(at) = self.at else { return };
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        if let Poll::Ready(()) = sleep.as_mut().poll(cx) {
            cx.waker().wake_by_ref();
        }
    }
}
