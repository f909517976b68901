//! What a build has made, to take home: its log as a file, and an archive of log and outputs.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use tidings_dialects::Told;
use tidings_dialects::agent_swarm::refusals::{Fault, Refusal};
use tidings_dialects::agent_swarm::rest;
use tidings_protocol::grant::{Grant, Scope};

use super::Swarm;
use super::answers::Failure;
use super::lookup::{Found, find};
use super::recent::{lines, recent};
use super::zip::Archive;
use crate::http::params;

/// Lines of an export, and outputs of an archive: the newest ones.
const LINES_MAX: usize = 10_000;
const OUTPUTS_MAX: usize = 1_000;

/// Reads of the log for each: a quarter of a MiB each.
const READS_MAX: usize = 64;

/// `GET /projects/{id}/logs/export?format=json|csv|txt`.
pub(super) async fn logs(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
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
    let found = find(&swarm.shared, &grant, &id, Scope::Read).await?.born()?;
    let (lines, _) = lines(&swarm.shared, &found, LINES_MAX, READS_MAX).await?;
    Ok(file(media_type, &name(&found, &format!("logs.{format}")), write(&lines).into_bytes()))
}

/// `GET /projects/{id}/download`: a zip of the log, the outputs, and how the build stands.
pub(super) async fn archive(
    State(swarm): State<Arc<Swarm>>,
    Extension(grant): Extension<Grant>,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let found = find(&swarm.shared, &grant, &id, Scope::Read).await?.born()?;
    let (lines, _) = lines(&swarm.shared, &found, LINES_MAX, READS_MAX).await?;
    let outputs = recent(&swarm.shared, &found, &["output"], OUTPUTS_MAX, READS_MAX).await?;
    let outputs = outputs.each(|told| Some(output(told)));
    let name = name(&found, "zip");
    let seen = found.see().await?;
    let mut archive = Archive::default();
    archive.file("project.json", rest::project(&seen.shown()).as_bytes());
    archive.file("logs.json", rest::logs(&lines, true).as_bytes());
    archive.file("logs.txt", rest::logs_txt(&lines).as_bytes());
    for (number, (kind, content)) in outputs.iter().enumerate() {
        archive.file(&format!("outputs/{:04}-{kind}.txt", number + 1), content.as_bytes());
    }
    Ok(file("application/zip", &name, archive.finish()))
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

fn file(media_type: &'static str, name: &str, bytes: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    let headers =
        [(CONTENT_TYPE, media_type.to_owned()), (CACHE_CONTROL, "no-store".into()), (CONTENT_DISPOSITION, disposition)];
    (headers, bytes).into_response()
}
