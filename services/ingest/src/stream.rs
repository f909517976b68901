//! Streams of lines (NDJSON): events are appended as their lines arrive, and the answer is a stream of lines as well.
//!
//! One task per stream reads what has arrived, submits it as a group, answers it, and only then reads on: that is the
//! backpressure. A client need not read answers before it has sent everything, within the bounds of [`answers`]. A faulty line
//! is answered and costs nothing but itself. When the log cannot take a group the stream ends and says why: the client goes on
//! at the first line without an answer.

mod answers;
mod group;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use tidings_auth::{Reason, Refusal};
use tidings_log::writer::budget::Part;
use tidings_log::writer::{Failure, Jumps};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::problem::FieldProblem;
use tidings_runtime::http::rights::Held;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Inner;
use crate::answer::{self, Rejected};
use crate::lines::Lines;
use crate::publish::Head;
use crate::unpack::{Encoding, Malformed, Unpacker};
use crate::windows::Window;
use answers::{Answers, Gone};
use group::Group;

/// Unpacked bytes after which a group is submitted even if more has arrived.
const GROUP_BYTES: usize = 256 * 1024;

/// Bytes of refusals after which a group is submitted: they are much longer than the lines that they refuse.
const GROUP_REFUSALS_BYTES: usize = 64 * 1024;

/// Lines after which a group is submitted.
const GROUP_LINES: usize = 1_000;

/// How long a stream may send nothing. A blank line is enough to keep it.
const IDLE_MAX: Duration = Duration::from_mins(10);

/// Pause before what found the writer or the budget full is tried again.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Answers a stream: its task runs until the body ends, the client goes, or the service drains.
pub(crate) async fn open(inner: &Arc<Inner>, head: Head, grant: Grant, body: Body) -> Result<Response, Rejected> {
    if inner.stop.is_cancelled() {
        let (code, detail) = answer::failure(Failure::Draining);
        return Err(Rejected::new(code, detail));
    }
    // Once the answer has begun its status cannot be taken back.
    if !*inner.connected.borrow() {
        let (code, detail) = answer::failure(Failure::Away);
        return Err(Rejected::new(code, detail));
    }
    let busy = || Rejected::new(ErrorCode::Busy, "too many requests are in work");
    let window = inner.windows.take(head.encoding).await.ok_or_else(busy)?;
    let held = inner.budget.share(0).ok_or_else(busy)?;
    let (answers, answer_body) = answers::queue(inner.stop.clone());
    let news = Arc::new(Notify::new());
    let told = news.clone();
    let needs = vec![(head.project.clone(), Scope::Publish)];
    // Whoever is told before it listens finds the permit that was kept.
    let right = Right { held: inner.rights.hold(grant, needs, move || told.notify_one()), news };
    let stream = Stream {
        right,
        lines: Lines::new(inner.limits.line_bytes_max),
        unpacker: Unpacker::new(head.encoding),
        encoding: head.encoding,
        body,
        next_line: head.first_line,
        jumps: Jumps::default(),
        accepted: 0,
        rejected: 0,
        answers,
        _window: window,
        held,
        inner: inner.clone(),
        head,
    };
    inner.tasks.spawn(stream.run());
    let media_type = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, media_type)], answer_body).into_response())
}

/// The right to publish, and how one learns that it has ended.
struct Right {
    held: Held,
    news: Arc<Notify>,
}

impl Right {
    /// Waits until it has ended. Cancel safe.
    async fn ended(&self) -> Refusal {
        loop {
            self.news.notified().await;
            let news = self.held.take_news();
            let withdrawn = || Refusal { reason: Reason::NoRight, needed: Some(Scope::Publish) };
            if let Some(refusal) = news.ended.or_else(|| (!news.withdrawn.is_empty()).then(withdrawn)) {
                return refusal;
            }
        }
    }
}

