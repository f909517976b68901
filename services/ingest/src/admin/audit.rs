//! The audit trail: a line in the log for each change that somebody with the scope `admin` asked for, with target `audit`.
//!
//! It says who (subject, and the API key's id), from which address, did what to what, and what became of it. No secret comes
//! into it: of what was sent there are names and scopes alone. Texts of clients are escaped, so that nobody writes lines of
//! its own. Reading leaves no line. A request that is dropped before it was answered may have changed something, and leaves a
//! line that says so.

use axum::extract::{FromRequestParts as _, MatchedPath, RawPathParams, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use tidings_protocol::grant::Grant;
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_runtime::http::ClientAddress;

/// The target of these lines, for filters of the log.
const TARGET: &str = "audit";

/// What was done, in words of the service's own: the extension of an answer.
#[derive(Clone)]
struct Told(String);

/// The same answer, with what was done for the trail.
pub(super) fn told(mut answer: Response, what: String) -> Response {
    answer.extensions_mut().insert(Told(what));
    answer
}

/// Middleware behind the check of rights.
pub(crate) async fn recorded(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let (mut parts, body) = request.into_parts();
    let names = RawPathParams::from_request_parts(&mut parts, &()).await;
    let request = Request::from_parts(parts, body);
    let mut line = Line::of(&request, names.ok().as_ref());
    let answer = next.run(request).await;
    line.told = answer.extensions().get::<Told>().map(|Told(what)| what.clone());
    line.status = Some(answer.status());
    answer
}

/// A line, written when it is dropped.
struct Line {
    action: String,
    project: String,
    /// Which key, member or session.
    of: String,
    subject: String,
    key: Option<String>,
    client: Option<ClientAddress>,
    told: Option<String>,
    /// None: nobody waited for the answer.
    status: Option<StatusCode>,
}

impl Line {
    fn of(request: &Request, names: Option<&RawPathParams>) -> Line {
        let template = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let grant = request.extensions().get::<Grant>();
        let mut names = names.into_iter().flatten().map(|(_, value)| cut(value).to_owned());
        Line {
            action: action(request.method(), template),
            project: names.next().unwrap_or_default(),
            of: names.next().unwrap_or_default(),
            subject: grant.map_or_else(String::new, |grant| grant.subject().to_owned()),
            key: grant.and_then(Grant::key_id).map(str::to_owned),
            client: request.extensions().get::<ClientAddress>().copied(),
            told: None,
            status: None,
        }
    }

    fn outcome(&self) -> &'static str {
        match self.status {
            Some(status) if status.is_success() => "done",
            Some(StatusCode::GATEWAY_TIMEOUT) | None => "unknown",
            Some(status) if status.is_client_error() => "refused",
            Some(_) => "failed",
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        tracing::info!(
            target: TARGET,
            action = self.action,
            outcome = self.outcome(),
            status = self.status.map(|status| status.as_u16()),
            project = ?self.project,
            of = ?self.of,
            told = self.told,
            subject = ?self.subject,
            key = self.key,
            client = self.client.map(|client| tracing::field::display(client.0)),
            "change"
        );
    }
}

/// What a route does; of a route that is not known here, its method and path.
fn action(method: &Method, template: &str) -> String {
    let rest = template.strip_prefix("/v1/projects/{project}").unwrap_or(template);
    let known = match (method.as_str(), rest) {
        ("DELETE", "") => "project.delete",
        ("DELETE", "/sessions/{session}") => "session.delete",
        ("POST", "/keys") => "key.make",
        ("DELETE", "/keys/{key}") => "key.revoke",
        ("PUT", "/members/{user}") => "member.set",
        ("DELETE", "/members/{user}") => "member.remove",
        ("PATCH", "/settings") => "settings.change",
        _ => return format!("{method} {template}"),
    };
    known.to_owned()
}

/// As much of a client's text as a line repeats.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(2 * NAME_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn;
    use axum::routing::delete;
    use futures_util::FutureExt as _;
    use parking_lot::Mutex;
    use tower::ServiceExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_request_that_is_dropped_leaves_a_line_that_says_so() {
        let log = Log::default();
        let written = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || written.clone()).finish();
        let _logged = tracing::subscriber::set_default(subscriber);
        let route = Router::new().route("/v1/projects/{project}", delete(std::future::pending::<()>));
        let request = Request::delete("/v1/projects/demo").body(Body::empty()).expect("a request");
        assert!(route.route_layer(from_fn(recorded)).oneshot(request).now_or_never().is_none());
        let text = String::from_utf8(log.0.lock().clone()).expect("text");
        let line: serde_json::Value = serde_json::from_str(&text).expect("one line");
        assert_eq!((&line["target"], &line["fields"]["outcome"]), (&"audit".into(), &"unknown".into()), "{line}");
        assert_eq!(line["fields"]["action"], "project.delete");
    }

    #[test]
    fn what_is_not_known_here_is_told_by_its_route() {
        assert_eq!(action(&Method::POST, "/v1/projects/{project}/keys"), "key.make");
        assert_eq!(action(&Method::POST, "/v1/projects/{project}/new"), "POST /v1/projects/{project}/new");
    }
}
