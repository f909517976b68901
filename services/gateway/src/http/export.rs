//! Exports: all that a project's log holds, as JSON, CSV or text, streamed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::grant::Grant;
use tidings_protocol::position::Position;
use tidings_runtime::http::problem::Refused;

use super::params;
use crate::encodings::Json;
use crate::openapi;
use crate::shared::Shared;

mod rows;

use rows::Format;

/// Bytes of events that are taken for one chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// Export a project
///
/// Everything from the oldest event that the log holds to its head at the time of the request. What retention has removed
/// is said by a first row of type `gap`.
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
        (status = 400, description = "Refused", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 503, description = "The store is away", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn export(
    State(shared): State<Arc<Shared>>,
    Path(project): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    let mut format = Format::Json;
    for (name, value) in params::pairs(query.as_deref(), &["format"])? {
        format = Format::parse(&value).ok_or_else(|| params::invalid(&name, "json, csv or txt"))?;
    }
    let topic = shared.hub.topic(&project);
    params::started(&topic).await?;
    let head = topic.view().position();
    let wake = Arc::new(Wake::default());
    let wants = Wants {
        at: Position::ZERO,
        newcomer: false,
        filter: Filter::default(),
        lag: Lag::Full,
        snapshot: SnapshotWish::No,
        grant: Grant::open(shared.viewer_id()),
    };
    let rows = Rows {
        viewer: Viewer::new(topic, wants, wake.clone()),
        wake,
        until: head.n(),
        format,
        begun: false,
        over: false,
        any: false,
    };
    Response::builder()
        .header(CONTENT_TYPE, format.media_type())
        .header(CACHE_CONTROL, "no-store")
        .header(CONTENT_DISPOSITION, format!("attachment; filename=\"{project}.{}\"", format.as_str()))
        .body(Body::from_stream(rows))
        .map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))
}

/// The body of an export.
struct Rows {
    viewer: Viewer,
    wake: Arc<Wake>,
    until: u64,
    format: Format,
    begun: bool,
    over: bool,
    /// Some row was written.
    any: bool,
}

impl Rows {
    fn poll_rows(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Bytes>> {
        self.wake.register(cx.waker());
        self.wake.take();
        let mut frames = Vec::new();
        let mut pull = Pull {
            encoding: &Json,
            out: &mut frames,
            bytes_left: CHUNK_BYTES,
            events_left: usize::MAX,
            until: self.until,
        };
        match self.viewer.poll_pull(cx, &mut pull) {
            Poll::Pending if frames.is_empty() => Poll::Pending,
            Poll::Ready(()) | Poll::Pending => Poll::Ready(frames),
        }
    }
}

impl Stream for Rows {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if !this.begun {
            this.begun = true;
            return Poll::Ready(Some(Ok(this.format.opening())));
        }
        if this.viewer.at().n() >= this.until {
            this.over = true;
            return Poll::Ready(Some(Ok(this.format.ending())));
        }
        match this.poll_rows(cx) {
            Poll::Ready(frames) => {
                let chunk = this.format.rows(&frames, &mut this.any);
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
