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
        assert!(cache.len() <= 2 * TERMS.entries_max);
    }
}

#[tokio::test(start_paused = true)]
async fn made_up_keys_do_not_push_out_what_is_known() {
    let cache: Cache<u32> = Cache::sorting(TERMS, |answer| *answer > 0);
    let say = |answer| move || ready(Ok::<u32, ()>(answer));
    assert_eq!(cache.get("known", say(1)).await, Ok(1));
    for made_up in 0..1_000 {
        assert_eq!(cache.get(&made_up.to_string(), say(0)).await, Ok(0));
    }
    assert!(cache.knows("known") && !cache.knows("999") && !cache.knows("never"));
    assert_eq!((cache.held("known"), cache.held("never")), (Some(Ok(1)), None));
    assert!(cache.len() <= 2 * TERMS.entries_max);
    pass(3_600).await;
    assert!(cache.knows("known") && cache.held("known").is_none(), "known, but to be asked about");
    assert_eq!(cache.get("known", say(0)).await, Ok(0));
    assert!(!cache.knows("known"), "not any more");
}

#[tokio::test(start_paused = true)]
async fn to_have_no_turn_is_no_failure_of_who_would_answer() {
    let (cache, oracle) = (Cache::new(TERMS), Oracle::default());
    let busy = async |_| Err(Unanswered::Busy);
    assert_eq!(cache.get_in_turn("a", busy).await, Err(Lacking::Busy { before: None }));
    assert_eq!(cache.get("a", || oracle.answer()).await, Ok(1), "nothing rests");
    pass(2).await;
    assert_eq!(cache.get_in_turn("a", busy).await, Err(Lacking::Busy { before: Some(1) }));
    pass(60).await;
    assert_eq!(cache.get_in_turn("a", busy).await, Err(Lacking::Busy { before: None }), "too old");
}

#[tokio::test(start_paused = true)]
async fn who_waits_behind_somebody_without_a_turn_waits_no_longer_than_it() {
    let (cache, oracle) = (Cache::<u32>::new(TERMS), Oracle::default());
    let turn = Duration::from_millis(500);
    let busy = async |_| {
        tokio::time::sleep(turn).await;
        oracle.asked.fetch_add(1, Ordering::Relaxed);
        Err(Unanswered::Busy)
    };
    let began = Instant::now();
    let all = futures_util::future::join_all((0..50).map(|_| cache.get_in_turn("a", busy))).await;
    assert!(all.iter().all(|answer| *answer == Err(Lacking::Busy { before: None })));
    assert_eq!((oracle.asked(), began.elapsed()), (1, turn));
}
