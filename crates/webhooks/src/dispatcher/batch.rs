//! One delivery as it is put together: what lies behind a webhook's place, as every reader is told it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tidings_log::encoding::Json;
use tidings_log::hub::TopicHandle;
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::grant::{Grant, Holder};
use tidings_protocol::position::Position;

use super::Rhythm;

/// How long a page of the log is waited for, while others may want the turn.
const PULL_WAIT: Duration = Duration::from_secs(5);

/// Who reads: no viewer's id, so what is for one viewer alone is not told.
const READER: &str = "tidings:webhook";

/// Reads the log for one webhook.
pub(super) struct Reader {
    viewer: Viewer,
    wake: Arc<Wake>,
}

/// What is delivered at once.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Events and gaps, in order, each with a comma behind it; a frame may hold several.
    pub(super) frames: Vec<Bytes>,
    /// How many they are.
    pub(super) events: usize,
    /// The store did not give what follows.
    pub(super) is_cut: bool,
}

impl Reader {
    /// Reads what lies behind `at` and passes the filter.
    pub(super) fn new(topic: TopicHandle, at: Position, filter: Filter) -> Reader {
        let wake = Arc::new(Wake::default());
        let grant = Grant::new(READER, Holder::Anyone, Vec::new());
        let wants = Wants { at, newcomer: false, filter, lag: Lag::Full, snapshot: SnapshotWish::No, grant };
        Reader { viewer: Viewer::new(topic, wants, wake.clone()), wake }
    }

    /// Everything up to here was put into a batch, or is not for the webhook.
    pub(super) fn at(&self) -> Position {
        self.viewer.at()
    }

    /// Whether the log ends where it stands.
    pub(super) fn is_at_end(&self) -> bool {
        !self.viewer.is_catching_up() && self.viewer.at() == self.viewer.topic().view().position()
    }

    /// Waits until the log goes on behind it, or began anew.
    pub(super) async fn news(&mut self) {
        poll_fn(move |cx| {
            self.wake.register(cx.waker());
            self.wake.take();
            if self.is_at_end() { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// Takes what lies behind it, as much as fits into one delivery, up to the running count `until`; what was taken when the
    /// store does not answer in time.
    pub(super) async fn gather(&mut self, rhythm: &Rhythm, events_max: usize, until: Option<u64>) -> Batch {
        let until = until.unwrap_or(u64::MAX);
        let mut frames = Vec::new();
        let (mut bytes_left, mut events_left) = (rhythm.bytes_max, events_max);
        let gathering = poll_fn(|cx| {
            loop {
                self.wake.register(cx.waker());
                self.wake.take();
                let mut pull = Pull { encoding: &Json, out: &mut frames, bytes_left, events_left, until };
                let polled = self.viewer.poll_pull(cx, &mut pull);
                (bytes_left, events_left) = (pull.bytes_left, pull.events_left);
                if bytes_left == 0 || events_left == 0 || self.viewer.at().n() >= until {
                    return Poll::Ready(());
                }
                match polled {
                    // More may lie behind what was taken.
                    Poll::Ready(()) => {}
                    Poll::Pending if !frames.is_empty() || self.is_at_end() => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        let is_cut = tokio::time::timeout(PULL_WAIT, gathering).await.is_err();
        Batch { frames, events: events_max - events_left, is_cut }
    }
}
