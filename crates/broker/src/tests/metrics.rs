//! What is counted of a real Redis: calls, the probe's way, connections opened again, memory.

#![allow(clippy::float_cmp, reason = "counts of whole things")]

use std::time::Duration;

use prometheus::Registry;

use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisMetrics, RedisSettings};
use crate::{Fields, Index as _, Log as _, Probe as _, Span};

fn value(registry: &Registry, name: &str, label: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect("it is there");
    let has = |metric: &&prometheus::proto::Metric| {
        label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
    };
    let metric = family.get_metric().iter().find(has).expect("the label is there");
    let histogram = metric.get_histogram().get_sample_count();
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let observed = histogram as f64;
    observed + metric.get_counter().get_value() + metric.get_gauge().get_value()
}

async fn until(broker: &RedisBroker, wanted: bool) {
    let mut connected = broker.connected();
    let wait = connected.wait_for(|connected| *connected == wanted);
    let _ = tokio::time::timeout(Duration::from_secs(30), wait).await.expect("in time").expect("the broker lives");
}

#[tokio::test]
async fn calls_and_connections_are_counted_by_what_for() {
    let mut server = RedisServer::start();
    let registry = Registry::new();
    let metrics = RedisMetrics::register(&registry).expect("a fresh registry");
    let broker =
        RedisBroker::connect(&RedisSettings { metrics, ..RedisSettings::new(server.url()) }).expect("good settings");
    until(&broker, true).await;
    let project = || "p".parse().expect("a name");
    broker.read(project(), Span::Tail, 1).await.expect("an answer");
    broker.heads(vec![project(), project()]).await;
    broker.state(project(), Fields::All).await.expect("an answer");
    broker.enter(project()).await.expect("an answer");
    let calls = |call: &str| value(&registry, "tidings_redis_call_seconds", call);
    assert_eq!(["read", "heads", "state", "command", "append"].map(calls), [1.0, 2.0, 1.0, 1.0, 0.0]);
    broker.probe().await.expect("a way through");
    assert_eq!(value(&registry, "tidings_redis_probe_seconds", ""), 1.0);
    assert_eq!(value(&registry, "tidings_redis_memory_bytes", "used"), 0.0);
    let used = broker.memory().await.expect("an answer").used_bytes;
    assert!(used > 0);
    #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
    let used = used as f64;
    assert_eq!(value(&registry, "tidings_redis_memory_bytes", "used"), used);

    let reconnects = |link: &str| value(&registry, "tidings_redis_reconnects_total", link);
    assert_eq!(["commands", "messages", "replicas"].map(reconnects), [0.0, 0.0, 0.0]);
    server.kill();
    until(&broker, false).await;
    broker.read(project(), Span::Tail, 1).await.expect_err("nobody is there");
    assert_eq!(value(&registry, "tidings_redis_call_errors_total", "away"), 1.0);
    server.restart();
    until(&broker, true).await;
    assert_eq!(["commands", "messages", "replicas"].map(reconnects), [1.0, 1.0, 0.0]);
}
