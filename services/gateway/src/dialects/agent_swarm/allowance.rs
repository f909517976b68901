//! How often a user may ask here in an hour, over all gateways, and the headers that say what is left.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue};
use tidings_broker::quota::{Rate, Take};
use tidings_dialects::agent_swarm::polling::Allowance;
use tidings_dialects::agent_swarm::refusals::Refusal;

use super::super::now_ms;
use super::Swarm;
use super::answers::Failure;
use crate::limits::Caller;

const HOUR: Duration = Duration::from_hours(1);

/// Longest wait for the store: who asks is not kept waiting for being counted.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Middleware: counts a request, or answers that it is one too many.
pub(super) async fn counted(
    State(swarm): State<Arc<Swarm>>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    let (allowance, retry_after) = take(&swarm, &caller).await;
    let mut response = match retry_after {
        None => next.run(request).await,
        Some(wait) => {
            let retry_after_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Failure::from(Refusal::RateLimited { retry_after_s: retry_after_s.max(1) }).into_response()
        }
    };
    for (name, value) in allowance.headers() {
        let name = HeaderName::try_from(name).expect("names of headers are ASCII");
        response.headers_mut().insert(name, HeaderValue::from_str(&value).expect("numbers are ASCII"));
    }
    response
}

/// Takes one request; and how long it is too early, if it is.
async fn take(swarm: &Swarm, caller: &Caller) -> (Allowance, Option<Duration>) {
    let limit = swarm.requests_per_hour;
    let rate = Rate::new(limit, HOUR, limit);
    let bucket = format!("agent_swarm:{}", caller.id());
    let one = Take { bucket: bucket.clone(), rate, wanted: 1, least: 1 };
    // Asked for in full behind that one, the bucket gives nothing and says how long it takes to be full again: that is
    // how much is missing.
    let all = Take { bucket, rate, wanted: limit, least: limit };
    let taken = tokio::time::timeout(WAIT_MAX, swarm.shared.hub.broker().quotas().take(vec![one, all])).await;
    let taken = taken.map(|taken| taken.into_iter().flatten().collect::<Vec<_>>());
    let now_s = now_ms() / 1_000;
    let Some([one, all]) = taken.ok().and_then(|taken| <[_; 2]>::try_from(taken).ok()) else {
        // The store is away: the gateway's own share of the limit of requests holds all the same.
        return (Allowance { limit, remaining: limit, reset_s: now_s }, None);
    };
    // Rounded up: one that comes back in part is missing.
    let missing = all.retry_after.checked_sub(Duration::from_micros(1)).map_or(0, |wait| rate.within(wait) + 1);
    let remaining = if one.granted == 0 { 0 } else { limit.saturating_sub(missing) };
    let reset_s = now_s + all.retry_after.as_secs() + 1;
    (Allowance { limit, remaining, reset_s }, (one.granted == 0).then_some(one.retry_after))
}
