//! Shapes of the OpenAPI document that no handler names as a type of its own: answers are written as bytes.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{IntoResponses, ToSchema};

/// A problem body (RFC 9457).
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Problem {
    /// A stable URI of the kind of problem.
    #[schema(rename = "type")]
    r#type: String,
    /// The kind in a few words.
    title: String,
    /// The HTTP status, again.
    status: u16,
    /// This occurrence in a sentence.
    detail: Option<String>,
    /// The stable code.
    code: String,
    /// What is wrong in particular.
    errors: Option<Vec<Value>>,
}

/// What every read may be refused with.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) enum Refusals {
    /// The project's name or a parameter is refused
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// There is no credential, or none that is good: `WWW-Authenticate` says why
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthenticated(Problem),
    /// The credential has no right to this
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The caller asks too often, or has too much open: come back after `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    RateLimited(Problem),
    /// The store is away, or the gateway busy: come back after `Retry-After`
    #[response(status = 503, content_type = "application/problem+json")]
    Away(Problem),
}

/// What a read of one session may be refused with, besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) enum NoSession {
    /// The session is not known (any more)
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
}

/// An event as it is delivered: the runner's envelope with what the server adds. `gap` is shaped like one.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Event {
    /// What happened: dotted lower case.
    #[schema(rename = "type")]
    r#type: String,
    /// The event's id.
    id: Option<String>,
    /// The project.
    project: String,
    /// Its place in the project's log; opaque.
    position: String,
    /// The rest: time, session, agent, data, ...
    #[schema(additional_properties)]
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Events behind a position.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Events {
    /// In the log's order; a `gap` says what is missing.
    events: Vec<Event>,
    /// Where to go on: `after` of the next request.
    next: Option<String>,
    /// With `before`: where to go further back; null when the log holds nothing older.
    prev: Option<String>,
}

/// A project's state, exact at a position.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Snapshot {
    /// The project.
    project: String,
    /// Where the state is true: the stream goes on with `after` this.
    position: String,
    /// Events before this may be missing from the state.
    incomplete_before: Option<String>,
    /// Sessions, approvals, usage, fleet.
    state: BTreeMap<String, Value>,
}

/// Sessions of a project.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Sessions {
    /// The project.
    project: String,
    /// Where the list is true.
    position: String,
    /// Live ones first, then summaries of those that are gone.
    sessions: Vec<Value>,
}

/// One session.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Session {
    /// The project.
    project: String,
    /// Where it is true.
    position: String,
    /// Its state.
    session: BTreeMap<String, Value>,
}

/// A session's newest log lines.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Logs {
    /// The project.
    project: String,
    /// Where it is true.
    position: String,
    /// Oldest first.
    logs: Vec<Value>,
}

/// A page of projects.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Projects {
    /// By name.
    projects: Vec<Project>,
    /// `after` of the next page; null on the last one.
    next: Option<String>,
}

/// A project in a list.
#[derive(ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Project {
    /// Its name.
    project: String,
    /// The log's last position.
    position: String,
    /// Counts of sessions and agents, as of a few seconds ago at most.
    summary: BTreeMap<String, Value>,
}
