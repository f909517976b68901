//! Commands that are brought to a webhook: its receiver answers once, so its answer is taken however the store fares.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use support::store::Fate;
use support::{Rig, demo};
use tidings_broker::inbox::{ItemKind, Put, PutAnswer};
use tidings_broker::{Index as _, NothingWhy};
use tidings_protocol::network::Networks;
use tidings_runtime::config::Config;

/// What takes longer than this does not come.
const HANG: Duration = Duration::from_mins(1);

/// A receiver that answers with these events; where it is, and how often it was called.
async fn receiver(events: Value) -> (String, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let called = calls.clone();
    let answer = move || {
        called.fetch_add(1, Ordering::SeqCst);
        std::future::ready(json!({"events": events}).to_string())
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    (format!("http://{address}/"), calls)
}

/// Asks, as soon as the webhook is there to take it.
async fn ask(rig: &Rig) {
    let kind = ItemKind::Command {
        capability: "job".to_owned(),
        session: String::new(),
        agent: String::new(),
        urgent: false,
        notice: false,
    };
    let body = json!({"type": "job.run", "id": "c-1", "by": "alice"}).to_string().into();
    let (id, asker) = ("c-1".to_owned(), "alice".to_owned());
    let put = Put { id, asker, kind, deadline_ms: 600_000, open_max: 10, body, life: None };
    let asking = async {
        while rig.store.inboxes().put(demo(), put.clone()).await.expect("memory answers").answer != PutAnswer::Queued {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, asking).await.expect("a webhook is there");
}

/// How often events were handed on to be appended, and what became of them was told.
fn handed_on(rig: &Rig) -> u64 {
    let families = rig.registry.gather();
    let stages = families.iter().find(|family| family.name() == "tidings_ingest_stage_seconds").expect("it is counted");
    let append =
        stages.get_metric().iter().find(|metric| metric.get_label().iter().any(|label| label.value() == "append"));
    append.expect("a stage").get_histogram().get_sample_count()
}

#[tokio::test]
async fn what_a_receiver_answers_is_taken_once_however_the_store_fares() {
    let mut config = Config::default();
    config.webhooks.allowed_networks = Networks(vec!["127.0.0.0/8".parse().expect("a network")]);
    config.ingest.deadline = Duration::from_millis(150);
    let rig = Rig::start_with(config).await;
    // Neither of them is known by an id of its own.
    let note = json!({"type": "job.note", "data": {"text": "hi"}});
    let (url, calls) = receiver(json!([note, note])).await;
    let webhook = json!({"url": url, "capabilities": ["job"], "secret": "0123456789abcdef"});
    let set = rig.call("PATCH", "/v1/projects/demo/settings", Some(json!({"commands": {"webhook": webhook}}))).await;
    assert_eq!(set.status, 200, "{}", set.body);
    // Refused, then appended without a word of it.
    rig.store.next([Fate::Nothing(NothingWhy::Memory), Fate::Unanswered]);
    rig.store.always(Fate::Lost);
    ask(&rig).await;
    let unknown = async {
        while handed_on(&rig) < 2 {
            rig.store.arrived.notified().await;
        }
    };
    tokio::time::timeout(HANG, unknown).await.expect("nobody knows what became of it");
    rig.store.always(Fate::Pass);
    let again = async {
        while handed_on(&rig) < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(HANG, again).await.expect("it is told again");
    assert_eq!(rig.log().len(), 2, "{:?}", rig.log());
    assert_eq!(calls.load(Ordering::SeqCst), 1, "it said so once");
}
