use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::testing::ProbedBroker;

/// Follows a broker on a paused clock.
struct Followed {
    broker: Arc<ProbedBroker>,
    readiness: Readiness,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Followed {
    fn start(answers: bool) -> Followed {
        let broker = Arc::new(ProbedBroker {
            answers: AtomicBool::new(answers),
            asked: AtomicUsize::new(0),
            connected: tokio::sync::watch::Sender::new(true),
        });
        let readiness = Readiness::default();
        let stop = CancellationToken::new();
        let task = tokio::spawn(follow(broker.clone(), readiness.clone(), stop.clone()));
        Followed { broker, readiness, stop, task }
    }

    /// Lets this much time pass, in steps that let the follower run.
    async fn after(&self, ms: u64) -> bool {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.readiness.report().ready
    }
}

#[tokio::test(start_paused = true)]
async fn ready_with_the_first_success_and_off_after_ten_seconds_without() {
    let followed = Followed::start(false);
    assert!(!followed.after(60_000).await, "never reached");
    followed.broker.answers.store(true, Ordering::Relaxed);
    assert!(followed.after(4_000).await, "the next probe succeeds");
    followed.broker.answers.store(false, Ordering::Relaxed);
    assert!(followed.after(9_000).await, "ten seconds are granted");
    assert!(!followed.after(4_000).await, "and no more");
    followed.broker.answers.store(true, Ordering::Relaxed);
    assert!(followed.after(4_000).await, "one success is enough again");
}

#[tokio::test(start_paused = true)]
async fn probing_ends_when_it_is_told_to() {
    let followed = Followed::start(true);
    assert!(followed.after(2_500).await);
    let asked = followed.broker.asked.load(Ordering::Relaxed);
    assert_eq!(asked, 3, "at once, and every second");
    followed.broker.connected.send_replace(false);
    followed.after(100).await;
    let asked = followed.broker.asked.load(Ordering::Relaxed) - asked;
    assert_eq!(asked, 1, "and when the connection changes");
    let asked = followed.broker.asked.load(Ordering::Relaxed);
    followed.stop.cancel();
    followed.after(10_000).await;
    assert_eq!(followed.broker.asked.load(Ordering::Relaxed), asked);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_on_its_way_is_not_waited_for() {
    let followed = Followed::start(false);
    followed.after(100).await;
    assert_eq!(followed.broker.asked.load(Ordering::Relaxed), 1, "a probe is on its way");
    let begun = Instant::now();
    followed.stop.cancel();
    followed.task.await.expect("no panic");
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn nobody_is_told_ready_before_the_first_probe() {
    let broker = ProbedBroker {
        answers: AtomicBool::new(true),
        asked: AtomicUsize::new(0),
        connected: tokio::sync::watch::Sender::new(true),
    };
    let readiness = Readiness::default();
    let following = follow(Arc::new(broker), readiness.clone(), CancellationToken::new());
    // The admin port may be asked before the task has had its first turn.
    readiness.set(SERVING, true, "");
    assert!(!readiness.report().ready);
    drop(following);
}

#[test]
fn every_condition_must_hold_and_each_is_named() {
    let readiness = Readiness::default();
    assert!(!readiness.report().ready, "nothing is known yet");
    readiness.set("a", true, "");
    assert!(readiness.report().ready);
    readiness.set("b", false, "not yet");
    let json = serde_json::to_string(&readiness.report()).expect("a report is JSON");
    let expected = r#"{"ready":false,"conditions":{"a":{"ready":true},"b":{"ready":false,"detail":"not yet"}}}"#;
    assert_eq!(json, expected);
    readiness.set("b", true, "");
    assert!(readiness.report().ready);
}
