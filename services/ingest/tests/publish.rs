//! Whole requests over real sockets: what is taken, and that each bad input has its named error and no effect.

mod support;

use std::sync::Arc;

use serde_json::json;
use support::store::Fate;
use support::{JSON, NDJSON, Rig, event, gzip, zstd};
use tidings_broker::NothingWhy;
use tidings_runtime::config::Config;
use tidings_runtime::service::Service as _;
use tokio::sync::Notify;

const CLOUD: (&str, &str) = ("content-type", "application/cloudevents+json");

#[tokio::test]
async fn events_are_answered_with_the_positions_at_which_they_stand() {
    let rig = Rig::start().await;
    let one = rig.publish(&event("a")).await;
    assert_eq!(one["results"][0]["status"], "appended");
    let two = rig.publish(&format!("[{},{}]", event("b"), event("c"))).await;
    let log = rig.log();
    let stand: Vec<_> = log.iter().map(|(position, event)| (event.id.clone(), position.to_string())).collect();
    for (result, (id, position)) in [&one["results"][0], &two["results"][0], &two["results"][1]].into_iter().zip(&stand)
    {
        assert_eq!((&result["id"], &result["position"]), (&json!(id), &json!(position)));
    }
    assert_eq!(stand.len(), 3);
    assert_eq!(two["position"], stand[2].1);
}

