//! History backwards: the events before a position, a page at a time.

use axum::response::Response;
use bytes::Bytes;
use tidings_broker::Span;
use tidings_log::cursor::{Cursor, Relocated};
use tidings_log::encoding::{Encoding, Json};
use tidings_protocol::entry::Body;
use tidings_protocol::frames::{After, Marks, SnapshotWish};
use tidings_protocol::gap::Gap;
use tidings_protocol::grant::{Grant, visible};
use tidings_protocol::head::Head;
use tidings_protocol::position::{LogId, Position};
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::params::{self, Read};
use super::poll::answer;
use crate::shared::Shared;
use crate::start;

/// Encoded bytes that one read asks the store for.
const READ_BYTES: usize = 256 * 1024;

/// Reads for one answer: a filter that lets little pass gets less than `limit` rather than a long wait.
const READS_MAX: usize = 16;

/// Answers with the newest `limit` events before a position, in the log's order, and `prev`: the `before` of the next
/// request, null when the log holds nothing older.
pub(super) async fn before(
    shared: &Shared,
    project: &Project,
    before: After,
    read: &Read,
    grant: &Grant,
) -> Result<Response, Refused> {
    let topic = shared.topic(project)?;
    params::started(&topic).await?;
    let broker = shared.hub.broker();
    // Behind the newest event, when it is `now`.
    let start = match before {
        After::Now => topic.view().position(),
        _ => params::within(start::locate(&topic, broker, before)).await?,
    };
    let mut gathered = Gathered { newest_first: Vec::new(), limit: read.limit };
    let mut bound = None;
    for _ in 0..READS_MAX {
        let span = bound.map_or(Span::Tail, Span::Before);
        let page = params::within(broker.read(project.clone(), span, READ_BYTES)).await?.map_err(|_| params::away())?;
        let below = match bound {
            Some(below) => below,
            None => match first_bound(&page.head, before, start) {
                Ok(below) => {
                    bound = Some(below);
                    continue;
                }
                Err(gap) => {
                    gathered.push(|out| Json.gap(project, &gap, out));
                    above(page.head.last)
                }
            },
        };
        let mut oldest = below;
        for entry in page.entries.iter().rev() {
            let Body::Events(events) = &entry.body else {
                oldest = lowered(oldest, entry.position.id);
                continue;
            };
            for (index, event) in events.iter().enumerate().rev() {
                let position = entry.position_of(index);
                if position.n() < below.n && gathered.is_full() {
                    return Ok(gathered.answer(Some(oldest_position(oldest, &page.head))));
                }
                oldest = lowered(oldest, position.id);
                if position.n() >= below.n {
                    continue;
                }
                if visible(event, position, &page.head, grant) && read.filter.passes(event) {
                    gathered.push(|out| Json.event(project, position, event, Marks::default(), out));
                }
            }
        }
        if page.entries.is_empty() || oldest.n <= page.trimmed_to.n() + 1 {
            let resume = page.trimmed_to;
            if resume.n() > 0 {
                let gaps = Cursor::new(Position::ZERO, SnapshotWish::No).trimmed(&page.head, resume);
                for gap in gaps.iter().rev() {
                    gathered.push(|out| Json.gap(project, gap, out));
                }
            }
            return Ok(gathered.answer(None));
        }
        bound = Some(oldest);
        if gathered.is_full() {
            return Ok(gathered.answer(Some(oldest_position(oldest, &page.head))));
        }
    }
    let head = topic.view().head().clone();
    Ok(gathered.answer(bound.map(|bound| oldest_position(bound, &head))))
}

/// The exclusive upper bound to begin with, or the gap that a position of another history is answered with.
fn first_bound(head: &Head, before: After, start: Position) -> Result<LogId, Gap> {
    if before == After::Now {
        return Ok(above(head.last));
    }
    if start.branch == head.branch && start.id == above(head.last) {
        // As the answer with the gap says it: everything that there is.
        return Ok(start.id);
    }
    let mut cursor = Cursor::new(start, SnapshotWish::No);
    match cursor.relocate(head) {
        Relocated::Here if cursor.at() == start => Ok(start.id),
        // It was cut: what survived is all before it.
        Relocated::Here => Ok(above(cursor.at())),
        Relocated::Ahead | Relocated::Unknown => Err(cursor.reset(head)),
    }
}

/// The bound behind an id that was passed. Under a bound that was made up (its time is not that of its count) there may be
/// events above its count: they are left out, and the bound moves on all the same.
fn lowered(bound: LogId, passed: LogId) -> LogId {
    bound.min(LogId { ms: passed.ms, n: passed.n.min(bound.n) })
}

/// An exclusive bound that includes the position.
fn above(position: Position) -> LogId {
    LogId { ms: position.ms(), n: position.n() + 1 }
}

/// The position that an id of the surviving log has: its branch is the one that was open then.
fn oldest_position(id: LogId, head: &Head) -> Position {
    let branch = head.forks.iter().find(|fork| id.n < fork.from.n()).map_or(head.branch, |fork| fork.closed);
    Position { id, branch }
}

struct Gathered {
    newest_first: Vec<Bytes>,
    limit: usize,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.newest_first.len() >= self.limit
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.newest_first.push(out.into());
    }

    fn answer(mut self, prev: Option<Position>) -> Response {
        self.newest_first.reverse();
        let prev = prev.map_or("null".to_owned(), |prev| format!("\"{prev}\""));
        answer(self.newest_first, &format!("\"prev\":{prev}"))
    }
}
