//! How much projects and API keys may publish: counted before anything is appended, given back when nothing was. And how
//! often whoever administrates may ask.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Extensions;
use tidings_broker::quota::Quotas;
use tidings_limits::limiter::{LimitKey, Limiter, Meter, check_all};
use tidings_limits::{Decision, Kind, Metrics, Settings};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::project::Project;
use tidings_registry::Effective;
use tidings_runtime::config::LimitsConfig;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::rights::{Requests, caller};

use crate::Inner;

/// What people read who are over a limit.
pub(crate) const DETAIL: &str = "over the limit of the project or of the API key; nothing of the rest was taken";

/// The rates of publishing, as this ingest sees them.
pub(crate) struct Rates(Limiter);

impl Rates {
    pub(crate) fn new(settings: Settings, quotas: Arc<dyn Quotas>, metrics: Metrics) -> Rates {
        Rates(Limiter::new(quotas, settings, metrics))
    }

    fn meter(&self, kind: Kind, id: &str, own: Option<u64>) -> Meter {
        self.0.meter(&LimitKey { kind, id, rate: own.map(LimitsConfig::rate) })
    }
}

/// Counts a request for who makes it, together with what it asks of gateways.
impl Requests for Inner {
    fn count<'a>(&'a self, grant: &'a Grant, extensions: &'a mut Extensions) -> BoxFuture<'a, Result<(), Refused>> {
        async move {
            let caller = caller(grant, extensions);
            let key = LimitKey { kind: Kind::Requests, id: &caller, rate: None };
            match self.rates.0.check_async(&key, 1).await.retry_after_seconds() {
                None => Ok(()),
                Some(seconds) => {
                    let refused = Refused::new(ErrorCode::RateLimited, "too many requests of one user");
                    Err(refused.retry_after(seconds))
                }
            }
        }
        .boxed()
    }
}

/// What was counted for some events.
pub(crate) struct Counted(Vec<(Meter, u64)>);

impl Counted {
    /// Puts it back: nothing of it was appended.
    pub(crate) fn give_back(self) {
        for (meter, cost) in self.0 {
            meter.give_back(cost);
        }
    }
}

/// Over a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OverLimit {
    /// How long until it may be allowed.
    pub(crate) retry_after: Duration,
    /// The same in whole seconds.
    pub(crate) seconds: u32,
}

impl Inner {
    /// Counts events, and bytes as they are stored, for their project and for the API key that brings them: all of it or
    /// nothing.
    ///
    /// Cancel safe: dropped before it is ready, nothing is counted.
    pub(crate) async fn count(
        &self,
        project: &Project,
        grant: &Grant,
        settings: &Effective,
        (events, bytes): (usize, usize),
    ) -> Result<Counted, OverLimit> {
        let (events, bytes) = (events as u64, bytes as u64);
        let own = &settings.settings.limits;
        let mut costs = Vec::with_capacity(4);
        // The key first: one that floods a project takes nothing from the others' part while it is refused itself.
        if let Some(key) = grant.key_id() {
            let own = self.rights.authenticator().key_limits(grant).await;
            let own_events = own.events_per_second.map(u64::from);
            costs.push((self.rates.meter(Kind::KeyEvents, key, own_events), events));
            costs.push((self.rates.meter(Kind::KeyBytes, key, own.bytes_per_second), bytes));
        }
        let own_events = own.events_per_second.map(u64::from);
        costs.push((self.rates.meter(Kind::ProjectEvents, project.as_str(), own_events), events));
        costs.push((self.rates.meter(Kind::ProjectBytes, project.as_str(), own.bytes_per_second), bytes));
        let asked: Vec<(&Meter, u64)> = costs.iter().map(|(meter, cost)| (meter, *cost)).collect();
        match check_all(&asked).await {
            Decision::Allowed => Ok(Counted(costs)),
            refused @ Decision::Refused { retry_after } => {
                Err(OverLimit { retry_after, seconds: refused.retry_after_seconds().unwrap_or(1) })
            }
        }
    }
}
