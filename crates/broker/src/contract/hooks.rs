//! Webhooks: the index of projects, and places that only one holder moves.

use std::sync::Arc;

use bytes::Bytes;
use tidings_protocol::project::Project;

use super::Subject;
use super::writer::project;
use crate::hooks::{Entered, Hooks, PLACES_MAX, RECORD_BYTES_MAX, Swapped};
use crate::index::shard_of;

super::cases! {
    a_project_that_was_entered_is_listed_in_its_shard
    whoever_was_entered_again_does_not_leave
    a_place_is_written_by_who_knows_its_version
    a_place_that_was_made_anew_is_not_put_back
    a_project_has_so_many_places
    places_of_projects_are_apart
    a_store_that_was_lost_has_neither
}

async fn listed(hooks: &Arc<dyn Hooks>, of: &Project) -> Vec<Entered> {
    let mut all = hooks.projects(shard_of(of)).await.expect("an answer");
    all.sort();
    all
}

async fn swap(hooks: &Arc<dyn Hooks>, of: &Project, name: &str, version: u64, record: Option<&str>) -> Swapped {
    let record = record.map(|record| Bytes::copy_from_slice(record.as_bytes()));
    hooks.swap(of.clone(), name.into(), version, record).await.expect("an answer")
}

/// Names, versions and records.
async fn places(hooks: &Arc<dyn Hooks>, of: &Project) -> Vec<(String, u64, String)> {
    let places = hooks.places(of.clone()).await.expect("an answer").into_iter();
    places.map(|(name, place)| (name, place.version, String::from_utf8_lossy(&place.record).into_owned())).collect()
}

async fn a_project_that_was_entered_is_listed_in_its_shard(subject: &mut dyn Subject) {
    let (hooks, start_ms) = (subject.broker().hooks(), subject.clock().now_ms());
    let demo = project("demo");
    assert_eq!(listed(&hooks, &demo).await, []);
    hooks.enter(demo.clone()).await.expect("an answer");
    assert_eq!(listed(&hooks, &demo).await, [Entered { project: demo.clone(), stamp: start_ms }]);
    hooks.enter(demo.clone()).await.expect("an answer");
    assert_eq!(listed(&hooks, &demo).await, [Entered { project: demo.clone(), stamp: start_ms + 1 }], "never the same");
    subject.clock().set(start_ms - 1_000);
    hooks.enter(demo.clone()).await.expect("an answer");
    assert_eq!(listed(&hooks, &demo).await, [Entered { project: demo, stamp: start_ms + 2 }], "a clock that went back");
    assert_eq!(listed(&hooks, &project("other")).await, []);
}

async fn whoever_was_entered_again_does_not_leave(subject: &mut dyn Subject) {
    let hooks = subject.broker().hooks();
    let demo = project("demo");
    hooks.enter(demo.clone()).await.expect("an answer");
    let first = listed(&hooks, &demo).await.remove(0);
    hooks.enter(demo.clone()).await.expect("an answer");
    assert_eq!(hooks.leave(first).await, Ok(false));
    let second = listed(&hooks, &demo).await.remove(0);
    assert_eq!(hooks.leave(second.clone()).await, Ok(true));
    assert_eq!(listed(&hooks, &demo).await, []);
    assert_eq!(hooks.leave(second).await, Ok(false));
}

async fn a_place_is_written_by_who_knows_its_version(subject: &mut dyn Subject) {
    let (hooks, start_ms) = (subject.broker().hooks(), subject.clock().now_ms());
    let demo = project("demo");
    assert_eq!(swap(&hooks, &demo, "a", 1, Some("x")).await, Swapped::Moved, "it is not there");
    assert_eq!(swap(&hooks, &demo, "a", 0, Some("{\"at\": 1}\n é")).await, Swapped::Done(start_ms));
    assert_eq!(swap(&hooks, &demo, "a", 0, Some("x")).await, Swapped::Moved, "somebody made it");
    assert_eq!(swap(&hooks, &demo, "a", start_ms, Some("")).await, Swapped::Done(start_ms + 1));
    assert_eq!(swap(&hooks, &demo, "a", start_ms, Some("x")).await, Swapped::Moved, "somebody moved it");
    assert_eq!(swap(&hooks, &demo, "a", start_ms, None).await, Swapped::Moved);
    assert_eq!(places(&hooks, &demo).await, [("a".into(), start_ms + 1, String::new())]);
    assert_eq!(swap(&hooks, &demo, "a", start_ms + 1, None).await, Swapped::Done(0));
    assert_eq!(swap(&hooks, &demo, "a", 0, None).await, Swapped::Done(0), "it stays gone");
    assert_eq!(places(&hooks, &demo).await, []);
}

async fn a_place_that_was_made_anew_is_not_put_back(subject: &mut dyn Subject) {
    let (hooks, start_ms) = (subject.broker().hooks(), subject.clock().now_ms());
    let demo = project("demo");
    let Swapped::Done(old) = swap(&hooks, &demo, "a", 0, Some("old")).await else { panic!("it is made") };
    hooks.clear(demo.clone()).await.expect("an answer");
    assert_eq!(swap(&hooks, &demo, "a", old, Some("older")).await, Swapped::Moved, "it is gone");
    subject.clock().set(start_ms + 1);
    assert_eq!(swap(&hooks, &demo, "a", 0, Some("new")).await, Swapped::Done(start_ms + 1));
    assert_eq!(swap(&hooks, &demo, "a", old, Some("older")).await, Swapped::Moved, "it is another one");
    assert_eq!(places(&hooks, &demo).await, [("a".into(), start_ms + 1, "new".into())]);
}

async fn a_project_has_so_many_places(subject: &mut dyn Subject) {
    let hooks = subject.broker().hooks();
    let demo = project("demo");
    let large = "x".repeat(RECORD_BYTES_MAX);
    for n in 0..PLACES_MAX {
        assert!(matches!(swap(&hooks, &demo, &format!("n{n}"), 0, Some(&large)).await, Swapped::Done(_)));
    }
    assert_eq!(swap(&hooks, &demo, "more", 0, Some("")).await, Swapped::Full);
    let there = places(&hooks, &demo).await;
    let (name, version, _) = &there[0];
    assert!(matches!(swap(&hooks, &demo, name, *version, Some("")).await, Swapped::Done(_)), "one that is there moves");
    let (name, version, _) = &there[1];
    assert_eq!(swap(&hooks, &demo, name, *version, None).await, Swapped::Done(0));
    assert!(matches!(swap(&hooks, &demo, "more", 0, Some("")).await, Swapped::Done(_)));
}

async fn places_of_projects_are_apart(subject: &mut dyn Subject) {
    let hooks = subject.broker().hooks();
    let (demo, other) = (project("demo"), project("other"));
    swap(&hooks, &demo, "a", 0, Some("x")).await;
    assert_eq!(places(&hooks, &other).await, []);
    swap(&hooks, &other, "a", 0, Some("y")).await;
    hooks.clear(demo.clone()).await.expect("an answer");
    assert_eq!(places(&hooks, &demo).await, []);
    assert_eq!(places(&hooks, &other).await.len(), 1);
    hooks.clear(demo.clone()).await.expect("nothing is there");
}

async fn a_store_that_was_lost_has_neither(subject: &mut dyn Subject) {
    let hooks = subject.broker().hooks();
    let demo = project("demo");
    hooks.enter(demo.clone()).await.expect("an answer");
    swap(&hooks, &demo, "a", 0, Some("x")).await;
    let there = usize::from(subject.reopen().await);
    assert_eq!((listed(&hooks, &demo).await.len(), places(&hooks, &demo).await.len()), (there, there));
}
