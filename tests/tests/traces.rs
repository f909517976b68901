//! One event's whole way as a trace: from the runner's span through ingest, the append and Redis to its deliveries.

use serde_json::json;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::collector::{Collector, Span};
use tidings_tests::http;
use tidings_tests::viewer::{Directory, Kind, Plan, Viewers};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const RUNNERS_SPAN: &str = "00f067aa0ba902b7";
const OTHER_TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

async fn publish(cluster: &Cluster, id: &str, traceparent: &str) {
    let headers = [("content-type", "application/json"), ("traceparent", traceparent)];
    let event = json!({"type": "note", "id": id, "data": {"seq": 1}}).to_string();
    let path = format!("/v1/projects/{PROJECT}/events");
    let answer = http::post(cluster.ingests[0].address(), &path, &headers, event).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn one<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let mut found = spans.iter().filter(|span| span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no span {name} in {spans:#?}"));
    assert!(found.next().is_none(), "one {name}: {spans:#?}");
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_of_one_event_is_one_trace() {
    let collector = Collector::start().await;
    let cluster = Cluster::on_redis().gateways(2).set("TIDINGS_TELEMETRY__OTLP_URL", collector.url()).start().await;
    let on_each = cluster.gateways.iter().zip([Kind::WebSocket, Kind::Sse]).map(|(gateway, kind)| {
        let mut viewers = Viewers::new(Directory::new(vec![gateway.address()]));
        viewers.add(Plan::new(kind, PROJECT));
        viewers
    });
    let mut on_each: Vec<Viewers> = on_each.collect();
    // What the runner did not sample leaves no span; it comes first, so that it had its time, and viewers are live.
    publish(&cluster, "unsampled", &format!("00-{OTHER_TRACE}-{RUNNERS_SPAN}-00")).await;
    for viewers in &mut on_each {
        viewers.have_reached(1).await;
    }
    publish(&cluster, "sampled", &format!("00-{TRACE}-{RUNNERS_SPAN}-01")).await;

    let spans = collector.has("deliver", 2).await;
    let spans = if spans.iter().any(|span| span.name == "publish") { spans } else { collector.has("publish", 1).await };
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let (publish, append, redis) = (one(&spans, "publish"), one(&spans, "append"), one(&spans, "redis"));
    assert_eq!(publish.parent, RUNNERS_SPAN);
    assert_eq!((&append.parent, &redis.parent), (&publish.id, &append.id));
    assert!([publish, append, redis].iter().all(|span| span.service == "tidings-ingest"), "{spans:#?}");
    let of = |name: &str| spans.iter().filter(|span| span.name == name).cloned().collect::<Vec<_>>();
    let (fan_outs, deliveries) = (of("fan out"), of("deliver"));
    assert_eq!((fan_outs.len(), deliveries.len()), (2, 2), "one of each gateway: {spans:#?}");
    for (fan_out, span) in fan_outs.iter().map(|span| (true, span)).chain(deliveries.iter().map(|span| (false, span))) {
        assert_eq!((span.service.as_str(), &span.parent), ("tidings-gateway", &publish.id));
        let linked = if fan_out { span.links == [publish.id.clone()] } else { span.links.len() == 1 };
        assert!(linked, "{span:?}");
    }
    let mut linked: Vec<&String> = deliveries.iter().flat_map(|span| &span.links).collect();
    linked.sort();
    let mut ids: Vec<&String> = fan_outs.iter().map(|span| &span.id).collect();
    ids.sort();
    assert_eq!(linked, ids, "each delivery links to the fan-out of its gateway");
}
