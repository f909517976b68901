//! Bodies of answers that go on, and must end although nobody asks for more.
//!
//! HTTP asks a body for a chunk when its socket has taken the one before: a reader that takes a byte now and then would keep
//! a body, and with it a viewer that is there, long after its right to read has ended. So a clock looks at all of them, and
//! drops what is in a body that has been over for [`CUT_AFTER`]. Nothing here is on the way of events but a lock that nobody
//! else wants.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the clock looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a body that is over may take to say so.
const CUT_AFTER: Duration = Duration::from_secs(4);

/// What is in a body.
pub(crate) trait Ends: Stream + Send {
    /// Whether it must end by `now`. Asked about once a second, whether or not a chunk was asked for.
    fn is_over(&mut self, now: Instant) -> bool;

    /// The last thing in a body that was cut; none: it ends as if that were all.
    fn cut() -> Option<Self::Item>;
}

/// The bodies that are open. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Bodies(Arc<Mutex<Vec<Weak<dyn Look>>>>);

/// A body that is looked at until it is dropped. Once it was cut it ends, as one whose reader was told.
pub(crate) struct Watched<S>(Arc<Kept<S>>);

struct Kept<S>(Mutex<State<S>>);

struct State<S> {
    /// None: it was cut.
    stream: Option<S>,
    over_since: Option<Instant>,
    told: bool,
}

trait Look: Send + Sync {
    fn look(&self, now: Instant);
}

impl Bodies {
    /// This body, watched.
    pub(crate) fn watch<S: Ends + 'static>(&self, stream: S) -> Watched<S> {
        let kept = Arc::new(Kept(Mutex::new(State { stream: Some(stream), over_since: None, told: false })));
        let look: Weak<dyn Look> = Arc::downgrade(&(kept.clone() as Arc<dyn Look>));
        self.0.lock().push(look);
        Watched(kept)
    }

    /// Looks at all of them again and again. Never ends.
    pub(crate) async fn keep(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = ticks.tick().await;
            for body in self.open() {
                body.look(now);
            }
        }
    }

    /// Bounded by the connections that there are: whoever is dropped leaves with the next look.
    fn open(&self) -> Vec<Arc<dyn Look>> {
        let mut open = Vec::new();
        self.0.lock().retain(|body| body.upgrade().map(|body| open.push(body)).is_some());
        open
    }
}

impl<S: Ends> Look for Kept<S> {
    fn look(&self, now: Instant) {
        let mut state = self.0.lock();
        let is_over = state.stream.as_mut().is_some_and(|stream| stream.is_over(now));
        let since = *state.over_since.get_or_insert(now);
        if !is_over {
            state.over_since = None;
        } else if now.duration_since(since) >= CUT_AFTER {
            let cut = state.stream.take();
            // What it holds may lock in turn.
            drop(state);
            drop(cut);
        }
    }
}

impl<S: Ends + Unpin> Stream for Watched<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut state = self.0.0.lock();
        let State { stream, told, .. } = &mut *state;
        match stream {
            Some(stream) => Pin::new(stream).poll_next(cx),
            None if std::mem::replace(told, true) => Poll::Ready(None),
            None => Poll::Ready(S::cut()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use tokio::sync::oneshot;

    use super::*;

    /// Is over while it is told so; says when it is dropped.
    struct Endless {
        over: Arc<Mutex<bool>>,
        _dropped: oneshot::Sender<()>,
    }

    impl Ends for Endless {
        fn is_over(&mut self, _: Instant) -> bool {
            *self.over.lock()
        }

        fn cut() -> Option<u8> {
            Some(1)
        }
    }

    impl Stream for Endless {
        type Item = u8;

        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<u8>> {
            Poll::Ready(Some(0))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_over_is_dropped_though_nobody_asks_for_more() {
        let bodies = Bodies::default();
        let keeping = tokio::spawn(bodies.clone().keep());
        let over = Arc::new(Mutex::new(false));
        let (dropped, mut is_dropped) = oneshot::channel();
        let mut body = bodies.watch(Endless { over: over.clone(), _dropped: dropped });
        assert_eq!(body.next().await, Some(0));
        tokio::time::sleep(CUT_AFTER * 3).await;
        assert_eq!(body.next().await, Some(0), "it goes on");
        *over.lock() = true;
        tokio::time::sleep(CUT_AFTER / 2).await;
        assert!((&mut is_dropped).now_or_never().is_none(), "it has time to say so");
        tokio::time::sleep(CUT_AFTER).await;
        assert!((&mut is_dropped).now_or_never().is_some(), "nobody asked, and it stays");
        assert_eq!((body.next().await, body.next().await), (Some(1), None));
        drop(body);
        assert!(bodies.open().is_empty());
        keeping.abort();
    }
}
