//! Positions that readers bring: made up, cut, trimmed, ahead, or of a log that is not there (docs/log.md L9, L10, L12).

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::{World, ids};
use tidings_protocol::position::Position;

/// Holds a handful of entries.
const SMALL_RING: usize = 3_000;

/// A hundred events, each an entry of its own, and their positions.
async fn hundred(world: &mut World) -> Vec<Position> {
    world.broker.slow.store(true, Ordering::Relaxed);
    let mut said = Vec::new();
    for _ in 0..100 {
        said.extend(world.say(1).await);
    }
    said
}

/// The store's reads in half a minute in which nobody has a reason to ask it anything but for tail checks.
async fn idle_reads(world: &World) -> u64 {
    let before = world.broker.reads.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(30)).await;
    world.broker.reads.load(Ordering::Relaxed) - before
}

#[tokio::test(start_paused = true)]
async fn a_made_up_position_is_told_so_once_and_goes_on_at_the_head() {
    let mut world = World::new(SMALL_RING);
    let said = hundred(&mut world).await;
    let last = said[99];
    for n in [1, 50, 98, 100] {
        for ms in [5, last.ms() - 1, last.ms() + 1, 9_999_999_999_999_999] {
            let made_up = Position::new(ms, n, last.branch);
            if said.contains(&made_up) {
                continue;
            }
            let mut viewer = world.viewer(made_up).await;
            let told = viewer.take(1 << 20, usize::MAX).await;
            assert_eq!(told, [format!("G log_reset {made_up} {last}  false")]);
            assert_eq!(viewer.now().await, Vec::<String>::new());
            assert_eq!(idle_reads(&world).await, 0, "{made_up}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_made_up_position_does_not_disturb_those_who_read_with_it() {
    let mut world = World::new(SMALL_RING);
    let said = hundred(&mut world).await;
    let made_up = [5, 9_999_999_999_999_999].map(|ms| Position::new(ms, 40, said[0].branch));
    let (mut early, mut late) = (world.viewer(made_up[0]).await, world.viewer(made_up[1]).await);
    let mut honest = world.viewer(said[59]).await;
    let told = tokio::join!(early.take(1, 1), late.take(1, 1), honest.until("E e100"));
    assert!(told.0[0].starts_with("G log_reset") && told.1[0].starts_with("G log_reset"), "{told:?}");
    assert_eq!((ids(&told.2).len(), told.2.len()), (40, 40), "{told:?}");
    world.say(1).await;
    assert_eq!(ids(&early.until("E e101").await), ["e101"]);
}

#[tokio::test(start_paused = true)]
async fn a_position_below_what_was_trimmed_is_a_trimmed_gap_and_not_a_reset() {
    let mut world = World::new(SMALL_RING);
    let said = hundred(&mut world).await;
    world.trim(10).await;
    for (index, lost) in [(0, 89), (88, 1), (89, 0), (95, 0)] {
        let told = world.viewer(said[index]).await.until("E e100").await;
        let trimmed: Vec<_> = told.iter().filter(|line| line.starts_with("G ")).collect();
        match lost {
            0 => assert!(trimmed.is_empty(), "{told:?}"),
            _ => assert!(trimmed[0].starts_with("G trimmed") && trimmed[0].ends_with(&format!(" {lost} true"))),
        }
        assert_eq!(ids(&told).len(), 10.min(99 - index), "{told:?}");
    }
    world.trim(0).await;
    // A gateway that has nothing of it in its memory.
    let other = World::sharing(&world, SMALL_RING);
    let told = other.viewer(said[95]).await.take(1 << 20, usize::MAX).await;
    assert!(told[0].starts_with("G trimmed") && told[0].ends_with(" 4 true"), "{told:?}");
}

/// The store has failed over, but no writer has forked the log yet: its head names the same branch and is shorter.
#[tokio::test(start_paused = true)]
async fn a_position_that_a_failover_cut_is_not_taken_for_a_made_up_one() {
    let mut world = World::new(SMALL_RING);
    let mut said = hundred(&mut world).await;
    let older = world.broker.inner.copy(&world.project);
    for _ in 0..50 {
        said.extend(world.say(1).await);
    }
    let mut first = world.viewer(said[140]).await;
    first.until("E e150").await;
    for cut in [120, 99, 60] {
        world.broker.inner.restore(&world.project, older.clone());
        world.broker.inner.set_incarnation(&format!("i{cut}"));
        let mut viewer = world.viewer(said[cut]).await;
        let told = viewer.until("G ").await;
        let gap = told.last().expect("a gap");
        assert!(gap.starts_with(&format!("G failover {} ", said[cut.max(99)])), "{told:?}");
        assert_eq!(ids(&told).len(), 99_usize.saturating_sub(cut), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_does_not_give_birth_to_a_log() {
    let mut world = World::new(SMALL_RING);
    let branch = "zzzzzzzzzzzz".parse().expect("a branch");
    let brought = Position::new(7, 3, branch);
    let mut viewer = world.viewer(brought).await;
    assert_eq!(viewer.take(1 << 20, usize::MAX).await, [format!("G log_reset {brought} 0-0  false")]);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!world.broker.inner.copy(&world.project).is_born(), "it only asked");
    world.say(2).await;
    assert_eq!(ids(&viewer.until("E e2").await), ["e1", "e2"], "told from the beginning when it is born");
}

#[tokio::test(start_paused = true)]
async fn a_position_in_a_log_whose_birth_this_gateway_missed_is_not_reset() {
    let mut world = World::new(SMALL_RING);
    let waiting = world.viewer(Position::ZERO).await;
    world.broker.deaf.store(true, Ordering::Relaxed);
    let said = world.say(3).await;
    let mut roamed = world.viewer(said[0]).await;
    assert_eq!(roamed.until("E e3").await.len(), 2);
    drop(waiting);
}
