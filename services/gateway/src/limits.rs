//! Who may ask how often, and have how much open: counted over all gateways.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Extensions;
use prometheus::IntCounter;
use tidings_broker::quota::Quotas;
use tidings_commands::Refusal;
use tidings_limits::connections::{Connection, Connections, TooMany};
use tidings_limits::limiter::{LimitKey, Limiter};
use tidings_limits::local::LocalLimit;
use tidings_limits::{Kind, Metrics, Rate, Settings};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Grant;
use tidings_runtime::http::ClientAddress;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::rights::{Requests, caller};

use crate::shared::Shared;

/// The limits of a gateway. Cheap to clone.
#[derive(Clone)]
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
        self.places.open(&caller.id, None).await.map_err(|TooMany { retry_after }| {
            let seconds = u32::try_from(retry_after.as_secs().max(1)).unwrap_or(u32::MAX);
            Refused::new(ErrorCode::RateLimited, "too many connections of one user").retry_after(seconds)
        })
    }

    /// Counts so many requests of a caller who was counted one already: what one request asks of others.
    ///
    /// # Errors
    /// `rate_limited`: that is more than he may ask.
    pub(crate) async fn charge(&self, caller: &Caller, requests: usize) -> Result<(), Refused> {
        let key = LimitKey { kind: Kind::Requests, id: &caller.id, rate: None };
        match self.limiter.check_async(&key, requests as u64).await.retry_after_seconds() {
            None => Ok(()),
            Some(seconds) => {
                Err(Refused::new(ErrorCode::RateLimited, "too many requests of one user").retry_after(seconds))
            }
        }
    }

    /// Counts a command.
    ///
    /// # Errors
    /// `rate_limited`: it is one too many.
    pub(crate) async fn command(&self, caller: &Caller) -> Result<(), Refusal> {
        let key = LimitKey { kind: Kind::Commands, id: &caller.id, rate: None };
        match self.limiter.check_async(&key, 1).await.retry_after_seconds() {
            None => Ok(()),
            Some(_) => Err(Refusal::new(ErrorCode::RateLimited, "too many commands of one user")),
        }
    }

    /// The limit of a new connection's messages.
    pub(crate) fn messages(&self) -> Messages {
        self.messages_at(self.messages)
    }

    /// A limit of its own for a new connection's messages.
    pub(crate) fn messages_at(&self, rate: Rate) -> Messages {
        Messages { limit: LocalLimit::new(rate), refused: self.messages_refused.clone() }
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
pub(crate) struct Caller {
    id: Arc<str>,
    client: Option<ClientAddress>,
}

impl Caller {
    /// Whoever this tells from others.
    #[cfg(test)]
    pub(crate) fn new(id: &str) -> Caller {
        Caller { id: id.into(), client: None }
    }

    /// Of a request with these extensions, who has this grant.
    pub(crate) fn of(grant: &Grant, extensions: &Extensions) -> Caller {
        Caller { id: caller(grant, extensions).into(), client: extensions.get().copied() }
    }

    /// What tells him from others.
    pub(crate) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Where it comes from, for logs.
    pub(crate) fn client(&self) -> Option<ClientAddress> {
        self.client
    }
}

/// Counts a request for its caller, who goes on as an extension.
impl Requests for Shared {
    fn count<'a>(&'a self, grant: &'a Grant, extensions: &'a mut Extensions) -> BoxFuture<'a, Result<(), Refused>> {
        async move {
            let caller = Caller::of(grant, extensions);
            self.limits.charge(&caller, 1).await?;
            extensions.insert(caller);
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use tidings_broker::Index as _;
    use tidings_broker::clock::ManualClock;
    use tidings_broker::memory::MemoryBroker;
    use tidings_limits::Rates;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_users_commands_count_together_over_all_gateways() {
        const AT_ONCE: u32 = 40;
        let broker = MemoryBroker::with_clock(ManualClock::at(1_763_630_000_000));
        let gateway = || {
            let rates = Rates { commands: Rate::per_second(1, AT_ONCE.into()), ..Rates::default() };
            let settings = Settings { rates, ..Settings::default() };
            let metrics = Metrics::register(&Registry::new()).expect("a registry of its own");
            Limits::new(settings, broker.quotas(), metrics)
        };
        let (one, other) = (gateway(), gateway());
        let asks = async |user: &str| {
            let (user, mut taken) = (Caller::new(user), 0);
            for _ in 0..AT_ONCE {
                for gateway in [&one, &other] {
                    match gateway.command(&user).await {
                        Ok(()) => taken += 1,
                        Err(refusal) => assert_eq!(refusal.code, ErrorCode::RateLimited),
                    }
                }
            }
            taken
        };
        assert_eq!(asks("alice").await, AT_ONCE, "as many as one gateway would take");
        assert_eq!(asks("bob").await, AT_ONCE, "others have their own");
    }
}
