//! The key set that an issuer publishes at an address: fetched, held, and fetched again.
//!
//! [`Jwks::keep`] alone fetches, so nobody who gives up waiting can break a fetch off. Tokens of keys that are held never
//! wait for a fetch; it may hang or lie. A token of another key waits for one fetch, which all such tokens share, and which
//! happens at most once in a gap: inventing key ids costs the issuer nothing.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use reqwest::Url;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::fetch::{Fetch, FetchError};
use crate::key_set::{KeyFault, KeySet, Origin};
use crate::limits::{FETCH_GAP, FETCH_GRACE, FETCH_TIMEOUT, KEY_SET_BYTES_MAX, KEYS_FRESH, KEYS_STALE};

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
    attempt: Mutex<Attempt>,
    /// Rung by those who wait for keys.
    wanted: Notify,
    /// Counts the fetches that came to an end, good or bad.
    done: watch::Sender<u64>,
}

struct Held {
    set: Arc<KeySet>,
    /// Begin of the fetch.
    at: Instant,
}

#[derive(Default)]
struct Attempt {
    /// One is on its way.
    running: bool,
    /// End of the last one.
    ended: Option<Instant>,
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
        Ok(Jwks {
            url,
            fetch,
            terms,
            held: ArcSwapOption::empty(),
            attempt: Mutex::default(),
            wanted: Notify::new(),
            done: watch::Sender::new(0),
        })
    }

    /// The keys that are held, without waiting. None: never fetched, or too long ago.
    pub(crate) fn held(&self) -> Option<Arc<KeySet>> {
        let held = self.held.load();
        let good = held.as_ref().filter(|held| held.at.elapsed() < self.terms.fresh + self.terms.stale);
        good.map(|held| held.set.clone())
    }

    /// Asks the keeper for a fetch. False: the last one was a moment ago, so what is held is all that there is.
    pub(crate) fn want(&self) -> bool {
        let attempt = self.attempt.lock();
        let rested = attempt.ended.is_none_or(|at| at.elapsed() >= self.terms.gap);
        if rested && !attempt.running {
            self.wanted.notify_one();
        }
        attempt.running || rested
    }

    /// The keys after a fetch, for a token that those held could not verify. Waits for the one that is on its way, or for
    /// the next, if the gap is over; else gives what is held.
    ///
    /// CANCEL SAFETY: dropped while it waits, it changes nothing; the fetch goes on.
    pub(crate) async fn renewed(&self) -> Option<Arc<KeySet>> {
        let mut done = self.done.subscribe();
        if self.want() {
            // A fetch takes no longer. What counts then is what is held, whoever was late.
            let _ = timeout(self.terms.timeout + FETCH_GRACE, done.changed()).await;
        }
        self.held()
    }

    async fn refresh(&self) {
        let began = Instant::now();
        self.attempt.lock().running = true;
        let fetched = self.fetched().await;
        {
            let mut attempt = self.attempt.lock();
            attempt.running = false;
            attempt.ended = Some(Instant::now());
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
        self.done.send_modify(|count| *count += 1);
    }

    async fn fetched(&self) -> Result<KeySet, RefreshError> {
        Ok(KeySet::from_json(&self.fetch.get(&self.url).await?, Origin::Fetched)?)
    }

    /// Fetches at once, whenever it is due, and when somebody waits for it. Never ends.
    ///
    /// CANCEL SAFETY: dropped while it fetches, nothing is fetched any more until it is called again.
    pub(crate) async fn keep(&self) {
        self.attempt.lock().running = false;
        loop {
            let rested = self.attempt.lock().ended.map_or_else(Instant::now, |at| at + self.terms.gap);
            let fresh_until = self.held.load().as_ref().map(|held| held.at + self.terms.fresh);
            let due = fresh_until.map_or(rested, |until| until.max(rested));
            tokio::select! {
                // First: a fetch that somebody waits for is not followed by another one that is due as well.
                biased;
                () = self.wanted.notified() => {}
                () = sleep_until(due) => {}
            }
            sleep_until(rested).await;
            self.refresh().await;
        }
    }

    /// What was wrong with the last fetch.
    pub(crate) fn fault(&self) -> Option<String> {
        self.attempt.lock().fault.clone()
    }
}

#[cfg(test)]
mod tests;