#[tokio::test]
async fn an_event_without_an_id_is_given_one() {
    let rig = Rig::start().await;
    let answer = rig.publish(r#"[{"type":"note"},{"type":"note"}]"#).await;
    let ids = rig.ids();
    assert_eq!(answer["results"][0]["id"], ids[0]);
    assert!(ids[0] < ids[1], "ids of one request grow");
}

#[tokio::test]
async fn retries_are_harmless() {
    let rig = Rig::start().await;
    let body = format!("[{},{}]", event("a"), event("b"));
    let first = rig.publish(&body).await;
    let again = rig.publish(&format!("[{},{},{}]", event("a"), event("c"), event("b"))).await;
    let statuses: Vec<_> = again["results"].as_array().expect("results").iter().map(|r| r["status"].clone()).collect();
    assert_eq!(statuses, ["duplicate", "appended", "duplicate"]);
    assert_eq!(again["results"][0]["position"], first["results"][0]["position"]);
    assert_eq!(again["results"][2]["position"], first["results"][1]["position"]);
    assert_eq!(again["position"], again["results"][1]["position"], "the newest");
    assert_eq!(rig.ids(), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_idempotency_key_gives_ids_that_retries_repeat() {
    let rig = Rig::start().await;
    let body = r#"[{"type":"note","data":1},{"type":"note","data":1}]"#;
    for status in ["appended", "duplicate"] {
        let answer = rig.post(&[JSON, ("idempotency-key", "k1")], body).await.json();
        assert_eq!(answer["results"][0]["status"], status);
        assert_eq!(answer["results"][1]["status"], status);
    }
    rig.post(&[JSON, ("idempotency-key", "k2")], body).await;
    assert_eq!(rig.log().len(), 4);
}

#[tokio::test]
async fn doubles_within_a_request_are_appended_once() {
    let rig = Rig::start().await;
    let answer = rig.publish(&format!("[{},{}]", event("a"), event("a"))).await;
    assert_eq!(answer["results"][0]["position"], answer["results"][1]["position"]);
    assert_eq!(answer["results"][1]["status"], "duplicate");
    assert_eq!(rig.ids(), ["a"]);
}

#[tokio::test]
async fn producers_are_kept_in_sequence_and_fenced() {
    let rig = Rig::start().await;
    let of = |epoch: u64, seq: u64| format!(r#"{{"type":"note","producer":{{"id":"p","epoch":{epoch},"seq":{seq}}}}}"#);
    let first = rig.publish(&format!("[{},{}]", of(2, 1), of(2, 2))).await;
    assert_eq!(first["results"][1]["id"], "p:2:2");
    let again = rig.publish(&of(2, 1)).await;
    assert_eq!(again["results"][0], json!({"id": "p:2:1", "position": null, "status": "duplicate"}));
    let jump = rig.post(&[JSON], format!("[{},{}]", event("x"), of(2, 5))).await;
    jump.assert_problem(409, "out_of_sequence");
    let problem = jump.json();
    assert_eq!((&problem["errors"][0]["index"], &problem["errors"][0]["limit"]), (&json!(1), &json!(3)), "{problem}");
    assert_eq!((&problem["results"][0]["id"], &problem["results"][1]), (&json!("x"), &json!(null)), "{problem}");
    rig.post(&[JSON], of(1, 3)).await.assert_problem(409, "fenced");
    let gap = r#"{"type":"gap","data":{"cause":"producer_dropped","lost":2,"certain":true}}"#;
    rig.publish(&format!("[{gap},{}]", of(2, 5))).await;
    assert_eq!(rig.log().len(), 5);
}

#[tokio::test]
async fn cloud_events_are_taken_in_three_modes() {
    let rig = Rig::start().await;
    let cloud =
        |id: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"note","data":{{"n":1}}}}"#);
    let structured = rig.post(&[CLOUD], cloud("1")).await;
    assert_eq!(structured.status, 200, "{}", structured.body);
    let batch_type = ("content-type", "application/cloudevents-batch+json");
    let batch = rig.post(&[batch_type], format!("[{},{}]", cloud("2"), cloud("1"))).await.json();
    assert_eq!(
        (&batch["results"][0]["status"], &batch["results"][1]["status"]),
        (&json!("appended"), &json!("duplicate"))
    );
    let binary = [
        ("content-type", "text/plain"),
        ("ce-specversion", "1.0"),
        ("ce-id", "3"),
        ("ce-source", "/s"),
        ("ce-type", "note"),
        ("ce-session", "s%20one"),
    ];
    assert_eq!(rig.post(&binary, "hello").await.status, 200);
    let log = rig.log();
    assert_eq!(log.len(), 3);
    let json = String::from_utf8_lossy(&log[2].1.json).into_owned();
    assert!(json.contains(r#""data":"hello""#) && log[2].1.session == "s one", "{json}");
}

#[tokio::test]
async fn the_requests_trace_is_that_of_events_without_one() {
    let rig = Rig::start().await;
    let of = |trace: &str| format!("00-{}-b7ad6b7169203331-01", trace.repeat(32));
    let (header, own) = (of("a"), of("b"));
    let traced = ("traceparent", header.as_str());
    let plain = r#"{"type":"note"}"#;
    rig.post(&[JSON, traced], format!(r#"[{plain},{{"type":"note","traceparent":"{own}"}}]"#)).await;
    rig.post(&[NDJSON, traced], plain).await;
    let cloud =
        |id: &str, more: &str| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"note"{more}}}"#);
    rig.post(&[CLOUD, traced], cloud("1", "")).await;
    rig.post(&[CLOUD, traced], cloud("2", &format!(r#","traceparent":"{own}""#))).await;
    let ce = [("ce-specversion", "1.0"), ("ce-source", "/s"), ("ce-type", "note")];
    rig.post(&[&ce[..], &[traced, ("ce-id", "3")]].concat(), "").await;
    rig.post(&[&ce[..], &[traced, ("ce-id", "4"), ("ce-traceparent", &own)]].concat(), "").await;
    let expected = [&header, &own, &header, &header, &own, &header, &own];
    let traces: Vec<_> = rig.log().into_iter().map(|(_, event)| event.traceparent).collect();
    assert_eq!(traces.iter().collect::<Vec<_>>(), expected);
    let json = String::from_utf8_lossy(&rig.log()[0].1.json).into_owned();
    assert!(json.contains(&header), "it is delivered: {json}");
    // A trace that cannot be read costs nothing but itself.
    for bad in [&[("traceparent", "00-00-00-00")][..], &[traced, ("traceparent", &own)]] {
        assert_eq!(rig.post(&[&[JSON], bad].concat(), plain).await.status, 200);
        assert_eq!(rig.log().last().expect("it was taken").1.traceparent, "");
    }
}

#[tokio::test]
async fn packed_bodies_are_taken() {
    let rig = Rig::start().await;
    for (encoding, body) in [
        ("gzip", gzip(event("a").as_bytes())),
        ("x-gzip", gzip(event("b").as_bytes())),
        ("ZSTD", zstd(event("c").as_bytes())),
        ("identity", event("d").into_bytes()),
    ] {
        let answer = rig.post(&[JSON, ("content-encoding", encoding)], body).await;
        assert_eq!(answer.status, 200, "{encoding}: {}", answer.body);
    }
    assert_eq!(rig.ids(), ["a", "b", "c", "d"]);
}

/// A bad input: headers, body, and the status and code that it must have.
type Bad = (&'static str, Vec<(&'static str, String)>, Vec<u8>, u16, &'static str);

fn bad_inputs() -> Vec<Bad> {
    let json = || vec![("content-type", "application/json".to_owned())];
    let with = |name: &'static str, value: &str| [json(), vec![(name, value.to_owned())]].concat();
    let text = |text: &str| text.as_bytes().to_vec();
    let deep = format!(r#"{{"type":"note","data":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!(r#"{{"type":"note","data":"{}"}}"#, "x".repeat(300_000));
    let many = format!("[{}]", vec![event("x"); 1_001].join(","));
    let middle = format!(r#"[{},{{"type":"log","session":"s","data":{{"level":"loud"}}}},{}]"#, event("a"), event("b"));
    let invalid_utf8 = [br#"{"type":"note","data":""#.as_slice(), &[0xff, 0xfe], br#""}"#].concat();
    let mut two_keys = with("idempotency-key", "a");
    two_keys.push(("idempotency-key", "b".into()));
    let cut = |packed: Vec<u8>| packed[..packed.len() - 3].to_vec();
    vec![
        ("no JSON", json(), text("{"), 400, "malformed_json"),
        ("nothing", json(), text(""), 400, "malformed_json"),
        ("invalid UTF-8", json(), invalid_utf8, 400, "invalid_utf8"),
        ("an empty array", json(), text("[]"), 422, "empty_batch"),
        ("an unknown field", json(), text(r#"{"type":"note","nope":1}"#), 422, "unknown_field"),
        ("no type", json(), text("{}"), 422, "missing_field"),
        ("a reserved type", json(), text(r#"{"type":"session.lost","session":"s"}"#), 422, "reserved"),
        ("a position", json(), text(r#"{"type":"note","position":"0-0"}"#), 422, "reserved"),
        ("deep JSON", json(), text(&deep), 422, "data_too_deep"),
        ("an oversized event", json(), text(&wide), 413, "event_too_large"),
        ("an oversized batch", json(), text(&many), 413, "batch_too_large"),
        ("one bad event in the middle", json(), text(&middle), 422, "invalid_event"),
        ("an oversized request", json(), vec![b' '; 5 * 1024 * 1024], 413, "request_too_large"),
        ("another media type", vec![("content-type", "text/plain".into())], text("{}"), 415, "unsupported_media_type"),
        ("another encoding", with("content-encoding", "br"), text("{}"), 415, "unsupported_encoding"),
        ("two layers", with("content-encoding", "gzip, gzip"), text("{}"), 415, "unsupported_encoding"),
        ("no gzip", with("content-encoding", "gzip"), text("{}"), 400, "malformed_encoding"),
        ("half a gzip", with("content-encoding", "gzip"), cut(gzip(b"{}")), 400, "malformed_encoding"),
        ("half a zstd", with("content-encoding", "zstd"), cut(zstd(b"{}")), 400, "malformed_encoding"),
        ("an oversized key", with("idempotency-key", &"k".repeat(257)), text(&event("x")), 400, "invalid_header"),
        ("an empty key", with("idempotency-key", ""), text(&event("x")), 400, "invalid_header"),
        ("two keys", two_keys, text(&event("x")), 400, "invalid_header"),
    ]
}

#[tokio::test]
async fn each_bad_input_has_its_error_and_no_effect() {
    let rig = Rig::start().await;
    for (what, headers, body, status, code) in bad_inputs() {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = rig.post(&headers, body).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{what}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
        match code {
            "unsupported_media_type" => assert!(answer.headers["accept"].to_str().expect("text").contains("x-ndjson")),
            "unsupported_encoding" => assert_eq!(answer.headers["accept-encoding"], "gzip, zstd"),
            _ => {}
        }
    }
    assert!(rig.log().is_empty(), "{:?}", rig.ids());
    rig.publish(&event("good")).await;
}

#[tokio::test]
async fn who_sends_too_much_gets_to_read_why() {
    let rig = Rig::start().await;
    let bytes = 24 * 1024 * 1024;
    let answer = support::raw::send_whole(rig.address, &[JSON], &vec![b' '; bytes]).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("request_too_large"), "{answer}");
}

#[tokio::test]
async fn all_faults_of_an_array_are_named() {
    let rig = Rig::start().await;
    let body = format!(r#"[{},{{"type":"note","nope":1}},{{}},{}]"#, event("a"), event("b"));
    let answer = rig.post(&[JSON], body).await;
    answer.assert_problem(422, "invalid_event");
    let errors = answer.json()["errors"].clone();
    let places: Vec<_> =
        errors.as_array().expect("errors").iter().map(|e| (e["index"].clone(), e["code"].clone())).collect();
    assert_eq!(places, [(json!(1), json!("unknown_field")), (json!(2), json!("missing_field"))]);
    assert!(rig.log().is_empty());
}

#[tokio::test]
async fn bad_paths_and_parameters_are_refused() {
    let rig = Rig::start().await;
    for path in ["/v1/projects/-x/events", "/v1/projects/a%20b/events"] {
        rig.post_to(path, &[JSON], event("x")).await.assert_problem(400, "invalid_project");
    }
    rig.post_to("/v1/projects/%ff/events", &[JSON], event("x")).await.assert_problem(400, "invalid_utf8");
    let path = "/v1/projects/demo/events?first_line=2";
    rig.post_to(path, &[JSON], event("x")).await.assert_problem(400, "invalid_parameter");
    for query in ["first_line=0", "first_line=x", "first_line=", "first_line=1&first_line=2", "first_line=%2B1"] {
        let path = format!("/v1/projects/demo/events?{query}");
        rig.post_to(&path, &[NDJSON], event("x")).await.assert_problem(400, "invalid_parameter");
    }
    assert!(rig.log().is_empty());
}

#[tokio::test]
async fn a_store_that_is_away_is_said_so_at_once() {
    let rig = Rig::start().await;
    rig.store.connect(false);
    let answer = rig.post(&[JSON], event("a")).await;
    answer.assert_problem(503, "redis_away");
    assert_eq!(answer.headers["retry-after"], "1");
    rig.post(&[NDJSON], event("a")).await.assert_problem(503, "redis_away");
    rig.store.connect(true);
    rig.publish(&event("a")).await;
    assert_eq!(rig.ids(), ["a"]);
}

#[tokio::test]
async fn a_store_short_of_memory_is_said_so() {
    let rig = Rig::start().await;
    for (why, code) in [(NothingWhy::Memory, "memory_pressure"), (NothingWhy::OverShare, "over_share")] {
        rig.store.next([Fate::Nothing(why)]);
        let answer = rig.post(&[JSON], event("a")).await;
        answer.assert_problem(503, code);
        assert!(answer.headers.contains_key("retry-after") && answer.json().get("results").is_none());
    }
    assert!(rig.log().is_empty());
}

#[tokio::test]
async fn a_refusal_that_passes_is_not_seen() {
    let rig = Rig::start().await;
    let refusing = || Fate::Nothing(NothingWhy::Refusing("LOADING".into()));
    rig.store.next([refusing(), refusing(), Fate::Unanswered, Fate::Lost]);
    rig.publish(&event("a")).await;
    assert_eq!(rig.ids(), ["a"], "the unanswered sending happened, and the answer to it was fetched");
}

fn impatient() -> Config {
    let mut config = Config::default();
    config.ingest.deadline = std::time::Duration::from_millis(150);
    config
}

#[tokio::test]
async fn an_outcome_that_is_not_known_is_said_so_and_the_retry_is_harmless() {
    let rig = Rig::start_with(impatient()).await;
    rig.store.next([Fate::Unanswered]);
    rig.store.always(Fate::Lost);
    let answer = rig.post(&[JSON], event("a")).await;
    answer.assert_problem(504, "outcome_unknown");
    rig.store.always(Fate::Pass);
    let again = rig.publish(&event("a")).await;
    assert_eq!(again["results"][0]["status"], "duplicate");
    assert_eq!(rig.ids(), ["a"]);
}

#[tokio::test]
async fn what_was_appended_before_a_failure_is_told() {
    let rig = Rig::start_with(impatient()).await;
    let big = |id: &str| format!(r#"{{"type":"note","id":"{id}","data":"{}"}}"#, "x".repeat(60_000));
    rig.store.next([Fate::Pass]);
    rig.store.always(Fate::Lost);
    let answer = rig.post(&[JSON], format!("[{},{}]", big("a"), big("b"))).await;
    answer.assert_problem(504, "outcome_unknown");
    let problem = answer.json();
    assert_eq!(problem["results"][0]["position"], rig.log()[0].0.to_string(), "{}", problem["results"]);
    assert_eq!(problem["results"][1], json!(null));
}

#[tokio::test]
async fn a_draining_service_answers_what_it_took_and_refuses_the_rest() {
    let rig = Arc::new(Rig::start().await);
    let go = Arc::new(Notify::new());
    rig.store.next([Fate::Held(go.clone())]);
    let taken = tokio::spawn({
        let rig = rig.clone();
        async move { rig.publish(&event("a")).await }
    });
    rig.store.arrived.notified().await;
    let drained = tokio::spawn({
        let rig = rig.clone();
        async move { rig.ingest.drain().await }
    });
    // The drain has begun when a request is refused.
    while rig.post(&[JSON], event("b")).await.status != 503 {}
    rig.post(&[JSON], event("b")).await.assert_problem(503, "draining");
    go.notify_one();
    assert_eq!(taken.await.expect("no panic")["results"][0]["status"], "appended");
    drained.await.expect("no panic");
    rig.ingest.finished().await;
    assert_eq!(rig.ingest.open(), 0);
}

#[tokio::test]
async fn requests_are_counted_by_their_code() {
    let rig = Rig::start().await;
    rig.publish(&event("a")).await;
    rig.post(&[JSON], "{").await;
    let text = prometheus::TextEncoder::new().encode_to_string(&rig.registry.gather()).expect("text");
    for line in [
        r#"tidings_ingest_requests_total{code="ok",protocol="native"} 1"#,
        r#"tidings_ingest_requests_total{code="malformed_json",protocol="native"} 1"#,
        r#"tidings_ingest_requests_total{code="redis_away",protocol="cloudevents"} 0"#,
        "tidings_ingest_events_appended_total 1",
        "tidings_ingest_entries_appended_total 1",
        "tidings_ingest_waiting_bytes 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn the_routes_are_described() {
    let rig = Rig::start().await;
    let document: serde_json::Value =
        serde_json::from_str(&rig.ingest.openapi().to_json().expect("JSON")).expect("JSON");
    assert!(document["openapi"].as_str().expect("a version").starts_with("3.1"), "{}", document["openapi"]);
    let post = &document["paths"]["/v1/projects/{project}/events"]["post"];
    for media_type in ["application/json", "application/x-ndjson", "application/cloudevents+json"] {
        assert!(post["requestBody"]["content"][media_type].is_object(), "{media_type} in {post}");
    }
    for status in ["200", "400", "409", "413", "415", "422", "503", "504"] {
        assert!(post["responses"][status].is_object(), "{status}");
    }
    let content = &post["requestBody"]["content"];
    for (media_type, schema) in [
        ("application/json", "EventsPosted"),
        ("application/cloudevents+json", "CloudEvent"),
        ("application/cloudevents-batch+json", "CloudEventList"),
    ] {
        let named = format!("#/components/schemas/{schema}");
        assert_eq!(content[media_type]["schema"]["$ref"], named, "{content}");
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas").clone();
    for schema in ["CloudEvent", "CloudEventList", "Event", "EventType", "Name", "SpecVersion", "Traceparent", "Word"] {
        assert!(schemas.contains_key(schema), "{schema} in {:?}", schemas.keys().collect::<Vec<_>>());
    }
    // A problem has no member that the description lacks.
    let described = document["components"]["schemas"]["Problem"]["properties"].as_object().expect("properties").clone();
    let answer = rig.post(&[JSON], r#"{"type":"note","nope":1}"#).await.json();
    for member in answer.as_object().expect("an object").keys() {
        assert!(described.contains_key(member), "{member} in {described:?}");
    }
}
