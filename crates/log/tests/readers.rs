//! Topics, pages and viewers over the memory broker: what a viewer is told when things are lost, trimmed, forked or reset.

mod support;

use std::sync::atomic::Ordering;

use support::{World, event, ids};
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::position::Position;
use tidings_protocol::wire;

const BIG_RING: usize = 1 << 22;

/// Holds a handful of entries.
const SMALL_RING: usize = 3_000;

fn names(range: std::ops::RangeInclusive<u64>) -> Vec<String> {
    range.map(|n| format!("e{n}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_live_viewer_is_told_everything_once_in_order() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    for count in [1, 3, 2] {
        world.say(count).await;
    }
    assert_eq!(ids(&viewer.until("E e6").await), names(1..=6));
}

#[tokio::test(start_paused = true)]
async fn a_pull_stops_at_its_limits_and_the_next_goes_on() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(10).await;
    let mut told = Vec::new();
    while told.len() < 10 {
        let some = viewer.take(1 << 20, 3).await;
        assert!(some.len() <= 3, "{some:?}");
        told.extend(some);
    }
    assert_eq!(ids(&told), names(1..=10));
}

/// What no longer fits is never jumped over, even where something behind it would fit.
#[tokio::test(start_paused = true)]
async fn a_pull_that_is_full_in_the_middle_of_an_entry_goes_on_there() {
    let mut world = World::new(BIG_RING);
    for _ in 0..4 {
        world.say(5).await;
    }
    for bytes in (1..600).step_by(7) {
        let mut viewer = world.viewer(Position::ZERO).await;
        let mut told = Vec::new();
        while told.last().is_none_or(|line: &String| !line.starts_with("E e20")) {
            told.extend(viewer.take(bytes, usize::MAX).await);
        }
        assert_eq!(ids(&told), names(1..=20), "at most {bytes} bytes a pull");
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_off_the_ring_reads_shared_pages_and_comes_back() {
    let mut world = World::new(SMALL_RING);
    let mut warm = world.viewer(Position::ZERO).await;
    for n in 1..=100 {
        world.say(2).await;
        warm.until(&format!("E e{}", 2 * n)).await;
    }
    let before = world.broker.reads.load(Ordering::Relaxed);
    let mut late = Vec::new();
    for _ in 0..50 {
        late.push(world.viewer(Position::ZERO).await);
    }
    for viewer in &mut late {
        assert_eq!(ids(&viewer.until("E e200").await), names(1..=200));
    }
    let reads = world.broker.reads.load(Ordering::Relaxed) - before;
    assert_eq!(reads, 1, "fifty viewers share one page");
    world.say(1).await;
    assert_eq!(ids(&late[0].until("E e201").await), ["e201"]);
}

/// Its topic may yet learn that what lies behind was cut (L12): `take` checks it.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_beyond_its_topic() {
    let mut world = World::new(SMALL_RING);
    let mut first = world.viewer(Position::ZERO).await;
    world.say(1).await;
    first.until("E e1").await;
    for _ in 0..20 {
        world.say(1).await;
    }
    first.until("E e21").await;
    world.broker.deaf.store(true, Ordering::Relaxed);
    world.say(5).await;
    let mut late = world.viewer(Position::ZERO).await;
    assert_eq!(ids(&late.until("E e26").await), names(1..=26));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_link_up_makes_the_topic_read() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(1).await;
    viewer.until("E e1").await;
    world.broker.deaf.store(true, Ordering::Relaxed);
    world.say(2).await;
    world.broker.deaf.store(false, Ordering::Relaxed);
    world.say(1).await;
    assert_eq!(ids(&viewer.until("E e4").await), names(2..=4));
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_is_found_by_the_check() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(1).await;
    viewer.until("E e1").await;
    world.broker.deaf.store(true, Ordering::Relaxed);
    world.say(2).await;
    assert_eq!(ids(&viewer.until("E e3").await), names(2..=3));
}

#[tokio::test(start_paused = true)]
async fn an_entry_too_big_for_the_channel_is_read_from_the_log() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    let mut big = world.event();
    big.json = format!("{{\"data\":\"{}\"}}", "x".repeat(100_000)).into();
    world.append(vec![big]).await;
    world.say(1).await;
    assert_eq!(ids(&viewer.until("E e2").await), names(1..=2));
}

