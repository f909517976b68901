//! The one place where requests show who they are and are asked for a right; and where whatever stays open longer than a
//! request learns that its right has ended.
//!
//! A service puts [`check`] around its routes, saying for each group which scope it needs ([`Rights::needing`]). What passes
//! carries its [`Grant`] as an extension. A route without that extension in its handler is guarded all the same, so a new one
//! cannot be forgotten; a route whose path has no project is told who asks, and must look for itself.
//!
//! Refusals are counted: bad credentials by the client's address, rights that are not there by the subject. Who was refused
//! too often is answered 429 wherever somebody else would have to be asked; what is known to be good passes all the same, so
//! that nobody is kept out by who else is behind its address. A question to somebody else (a store, an authorizer) draws
//! before it is put, and gives back when the answer is good, so that many at the same time cost no more than many in a row.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, EXPECT, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, header};
use http_body_util::BodyExt as _;
use prometheus::{IntCounterVec, Opts, Registry};
use tidings_auth::{Authenticator, Credential, Reason, Refusal, unix_now};
use tidings_limits::Rate;
use tidings_protocol::codes::{CloseCode, ErrorCode};
use tidings_protocol::grant::{Grant, Holder, Scope};
use tidings_protocol::project::{Project, ProjectError};

use super::buckets::Buckets;
use super::client::ClientAddress;
use super::problem::Refused;

mod held;
mod watch;

pub use held::{ExchangeError, Held, News};

use watch::Watch;

/// What the path parameter of a project is called, in every route that has one.
const PROJECT: &str = "project";

/// When to come back while rights cannot be looked up, or after too many refusals, in seconds: a bucket of refusals that is
/// empty has something again within a second.
const RETRY_S: u32 = 1;

/// Refusals of one address or subject in a second, and at once, before nothing is looked up for it.
pub const REFUSALS_PER_SECOND: u64 = 10;
/// At once, after a quiet time.
pub const REFUSALS_BURST: u64 = 200;

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
    /// Credentials that were not good, by the client's network.
    by_address: Buckets<IpAddr>,
    /// Rights that were not there, and credentials that were to take the place of another one.
    by_subject: Buckets<Arc<str>>,
}

/// Counts the requests of those who have shown a good credential, before their rights are looked up.
pub trait Requests: Send + Sync + 'static {
    /// Counts one. What handlers shall know goes into `extensions`.
    ///
    /// # Errors
    /// It is one too many.
    fn count<'a>(&'a self, grant: &'a Grant, extensions: &'a mut Extensions) -> BoxFuture<'a, Result<(), Refused>>;
}

