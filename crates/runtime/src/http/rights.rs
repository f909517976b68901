//! The one place where requests show who they are and are asked for a right; and where whatever stays open longer than a
//! request learns that its right has ended.
//!
//! A service puts [`check`] around its routes, saying for each group which scope it needs ([`Rights::needing`]). What passes
//! carries its [`Grant`] as an extension. A route without that extension in its handler is guarded all the same, so a new one
//! cannot be forgotten; a route whose path has no project is told who asks, and must look for itself.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, EXPECT, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use prometheus::{IntCounterVec, Opts, Registry};
use tidings_auth::{Authenticator, Credential, Reason, Refusal, unix_now};
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::project::Project;

use super::problem::Refused;

mod held;
mod watch;

pub use held::{ExchangeError, Held, News};

use watch::Watch;

/// What the path parameter of a project is called, in every route that has one.
const PROJECT: &str = "project";

/// When to come back while rights cannot be looked up, in seconds.
const UNAVAILABLE_RETRY_S: u32 = 1;

/// How much of a refused body is read and thrown away, so that its sender gets to read the answer: a socket that is closed
/// with bytes unread resets the connection, and the answer is lost with it.
const DISCARD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// For how long.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(1);

/// Who may do what. Cheap to clone; one for a process.
#[derive(Clone)]
pub struct Rights(Arc<Inner>);

struct Inner {
    authenticator: Authenticator,
    watch: Watch,
    refused: IntCounterVec,
}

impl Rights {
    /// The rights that this authenticator knows of. [`Rights::keep`] must run beside the services.
    ///
    /// # Errors
    /// When the registry has another one's metrics already.
    pub fn new(authenticator: Authenticator, registry: &Registry) -> Result<Rights, prometheus::Error> {
        let opts = Opts::new("tidings_auth_refused_total", "Requests and refreshes that were refused, by reason.");
        let refused = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(refused.clone()))?;
        Ok(Rights(Arc::new(Inner { authenticator, watch: Watch::default(), refused })))
    }

    /// Everybody may do everything: for development and tests.
    pub fn open() -> Rights {
        Rights::new(Authenticator::open(), &Registry::new()).expect("a registry of its own")
    }

    /// Whether everybody may do everything.
    pub fn is_open(&self) -> bool {
        self.0.authenticator.is_open()
    }

    /// Who knows.
    pub fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    /// Keeps keys up to date, and looks again and again whether what is held open still may be. Never ends; must not be
    /// dropped before the services are.
    pub async fn keep(&self) {
        let watching = self.0.watch.keep(&self.0.authenticator);
        futures_util::future::join(self.0.authenticator.keep(), watching).await;
    }

    /// For [`check`]: routes that need this scope in the project of their path, or nothing but a good credential.
    pub fn needing(&self, scope: Option<Scope>) -> Needs {
        Needs { rights: self.clone(), scope }
    }

    /// Who shows this.
    ///
    /// # Errors
    /// Why nobody does; counted.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Grant, Refusal> {
        self.counted(self.0.authenticator.authenticate(credential, unix_now()).await)
    }

    /// The grant with what it may do in this project as a member, if it may do this.
    ///
    /// # Errors
    /// When it may not, or nobody can tell; counted.
    pub async fn authorize(&self, grant: &Grant, project: &Project, scope: Scope) -> Result<Grant, Refusal> {
        self.counted(self.0.authenticator.authorize(grant, project, scope).await)
    }

    /// Watches over a grant for something that stays open. `tell` is called whenever there is news, from anywhere: it must
    /// not block.
    pub fn hold(&self, grant: Grant, needs: Vec<(Project, Scope)>, tell: impl Fn() + Send + Sync + 'static) -> Held {
        Held::new(self.clone(), grant, needs, Box::new(tell))
    }

    fn counted<T>(&self, judged: Result<T, Refusal>) -> Result<T, Refusal> {
        judged.inspect_err(|refusal| self.0.refused.with_label_values(&[refusal.reason.as_str()]).inc())
    }
}

/// What a group of routes needs.
#[derive(Clone)]
pub struct Needs {
    rights: Rights,
    scope: Option<Scope>,
}

impl Needs {
    /// Who asks, if it may.
    async fn judge(&self, parts: &mut Parts) -> Result<Grant, Refusal> {
        if self.rights.is_open() {
            // What an open service is shown is not even read.
            return self.rights.authenticate(&Credential::None).await;
        }
        let shown = self.rights.counted(shown(&parts.headers))?;
        let grant = self.rights.authenticate(&shown).await?;
        let Some(scope) = self.scope else { return Ok(grant) };
        match project(parts).await {
            Named::This(project) => self.rights.authorize(&grant, &project, scope).await,
            // No project is called so, so no handler finds one either: it says what is wrong with the name.
            Named::Wrongly => Ok(grant),
            Named::Nowhere => self.rights.counted(Err(Refusal { reason: Reason::NoRight, needed: Some(scope) })),
        }
    }
}

/// What a path says of its project.
enum Named {
    This(Project),
    /// It is no name.
    Wrongly,
    /// The path has none.
    Nowhere,
}

async fn project(parts: &mut Parts) -> Named {
    let Ok(names) = RawPathParams::from_request_parts(parts, &()).await else { return Named::Wrongly };
    let name = names.iter().find(|(name, _)| *name == PROJECT);
    name.map_or(Named::Nowhere, |(_, name)| name.parse().map_or(Named::Wrongly, Named::This))
}

/// The one credential of a request.
fn shown(headers: &HeaderMap) -> Result<Credential, Refusal> {
    let authorization = one(headers, &AUTHORIZATION)?;
    // Offered subprotocols may be spread over several lines.
    let offered =
        headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().map(|line| line.to_str().map_err(|_| Reason::Malformed));
    let offered: Vec<&str> = offered.collect::<Result<_, _>>()?;
    Credential::of_request(authorization, Some(&offered.join(",")), None)
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Reason::Malformed.into()),
        (Some(_), Some(_)) => Err(Reason::Malformed.into()),
    }
}

/// Middleware for the routes of a service: lets those pass who may, with their [`Grant`] as an extension, and answers the
/// others 401, 403, or 503 while nobody can tell.
///
/// For `route_layer`: it must be inside the routing, or it would not know the path's project.
pub async fn check(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match needs.judge(&mut parts).await {
        Ok(grant) => {
            parts.extensions.insert(grant);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refusal) => {
            // Reading on would only now tell the client to send.
            if !parts.headers.contains_key(EXPECT) {
                discard(body).await;
            }
            Refused::from(refusal).into_response()
        }
    }
}

/// Reads on for a while, and throws away what comes.
async fn discard(mut body: Body) {
    let all = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever sends more than this may lose the answer.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, all).await;
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        let challenge = refusal.www_authenticate();
        let refused = Refused::new(refusal.code(), refusal.message());
        match challenge {
            Some(challenge) => {
                let challenge = HeaderValue::from_str(&challenge).expect("challenges are made of ASCII words");
                refused.with_header(header::WWW_AUTHENTICATE, challenge)
            }
            None => refused.retry_after(UNAVAILABLE_RETRY_S),
        }
    }
}

#[cfg(test)]
mod tests;
