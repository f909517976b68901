//! Exports: all that a project's log holds, as JSON, CSV or text, streamed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use tidings_auth::Refusal;
use tidings_limits::connections::Connection;
use tidings_log::encoding::Json;
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::grant::Grant;
use tidings_protocol::position::Position;
use tidings_runtime::http::problem::Refused;
use tokio::time::{Instant, Sleep};

use super::{head, params};
use crate::bodies::Ends;
use crate::connections::Registered;
use crate::limits::Caller;
use crate::openapi;
use crate::shared::Shared;

mod rows;

use rows::Format;

/// Bytes of events that are taken for one chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// Export a project
///
/// Everything from the oldest event that the log holds to its head at the time of the request. What retention has removed,
/// or a failover has cut meanwhile, is said by a row of type `gap`. An export whose gateway shuts down before the end, or
/// whose credential ends, breaks off: the body is incomplete, and HTTP says so.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/export",
    tag = "gateway",
    params(
        ("project" = String, Path, description = "The project's name"),
        ("format" = Option<String>, Query, description = "`json` (default), `csv` or `txt`"),
    ),
    responses(
        (status = 200, description = "The events", content(
            (Vec<openapi::Event> = "application/json"),
            (String = "text/csv"),
            (String = "text/plain"),
        )),
        openapi::Refusals,
    )
)]
pub(crate) async fn export(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    let mut format = Format::Json;
    for (name, value) in params::pairs(query.as_deref(), &["format"])? {
        format = Format::parse(&value).ok_or_else(|| params::invalid(&name, "json, csv or txt"))?;
    }
    let place = shared.limits.open(&caller).await?;
    let topic = shared.topic(&project)?;
    params::started(&topic).await?;
    let head = topic.view().position();
    let wake = Arc::new(Wake::default());
    let wants = Wants {
        at: Position::ZERO,
        newcomer: false,
        filter: Filter::default(),
        lag: Lag::Full,
        snapshot: SnapshotWish::No,
        grant,
    };
    let rows = Rows {
        registered: shared.register(wake.clone(), wants.grant.clone(), &[&project]),
        viewer: Viewer::new(topic, wants, wake),
        until: head.n(),
        format,
        stage: Stage::Opening,
        any: false,
        closing: shared.settings.closing,
        draining_since: None,
        drained: None,
        _place: place,
    };
    Response::builder()
        .header(CONTENT_TYPE, format.media_type())
        .header(CACHE_CONTROL, "no-store")
        .header(CONTENT_DISPOSITION, format!("attachment; filename=\"{project}.{}\"", format.as_str()))
        .body(Body::from_stream(shared.bodies.watch(rows)))
        .map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))
}

/// The body of an export.
struct Rows {
    viewer: Viewer,
    registered: Registered,
    /// Running count of the head at the time of the request. A failover may cut the log below it.
    until: u64,
    format: Format,
    stage: Stage,
    /// Some row was written.
    any: bool,
    /// How long it may go on once the gateway drains.
    closing: Duration,
    /// As far as the clock of bodies has seen.
    draining_since: Option<Instant>,
    /// Runs while the gateway drains.
    drained: Option<Pin<Box<Sleep>>>,
    /// Among what its caller has open.
    _place: Connection,
}

/// What is written next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Rows,
    Over,
}

/// The export was cut: its end is missing, and the client must see that.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the gateway is shutting down")]
    Drained,
    #[error(transparent)]
    Refused(Refusal),
    #[error("its reader took nothing while it had to end")]
    Late,
}

impl Rows {
    /// Whether the gateway drains and the time that this leaves has passed.
    fn is_drained(&mut self, cx: &mut Context<'_>) -> bool {
        if self.registered.control.draining().is_none() {
            return false;
        }
        let window = self.closing;
        self.drained.get_or_insert_with(|| Box::pin(tokio::time::sleep(window))).as_mut().poll(cx).is_ready()
    }

    /// The next rows; none: that was all.
    fn poll_rows(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Bytes>>> {
        let mut frames = Vec::new();
        let mut pull = Pull {
            encoding: &Json,
            out: &mut frames,
            bytes_left: CHUNK_BYTES,
            events_left: usize::MAX,
            until: self.until,
        };
        let polled = self.viewer.poll_pull(cx, &mut pull);
        if !frames.is_empty() {
            return Poll::Ready(Some(frames));
        }
        // Cut below where it was to end, the log has nothing more to give until somebody writes.
        let over = self.viewer.at().n() >= self.until || polled.is_pending() && head::is_reached(&self.viewer);
        if over { Poll::Ready(None) } else { polled.map(|()| Some(frames)) }
    }
}

impl Ends for Rows {
    fn is_over(&mut self, now: Instant) -> bool {
        let window = self.closing;
        let drained = self.registered.control.draining().map(|_| *self.draining_since.get_or_insert(now));
        self.registered.is_refused() || drained.is_some_and(|since| now.duration_since(since) >= window)
    }

    fn cut() -> Option<Self::Item> {
        Some(Err(Cut::Late))
    }
}

impl Stream for Rows {
    type Item = Result<Bytes, Cut>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // ORDER: register before looking, or news in between would be missed.
        this.registered.control.wake.register(cx.waker());
        this.registered.control.wake.take();
        let chunk = match this.stage {
            Stage::Over => return Poll::Ready(None),
            Stage::Opening => {
                this.stage = Stage::Rows;
                this.format.opening()
            }
            Stage::Rows => {
                if let Some(refusal) = this.registered.refused() {
                    this.stage = Stage::Over;
                    return Poll::Ready(Some(Err(Cut::Refused(refusal))));
                }
                if this.is_drained(cx) {
                    this.stage = Stage::Over;
                    return Poll::Ready(Some(Err(Cut::Drained)));
                }
                if let Some(frames) = ready!(this.poll_rows(cx)) {
                    this.format.rows(&frames, &mut this.any)
                } else {
                    this.stage = Stage::Over;
                    this.format.ending()
                }
            }
        };
        Poll::Ready(Some(Ok(chunk)))
    }
}
