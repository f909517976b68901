//! What a build has made, to take home: its log as a file, and an archive of log and outputs. Each is put together in memory,
//! which has bounds; until it is sent it holds a place of its user's, and one of the few that this gateway has for downloads.

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use tidings_dialects::Told;
use tidings_dialects::agent_swarm::refusals::{Fault, Refusal};
use tidings_dialects::agent_swarm::rest;
use tidings_limits::connections::Connection;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_runtime::http::problem::Refused;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Swarm;
use super::answers::Failure;
use super::lookup::{Found, find};
use super::recent::{lines, recent};
use super::zip::Archive;
use crate::bodies::Ends;
use crate::http::params;
use crate::limits::Caller;

/// Downloads that a gateway puts together and sends at the same time, over all users: each takes tens of MiB meanwhile.
pub(super) const DOWNLOADS_MAX: usize = 3;

/// How long one may take to be read.
const SENT_WITHIN: Duration = Duration::from_mins(5);

/// What who comes beyond them is told to wait.
const RETRY_AFTER_S: u32 = 5;

/// Bytes that are handed over at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Lines of an export, and outputs of an archive: the newest ones.
const LINES_MAX: usize = 10_000;
const OUTPUTS_MAX: usize = 1_000;

/// Reads of the log for each: a quarter of a MiB each.
const READS_MAX: usize = 64;

/// `GET /projects/{id}/logs/export?format=json|csv|txt`.
pub(super) async fn logs(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    let pairs = params::all_pairs(query.as_deref());
    let format = pairs.iter().find(|(name, _)| name == "format").map_or("json", |(_, value)| value);
    let (media_type, write): (_, fn(&[_]) -> String) = match format {
        "json" => ("application/json", |lines| rest::logs(lines, true)),
        "csv" => ("text/csv; charset=utf-8", rest::logs_csv),
        "txt" => ("text/plain; charset=utf-8", rest::logs_txt),
        _ => {
            let msg = "Input should be 'json', 'csv' or 'txt'";
            return Err(Refusal::Invalid(vec![Fault::of("query", "format", "enum", msg)]).into());
        }
    };
    let room = swarm.room(&caller).await?;
    let found = find(&swarm.shared, &grant, &id, Scope::Read).await?.born()?;
    let (lines, _) = lines(&swarm.shared, &found, LINES_MAX, READS_MAX).await?;
    Ok(swarm.file(room, media_type, &name(&found, &format!("logs.{format}")), write(&lines).into_bytes()))
}

/// `GET /projects/{id}/download`: a zip of the log, the outputs, and how the build stands.
pub(super) async fn archive(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let room = swarm.room(&caller).await?;
    let found = find(&swarm.shared, &grant, &id, Scope::Read).await?.born()?;
    let (lines, _) = lines(&swarm.shared, &found, LINES_MAX, READS_MAX).await?;
    let outputs = recent(&swarm.shared, &found, &["output"], OUTPUTS_MAX, READS_MAX).await?;
    let outputs = outputs.each(|told| Some(output(told)));
    let name = name(&found, "zip");
    let seen = found.see(&swarm.shared).await?;
    let mut archive = Archive::default();
    archive.file("project.json", rest::project(&seen.shown()).as_bytes());
    archive.file("logs.json", rest::logs(&lines, true).as_bytes());
    archive.file("logs.txt", rest::logs_txt(&lines).as_bytes());
    for (number, (kind, content)) in outputs.iter().enumerate() {
        archive.file(&format!("outputs/{:04}-{kind}.txt", number + 1), content.as_bytes());
    }
    Ok(swarm.file(room, "application/zip", &name, archive.finish()))
}

/// An output: its kind as part of a file's name, and what is in it.
fn output(told: &Told<'_>) -> (String, String) {
    let kind = told.text("kind").unwrap_or("output");
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    (kind.chars().take(64).map(plain).collect(), told.text("content").unwrap_or_default().to_owned())
}

/// A file's name, of characters that need no quoting anywhere.
fn name(found: &Found, ending: &str) -> String {
    let mut name = found.target.project.as_str().to_owned();
    if let Some(session) = &found.target.session {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
        let _ = write!(name, "-{}", session.chars().map(plain).collect::<String>());
    }
    name + "." + ending
}

/// What a download holds until it is sent.
struct Room {
    /// Among what its user has open.
    _place: Connection,
    /// Among the downloads of this gateway.
    _permit: OwnedSemaphorePermit,
}

impl Swarm {
    async fn room(&self, caller: &Caller) -> Result<Room, Refused> {
        let place = self.shared.limits.open(caller).await?;
        let full = |_| Refused::new(ErrorCode::Busy, "too many downloads at the same time").retry_after(RETRY_AFTER_S);
        let permit = self.downloads.clone().try_acquire_owned().map_err(full)?;
        Ok(Room { _place: place, _permit: permit })
    }

    fn file(&self, room: Room, media_type: &'static str, name: &str, bytes: Vec<u8>) -> Response {
        let headers = [
            (CONTENT_TYPE, media_type.to_owned()),
            (CACHE_CONTROL, "no-store".into()),
            (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
            (CONTENT_LENGTH, bytes.len().to_string()),
        ];
        let sent = Sent { bytes: bytes.into(), until: Instant::now() + SENT_WITHIN, _room: room };
        (headers, Body::from_stream(self.shared.bodies.watch(sent))).into_response()
    }
}

/// The body of a download.
struct Sent {
    /// What is left of it.
    bytes: Bytes,
    until: Instant,
    _room: Room,
}

/// Its end is missing, and the client sees that.
#[derive(Debug, thiserror::Error)]
#[error("the download was read too slowly")]
struct Late;

impl Ends for Sent {
    fn is_over(&mut self, now: Instant) -> bool {
        now >= self.until
    }

    fn cut() -> Option<Self::Item> {
        Some(Err(Late))
    }
}

impl Stream for Sent {
    type Item = Result<Bytes, Late>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.bytes.len().min(CHUNK_BYTES);
        Poll::Ready((next > 0).then(|| Ok(self.bytes.split_to(next))))
    }
}
