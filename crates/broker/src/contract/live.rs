//! Messages: confirmed, in order, told when they may be lost (docs/log.md L12, L13); and the probe.

use std::sync::Arc;

use futures_util::future::join_all;
use tidings_protocol::entry::{Body, ENTRY_BYTES_MAX};
use tidings_protocol::position::Position;

use super::Subject;
use super::writer::{Ear, Writer, plain, project, sized};
use crate::{Broker, Sink, Span, Subscription};

super::cases! {
    what_is_appended_after_a_subscription_is_heard_in_order
    forks_are_heard
    a_big_entry_is_announced_without_its_body
    a_retry_is_not_heard_again
    a_dropped_subscription_hears_nothing
    subscriptions_of_one_project_are_independent
    many_projects_are_heard_each_on_its_own
    a_cut_connection_is_told_and_heals
    subscriptions_survive_a_reopening
    the_probe_comes_back
}

async fn listen(broker: &Arc<dyn Broker>, name: &str) -> (Arc<Ear>, Subscription) {
    let ear = Ear::new();
    let sink: Arc<dyn Sink> = Arc::<Ear>::clone(&ear);
    let subscription = broker.subscribe(project(name), sink).await.expect("confirmed");
    (ear, subscription)
}

async fn what_is_appended_after_a_subscription_is_heard_in_order(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let (ear, _subscription) = listen(&broker, "p").await;
    let mut writer = Writer::join(broker.clone(), "p").await;
    for n in 0..100 {
        writer.take(plain(1 + n % 3)).await;
    }
    let heard = ear.until(|heard| heard.entries.len() >= 100).await;
    let page = broker.read(project("p"), Span::Tail, 1_000_000).await.expect("an answer");
    assert_eq!(heard.entries, page.entries, "messages are the entries");
    assert_eq!(heard.entries[0].prev, Position::ZERO);
    assert_eq!(heard.lost, 0);
}

async fn forks_are_heard(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let survived = writer.take(plain(2)).await;
    let (ear, _subscription) = listen(&broker, "p").await;
    subject.change_incarnation().await;
    writer.sync().await;
    let heard = ear.until(|heard| !heard.entries.is_empty()).await;
    let page = broker.read(project("p"), Span::After(survived.id), 1_000).await.expect("an answer");
    assert_eq!(heard.entries, page.entries);
    assert!(matches!(heard.entries[0].body, Body::Fork(_)));
}

async fn a_big_entry_is_announced_without_its_body(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let (ear, _subscription) = listen(&broker, "p").await;
    let overhead = sized(ENTRY_BYTES_MAX).payload.len() - ENTRY_BYTES_MAX;
    let first = writer.take(sized(ENTRY_BYTES_MAX - overhead)).await;
    let second = writer.take(sized(ENTRY_BYTES_MAX - overhead + 1)).await;
    let heard = ear.until(|heard| heard.entries.len() == 2).await;
    assert!(matches!(&heard.entries[0].body, Body::Events(events) if events.len() == 1));
    assert_eq!((heard.entries[1].prev, heard.entries[1].position), (first, second));
    assert_eq!(heard.entries[1].body, Body::Elsewhere(1));
    let page = broker.read(project("p"), Span::Tail, 0).await.expect("an answer");
    assert!(matches!(page.entries[0].body, Body::Events(_)), "the log has it");
    assert_eq!(page.entries[0].total_bytes, heard.entries[1].total_bytes);
}

async fn a_retry_is_not_heard_again(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let (ear, _subscription) = listen(&broker, "p").await;
    let call = writer.call(Some(plain(1)));
    writer.send(call.clone()).await;
    writer.send(call).await;
    writer.number += 1;
    writer.take(plain(1)).await;
    let heard = ear.until(|heard| heard.entries.len() >= 2).await;
    let numbers: Vec<_> = heard.entries.iter().map(|entry| entry.position.n()).collect();
    assert_eq!(numbers, [1, 2]);
}

async fn a_dropped_subscription_hears_nothing(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let (gone, subscription) = listen(&broker, "p").await;
    drop(subscription);
    let (ear, _subscription) = listen(&broker, "p").await;
    writer.take(plain(1)).await;
    assert_eq!(ear.until(|heard| !heard.entries.is_empty()).await.entries.len(), 1);
    assert_eq!(gone.heard().entries.len(), 0);
    assert_eq!(Arc::strong_count(&gone), 1, "nor is its sink kept");
}

async fn subscriptions_of_one_project_are_independent(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let mut writer = Writer::join(broker.clone(), "p").await;
    let (first, subscription) = listen(&broker, "p").await;
    let (second, _subscription) = listen(&broker, "p").await;
    writer.take(plain(1)).await;
    first.until(|heard| heard.entries.len() == 1).await;
    drop(subscription);
    writer.take(plain(1)).await;
    assert_eq!(second.until(|heard| heard.entries.len() == 2).await.lost, 0);
    assert_eq!(first.heard().entries.len(), 1);
}

async fn many_projects_are_heard_each_on_its_own(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let names: Vec<String> = (0..2_500).map(|n| format!("p{n}")).collect();
    let listening = join_all(names.iter().map(|name| listen(&broker, name))).await;
    for n in [0, 999, 1_000, 2_499] {
        Writer::join(broker.clone(), &names[n]).await.take(plain(1)).await;
        listening[n].0.until(|heard| heard.entries.len() == 1).await;
    }
    let heard: usize = listening.iter().map(|(ear, _)| ear.heard().entries.len()).sum();
    assert_eq!(heard, 4);
    drop(listening);
    let (ear, _subscription) = listen(&broker, "p7").await;
    Writer::join(broker.clone(), "p7").await.take(plain(1)).await;
    ear.until(|heard| heard.entries.len() == 1).await;
}

async fn a_cut_connection_is_told_and_heals(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let (ear, _subscription) = listen(&broker, "p").await;
    let mut writer = Writer::join(broker.clone(), "p").await;
    subject.cut().await;
    ear.until(|heard| heard.lost == 1).await;
    // Whatever was appended since lost() is heard.
    let last = writer.take(plain(1)).await;
    let heard = ear.until(|heard| !heard.entries.is_empty()).await;
    assert_eq!((heard.entries[0].position, heard.lost), (last, 1));
}

async fn subscriptions_survive_a_reopening(subject: &mut dyn Subject) {
    let broker = subject.broker();
    let (ear, _subscription) = listen(&broker, "p").await;
    subject.reopen().await;
    ear.until(|heard| heard.lost == 1).await;
    let mut writer = Writer::join(broker.clone(), "p").await;
    let last = writer.take(plain(1)).await;
    ear.until(|heard| heard.entries.iter().any(|entry| entry.position == last)).await;
}

async fn the_probe_comes_back(subject: &mut dyn Subject) {
    let broker = subject.broker();
    assert!(*broker.connected().borrow());
    broker.probe().await.expect("it comes back");
    let answers = join_all((0..50).map(|_| broker.probe())).await;
    assert!(answers.iter().all(Result::is_ok));
}
