//! The key set that an issuer publishes at an address: fetched, held, and fetched again.
//!
//! Tokens of keys that are held never wait for a fetch; it may hang or lie. A token of another key waits for one fetch,
//! which all such tokens share, and which happens at most once in a gap: inventing key ids costs the issuer nothing.
//! Whoever holds this must run [`Jwks::keep`], which fetches in time and so learns of keys that were withdrawn.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::time::Instant;

use crate::fetch::{Fetch, FetchError};
use crate::key_set::{KeyFault, KeySet, Origin};
use crate::limits::{FETCH_GAP, FETCH_TIMEOUT, KEY_SET_BYTES_MAX, KEYS_FRESH, KEYS_STALE};

/// When keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JwksTerms {
    /// How often they are fetched again.
    pub fresh: Duration,
    /// How long they are good while fetching fails.
    pub stale: Duration,
    /// Least time between two fetches.
    pub gap: Duration,
    /// How long a fetch may take.
    pub timeout: Duration,
}

impl Default for JwksTerms {
    fn default() -> JwksTerms {
        JwksTerms { fresh: KEYS_FRESH, stale: KEYS_STALE, gap: FETCH_GAP, timeout: FETCH_TIMEOUT }
    }
}

pub(crate) struct Jwks {
    url: Url,
    fetch: Fetch,
    terms: JwksTerms,
    held: ArcSwapOption<Held>,
    /// Held by who fetches.
    flight: tokio::sync::Mutex<()>,
    attempt: Mutex<Attempt>,
}

struct Held {
    set: Arc<KeySet>,
    /// Begin of the fetch.
    at: Instant,
}

#[derive(Default)]
struct Attempt {
    /// Begin of the last one, and its end as soon as there is one.
    at: Option<Instant>,
    /// What was wrong with the last one.
    fault: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Keys(#[from] KeyFault),
}

impl Jwks {
    pub(crate) fn new(url: Url, terms: JwksTerms) -> Result<Jwks, FetchError> {
        let fetch = Fetch::new(terms.timeout, KEY_SET_BYTES_MAX)?;
        let (held, flight) = (ArcSwapOption::empty(), tokio::sync::Mutex::new(()));
        Ok(Jwks { url, fetch, terms, held, flight, attempt: Mutex::new(Attempt::default()) })
    }

    /// The keys that are held, without waiting. None: never fetched, or too long ago.
    pub(crate) fn held(&self) -> Option<Arc<KeySet>> {
        let held = self.held.load();
        let good = held.as_ref().filter(|held| held.at.elapsed() < self.terms.fresh + self.terms.stale);
        good.map(|held| held.set.clone())
    }

    /// The keys after a fetch, for a token that those held could not verify. Waits for the fetch that is on its way, or
    /// fetches, if the gap is over; else gives what is held.
    ///
    /// CANCEL SAFETY: dropped while it fetches, it has used up the gap, so giving up cannot be used to fetch more often.
    pub(crate) async fn renewed(&self) -> Option<Arc<KeySet>> {
        self.refresh().await;
        self.held()
    }

    async fn refresh(&self) {
        let _flight = self.flight.lock().await;
        let began = Instant::now();
        {
            let mut attempt = self.attempt.lock();
            if attempt.at.is_some_and(|at| began.duration_since(at) < self.terms.gap) {
                return;
            }
            attempt.at = Some(began);
        }
        let fetched = self.fetched().await;
        let mut attempt = self.attempt.lock();
        attempt.at = Some(Instant::now());
        match fetched {
            Ok(set) => {
                attempt.fault = None;
                self.held.store(Some(Arc::new(Held { set: Arc::new(set), at: began })));
            }
            Err(error) => {
                tracing::warn!(%error, host = self.url.host_str(), "keys cannot be fetched; those held stay");
                attempt.fault = Some(error.to_string());
            }
        }
    }

    async fn fetched(&self) -> Result<KeySet, RefreshError> {
        Ok(KeySet::from_json(&self.fetch.get(&self.url).await?, Origin::Fetched)?)
    }

    /// Fetches at once and whenever it is due. Never ends.
    pub(crate) async fn keep(&self) {
        loop {
            let fresh_until = self.held.load().as_ref().map(|held| held.at + self.terms.fresh);
            if fresh_until.is_none_or(|until| until <= Instant::now()) {
                self.refresh().await;
            }
            tokio::time::sleep(self.terms.gap.min(self.terms.fresh)).await;
        }
    }

    /// What was wrong with the last fetch.
    pub(crate) fn fault(&self) -> Option<String> {
        self.attempt.lock().fault.clone()
    }
}

#[cfg(test)]
mod tests;