/// Whose requests count together: a subject, or where nobody shows a credential, a client's address.
pub fn caller(grant: &Grant, extensions: &Extensions) -> String {
    if !matches!(grant.holder(), Holder::Anyone) {
        return format!("of:{}", grant.subject());
    }
    extensions.get::<ClientAddress>().map_or_else(|| "at:".to_owned(), |client| format!("at:{}", client.network()))
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
        for reason in Reason::ALL {
            refused.with_label_values(&[reason.as_str()]);
        }
        let rate = Rate::per_second(REFUSALS_PER_SECOND, REFUSALS_BURST);
        let (by_address, by_subject) = (Buckets::new(rate), Buckets::new(rate));
        Ok(Rights(Arc::new(Inner { authenticator, watch: Watch::default(), refused, by_address, by_subject })))
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
        Needs { rights: self.clone(), scope, requests: None }
    }

    /// Who shows this, from the address of this client.
    ///
    /// # Errors
    /// Why nobody does; counted.
    pub async fn authenticate(&self, credential: &Credential, client: ClientAddress) -> Result<Grant, Refusal> {
        self.identify(&self.0.by_address, client.network(), credential).await
    }

    /// Who shows this in the place of an earlier credential, which was this subject's.
    async fn authenticate_again(&self, credential: &Credential, subject: &str) -> Result<Grant, Refusal> {
        self.identify(&self.0.by_subject, subject.into(), credential).await
    }

    async fn identify<K>(&self, refusals: &Buckets<K>, key: K, credential: &Credential) -> Result<Grant, Refusal>
    where
        K: std::hash::Hash + Eq + Clone,
    {
        let (authenticator, now) = (&self.0.authenticator, unix_now());
        // Signatures are the dear part of what costs nobody a question.
        let held = if refusals.has(&key) {
            authenticator.held(credential, now)
        } else {
            authenticator.held_sparing(credential, now)
        };
        let known = || authenticator.knows(credential);
        self.judged(refusals, key, held, known, authenticator.authenticate(credential, now)).await
    }

    /// The grant with what it may do in this project as a member, if it may do this.
    ///
    /// # Errors
    /// When it may not, or nobody can tell; counted.
    pub async fn authorize(&self, grant: &Grant, project: &Project, scope: Scope) -> Result<Grant, Refusal> {
        let authenticator = &self.0.authenticator;
        let held = authenticator.authorize_held(grant, project, scope);
        let known = || authenticator.knows_member(grant, project);
        let asked = authenticator.authorize(grant, project, scope);
        self.judged(&self.0.by_subject, grant.subject().into(), held, known, asked).await
    }

    /// What is held decides; else who is asked, unless too much was refused of this key lately and it is not known to be good.
    ///
    /// CANCEL SAFETY: dropped while it asks, it has drawn: hanging up is not for free.
    async fn judged<K>(
        &self,
        refusals: &Buckets<K>,
        key: K,
        held: Option<Result<Grant, Refusal>>,
        known: impl FnOnce() -> bool,
        asked: impl Future<Output = Result<Grant, Refusal>>,
    ) -> Result<Grant, Refusal>
    where
        K: std::hash::Hash + Eq + Clone,
    {
        let too_many = Err(Reason::TooManyRefusals.into());
        let judged = match held {
            Some(Err(refusal)) if draws(refusal) && !refusals.draw(&key) => too_many,
            Some(judged) => judged,
            None if known() => {
                let judged = asked.await;
                if judged.as_ref().err().copied().is_some_and(draws) && !refusals.draw(&key) {
                    too_many
                } else {
                    judged
                }
            }
            None if !refusals.draw(&key) => too_many,
            None => {
                let judged = asked.await;
                if !judged.as_ref().err().copied().is_some_and(draws) {
                    refusals.give_back(&key);
                }
                judged
            }
        };
        self.counted(judged)
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

/// Whether this is the caller's doing. That it shows nothing costs nothing, and that nobody can tell is not its fault.
fn draws(refusal: Refusal) -> bool {
    let at_fault = match refusal.close_code() {
        Some(CloseCode::Unauthenticated | CloseCode::Forbidden) => true,
        Some(_) | None => false,
    };
    at_fault && refusal.reason != Reason::Missing
}

/// What a group of routes needs.
#[derive(Clone)]
pub struct Needs {
    rights: Rights,
    scope: Option<Scope>,
    requests: Option<Arc<dyn Requests>>,
}

impl Needs {
    /// The same, and requests count here.
    pub fn counting(self, requests: Arc<dyn Requests>) -> Needs {
        Needs { requests: Some(requests), ..self }
    }

    /// Who asks, if it may.
    async fn judge(&self, parts: &mut Parts) -> Result<Grant, Refused> {
        let rights = &self.rights;
        let client = parts.extensions.get::<ClientAddress>().copied().unwrap_or(NOWHERE);
        let grant = if rights.is_open() {
            // What an open service is shown is not even read.
            rights.authenticate(&Credential::None, client).await?
        } else {
            let shown = match shown(&parts.headers) {
                Err(refusal) if !rights.0.by_address.draw(&client.network()) => rights.counted(Err(too_many(refusal))),
                shown => rights.counted(shown),
            };
            rights.authenticate(&shown?, client).await?
        };
        if let Some(requests) = &self.requests {
            requests.count(&grant, &mut parts.extensions).await?;
        }
        if !is_text(parts).await {
            return Err(Refused::new(ErrorCode::InvalidUtf8, "the path is not UTF-8"));
        }
        let (Some(scope), false) = (self.scope, rights.is_open()) else { return Ok(grant) };
        match project(parts).await {
            Some(project) => Ok(rights.authorize(&grant, &project?, scope).await?),
            None => Ok(rights.counted(Err(Refusal { reason: Reason::NoRight, needed: Some(scope) }))?),
        }
    }
}

/// The client of a request that came over no socket.
const NOWHERE: ClientAddress = ClientAddress(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));

fn too_many(refusal: Refusal) -> Refusal {
    Refusal { reason: Reason::TooManyRefusals, ..refusal }
}

/// Whether the names in a path are UTF-8, as every handler behind this takes for granted.
async fn is_text(parts: &mut Parts) -> bool {
    !parts.uri.path().contains('%') || RawPathParams::from_request_parts(parts, &()).await.is_ok()
}

/// The project of a path that is text, or what is wrong with its name; `None`: the path has none.
async fn project(parts: &mut Parts) -> Option<Result<Project, Refused>> {
    let names = RawPathParams::from_request_parts(parts, &()).await.ok()?;
    let (_, name) = names.iter().find(|(name, _)| *name == PROJECT)?;
    let invalid = |error: ProjectError| Refused::new(ErrorCode::InvalidProject, error.to_string());
    Some(name.parse().map_err(invalid))
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
/// others 401 or 403, 429 where too much was refused, or 503 while nobody can tell.
///
/// For `route_layer`: it must be inside the routing, or it would not know the path's project.
pub async fn check(State(needs): State<Needs>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match needs.judge(&mut parts).await {
        Ok(grant) => {
            parts.extensions.insert(grant);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(refused) => {
            // Reading on would only now tell the client to send.
            if !parts.headers.contains_key(EXPECT) {
                discard(body).await;
            }
            refused.into_response()
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
            None => refused.retry_after(RETRY_S),
        }
    }
}

#[cfg(test)]
mod tests;
