//! The answers' way to a client that may not read them: bounded in groups, counted in bytes against the service's budget, and
//! bounded in time. A client that takes nothing for too long loses the rest of its answers, and the stream with them, however
//! it is connected: over HTTP/2 a reader that grants no window stalls nothing that the connection itself would notice.

use std::io::{Error, ErrorKind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use parking_lot::Mutex;
use tidings_log::writer::budget::Part;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Groups of answers that may wait for a client that is still sending.
const ANSWERS_MAX: usize = 16;

/// How long a group of answers may wait for room, which comes when the client reads.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// The same from the moment that the service drains: a client that reads at all has read by then.
const ANSWER_TIME_DRAINING: Duration = Duration::from_secs(2);

/// The side that answers. Dropping it ends the answer's body as it should end.
pub(super) struct Answers {
    queue: mpsc::Sender<Bytes>,
    end: Arc<Mutex<End>>,
    stop: CancellationToken,
}

/// The client is gone, or takes nothing: nobody is there to tell anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

/// The other end of the queue. Both sides know it, so that what is queued can be thrown away although nobody asks for it.
struct End {
    queue: mpsc::Receiver<Bytes>,
    /// The answer's body is cut here, and says so.
    cut: bool,
}

impl End {
    fn close(&mut self) {
        self.queue.close();
        while self.queue.try_recv().is_ok() {}
    }
}

/// Bytes that count until the last reference to them is gone, which is when they were written.
struct Counted {
    bytes: Vec<u8>,
    _part: Part,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A queue of answers and the body that they become. `stop`: the service drains.
pub(super) fn queue(stop: CancellationToken) -> (Answers, Body) {
    let (sender, receiver) = mpsc::channel(ANSWERS_MAX);
    let end = Arc::new(Mutex::new(End { queue: receiver, cut: false }));
    let mut reader = Reader(end.clone());
    let body = Body::from_stream(futures_util::stream::poll_fn(move |cx| reader.poll(cx)));
    (Answers { queue: sender, end, stop }, body)
}

impl Answers {
    /// Queues a group's answers; waits while the queue is full. After an error nothing can be sent any more, and the body is
    /// cut.
    pub(super) async fn send(&self, bytes: Vec<u8>, part: Part) -> Result<(), Gone> {
        let counted = Bytes::from_owner(Counted { bytes, _part: part });
        tokio::select! {
            // A queue with room is never a reason to give up.
            biased;
            sent = self.queue.send(counted) => sent.map_err(|_| Gone),
            () = self.patience() => {
                let mut end = self.end.lock();
                end.cut = true;
                end.close();
                Err(Gone)
            }
        }
    }

    async fn patience(&self) {
        let draining = async {
            self.stop.cancelled().await;
            tokio::time::sleep(ANSWER_TIME_DRAINING).await;
        };
        tokio::select! {
            () = tokio::time::sleep(ANSWER_TIME_MAX) => {}
            () = draining => {}
        }
    }
}

/// The answer's body; dropping it tells the sender.
struct Reader(Arc<Mutex<End>>);

impl Reader {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        let mut end = self.0.lock();
        match end.queue.poll_recv(cx) {
            // An end that looked whole would say that there were no more answers.
            Poll::Ready(None) if end.cut => {
                Poll::Ready(Some(Err(Error::new(ErrorKind::TimedOut, "answers were not read"))))
            }
            other => other.map(|next| next.map(Ok)),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.lock().close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tidings_log::writer::budget::Budget;
    use tokio::time::Instant;

    struct Stage {
        budget: Arc<Budget>,
        answers: Answers,
        body: Body,
        stop: CancellationToken,
    }

    impl Stage {
        /// A queue that is full, of a hundred bytes each.
        async fn full() -> Stage {
            let stop = CancellationToken::new();
            let (answers, body) = queue(stop.clone());
            let stage = Stage { budget: Budget::new(1 << 20), answers, body, stop };
            for _ in 0..ANSWERS_MAX {
                stage.send().await.expect("there is room");
            }
            stage
        }

        async fn send(&self) -> Result<(), Gone> {
            let part = self.budget.share(100).expect("there is room");
            self.answers.send(vec![b'x'; 100], part).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_count_until_they_are_read() {
        let mut stage = Stage::full().await;
        assert_eq!(stage.budget.used(), ANSWERS_MAX * 100);
        let frame = stage.body.frame().await.expect("an answer").expect("not cut").into_data().expect("data");
        assert_eq!((frame.len(), stage.budget.used()), (100, ANSWERS_MAX * 100), "in the connection's hands it counts");
        drop(frame);
        assert_eq!(stage.budget.used(), (ANSWERS_MAX - 1) * 100);
        stage.send().await.expect("there is room again");
        drop(stage.body);
        assert_eq!(stage.budget.used(), 0);
        let part = stage.budget.share(1).expect("there is room");
        assert_eq!(stage.answers.send(vec![0], part).await, Err(Gone), "nobody reads any more");
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_cut_in_time() {
        let mut stage = Stage::full().await;
        let began = Instant::now();
        assert_eq!(stage.send().await, Err(Gone));
        assert_eq!(began.elapsed(), ANSWER_TIME_MAX);
        assert_eq!(stage.budget.used(), 0, "what nobody reads is not held");
        stage.body.frame().await.expect("an end").expect_err("it must not look whole");
    }

    #[tokio::test(start_paused = true)]
    async fn a_draining_service_waits_less() {
        let stage = Stage::full().await;
        stage.stop.cancel();
        let began = Instant::now();
        assert_eq!(stage.send().await, Err(Gone));
        assert_eq!(began.elapsed(), ANSWER_TIME_DRAINING);
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_ends_with_its_sender() {
        let Stage { mut body, answers, .. } = Stage::full().await;
        drop(answers);
        for _ in 0..ANSWERS_MAX {
            body.frame().await.expect("an answer").expect("not cut");
        }
        assert!(body.frame().await.is_none());
    }
}
