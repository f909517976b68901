//! Who may ask how often, and have how much open: counted over all gateways.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Extensions;
use prometheus::IntCounter;
use tidings_broker::quota::Quotas;
use tidings_limits::connections::{Connection, Connections, TooMany};
use tidings_limits::limiter::{LimitKey, Limiter};
use tidings_limits::local::LocalLimit;
use tidings_limits::{Kind, Metrics, Rate, Settings};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Holder};
use tidings_runtime::http::ClientAddress;
use tidings_runtime::http::problem::Refused;

use crate::shared::Shared;

/// The limits of a gateway.
pub(crate) struct Limits {
    limiter: Limiter,
    places: Connections,
    messages: Rate,
    messages_refused: IntCounter,
}

impl Limits {
    pub(crate) fn new(settings: Settings, quotas: Arc<dyn Quotas>, metrics: Metrics) -> Limits {
        Limits {
            messages: settings.messages,
            messages_refused: metrics.messages_refused.clone(),
            limiter: Limiter::new(quotas.clone(), settings.clone(), metrics.clone()),
            places: Connections::new(quotas, settings, metrics),
        }
    }

    /// The places that are held, to be kept until they are given back.
    pub(crate) fn places(&self) -> &Connections {
        &self.places
    }

    /// A place for something that stays open.
    ///
    /// # Errors
    /// `rate_limited`: the caller has as many open as may be.
    pub(crate) async fn open(&self, caller: &Caller) -> Result<Connection, Refused> {
        self.places.open(&caller.0, None).await.map_err(|TooMany { retry_after }| {
            let seconds = u32::try_from(retry_after.as_secs().max(1)).unwrap_or(u32::MAX);
            Refused::new(ErrorCode::RateLimited, "too many connections of one user").retry_after(seconds)
        })
    }

    /// The limit of a new connection's messages.
    pub(crate) fn messages(&self) -> Messages {
        Messages { limit: LocalLimit::new(self.messages), refused: self.messages_refused.clone() }
    }
}

/// How many messages a client may send on its connection.
pub(crate) struct Messages {
    limit: LocalLimit,
    refused: IntCounter,
}

impl Messages {
    /// Counts one. False: it is one too many.
    pub(crate) fn take(&mut self) -> bool {
        let allowed = self.limit.check(1).is_allowed();
        if !allowed {
            self.refused.inc();
        }
        allowed
    }
}

/// Whose requests and connections count together: a subject, or where nobody shows a credential, a client's address.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<str>);

impl Caller {
    fn of(grant: &Grant, extensions: &Extensions) -> Caller {
        if !matches!(grant.holder(), Holder::Anyone) {
            return Caller(format!("of:{}", grant.subject()).into());
        }
        match extensions.get::<ClientAddress>() {
            Some(ClientAddress(IpAddr::V6(address))) => {
                // One network is one client: it has as many addresses as it likes.
                let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
                Caller(format!("at:{network}").into())
            }
            Some(ClientAddress(address)) => Caller(format!("at:{address}").into()),
            None => Caller("at:".into()),
        }
    }
}

/// Middleware behind the check of rights: counts a request for its caller, who goes on as an extension.
pub(crate) async fn count(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let Some(grant) = request.extensions().get::<Grant>() else {
        return Refused::new(ErrorCode::Internal, "a route without a check of rights").into_response();
    };
    let caller = Caller::of(grant, request.extensions());
    let key = LimitKey { kind: Kind::Requests, id: &caller.0, rate: None };
    if let Some(seconds) = shared.limits.limiter.check_async(&key, 1).await.retry_after_seconds() {
        let refused = Refused::new(ErrorCode::RateLimited, "too many requests of one user");
        return refused.retry_after(seconds).into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}
