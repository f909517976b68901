//! Answers of something slow, held for a short time: bounded, one question at a time for each key, stale while it fails.
//!
//! What a good answer was given for has a place of its own, which nothing else can take: a flood of made-up keys pushes
//! out made-up keys. In either place entries live in two generations. A full young one becomes the old one, and what is
//! still asked for moves back, so that eviction costs nothing and takes what nobody used since the last turn.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use crate::limits::FAILURE_REST;

/// How long answers hold.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// So long an answer is given without asking again.
    pub fresh: Duration,
    /// So long it is given while asking again fails.
    pub stale: Duration,
    /// So long asking may take.
    pub timeout: Duration,
    /// Most keys of which a good answer is held; and most others.
    pub entries_max: usize,
}

/// There is no answer, and none that is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

/// Why a question brought no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// It was put, and failed; the log was told why.
    Failed,
    /// There was no turn to put it. That says nothing about who would have answered.
    Busy,
}

/// There is no answer to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacking<V> {
    /// Asking fails, and no answer is still good.
    NoAnswer,
    /// There was no turn to ask.
    Busy {
        /// What was said before, if it would still be good while asking fails.
        before: Option<V>,
    },
}

/// Answers by key. An answer that is not asked for goes when others of its kind need its place.
pub struct Cache<V> {
    terms: Terms,
    is_good: fn(&V) -> bool,
    places: Mutex<Places<V>>,
}

struct Places<V> {
    /// Keys of which something good was said: no more of them come about than there are in truth.
    good: Generations<V>,
    /// Keys of which nothing good was said yet: made-up ones, and those that are asked about just now.
    rest: Generations<V>,
}

type Slots<V> = HashMap<Box<str>, Arc<Slot<V>>, foldhash::fast::RandomState>;

struct Generations<V> {
    young: Slots<V>,
    old: Slots<V>,
}

/// One key's answer.
struct Slot<V> {
    known: Mutex<Known<V>>,
    /// Held by who asks; the others wait for it and then look again.
    flight: tokio::sync::Mutex<()>,
}

struct Known<V> {
    answer: Option<(V, Instant)>,
    failed_at: Option<Instant>,
    /// How often there was no turn to ask.
    busy: u64,
}

impl<V> Generations<V> {
    fn new() -> Generations<V> {
        Generations { young: HashMap::default(), old: HashMap::default() }
    }

    /// Finding it is using it.
    fn find(&mut self, key: &str, entries_max: usize) -> Option<Arc<Slot<V>>> {
        if let Some(slot) = self.young.get(key) {
            return Some(slot.clone());
        }
        let slot = self.old.remove(key)?;
        self.insert(key, slot.clone(), entries_max);
        Some(slot)
    }

    fn insert(&mut self, key: &str, slot: Arc<Slot<V>>, entries_max: usize) {
        if self.young.len() >= entries_max.div_ceil(2) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key.into(), slot);
    }

    fn remove(&mut self, key: &str) {
        self.young.remove(key);
        self.old.remove(key);
    }
}

impl<V: Clone> Slot<V> {
    fn new() -> Slot<V> {
        let known = Mutex::new(Known { answer: None, failed_at: None, busy: 0 });
        Slot { known, flight: tokio::sync::Mutex::new(()) }
    }

    /// What can be said without asking; `None`: ask.
    fn look(&self, terms: &Terms, now: Instant) -> Option<Result<V, NoAnswer>> {
        let known = self.known.lock();
        if let Some(value) = known.within(terms.fresh, now) {
            return Some(Ok(value));
        }
        let rests = known.failed_at.is_some_and(|at| now.duration_since(at) < FAILURE_REST);
        rests.then(|| known.within(terms.fresh + terms.stale, now).ok_or(NoAnswer))
    }
}

impl<V: Clone> Known<V> {
    fn within(&self, life: Duration, now: Instant) -> Option<V> {
        self.answer.as_ref().filter(|(_, at)| now.duration_since(*at) < life).map(|(value, _)| value.clone())
    }
}

impl<V: Clone> Cache<V> {
    /// One without answers, for which all answers are good ones.
    pub fn new(terms: Terms) -> Cache<V> {
        Cache::sorting(terms, |_| true)
    }

    /// One without answers, which keeps those apart that are good: what makes an answer so is that nobody can bring it about
    /// for keys that he makes up.
    pub fn sorting(terms: Terms, is_good: fn(&V) -> bool) -> Cache<V> {
        let places = Places { good: Generations::new(), rest: Generations::new() };
        Cache { terms, is_good, places: Mutex::new(places) }
    }

