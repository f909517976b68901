//! What is measured of viewers: how they come back, whether they are behind, and how late they are told.

mod support;

use std::time::Duration;

use support::{World, event};
use tidings_log::metrics::Resumed;
use tidings_log::viewer::Sample;
use tidings_protocol::position::Position;
use tidings_protocol::wire;

const BIG_RING: usize = 1 << 22;

/// Holds a handful of entries.
const SMALL_RING: usize = 3_000;

fn resumes(world: &World) -> [u64; 3] {
    [Resumed::Exact, Resumed::Gap, Resumed::Reset].map(|how| world.metrics.resumes(how))
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_counted_once_by_how_it_goes_on() {
    let mut world = World::new(SMALL_RING);
    let old = world.say(10).await;
    world.viewer(old[3]).await.until("E e10").await;
    assert_eq!(resumes(&world), [0, 0, 0], "it did not come back");
    for (at, last) in [(old[3], "E e10"), (old[8], "E e10")] {
        let mut viewer = world.viewer(at).await;
        viewer.viewer.resumes();
        viewer.until(last).await;
        viewer.now().await;
    }
    let mut at_head = world.viewer(old[9]).await;
    at_head.viewer.resumes();
    at_head.now().await;
    assert_eq!(resumes(&world), [3, 0, 0]);
    for _ in 0..10 {
        world.say(10).await;
    }
    at_head.until("E e110").await;
    assert_eq!(resumes(&world), [3, 0, 0], "once each");
    world.trim(10).await;
    let mut late = world.viewer(old[3]).await;
    late.viewer.resumes();
    late.until("E e110").await;
    assert_eq!(resumes(&world), [3, 1, 0], "something is missing");
    let mut stranger = world.viewer("1-5.zzzzzzzzzzzz".parse().expect("a position")).await;
    stranger.viewer.resumes();
    stranger.until("G log_reset").await;
    assert_eq!(resumes(&world), [3, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_viewer_off_the_ring_is_behind_until_it_is_on_it_again_or_goes() {
    let mut world = World::new(SMALL_RING);
    for _ in 0..10 {
        world.say(10).await;
    }
    let figures = |world: &World| {
        (world.metrics.viewers_behind.get(), world.metrics.subscriptions.get(), world.metrics.replayed.get() > 0)
    };
    let mut viewer = world.viewer(Position::ZERO).await;
    assert_eq!(figures(&world), (0, 1, false), "it has not looked yet");
    viewer.take(1, 1).await;
    assert_eq!(figures(&world), (1, 1, true));
    viewer.until("E e100").await;
    viewer.now().await;
    assert_eq!(figures(&world), (0, 1, true));
    let replayed = world.metrics.replayed.get();
    world.say(1).await;
    viewer.until("E e101").await;
    assert_eq!(world.metrics.replayed.get(), replayed, "that was live");
    let mut other = world.viewer(Position::ZERO).await;
    other.take(1, 1).await;
    assert_eq!(figures(&world), (1, 2, true));
    drop((viewer, other));
    assert_eq!(figures(&world), (0, 0, true));
    assert!(world.metrics.fanout_seconds.get_sample_count() > 0);
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_of_the_first_event_that_is_told_live() {
    let mut world = World::new(BIG_RING);
    world.say(3).await;
    let mut viewer = world.viewer(Position::ZERO).await;
    viewer.viewer.want_sample();
    viewer.until("E e3").await;
    assert_eq!(viewer.viewer.take_sample(), None, "it caught up");
    viewer.now().await;
    world.say(1).await;
    viewer.until("E e4").await;
    assert_eq!(viewer.viewer.take_sample(), None, "nobody wanted one");
    viewer.viewer.want_sample();
    let first = world.append(vec![wire::Event { sent_ms: 77, ..event("a") }, event("b")]).await[0];
    tokio::time::advance(Duration::from_millis(5)).await;
    world.append(vec![event("c")]).await;
    viewer.until("E c").await;
    assert_eq!(viewer.viewer.take_sample(), Some(Sample { appended_ms: first.ms(), sent_ms: 77 }));
    assert_eq!(viewer.viewer.take_sample(), None);
}

#[tokio::test(start_paused = true)]
async fn traffic_is_told_once_topic_by_topic() {
    let mut world = World::new(BIG_RING);
    let mut viewer = world.viewer(Position::ZERO).await;
    world.say(3).await;
    viewer.until("E e3").await;
    let told = |world: &World| world.hub.traffic().topics;
    assert_eq!(told(&world), [(world.project.clone(), 1, 3)]);
    assert_eq!(told(&world), [(world.project.clone(), 1, 0)]);
    world.say(2).await;
    viewer.until("E e5").await;
    drop(viewer);
    // Longer than a topic lingers.
    tokio::time::sleep(Duration::from_mins(1)).await;
    let traffic = world.hub.traffic();
    assert_eq!((traffic.topics.len(), traffic.others), (0, 2), "its topic has ended");
}
