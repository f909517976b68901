//! Bookmarks: places of readers, each with one holder, kept for a while.

use std::sync::Arc;

use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::Subject;
use crate::bookmark::{BOOKMARKS_MAX, Bookmarks, EMPTY_KEPT_MS};

super::cases! {
    a_place_is_kept_for_a_while
    the_newest_holder_alone_moves_it
    a_bookmark_that_nobody_has_is_set_all_the_same
    bookmarks_are_apart_by_project_and_reader
    a_project_has_so_many_bookmarks
    one_without_a_place_is_kept_for_a_minute
    those_without_a_place_drive_nobody_out_who_has_one
    bookmarks_go_with_their_store
}

const TTL_MS: u64 = 600_000;

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

fn place(n: u64) -> Position {
    format!("1763630000000-{n}.abcdefghijkl").parse().expect("a position")
}

async fn take(marks: &Arc<dyn Bookmarks>, reader: &str, holder: &str) -> Option<Position> {
    marks.take(project("p"), reader.into(), holder.into(), TTL_MS).await.expect("an answer")
}

async fn set(marks: &Arc<dyn Bookmarks>, reader: &str, holder: &str, n: u64) -> bool {
    marks.set(project("p"), reader.into(), holder.into(), place(n), TTL_MS).await.expect("an answer")
}

async fn a_place_is_kept_for_a_while(subject: &mut dyn Subject) {
    let (marks, start_ms) = (subject.broker().bookmarks(), subject.clock().now_ms());
    assert_eq!(take(&marks, "r \n", "a").await, None);
    assert_eq!(take(&marks, "r \n", "b").await, None, "taken, and nowhere yet");
    assert!(set(&marks, "r \n", "b", 7).await);
    subject.clock().set(start_ms + TTL_MS - 1);
    assert_eq!(take(&marks, "r \n", "c").await, Some(place(7)));
    // Taken is kept anew.
    subject.clock().set(start_ms + 2 * TTL_MS - 2);
    assert_eq!(take(&marks, "r \n", "d").await, Some(place(7)));
    subject.clock().set(start_ms + 3 * TTL_MS - 2);
    assert_eq!(take(&marks, "r \n", "e").await, None, "its time is over");
}

async fn the_newest_holder_alone_moves_it(subject: &mut dyn Subject) {
    let marks = subject.broker().bookmarks();
    assert_eq!(take(&marks, "r", "old").await, None);
    assert!(set(&marks, "r", "old", 3).await);
    assert_eq!(take(&marks, "r", "new").await, Some(place(3)));
    assert!(!set(&marks, "r", "old", 9).await);
    assert!(set(&marks, "r", "new", 2).await, "its holder may move it back");
    assert_eq!(take(&marks, "r", "x").await, Some(place(2)));
}

async fn a_bookmark_that_nobody_has_is_set_all_the_same(subject: &mut dyn Subject) {
    let (marks, start_ms) = (subject.broker().bookmarks(), subject.clock().now_ms());
    assert!(set(&marks, "r", "a", 1).await);
    assert!(!set(&marks, "r", "b", 2).await);
    subject.clock().set(start_ms + TTL_MS);
    assert!(set(&marks, "r", "b", 2).await, "the other's time is over");
    assert!(!set(&marks, "r", "a", 3).await);
}

async fn bookmarks_are_apart_by_project_and_reader(subject: &mut dyn Subject) {
    let marks = subject.broker().bookmarks();
    assert!(set(&marks, "r", "a", 1).await);
    assert_eq!(take(&marks, "s", "a").await, None);
    let other = marks.take(project("q"), "r".into(), "a".into(), TTL_MS).await;
    assert_eq!(other.expect("an answer"), None);
}

async fn a_project_has_so_many_bookmarks(subject: &mut dyn Subject) {
    let (marks, start_ms) = (subject.broker().bookmarks(), subject.clock().now_ms());
    let sets = (0..BOOKMARKS_MAX).map(|index| {
        let marks = &marks;
        async move { assert!(set(marks, &format!("r{index}"), "a", 1).await) }
    });
    futures_util::future::join_all(sets).await;
    subject.clock().set(start_ms + 1);
    assert!(set(&marks, "newest", "a", 2).await);
    let taken = (0..BOOKMARKS_MAX).map(|index| {
        let marks = &marks;
        async move { marks.set(project("p"), format!("r{index}"), "b".into(), place(3), TTL_MS).await }
    });
    // Whoever is gone may be set by anybody, and drives out the next.
    let free = futures_util::future::join_all(taken).await.into_iter().filter(|set| matches!(set, Ok(true))).count();
    assert!((1..BOOKMARKS_MAX / 2).contains(&free), "{free}");
    assert_eq!(take(&marks, "newest", "b").await, Some(place(2)), "the newest stays");
}

async fn one_without_a_place_is_kept_for_a_minute(subject: &mut dyn Subject) {
    let (marks, start_ms) = (subject.broker().bookmarks(), subject.clock().now_ms());
    assert!(set(&marks, "r", "a", 1).await);
    assert_eq!(take(&marks, "s", "a").await, None);
    subject.clock().set(start_ms + EMPTY_KEPT_MS - 1);
    assert!(!set(&marks, "s", "b", 2).await);
    subject.clock().set(start_ms + EMPTY_KEPT_MS);
    assert!(set(&marks, "s", "b", 2).await);
    assert_eq!(take(&marks, "r", "b").await, Some(place(1)), "the others stay");
}

async fn those_without_a_place_drive_nobody_out_who_has_one(subject: &mut dyn Subject) {
    const WITH_PLACE: usize = 100;
    let (marks, start_ms) = (subject.broker().bookmarks(), subject.clock().now_ms());
    for index in 0..WITH_PLACE {
        assert!(set(&marks, &format!("r{index}"), "a", 1).await);
    }
    // Their time ends before that of those who come.
    subject.clock().set(start_ms + TTL_MS - EMPTY_KEPT_MS / 2);
    let takes = (0..BOOKMARKS_MAX).map(|index| {
        let marks = &marks;
        async move { take(marks, &format!("hostile{index}"), "x").await }
    });
    futures_util::future::join_all(takes).await;
    for index in 0..WITH_PLACE {
        assert_eq!(take(&marks, &format!("r{index}"), "b").await, Some(place(1)), "r{index}");
    }
}

async fn bookmarks_go_with_their_store(subject: &mut dyn Subject) {
    assert!(set(&subject.broker().bookmarks(), "r", "a", 1).await);
    let kept = subject.reopen().await;
    let left = take(&subject.broker().bookmarks(), "r", "b").await;
    assert_eq!(left, kept.then(|| place(1)));
}