    /// The answer for this key: the held one, or that of `ask`, whose error was told to the log by itself.
    ///
    /// CANCEL SAFETY: dropped while it asks, it leaves the key as it was, and the next who waits asks instead.
    pub async fn get<F, E>(&self, key: &str, ask: impl FnOnce() -> F) -> Result<V, NoAnswer>
    where
        F: Future<Output = Result<V, E>>,
    {
        let asked = async |_| ask().await.map_err(|_| Unanswered::Failed);
        self.get_in_turn(key, asked).await.map_err(|_| NoAnswer)
    }

    /// The same for what may have to wait for a turn to ask. `ask` is told whether the key is known (see [`Cache::knows`]).
    pub(crate) async fn get_in_turn(
        &self,
        key: &str,
        ask: impl AsyncFnOnce(bool) -> Result<V, Unanswered>,
    ) -> Result<V, Lacking<V>> {
        let slot = self.slot(key);
        let busy = slot.known.lock().busy;
        if let Some(held) = slot.look(&self.terms, Instant::now()) {
            return held.map_err(|NoAnswer| Lacking::NoAnswer);
        }
        let _flight = slot.flight.lock().await;
        let asked_at = Instant::now();
        if let Some(held) = slot.look(&self.terms, asked_at) {
            return held.map_err(|NoAnswer| Lacking::NoAnswer);
        }
        // Whoever waited for somebody without a turn does not wait for one of its own behind it.
        if slot.known.lock().busy != busy {
            return Err(self.busy(&slot));
        }
        match timeout(self.terms.timeout, ask(self.is_known(&slot))).await {
            Ok(Ok(value)) => {
                // As old as the question: what changed while it was answered must not be missed for longer.
                *slot.known.lock() = Known { answer: Some((value.clone(), asked_at)), failed_at: None, busy };
                if (self.is_good)(&value) {
                    self.keep_good(key, &slot);
                }
                return Ok(value);
            }
            Ok(Err(Unanswered::Busy)) => {
                slot.known.lock().busy += 1;
                return Err(self.busy(&slot));
            }
            Ok(Err(Unanswered::Failed)) | Err(_) => slot.known.lock().failed_at = Some(Instant::now()),
        }
        let held = slot.look(&self.terms, Instant::now()).unwrap_or(Err(NoAnswer));
        held.map_err(|NoAnswer| Lacking::NoAnswer)
    }

    /// What can be said without asking; `None`: nothing.
    pub(crate) fn held(&self, key: &str) -> Option<Result<V, NoAnswer>> {
        self.find(key)?.look(&self.terms, Instant::now())
    }

    /// Whether the last answer for this key, however old, was a good one.
    pub(crate) fn knows(&self, key: &str) -> bool {
        self.find(key).is_some_and(|slot| self.is_known(&slot))
    }

    fn is_known(&self, slot: &Slot<V>) -> bool {
        slot.known.lock().answer.as_ref().is_some_and(|(value, _)| (self.is_good)(value))
    }

    fn busy(&self, slot: &Slot<V>) -> Lacking<V> {
        let before = slot.known.lock().within(self.terms.fresh + self.terms.stale, Instant::now());
        Lacking::Busy { before }
    }

    fn find(&self, key: &str) -> Option<Arc<Slot<V>>> {
        let (mut places, entries_max) = (self.places.lock(), self.terms.entries_max);
        places.good.find(key, entries_max).or_else(|| places.rest.find(key, entries_max))
    }

    fn slot(&self, key: &str) -> Arc<Slot<V>> {
        let (mut places, entries_max) = (self.places.lock(), self.terms.entries_max);
        if let Some(slot) = places.good.find(key, entries_max).or_else(|| places.rest.find(key, entries_max)) {
            return slot;
        }
        let slot = Arc::new(Slot::new());
        places.rest.insert(key, slot.clone(), entries_max);
        slot
    }

    fn keep_good(&self, key: &str, slot: &Arc<Slot<V>>) {
        let mut places = self.places.lock();
        if places.good.find(key, self.terms.entries_max).is_none() {
            places.rest.remove(key);
            places.good.insert(key, slot.clone(), self.terms.entries_max);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let places = self.places.lock();
        let each = [&places.good.young, &places.good.old, &places.rest.young, &places.rest.old];
        each.iter().map(|slots| slots.len()).sum()
    }
}

#[cfg(test)]
mod tests;
