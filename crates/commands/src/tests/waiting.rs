//! What the runners that wait cost the store.

use tidings_broker::inbox::Inboxes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::counted::Counted;
use super::*;
use crate::counter::{Counter, Handed};
use crate::owners::Owners;

const WAITING: usize = 200;

/// Runners that wait for what they can do, each with a hand for one command.
struct Crowd {
    store: Arc<Counted>,
    counter: Counter,
    waits: JoinSet<Handed>,
    stop: CancellationToken,
}

impl Crowd {
    /// Nobody yet.
    fn new() -> Crowd {
        let store = Counted::new(tidings_broker::memory::MemoryBroker::with_clock(ManualClock::at(unix_ms())));
        let (owners, notes) = Owners::new(store.clone());
        drop(notes);
        let metrics = WorkMetrics::register(&Registry::new()).expect("a registry of its own");
        let counter = Counter::new(owners, metrics);
        Crowd { store, counter, waits: JoinSet::new(), stop: CancellationToken::new() }
    }

    async fn wait(capability: impl Fn(usize) -> &'static str) -> Crowd {
        let mut crowd = Crowd::new();
        for number in 0..WAITING {
            crowd.comes(number, capability(number));
        }
        settle().await;
        assert_eq!(crowd.store.calls(), WAITING, "each looks once, and waits");
        crowd
    }

    fn comes(&mut self, number: usize, capability: &str) {
        let take = Take {
            runner: format!("r-{number}"),
            subject: "s".into(),
            capabilities: vec![capability.to_owned(), "other".into()],
            ttl_ms: 600_000,
            max: 1,
            in_hand_max: 1,
            lease_ms: 600_000,
            goes_on: false,
        };
        let (counter, stop) = (self.counter.clone(), self.stop.clone());
        let until = Instant::now() + Duration::from_secs(4);
        self.waits.spawn(async move { counter.take(&name("p"), take, until, &stop).await.expect("memory answers") });
    }

    async fn put(&self, id: &str, capability: &str) {
        let kind = ItemKind::Command {
            capability: capability.into(),
            session: String::new(),
            agent: String::new(),
            urgent: false,
            notice: false,
        };
        let (told, asker) = (told(id, "alice"), "alice".into());
        let body = told.body(capability, None);
        let put = Put { id: id.into(), asker, kind, deadline_ms: 60_000, open_max: 1_000, body, life: None };
        let placed = self.store.put(name("p"), put).await.expect("memory answers");
        assert_eq!(placed.answer, PutAnswer::Queued);
    }

    /// What those were handed who wait no longer.
    fn handed(&mut self) -> Vec<String> {
        let handed = std::iter::from_fn(|| self.waits.try_join_next()).map(|handed| handed.expect("it ran"));
        let mut ids: Vec<String> = handed.flat_map(|handed| handed.commands).map(|command| command.id).collect();
        ids.sort();
        ids
    }
}

/// Lets everybody do what he can do now: the runtime's time goes on when nobody can.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

#[tokio::test(start_paused = true)]
async fn a_command_costs_one_look_however_many_wait() {
    let mut crowd = Crowd::wait(|number| if number % 2 == 0 { "chat" } else { "run" }).await;
    crowd.put("1", "chat").await;
    settle().await;
    assert_eq!((crowd.store.calls(), crowd.handed()), (2, vec!["1".to_owned()]), "a put and a take");
    for number in 0..20 {
        crowd.put(&format!("many {number:02}"), "run").await;
    }
    settle().await;
    assert_eq!((crowd.store.calls(), crowd.handed().len()), (40, 20));
    // An answer is nobody's matter who waits for work with empty hands.
    crowd.store.settle(name("p"), vec!["1".into()]).await.expect("memory answers");
    settle().await;
    assert_eq!(crowd.store.calls(), 1);
    crowd.store.clear(name("p")).await.expect("memory answers");
    settle().await;
    assert_eq!(crowd.store.calls(), 1 + WAITING - 21, "an inbox that is emptied concerns all");
}

#[tokio::test(start_paused = true)]
async fn who_said_good_bye_is_not_kept_by_what_still_waits_for_him() {
    let mut crowd = Crowd::new();
    crowd.comes(0, "chat");
    settle().await;
    let there = async || crowd.store.due(name("p")).await.expect("memory answers").runners;
    assert_eq!(there().await, 1);
    assert!(crowd.counter.leave(&name("p"), "r-0", "s").await.expect("memory answers"));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let handed = crowd.waits.try_join_next().expect("it waits no longer").expect("it ran");
    assert!(handed.is_gone && handed.commands.is_empty());
    assert_eq!(crowd.store.due(name("p")).await.expect("memory answers").runners, 0, "nor does a look bring him back");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_take_it_leaves_it_to_the_next() {
    let mut crowd = Crowd::wait(|_| "chat").await;
    crowd.put("1", "chat").await;
    settle().await;
    assert_eq!((crowd.store.calls(), crowd.handed()), (2, vec!["1".to_owned()]));
    // Its hands are full: it looks, finds so, and looks again once it stands in line for what leaves them.
    crowd.comes(0, "chat");
    settle().await;
    assert_eq!(crowd.store.calls(), 2);
    for number in 2..5 {
        crowd.put(&number.to_string(), "chat").await;
    }
    settle().await;
    assert_eq!((crowd.store.calls(), crowd.handed().len()), (6, 3), "those with room take them");
    // What leaves its hands is its matter alone: it looks, finds room, and looks again once it stands in line for more.
    crowd.store.settle(name("p"), vec!["1".into()]).await.expect("memory answers");
    settle().await;
    assert_eq!(crowd.store.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_has_room_again_is_woken_for_what_comes_next() {
    let mut crowd = Crowd::new();
    for (before, id) in [("0", "1"), ("1", "2"), ("2", "3")] {
        crowd.comes(0, "chat");
        settle().await;
        assert!(crowd.handed().is_empty(), "its hands are full, or nothing is there");
        crowd.store.settle(name("p"), vec![before.to_owned()]).await.expect("memory answers");
        settle().await;
        crowd.put(id, "chat").await;
        settle().await;
        assert_eq!(crowd.handed(), [id]);
    }
}