#[tokio::test(start_paused = true)]
async fn what_was_trimmed_is_a_gap_with_the_exact_count() {
    let mut world = World::new(SMALL_RING);
    for _ in 0..100 {
        world.say(1).await;
    }
    world.trim(10).await;
    let mut viewer = world.viewer(Position::ZERO).await;
    let told = viewer.until("E e100").await;
    assert!(told[0].starts_with("G trimmed 0-0 ") && told[0].ends_with(" 90 true"), "{}", told[0]);
    assert_eq!(ids(&told), names(91..=100));
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_lost_the_tail_is_told_and_the_rest_goes_on() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(3).await;
    let older = world.broker.inner.copy(&world.project);
    let lost = world.say(2).await;
    viewer.until("E e5").await;
    world.broker.inner.restore(&world.project, older);
    world.broker.inner.set_incarnation("another");
    world.say(1).await;
    let told = viewer.until("E e6").await;
    assert!(told[0].starts_with(&format!("G failover {} ", lost[1])) && told[0].ends_with("false"), "{told:?}");
    assert_eq!(ids(&told), ["e6"]);
}

#[tokio::test(start_paused = true)]
async fn a_healed_event_is_told_to_those_who_lack_it_only() {
    let mut world = World::new(BIG_RING);
    let mut saw = world.viewer(Position::ZERO).await;
    let kept = world.say(3).await;
    let mut behind = world.viewer(kept[2]).await;
    let older = world.broker.inner.copy(&world.project);
    let lost = world.say(1).await;
    saw.until("E e4").await;
    world.broker.inner.restore(&world.project, older);
    world.broker.inner.set_incarnation("another");
    let healed = wire::Event { was: vec![lost[0].to_string()], ..event("e4") };
    world.append(vec![healed]).await;
    world.say(1).await;
    let told = saw.until("E e5").await;
    assert_eq!(ids(&told), ["e5"], "{told:?}");
    let told = behind.until("E e5").await;
    assert_eq!(ids(&told), ["e4", "e5"], "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_retried_event_whose_answer_was_lost_is_not_told_twice() {
    let mut world = World::new(BIG_RING);
    let mut saw = world.viewer(Position::ZERO).await;
    world.say(1).await;
    let older = world.broker.inner.copy(&world.project);
    world.append(vec![event("retried")]).await;
    saw.until("E retried").await;
    world.broker.inner.restore(&world.project, older);
    world.broker.inner.set_incarnation("another");
    world.append(vec![event("retried")]).await;
    world.append(vec![event("next")]).await;
    let told = saw.until("E next").await;
    assert_eq!(ids(&told), ["next"], "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_project_forks_by_the_check_and_its_viewers_are_told() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(1).await;
    viewer.until("E e1").await;
    world.broker.inner.set_incarnation("another");
    let told = viewer.until("G failover").await;
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_gone_is_a_reset_and_the_new_one_goes_on() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    let old = world.say(3).await;
    viewer.until("E e3").await;
    world.broker.inner.reopen();
    let told = viewer.until("G log_reset").await;
    assert!(told[0].starts_with(&format!("G log_reset {}", old[2])), "{told:?}");
    world.say(1).await;
    assert_eq!(ids(&viewer.until("E e4").await), ["e4"]);
    let mut returning = world.viewer(old[2]).await;
    returning.until("G log_reset").await;
}

#[tokio::test(start_paused = true)]
async fn a_position_ahead_of_this_gateway_waits_for_it() {
    let mut world = World::new(BIG_RING);
    let mut here = world.viewer(Position::ZERO).await;
    world.say(1).await;
    here.until("E e1").await;
    world.broker.deaf.store(true, Ordering::Relaxed);
    let ahead = world.say(2).await;
    let mut roamed = world.viewer(ahead[1]).await;
    world.broker.deaf.store(false, Ordering::Relaxed);
    world.say(1).await;
    let told = roamed.until("E e4").await;
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_position_behind_a_fork_that_this_gateway_has_not_crossed_waits_for_it() {
    let mut world = World::new(BIG_RING);
    let mut here = world.viewer(Position::ZERO).await;
    world.say(1).await;
    here.until("E e1").await;
    world.broker.deaf.store(true, Ordering::Relaxed);
    world.broker.inner.set_incarnation("another");
    let ahead = world.say(2).await;
    let mut roamed = world.viewer(ahead[1]).await;
    world.broker.deaf.store(false, Ordering::Relaxed);
    world.say(1).await;
    let told = roamed.until("E e4").await;
    assert_eq!(ids(&told), ["e4"], "{told:?}");
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_filtered_viewer_learns_where_its_cursor_is() {
    let mut world = World::new(BIG_RING);
    let filter = Filter { types: vec!["agent".into()], ..Filter::default() };
    let mut viewer = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::No, filter).await;
    let said = world.say(3).await;
    let mut out = Vec::new();
    while viewer.viewer.at() != said[2] {
        assert_eq!(viewer.now().await, Vec::<String>::new());
        tokio::task::yield_now().await;
    }
    viewer.viewer.tell_at(&support::Lines, &mut out);
    assert_eq!(out.concat(), format!("A {}\n", said[2]).as_bytes());
    out.clear();
    viewer.viewer.tell_at(&support::Lines, &mut out);
    assert!(out.is_empty(), "said once");
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_viewer_is_not_told() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    let private = wire::Event { to: "v-2".into(), ..event("theirs") };
    let mine = wire::Event { to: "v-1".into(), ..event("mine") };
    world.append(vec![event("a"), private, mine, event("b")]).await;
    assert_eq!(ids(&viewer.until("E b").await), ["a", "mine", "b"]);
}

#[tokio::test(start_paused = true)]
async fn who_follows_snapshots_gets_one_at_the_head_and_a_fresh_one_after_a_gap() {
    let mut world = World::new(BIG_RING);
    world.say(2).await;
    let mut viewer = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
    let told = viewer.until("S ").await;
    assert_eq!(ids(&told), names(1..=2));
    world.broker.inner.set_incarnation("another");
    let told = viewer.until("S ").await;
    assert!(told[0].starts_with("G failover"), "{told:?}");
    world.say(1).await;
    assert_eq!(ids(&viewer.until("E e3").await), ["e3"]);
}

#[tokio::test(start_paused = true)]
async fn a_lagging_viewer_that_asked_for_it_gets_its_backlog_compacted() {
    let mut world = World::new(SMALL_RING);
    let progress = |n: u64| wire::Event {
        r#type: "session.progress".into(),
        lane: wire::Lane::Latest as i32,
        key: "s".into(),
        fields: 7,
        ..event(&format!("p{n}"))
    };
    for n in 0..200 {
        world.append(vec![progress(n)]).await;
    }
    world.append(vec![event("end")]).await;
    let mut viewer = world.viewer_with(Position::ZERO, Lag::Compact, SnapshotWish::No, Filter::default()).await;
    let told = viewer.until("C ").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with(" p199,end"), "{told:?}");
    world.append(vec![event("live")]).await;
    assert_eq!(ids(&viewer.until("E live").await), ["live"], "it keeps up again");
}

/// Its place is behind what was lost: that was told before it came, so nobody owes it that (promise 1). What it was not told
/// behind its place it gets.
#[tokio::test(start_paused = true)]
async fn who_came_behind_what_a_fork_took_is_told_what_was_behind_its_place_alone() {
    let mut world = World::new(BIG_RING);
    world.say(2).await;
    let older = world.broker.inner.copy(&world.project);
    let lost = world.say(2).await;
    let mut newcomer = world.viewer(lost[1]).await;
    let behind = world.say(1).await;
    world.broker.inner.restore(&world.project, older);
    world.broker.inner.set_incarnation("another");
    let healed = |id: &str, at: Position| wire::Event { was: vec![at.to_string()], ..event(id) };
    let put_back = vec![healed("e3", lost[0]), healed("e4", lost[1]), healed("e5", behind[0])];
    world.append(put_back).await;
    world.say(1).await;
    let told = newcomer.until("E e6").await;
    // It may have heard the third one before the fork.
    let told: Vec<&str> = ids(&told).into_iter().filter(|id| *id != "e5").collect();
    assert_eq!(told, ["e6"]);
    let mut late = world.viewer(lost[1]).await;
    assert_eq!(ids(&late.until("E e6").await), ["e5", "e6"]);
    let mut before = world.viewer(lost[0]).await;
    assert_eq!(ids(&before.until("E e6").await), ["e4", "e5", "e6"]);
}
