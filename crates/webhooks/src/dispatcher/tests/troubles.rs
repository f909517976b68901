//! Stores that refuse, hang or forget, and couriers that are late to hear of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_broker::hooks::{Entered, Hooks, Place, Swapped};
use tidings_broker::{CallError, NothingWhy, ReadError};

use super::*;

/// A while in which a dispatcher has found what there is to do.
const SETTLED: Duration = Duration::from_secs(5);

/// A store that refuses writes, as one without memory does, or does not say which projects there are.
struct Odd {
    inner: Arc<dyn Hooks>,
    refuses: AtomicBool,
    hangs: AtomicBool,
}

impl Hooks for Odd {
    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        self.inner.enter(project)
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Entered>, ReadError>> {
        if self.hangs.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        self.inner.projects(shard)
    }

    fn leave(&self, entered: Entered) -> BoxFuture<'_, Result<bool, CallError>> {
        self.inner.leave(entered)
    }

    fn places(&self, project: Project) -> BoxFuture<'_, Result<BTreeMap<String, Place>, ReadError>> {
        self.inner.places(project)
    }

    fn swap(
        &self,
        project: Project,
        name: String,
        version: u64,
        record: Option<Bytes>,
    ) -> BoxFuture<'_, Result<Swapped, CallError>> {
        if self.refuses.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Memory))));
        }
        self.inner.swap(project, name, version, record)
    }

    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        self.inner.clear(project)
    }
}

impl Rig {
    fn start_odd(&self) -> (JoinHandle<()>, CancellationToken, Arc<Odd>) {
        let (mut dispatcher, _) = self.dispatcher();
        let odd = Odd { inner: self.store.hooks(), refuses: AtomicBool::default(), hangs: AtomicBool::default() };
        let odd = Arc::new(odd);
        Arc::get_mut(&mut dispatcher.shared).expect("nobody else has it yet").hooks = odd.clone();
        let stop = CancellationToken::new();
        (tokio::spawn(dispatcher.run(stop.clone())), stop, odd)
    }

    /// The ids of all events that a host was told, each delivery's.
    fn told(&self, host: &str) -> Vec<Vec<String>> {
        let calls = self.receivers.calls.lock();
        calls.iter().filter(|call| call.host == host).map(Call::told).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_falls_into_a_round_ends_it() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    let (task, stop, odd) = rig.start_odd();
    tokio::time::sleep(SETTLED).await;
    odd.hangs.store(true, Ordering::SeqCst);
    tokio::time::sleep(SETTLED).await;
    stop.cancel();
    ended(task).await;
}

#[tokio::test(start_paused = true)]
async fn leases_are_renewed_however_long_a_round_takes() {
    let rig = Rig::new();
    let (_task, _stop, odd) = rig.start_odd();
    tokio::time::sleep(SETTLED).await;
    odd.hangs.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        tokio::time::sleep(SETTLED).await;
        rig.clock.set(rig.clock.now_ms() + ms(SETTLED));
    }
    let taken = rig.store.lease(2 * tidings_broker::INDEX_SHARDS, "another".into(), 1_000).await;
    assert_eq!(taken, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_is_not_sent_again_while_the_store_refuses_writes() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    let (_task, _stop, odd) = rig.start_odd();
    tokio::time::sleep(SETTLED).await;
    rig.receivers.does([Does::Slowly(taken())]);
    rig.say(&["log"]).await;
    rig.receivers.calls(1).await;
    odd.refuses.store(true, Ordering::SeqCst);
    rig.say(&["log"]).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(rig.told("w.example"), [["e1"]]);
    odd.refuses.store(false, Ordering::SeqCst);
    rig.receivers.calls(2).await;
    tokio::time::sleep(HANG).await;
    assert_eq!(rig.told("w.example"), [["e1"], ["e2"]]);
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_not_forgotten_while_the_store_refuses_writes() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    let (_task, _stop, odd) = rig.start_odd();
    tokio::time::sleep(SETTLED).await;
    rig.receivers.does([Does::Slowly(failed()), Does::Answers(taken())]);
    rig.say(&["log"]).await;
    rig.receivers.calls(1).await;
    odd.refuses.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(rig.told("w.example"), [["e1"]]);
    odd.refuses.store(false, Ordering::SeqCst);
    let calls = rig.receivers.calls(2).await;
    assert_eq!((calls[1].attempt, &calls[1].id), (2, &calls[0].id));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_made_again_gets_its_events_and_the_old_one_none() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "a.example", &[])])).await;
    rig.start();
    // Behind the looks that follow an entry: settings are looked at rarely then.
    tokio::time::sleep(Duration::from_millis(60_500)).await;
    rig.set(&json!({})).await;
    rig.set(&webhooks(&[("w", "b.example", &[])])).await;
    rig.say(&["log"]).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    rig.say(&["log"]).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((rig.told("a.example").len(), rig.told("b.example").concat()), (0, vec!["e1".into(), "e2".into()]));
}