struct Stream {
    right: Right,
    inner: Arc<Inner>,
    head: Head,
    body: Body,
    encoding: Encoding,
    unpacker: Unpacker,
    lines: Lines,
    /// The number of the next line.
    next_line: u64,
    jumps: Jumps,
    accepted: u64,
    rejected: u64,
    answers: Answers,
    _window: Window,
    /// For the beginning of a line.
    held: Part,
}

/// What ends a stream.
enum End {
    /// The body ended as it should.
    Body,
    /// The connection broke, or the packed body ended too early.
    Cut,
    /// The client takes no answers any more: there is nobody to tell anything.
    Gone,
    /// The body is not packed as it says.
    Malformed,
    /// Nothing came for too long.
    Idle,
    /// The log takes no more.
    Failed(Failure),
    /// Over a limit for longer than a group may wait.
    Limited,
    /// The right to publish has ended.
    Refused(Refusal),
}

impl Stream {
    async fn run(mut self) {
        let open = self.inner.metrics.streams.clone();
        open.inc();
        let end = self.follow().await;
        self.finish(end).await;
        open.dec();
    }

    /// Reads, submits and answers until the stream ends.
    async fn follow(&mut self) -> End {
        let stop = self.inner.stop.clone();
        loop {
            let mut group = Group::new(self.next_line);
            // The rest of a group is only what has arrived already: nobody waits for a line that may never come.
            let first = tokio::select! {
                frame = tokio::time::timeout(IDLE_MAX, self.body.frame()) => frame,
                () = stop.cancelled() => return End::Failed(Failure::Draining),
                refusal = self.right.ended() => return End::Refused(refusal),
            };
            let Ok(mut frame) = first else { return End::Idle };
            let end = loop {
                match frame {
                    None => break Some(self.last_line(&mut group)),
                    Some(Err(_)) => break Some(End::Cut),
                    Some(Ok(data)) => {
                        if let Err(end) = self.unpack(data.data_ref(), &mut group).await {
                            break Some(end);
                        }
                    }
                }
                match self.body.frame().now_or_never() {
                    Some(next) if !group.is_full() => frame = next,
                    Some(next) => {
                        // It is here and cannot be given back, so the full group goes first.
                        if let Some(end) = self.submit(&mut group).await {
                            break Some(end);
                        }
                        frame = next;
                    }
                    None => break None,
                }
            };
            let failed = self.submit(&mut group).await;
            if let Some(end) = failed.or(end) {
                return end;
            }
        }
    }

