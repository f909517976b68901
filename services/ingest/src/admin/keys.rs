//! API keys of a project: made, listed, revoked. A key's text is answered once, to who makes it, and kept nowhere.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tidings_auth::{KEY_SCOPES, KeyId, KeyLimits, KeyRecord, NewKey, unix_now};
use tidings_broker::registry::{Added, KEYS_MAX};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{ProjectPattern, Scopes};
use tidings_protocol::problem::FieldProblem;
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::{parse_rfc3339, rfc3339};

use super::audit::told;
use super::{Refusals, answer, call_failed, full, invalid, ok, project_of, read_failed, shaped};
use crate::Inner;
use crate::answer::Rejected;
use crate::describe::ProblemBody;

/// Longest note, in bytes.
const NOTE_BYTES_MAX: usize = 256;

/// What a new key is to be.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeyWish {
    /// What it may do; `publish` and `work` unless told otherwise.
    #[schema(value_type = Option<Vec<String>>, example = json!(["publish", "work"]))]
    scopes: Option<Scopes>,
    /// What it is for, for people.
    #[schema(max_length = 256)]
    note: String,
    /// When it ends, RFC 3339.
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// Events in a second, beside the project's own limit.
    #[schema(format = "uint32")]
    events_per_second: Option<u32>,
    /// Bytes of events in a second, beside the project's own limit.
    #[schema(format = "uint64")]
    bytes_per_second: Option<u64>,
}

/// An API key, without its secret.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct KeyBody {
    /// Its public id: what stands behind `tdk_`.
    id: String,
    /// What it may do in this project.
    scopes: Vec<&'static str>,
    /// What it is for, for people.
    note: String,
    /// When it was made, RFC 3339.
    created: String,
    /// When it ends by itself, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires: Option<String>,
    /// When it was revoked, RFC 3339: it is good no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked: Option<String>,
    /// Events in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uint32")]
    events_per_second: Option<u32>,
    /// Bytes of events in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = "uint64")]
    bytes_per_second: Option<u64>,
}

/// A key that was just made. It cannot be printed by mistake.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct MadeKey {
    /// The key itself. It is not kept and never shown again.
    key: String,
    #[serde(flatten)]
    record: KeyBody,
}

/// The keys of a project.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct KeyList {
    /// Revoked ones included, oldest first.
    keys: Vec<KeyBody>,
}

impl From<&KeyRecord> for KeyBody {
    fn from(record: &KeyRecord) -> KeyBody {
        let time = |seconds: u64| rfc3339(seconds.saturating_mul(1_000));
        KeyBody {
            id: record.id.to_string(),
            scopes: record.scopes.into(),
            note: record.note.clone(),
            created: time(record.created_at),
            expires: record.expires_at.map(time),
            revoked: record.revoked_at.map(time),
            events_per_second: record.limits.events_per_second,
            bytes_per_second: record.limits.bytes_per_second,
        }
    }
}

/// Make an API key.
///
/// The key is answered once and not kept. It is good on every service at once.
#[utoipa::path(
    post,
    path = "/v1/projects/{project}/keys",
    operation_id = "makeKey",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo")),
    request_body = Option<KeyWish>,
    responses(
        (status = 201, description = "It is made.", body = MadeKey),
        Refusals,
        (status = 409, description = "The project has as many keys as it may.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 413, description = "Too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Something is not valid: nothing was changed.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 504, description = "It may have been made; nobody knows its secret.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn make(State(inner): State<Arc<Inner>>, Path(project): Path<String>, body: Body) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        let NewKey { key, record } = wished(&project, shaped(body).await?)?;
        add(&inner, &project, &record).await?;
        let made = ok(StatusCode::CREATED, &MadeKey { key: key.expose().to_owned(), record: KeyBody::from(&record) });
        Ok(told(made, format!("key {}, scopes {}", record.id, record.scopes)))
    };
    answer(&inner, answered.await)
}