#[tokio::test(start_paused = true)]
async fn who_takes_a_deleted_projects_name_tells_the_old_receiver_nothing() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "a.example", &[])])).await;
    rig.start();
    tokio::time::sleep(Duration::from_millis(60_500)).await;
    rig.say(&["log"]).await;
    rig.receivers.calls(1).await;
    rig.writers.delete_project(&demo(), Options::new()).await.expect("it is deleted");
    let emptied = rig.broker.swap_settings(demo(), rig.version, Bytes::new()).await;
    assert!(matches!(emptied, Ok(Some(_))));
    rig.broker.clear(demo()).await.expect("memory answers");
    for _ in 0..40 {
        rig.say(&["log"]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let told = rig.told("a.example").concat();
    assert!(!told.iter().any(|told| told.starts_with('e') && told != "e1"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn settings_that_change_during_a_call_are_those_of_the_next_one() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "a.example", &[])])).await;
    rig.start();
    tokio::time::sleep(Duration::from_mins(1)).await;
    let long = Duration::from_secs(8);
    rig.receivers.does([Does::Slowly(taken())]);
    rig.say(&["log"]).await;
    rig.receivers.calls(1).await;
    rig.set(&webhooks(&[("w", "b.example", &[])])).await;
    tokio::time::sleep(long).await;
    rig.say(&["log"]).await;
    rig.receivers.calls(2).await;
    tokio::time::sleep(HANG).await;
    assert_eq!((rig.told("a.example"), rig.told("b.example")), (vec![vec!["e1".into()]], vec![vec!["e2".into()]]));
}

#[tokio::test(start_paused = true)]
async fn two_who_deliver_at_once_lose_nothing_and_keep_the_order() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.start();
    // It renews its leases at five seconds and at ten.
    tokio::time::sleep(SETTLED + A_WHILE).await;
    // The store takes the leases for run out before their holder does.
    rig.clock.set(rig.clock.now_ms() + ms(Rhythm::default().lease));
    let (_, _, second) = rig.start();
    for _ in 0..200 {
        rig.receivers.does([Does::Slowly(taken())]);
        rig.say(&["log"]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(HANG).await;
    assert!(second.events.get() > 0, "it delivers, too");
    let mut told = Vec::new();
    for event in rig.told("w.example").concat() {
        if !told.contains(&event) {
            told.push(event);
        }
    }
    let expected: Vec<String> = (1..=200).map(|number| format!("e{number}")).collect();
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_it_is_passed_for_good() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &["log"])])).await;
    let (task, stop, _) = rig.start();
    rig.say(&["other"]).await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    let quiet = rig.record("w").await.at;
    assert_eq!(quiet.n(), rig.sent, "it is written when the log is quiet");
    rig.say(&["other"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.record("w").await.at, quiet, "not each time");
    stop.cancel();
    ended(task).await;
    assert_eq!(rig.record("w").await.at.n(), quiet.n() + 1, "and at the end");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_the_store_lost_is_put_back() {
    let mut rig = Rig::new();
    rig.set(&webhooks(&[("w", "w.example", &[])])).await;
    rig.start();
    rig.say(&["log"]).await;
    rig.receivers.calls(1).await;
    tokio::time::sleep(SETTLED).await;
    rig.broker.clear(demo()).await.expect("memory answers");
    rig.say(&["log"]).await;
    rig.say(&["log"]).await;
    rig.receivers.calls(2).await;
    tokio::time::sleep(HANG).await;
    assert_eq!(rig.told("w.example").concat(), ["e1", "e2", "e3"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_changes_that_add_a_webhook_the_later_one_moves_nothing() {
    let mut rig = Rig::new();
    let both = read(webhooks(&[("w", "w.example", &[])]).to_string().as_bytes()).expect("good settings");
    let begin = async || Opening::begin(&rig.store, &demo()).await.expect("the store answers");
    let late = begin().await;
    assert_eq!(begin().await.open(&Settings::default(), &both).await, Ok(Opened::Ready));
    let first = rig.record("w").await;
    rig.say(&["log"]).await;
    assert_eq!(late.open(&Settings::default(), &both).await, Ok(Opened::Again));
    assert_eq!(rig.record("w").await, first);
    // The other change came to nothing: this one begins anew.
    let opening = Opening::begin(&rig.store, &demo()).await.expect("the store answers");
    assert_eq!(opening.open(&Settings::default(), &both).await, Ok(Opened::Ready));
    assert_ne!(rig.record("w").await.at, first.at);
}
