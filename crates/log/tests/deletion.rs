//! What viewers are told when a project or a session is deleted (docs/log.md L19).

mod support;

use support::{World, event, ids};
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::position::Position;
use tidings_protocol::wire;

const BIG_RING: usize = 1 << 22;

/// Holds a handful of entries.
const SMALL_RING: usize = 3_000;

/// An event of this id whose session's state remembers it.
fn stateful(id: &str) -> wire::Event {
    let effect = wire::Effect { path: vec!["title".into()], value: format!("\"{id}\"").into(), ..Default::default() };
    wire::Event { effects: vec![effect], ..event(id) }
}

#[tokio::test(start_paused = true)]
async fn a_live_viewer_is_told_of_a_deleted_project_once_and_goes_on() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(3).await;
    let told = viewer.until("E e3").await;
    let before = told[2].split(' ').nth(2).expect("a position").to_owned();
    let at = world.delete_project().await;
    world.say(2).await;
    let told = viewer.until("E e5").await;
    assert_eq!(told[0], format!("G deleted {before} {at}  true"));
    assert_eq!((told.len(), ids(&told)), (3, vec!["e4", "e5"]));
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_meets_the_deletion_and_nothing_of_before() {
    for ring in [BIG_RING, SMALL_RING] {
        let mut world = World::new(ring);
        let mut live = world.viewer(Position::ZERO).await;
        let mut cursors = vec![Position::ZERO];
        for _ in 0..10 {
            cursors.extend(world.say(3).await);
        }
        live.until("E e30").await;
        let at = world.delete_project().await;
        for fresh in [true, false] {
            // A gateway that was there, and one that was not.
            let world = if fresh { World::sharing(&world, ring) } else { World::sharing(&world, BIG_RING) };
            for &cursor in &cursors {
                let mut viewer = world.viewer(cursor).await;
                assert_eq!(viewer.until("G").await, [format!("G deleted {cursor} {at}  true")]);
            }
        }
        for &cursor in &cursors {
            let mut viewer = world.viewer(cursor).await;
            assert_eq!(viewer.until("G").await, [format!("G deleted {cursor} {at}  true")], "ring of {ring}");
        }
        world.say(1).await;
        let mut viewer = world.viewer(cursors[5]).await;
        assert_eq!(viewer.until("E e31").await.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_viewer_that_lags_is_not_told_what_was_deleted() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(5).await;
    let some = viewer.take(1 << 20, 2).await;
    assert_eq!(ids(&some), ["e1", "e2"]);
    let mut quick = world.viewer(Position::ZERO).await;
    quick.until("E e5").await;
    world.delete_project().await;
    quick.until("G deleted").await;
    world.say(1).await;
    let told = viewer.until("E e6").await;
    assert_eq!(ids(&told), ["e6"], "{told:?}");
    assert!(told[0].starts_with("G deleted "), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_follows_snapshots_gets_an_empty_one() {
    let mut world = World::new(BIG_RING);
    world.append(vec![stateful("e1")]).await;
    let mut viewer = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
    let told = viewer.until("S ").await;
    assert!(told.last().is_some_and(|line| line.contains("e1")), "{told:?}");
    let at = world.delete_project().await;
    let told = viewer.until("S ").await;
    assert!(told[0].starts_with("G deleted "), "{told:?}");
    let empty = r#"{"sessions":{},"approvals":[],"fleet":{},"usage":{}}"#;
    assert_eq!(told[1..], [format!("S {at} {empty}")]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_is_said_once_and_its_events_are_skipped() {
    for ring in [BIG_RING, SMALL_RING] {
        let mut world = World::new(ring);
        let mut live = world.viewer(Position::ZERO).await;
        for _ in 0..10 {
            world.say(2).await;
        }
        live.until("E e20").await;
        let other = wire::Event { session: "other".into(), ..world.event() };
        world.append(vec![other]).await;
        world.delete_session().await;
        world.say(2).await;
        assert_eq!(ids(&live.until("E e24").await), ["e21", "d22", "e23", "e24"]);
        for lag in [Lag::Full, Lag::Compact] {
            let world = World::sharing(&world, ring);
            let mut late = world.viewer_with(Position::ZERO, lag, SnapshotWish::No, Filter::default()).await;
            let told = late.until_any(&["E e24", "C "]).await;
            let all = told.join(" ");
            assert!(!all.contains("e20") && !all.contains("e1 "), "{told:?}");
            assert!(all.contains("e21") && all.contains("d22"), "{told:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_session_is_gone_from_state_and_lives_again() {
    let mut world = World::new(BIG_RING);
    world.append(vec![stateful("e1")]).await;
    let mut viewer = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
    viewer.until("S ").await;
    world.delete_session().await;
    let told = viewer.until("S ").await;
    assert!(told[0].starts_with("E d1 ") && told[1].contains(r#""sessions":{}"#), "{told:?}");
    world.append(vec![stateful("e2")]).await;
    viewer.until("E e2").await;
    let mut late = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
    let told = late.until("S ").await;
    assert_eq!(ids(&told), ["d1", "e2"]);
    let last = told.last().expect("a snapshot");
    assert!(last.contains(r#""title":"e2""#), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_is_put_back_leaves_what_came_since_the_fork() {
    for ring in [BIG_RING, SMALL_RING] {
        let mut world = World::new(ring);
        let mut plain = world.viewer(Position::ZERO).await;
        let mut follows = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
        world.append(vec![stateful("e1")]).await;
        let kept = world.append(vec![stateful("e2")]).await;
        plain.until("E e2").await;
        follows.until("S ").await;
        // The fork takes a deletion that stood behind all of this branch.
        let behind = Position::new(0, 1_000, kept[0].branch);
        world.broker.inner.set_incarnation("another");
        let other = wire::Event { session: "other".into(), ..stateful("e3") };
        world.append(vec![other]).await;
        let put_back = wire::Event { was: vec![kept[0].back(0).to_string()], ..stateful("old") };
        world.append(vec![put_back]).await;
        plain.until("E e3").await;
        let at = world.delete_project_again(behind).await;
        world.append(vec![event("end")]).await;
        let told = plain.until("E end").await;
        assert!(told.iter().any(|line| line.starts_with("G deleted ") && line.contains(&at.to_string())), "{told:?}");
        let told = follows.until_any(&["S "]).await;
        let told = if told.iter().any(|line| line.contains("G deleted")) { told } else { follows.until("S ").await };
        let state = told.last().expect("a snapshot");
        assert!(state.contains("e3") && !state.contains("e2") && !state.contains("old"), "{state}");
        // Whoever comes later finds the same, on a gateway that was not there, too.
        for world in [&world, &World::sharing(&world, ring)] {
            let mut late = world.viewer(Position::ZERO).await;
            let told = late.until("E end").await;
            assert!(told.iter().any(|line| line.starts_with("G deleted 0-0 ")), "{told:?}");
            assert_eq!(ids(&told), ["e3", "end"], "{told:?}");
            let mut joins = world.viewer_with(Position::ZERO, Lag::Full, SnapshotWish::Now, Filter::default()).await;
            let told = joins.until("S ").await;
            let state = told.last().expect("a snapshot");
            assert!(state.contains("e3") && !state.contains("e2") && !state.contains("old"), "{state}");
        }
    }
}