    /// Unpacks what arrived, and cuts it into lines.
    async fn unpack(&mut self, data: Option<&Bytes>, group: &mut Group) -> Result<(), End> {
        let Some(data) = data else { return Ok(()) };
        let mut input = &data[..];
        let mut unpacked = Vec::new();
        loop {
            unpacked.clear();
            let more = self.unpacker.step(&mut input, &mut unpacked).map_err(|Malformed(_)| End::Malformed)?;
            let mut left = &unpacked[..];
            while !left.is_empty() {
                let (inner, head) = (&self.inner, &self.head);
                let taken = self.lines.push(left, |line| {
                    group.add(line, inner, head);
                    !group.is_full()
                });
                left = &left[taken..];
                self.next_line = group.next_line();
                if group.is_full()
                    && let Some(end) = self.submit(group).await
                {
                    return Err(end);
                }
            }
            self.hold().await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// The body has ended: a last line without a break is a line.
    fn last_line(&mut self, group: &mut Group) -> End {
        if self.unpacker.finish().is_err() {
            return End::Cut;
        }
        if let Some(bytes) = self.lines.skipped() {
            group.add(crate::lines::Line::TooLong(bytes), &self.inner, &self.head);
        } else if let Some(line) = self.lines.end() {
            group.add_last(&line, &self.inner, &self.head);
        }
        self.next_line = group.next_line();
        End::Body
    }

    /// Counts the beginning of a line that waits for its end; it may wait long, and there may be many.
    async fn hold(&mut self) -> Result<(), End> {
        let deadline = Instant::now() + self.inner.deadline;
        let (held, bytes) = (&mut self.held, self.lines.held());
        room(&self.inner, deadline, || held.resize(bytes).then_some(())).await
    }

    /// Appends a group and answers it; the group is empty afterwards. None: go on.
    async fn submit(&mut self, group: &mut Group) -> Option<End> {
        let full = std::mem::replace(group, Group::new(self.next_line));
        if full.is_empty() {
            return None;
        }
        // A stream that never pauses never waits for anything else.
        if let Some(refusal) = self.right.ended().now_or_never() {
            return Some(End::Refused(refusal));
        }
        let deadline = Instant::now() + self.inner.deadline;
        // Its answers have their room before anything is appended: afterwards they could not be withheld.
        let budget = &self.inner.budget;
        let mut part = match room(&self.inner, deadline, || budget.share(full.answers_bytes_max())).await {
            Ok(part) => part,
            Err(end) => return Some(end),
        };
        let (answers, told) = {
            let grant = self.right.held.grant();
            full.append(&self.inner, &self.head, &grant, &mut self.jumps, deadline).await
        };
        self.count(told.accepted, told.rejected);
        // To shrink always works.
        part.resize(answers.len());
        if !answers.is_empty() && self.answers.send(answers, part).await == Err(Gone) {
            return Some(End::Gone);
        }
        told.end
    }

    fn count(&mut self, accepted: u64, rejected: u64) {
        self.accepted += accepted;
        self.rejected += rejected;
        self.inner.metrics.lines_accepted.inc_by(accepted);
        self.inner.metrics.lines_rejected.inc_by(rejected);
    }

    /// The last line of the answer.
    async fn finish(mut self, end: End) {
        let mut out = Vec::new();
        let refused;
        let error = match end {
            End::Gone => return,
            End::Body => None,
            End::Cut if self.lines.is_mid_line() => {
                let detail = "the body ended in the middle of this line; it was not taken";
                let fault = FieldProblem::new(ErrorCode::LineCut).expected(detail);
                group::write_error(&mut out, self.next_line, &fault);
                self.count(0, 1);
                Some((ErrorCode::LineCut, detail))
            }
            End::Cut => Some((ErrorCode::LineCut, "the body ended too early, behind a whole line")),
            End::Malformed => Some((
                ErrorCode::MalformedEncoding,
                match self.encoding {
                    Encoding::Zstd => "the body is not valid zstd",
                    Encoding::Gzip | Encoding::Identity => "the body is not valid gzip",
                },
            )),
            End::Idle => Some((ErrorCode::RequestTimeout, "nothing was sent for too long")),
            End::Failed(why) => Some(answer::failure(why)),
            End::Limited => Some((ErrorCode::RateLimited, crate::rates::DETAIL)),
            End::Refused(refusal) => {
                refused = refusal.message();
                Some((refusal.code(), refused.as_str()))
            }
        };
        group::write_done(&mut out, self.accepted, self.rejected, error);
        // It is small, and what was held of a line is not needed any more.
        self.held.resize(0);
        // Nobody is left to be told if this fails.
        let _ = self.answers.send(out, self.held).await;
        if error.is_some() {
            // What is still being sent must not cost the client the answer.
            drop(self.answers);
            crate::body::discard(self.body).await;
        }
    }
}

/// Tries until it works, the time is over, or the service drains.
async fn room<T>(inner: &Inner, deadline: Instant, mut attempt: impl FnMut() -> Option<T>) -> Result<T, End> {
    loop {
        if let Some(room) = attempt() {
            return Ok(room);
        }
        if Instant::now() >= deadline {
            return Err(End::Failed(Failure::Busy));
        }
        tokio::select! {
            () = tokio::time::sleep(BUSY_PAUSE) => {}
            () = inner.stop.cancelled() => return Err(End::Failed(Failure::Draining)),
        }
    }
}
