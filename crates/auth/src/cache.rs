//! Answers of something slow, held for a short time: bounded, one question at a time for each key, stale while it fails.
//!
//! Entries live in two generations. A full young one becomes the old one, and what is still asked for moves back, so
//! eviction costs nothing and a flood of made-up keys pushes out only what nobody used since the last turn.

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
    /// Most answers held.
    pub entries_max: usize,
}

/// There is no answer, and none that is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer;

/// Answers by key. An answer that is not asked for goes when others need its place.
pub struct Cache<V> {
    terms: Terms,
    generations: Mutex<Generations<V>>,
}

struct Generations<V> {
    young: HashMap<Box<str>, Arc<Slot<V>>, foldhash::fast::RandomState>,
    old: HashMap<Box<str>, Arc<Slot<V>>, foldhash::fast::RandomState>,
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
}

impl<V: Clone> Slot<V> {
    /// What can be said without asking; `None`: ask.
    fn look(&self, terms: &Terms, now: Instant) -> Option<Result<V, NoAnswer>> {
        let known = self.known.lock();
        let within = |life: Duration| {
            known.answer.as_ref().filter(|(_, at)| now.duration_since(*at) < life).map(|(value, _)| value.clone())
        };
        if let Some(value) = within(terms.fresh) {
            return Some(Ok(value));
        }
        let rests = known.failed_at.is_some_and(|at| now.duration_since(at) < FAILURE_REST);
        rests.then(|| within(terms.fresh + terms.stale).ok_or(NoAnswer))
    }
}

impl<V: Clone> Cache<V> {
    /// One without answers.
    pub fn new(terms: Terms) -> Cache<V> {
        let generations = Generations { young: HashMap::default(), old: HashMap::default() };
        Cache { terms, generations: Mutex::new(generations) }
    }

    /// The answer for this key: the held one, or that of `ask`, whose error was told to the log by itself.
    ///
    /// CANCEL SAFETY: dropped while it asks, it leaves the key as it was, and the next who waits asks instead.
    pub async fn get<F, E>(&self, key: &str, ask: impl FnOnce() -> F) -> Result<V, NoAnswer>
    where
        F: Future<Output = Result<V, E>>,
    {
        let slot = self.slot(key);
        if let Some(held) = slot.look(&self.terms, Instant::now()) {
            return held;
        }
        let _flight = slot.flight.lock().await;
        let asked_at = Instant::now();
        if let Some(held) = slot.look(&self.terms, asked_at) {
            return held;
        }
        let answer = timeout(self.terms.timeout, ask()).await;
        {
            let mut known = slot.known.lock();
            match answer {
                // As old as the question: what changed while it was answered must not be missed for longer.
                Ok(Ok(value)) => *known = Known { answer: Some((value, asked_at)), failed_at: None },
                Ok(Err(_)) | Err(_) => known.failed_at = Some(Instant::now()),
            }
            if let (Some((value, _)), None) = (&known.answer, known.failed_at) {
                return Ok(value.clone());
            }
        }
        slot.look(&self.terms, Instant::now()).unwrap_or(Err(NoAnswer))
    }

    fn slot(&self, key: &str) -> Arc<Slot<V>> {
        let mut generations = self.generations.lock();
        if let Some(slot) = generations.young.get(key) {
            return slot.clone();
        }
        let slot = generations.old.remove(key).unwrap_or_else(|| {
            let known = Mutex::new(Known { answer: None, failed_at: None });
            Arc::new(Slot { known, flight: tokio::sync::Mutex::new(()) })
        });
        if generations.young.len() >= self.terms.entries_max.div_ceil(2) {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key.into(), slot.clone());
        slot
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let generations = self.generations.lock();
        generations.young.len() + generations.old.len()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, ready};
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::oneshot;

    use super::*;
    use crate::testing::waits;

    const TERMS: Terms = Terms {
        fresh: Duration::from_secs(2),
        stale: Duration::from_mins(1),
        timeout: Duration::from_secs(1),
        entries_max: 8,
    };

    /// Counts questions; answers their number, or fails.
    #[derive(Default)]
    struct Oracle {
        asked: AtomicU32,
    }

    impl Oracle {
        fn answer(&self) -> Ready<Result<u32, ()>> {
            ready(Ok(self.asked.fetch_add(1, Ordering::Relaxed) + 1))
        }

        fn fail(&self) -> Ready<Result<u32, ()>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            ready(Err(()))
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_held_while_it_is_fresh() {
        let (cache, oracle) = (Cache::new(TERMS), Oracle::default());
        assert_eq!(cache.get("a", || oracle.answer()).await, Ok(1));
        pass(1).await;
        assert_eq!(cache.get("a", || oracle.answer()).await, Ok(1));
        assert_eq!(cache.get("b", || oracle.answer()).await, Ok(2));
        pass(1).await;
        assert_eq!(cache.get("a", || oracle.answer()).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_answer_is_given_while_asking_fails_and_failures_rest() {
        let (cache, oracle) = (Cache::new(TERMS), Oracle::default());
        assert_eq!(cache.get("a", || oracle.answer()).await, Ok(1));
        pass(2).await;
        for _ in 0..100 {
            assert_eq!(cache.get("a", || oracle.fail()).await, Ok(1));
        }
        assert_eq!(oracle.asked(), 2, "a failure rests before it is asked again");
        pass(60).await;
        assert_eq!(cache.get("a", || oracle.fail()).await, Err(NoAnswer), "too old");
        pass(1).await;
        assert_eq!(cache.get("a", || oracle.answer()).await, Ok(4), "and it heals");
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_waited_for_once() {
        let (cache, oracle) = (Cache::new(TERMS), Oracle::default());
        let hang = || async {
            oracle.asked.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<Result<u32, ()>>().await
        };
        let began = Instant::now();
        let all = futures_util::future::join_all((0..50).map(|_| cache.get("a", hang))).await;
        assert!(all.iter().all(|answer| *answer == Err(NoAnswer)));
        assert_eq!((oracle.asked(), began.elapsed()), (1, TERMS.timeout));
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_a_time_ask_once() {
        let (cache, oracle) = (Cache::new(TERMS), Oracle::default());
        let (tell, told) = oneshot::channel::<()>();
        let slow = cache.get("a", || async {
            told.await.expect("told");
            oracle.answer().await
        });
        let others = futures_util::future::join_all((0..50).map(|_| cache.get("a", || oracle.answer())));
        let telling = async { tell.send(()).expect("waited for") };
        let (first, others, ()) = tokio::join!(slow, others, telling);
        assert_eq!(first, Ok(1));
        assert!(others.iter().all(|answer| *answer == Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_while_asking_leaves_it_to_the_next() {
        let (cache, oracle) = (Cache::new(TERMS), Oracle::default());
        {
            let hang = std::pin::pin!(cache.get("a", std::future::pending::<Result<u32, ()>>));
            assert!(waits(hang));
        }
        assert_eq!(cache.get("a", || oracle.answer()).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_keys_do_not_fill_it_nor_push_out_what_is_used() {
        let (cache, oracle) = (Cache::new(TERMS), Oracle::default());
        assert_eq!(cache.get("used", || oracle.answer()).await, Ok(1));
        for made_up in 0..1_000 {
            cache.get(&made_up.to_string(), || oracle.answer()).await.expect("an answer");
            assert_eq!(cache.get("used", || oracle.answer()).await, Ok(1));
            assert!(cache.len() <= TERMS.entries_max);
        }
    }
}
