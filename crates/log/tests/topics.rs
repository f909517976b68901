//! Topics of one gateway: how many, what they hold, and what they do while the channel or the state is away.

mod support;

use std::sync::atomic::Ordering;
use std::task::{Context, Waker};
use std::time::Duration;

use support::{Lines, World, ids};
use tidings_log::encoding::{Encoding, Slot};
use tidings_log::hub::TopicsFull;
use tidings_log::snapshot::Snapshot;
use tidings_log::viewer::Pull;
use tidings_protocol::compact::CompactItem;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, Marks, SnapshotWish};
use tidings_protocol::gap::Gap;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio::time::Instant;

const BIG_RING: usize = 1 << 22;

fn project(n: usize) -> Project {
    format!("p{n}").parse().expect("a name")
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_topics_and_unused_ones_give_way() {
    let world = World::with(BIG_RING, |settings| settings.topics_max = 4);
    let hub = &world.hub;
    let used: Vec<_> = (0..3).map(|n| hub.topic(&project(n)).expect("room")).collect();
    for n in 10..30 {
        assert!(hub.topic(&project(n)).is_ok(), "the one before gives way");
    }
    assert_eq!(world.metrics.topics.get(), 4);
    let fourth = hub.topic(&project(3)).expect("room");
    assert_eq!(hub.topic(&project(4)).err(), Some(TopicsFull));
    assert!(hub.topic(&project(2)).is_ok(), "who is here already is not refused");
    drop(fourth);
    let fifth = hub.topic(&project(4)).expect("the fourth is unused");
    assert!(hub.existing(&project(3)).is_none());
    assert!(used.iter().chain([&fifth]).all(|topic| hub.existing(topic.project()).is_some()));
}

#[tokio::test(start_paused = true)]
async fn the_topic_that_was_unused_longest_gives_way() {
    let world = World::with(BIG_RING, |settings| settings.topics_max = 3);
    let _used = world.hub.topic(&project(0)).expect("room");
    for n in [1, 2] {
        drop(world.hub.topic(&project(n)).expect("room"));
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    drop(world.hub.topic(&project(3)).expect("room"));
    let here: Vec<bool> = (0..4).map(|n| world.hub.existing(&project(n)).is_some()).collect();
    assert_eq!(here, [true, false, true, true]);
}

/// What was heard counts too; it must not keep a busy topic above the budget for its whole window.
#[tokio::test(start_paused = true)]
async fn a_busy_topic_above_the_budget_fits_again() {
    const BUDGET: usize = 512 * 1024;
    let mut world = World::with(BIG_RING, |settings| settings.budget_bytes = BUDGET);
    let mut viewer = world.viewer(Position::ZERO).await;
    for n in 1..=300 {
        world.say(100).await;
        viewer.until(&format!("E e{} ", n * 100)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = usize::try_from(world.metrics.bytes.get()).expect("not negative");
    assert!(held <= BUDGET, "{held} bytes");
}

/// The frames of a dialect: those of [`Lines`], under a number of their own.
struct InDialect(u16);

impl Encoding for InDialect {
    fn slot(&self) -> Slot {
        Slot::Dialect(self.0)
    }

    fn event(&self, project: &Project, at: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>) {
        Lines.event(project, at, event, marks, out);
        // Other systems have more to say of everything.
        out.resize(out.len() + 1_000, b' ');
    }

    fn gap(&self, _: &Project, _: &Gap, _: &mut Vec<u8>) {}
    fn snapshot(&self, _: &Project, _: &Snapshot, _: &mut Vec<u8>) {}
    fn compacted(&self, _: &Project, _: Position, _: &[CompactItem<'_>], _: &mut Vec<u8>) {}
    fn at(&self, _: &Project, _: Position, _: &mut Vec<u8>) {}
}

/// What is shared by viewers of dialects is in the budget like all else.
#[tokio::test(start_paused = true)]
async fn a_topic_that_many_dialects_are_spoken_of_fits_the_budget() {
    const BUDGET: usize = 1024 * 1024;
    let mut world = World::with(BIG_RING, |settings| settings.budget_bytes = BUDGET);
    let mut viewer = world.viewer(Position::ZERO).await.viewer;
    for _ in 0..50 {
        world.say(10).await;
    }
    while viewer.topic().view().position().n() < 500 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = |world: &World| usize::try_from(world.metrics.bytes.get()).expect("not negative");
    let (ring, before) = (viewer.topic().view().ring().bytes(), held(&world));
    assert!(before < BUDGET, "without encodings there is room: {before}");
    for number in 0..3 {
        let mut viewer = world.viewer(Position::ZERO).await.viewer;
        let (mut out, encoding) = (Vec::new(), InDialect(number));
        let mut context = Context::from_waker(Waker::noop());
        let mut pull =
            Pull { encoding: &encoding, out: &mut out, bytes_left: usize::MAX, events_left: 500, until: u64::MAX };
        assert!(viewer.poll_pull(&mut context, &mut pull).is_ready());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(held(&world) <= BUDGET, "{} bytes", held(&world));
    assert!(viewer.topic().view().ring().bytes() < ring, "the ring gave way");
    let taken = viewer.poll_pull(
        &mut Context::from_waker(Waker::noop()),
        &mut Pull { encoding: &Lines, out: &mut Vec::new(), bytes_left: 1, events_left: 1, until: u64::MAX },
    );
    assert!(taken.is_pending() && viewer.is_catching_up(), "who is behind reads pages");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_loaded_holds_nobody_up_and_is_asked_for_ever_more_seldom() {
    let mut world = World::new(BIG_RING);
    world.broker.broken.store(true, Ordering::Relaxed);
    let mut live = world.viewer(Position::ZERO).await;
    let mut joins = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
    let begun = Instant::now();
    // It goes on asking, as a connection does, while the other one is told everything at once.
    let joining = async {
        loop {
            let taken = joins.take(1 << 20, usize::MAX).await;
            if taken.iter().any(|line| line.starts_with("S ")) {
                return taken;
            }
        }
    };
    let telling = async {
        for n in 1..=60 {
            world.say(1).await;
            let said = Instant::now();
            live.until(&format!("E e{n}")).await;
            assert!(said.elapsed() < Duration::from_millis(50), "live delivery waited for a state");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let asked = world.broker.states.load(Ordering::Relaxed);
        assert!((5..=30).contains(&asked), "asked {asked} times in {:?}", begun.elapsed());
        world.broker.broken.store(false, Ordering::Relaxed);
    };
    let (told, ()) = tokio::join!(joining, telling);
    assert!(told.iter().any(|line| line.starts_with("S ")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_state_that_nobody_wants_any_more_is_not_asked_for() {
    let world = World::new(BIG_RING);
    world.broker.broken.store(true, Ordering::Relaxed);
    let mut joins = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), joins.take(1, 1)).await.is_err());
    assert!(world.broker.states.load(Ordering::Relaxed) > 0);
    drop(joins);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = world.broker.states.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(world.broker.states.load(Ordering::Relaxed), asked);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_takes_long_meets_the_topic_where_it_is_then() {
    let mut world = World::new(3_000);
    world.say(5).await;
    world.broker.held.send_replace(true);
    let mut live = world.viewer(Position::ZERO).await;
    let mut joins = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
    assert_eq!(ids(&joins.until("E e5").await).len(), 5);
    assert!(tokio::time::timeout(Duration::from_secs(1), joins.take(1, 1)).await.is_err(), "no state yet");
    let mut last = Position::ZERO;
    for n in 1..=60 {
        last = world.say(1).await[0];
        live.until(&format!("E e{}", 5 + n)).await;
    }
    world.broker.held.send_replace(false);
    let told = joins.until("S ").await;
    assert!(told.last().is_some_and(|line| line.starts_with(&format!("S {last} "))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_starts_from_the_log_while_the_channel_is_cut_and_goes_live_when_it_is_back() {
    let mut world = World::new(BIG_RING);
    world.say(3).await;
    world.broker.cut.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let mut viewer = world.viewer(Position::ZERO).await;
    assert_eq!(ids(&viewer.until("E e3").await), ["e1", "e2", "e3"]);
    for n in 4..=6 {
        world.say(1).await;
        viewer.until(&format!("E e{n}")).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "told by polling, and not by a tail check");
    world.broker.cut.store(false, Ordering::Relaxed);
    // Within the longest wait between two attempts to subscribe.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let reads = world.broker.reads.load(Ordering::Relaxed);
    world.say(1).await;
    assert_eq!(ids(&viewer.until("E e7").await), ["e7"]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.broker.reads.load(Ordering::Relaxed), reads, "live: nothing is polled any more");
}

/// What no poll has found yet and no message will tell.
#[tokio::test(start_paused = true)]
async fn what_came_just_before_the_subscription_stood_is_found_when_it_does() {
    let mut world = World::new(BIG_RING);
    world.broker.joining.send_replace(true);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(1).await;
    viewer.until("E e1").await;
    let begun = Instant::now();
    world.say(1).await;
    world.broker.joining.send_replace(false);
    assert_eq!(ids(&viewer.until("E e2").await), ["e2"]);
    assert!(begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn l20_a_topic_that_two_checks_find_behind_is_polled_until_something_is_delivered() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(1).await;
    viewer.until("E e1").await;
    world.broker.deaf.store(true, Ordering::Relaxed);
    for n in 2..=3 {
        world.say(1).await;
        viewer.until(&format!("E e{n}")).await;
    }
    let begun = Instant::now();
    for n in 4..=6 {
        world.say(1).await;
        viewer.until(&format!("E e{n}")).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    world.broker.deaf.store(false, Ordering::Relaxed);
    world.say(1).await;
    viewer.until("E e7").await;
    let reads = world.broker.reads.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(world.broker.reads.load(Ordering::Relaxed), reads, "it delivers again");
}