fn wished(project: &Project, wish: KeyWish) -> Result<NewKey, Rejected> {
    let field = |name: &str| FieldProblem::new(ErrorCode::InvalidField).field(name);
    let scopes = wish.scopes.unwrap_or_else(|| KEY_SCOPES.parse().expect("a constant"));
    if scopes == Scopes::NONE {
        return Err(invalid(field("scopes"), "`scopes`: a key without any is good for nothing"));
    }
    if wish.note.len() > NOTE_BYTES_MAX || wish.note.chars().any(char::is_control) {
        let fault = field("note").limit(NOTE_BYTES_MAX, wish.note.len());
        return Err(invalid(fault, "`note`: too long, or with control characters"));
    }
    let now = unix_now();
    let end = |text: &str| parse_rfc3339(text).and_then(|ms| u64::try_from(ms / 1_000).ok()).filter(|end| *end > now);
    let expires_at = match &wish.expires {
        Some(text) => {
            Some(end(text).ok_or_else(|| invalid(field("expires"), "`expires`: expected a time to come, RFC 3339"))?)
        }
        None => None,
    };
    for (name, zero) in [
        ("events_per_second", wish.events_per_second == Some(0)),
        ("bytes_per_second", wish.bytes_per_second == Some(0)),
    ] {
        if zero {
            return Err(invalid(field(name), &format!("`{name}`: expected a number from 1 on")));
        }
    }
    let mut made = NewKey::make(vec![ProjectPattern::from(project.clone())], scopes, now);
    let limits = KeyLimits { events_per_second: wish.events_per_second, bytes_per_second: wish.bytes_per_second };
    made.record = KeyRecord { limits, expires_at, note: wish.note, ..made.record };
    Ok(made)
}

/// Keeps a record. A full project forgets the keys that are good no more, once.
async fn add(inner: &Inner, project: &Project, record: &KeyRecord) -> Result<(), Rejected> {
    let json = serde_json::to_vec(record).expect("a record has string keys only");
    for swept in [false, true] {
        let added = inner.registry.add_key(project.clone(), record.id.to_string(), json.clone().into()).await;
        match added.map_err(|error| call_failed(&error))? {
            Added::Done => return Ok(()),
            Added::Exists => return Err(Rejected::new(ErrorCode::Internal, "the key's id is taken; try again")),
            Added::Full if swept => break,
            Added::Full => {
                let now = unix_now();
                for old in records(inner, project).await? {
                    if old.revoked_at.is_some() || old.expires_at.is_some_and(|end| end <= now) {
                        let removed = inner.registry.remove_key(project.clone(), old.id.to_string()).await;
                        removed.map_err(|error| call_failed(&error))?;
                    }
                }
            }
        }
    }
    Err(full("keys", KEYS_MAX))
}

/// All records that can be read, oldest first.
async fn records(inner: &Inner, project: &Project) -> Result<Vec<KeyRecord>, Rejected> {
    let kept = inner.registry.keys(project.clone()).await.map_err(|error| read_failed(&error))?;
    let mut records: Vec<KeyRecord> =
        kept.iter().filter_map(|(_, record)| serde_json::from_slice(record).ok()).collect();
    records.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(records)
}

/// List the API keys of a project.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/keys",
    operation_id = "listKeys",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo")),
    responses(
        (status = 200, description = "Without their secrets.", body = KeyList),
        Refusals,
    ),
)]
pub(crate) async fn list(State(inner): State<Arc<Inner>>, Path(project): Path<String>) -> Response {
    let answered = async {
        let records = records(&inner, &project_of(&project)?).await?;
        Ok(ok(StatusCode::OK, &KeyList { keys: records.iter().map(KeyBody::from).collect() }))
    };
    answer(&inner, answered.await)
}

/// Revoke an API key.
///
/// It is refused within two seconds on every service, and what is open with it is closed. To ask again is harmless. A
/// revoked key stays in the list until its place is needed.
#[utoipa::path(
    delete,
    path = "/v1/projects/{project}/keys/{key}",
    operation_id = "revokeKey",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("key" = String, Path, description = "The key's public id.", pattern = "^[0-9A-Za-z]{16}$")),
    responses(
        (status = 200, description = "It is revoked.", body = KeyBody),
        Refusals,
        (status = 404, description = "The project has no such key.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 504, description = "It may have been changed.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn revoke(State(inner): State<Arc<Inner>>, Path((project, id)): Path<(String, String)>) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        let none = || Rejected::new(ErrorCode::NotFound, "the project has no such key");
        let id: KeyId = id.parse().map_err(|_| none())?;
        let mut record =
            records(&inner, &project).await?.into_iter().find(|record| record.id == id).ok_or_else(none)?;
        if record.revoked_at.is_none() {
            record.revoked_at = Some(unix_now());
            let json = serde_json::to_vec(&record).expect("a record has string keys only");
            let set = inner.registry.set_key(project.clone(), id.to_string(), json.into()).await;
            if !set.map_err(|error| call_failed(&error))? {
                return Err(none());
            }
        }
        Ok(ok(StatusCode::OK, &KeyBody::from(&record)))
    };
    answer(&inner, answered.await)
}
