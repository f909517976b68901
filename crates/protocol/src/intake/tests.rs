use std::fmt::Write as _;

use super::*;
use crate::wire::effect::Op;

const RECEIVED_MS: u64 = 1_795_165_200_123;
const RECEIVED: &str = "2026-11-20T09:00:00.123Z";

/// Parses a body with small limits and ids that count: `new-1`, `new-2`, ...
fn parse(body: &[u8]) -> Result<Vec<wire::Event>, Fault> {
    with(|intake| parse_body(body, intake))
}

fn with<R>(run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    with_key(None, run)
}

/// The same, under an idempotency key.
fn with_key<R>(idempotency_key: Option<&str>, run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    let limits = EventLimits {
        data_bytes_max: 300,
        request_bytes_max: 2_000,
        batch_events_max: 4,
        line_bytes_max: 500,
        data_depth_max: 4,
    };
    let mut count = 0;
    let mut next_id = || {
        count += 1;
        format!("new-{count}")
    };
    run(&mut Intake {
        limits: &limits,
        received_ms: RECEIVED_MS,
        next_id: &mut next_id,
        default_runner: None,
        default_traceparent: None,
        idempotency_key,
    })
}

fn one(body: &str) -> wire::Event {
    let mut events = parse(body.as_bytes()).expect(body);
    assert_eq!(events.len(), 1);
    events.pop().expect("one event")
}

fn json(event: &wire::Event) -> &str {
    std::str::from_utf8(&event.json).expect("events are UTF-8")
}

/// `code field index limit/actual` of each fault, after the code of the whole.
fn summary(fault: &Fault) -> String {
    let mut out = fault.code.to_string();
    for error in &fault.errors {
        let _ = write!(out, " | {}", error.code);
        if let Some(field) = &error.field {
            let _ = write!(out, " {field}");
        }
        if let Some(index) = error.index {
            let _ = write!(out, " @{index}");
        }
        if let (Some(limit), Some(actual)) = (error.limit, error.actual) {
            let _ = write!(out, " {actual}>{limit}");
        }
    }
    out
}

#[track_caller]
fn check_fault(body: impl AsRef<[u8]>, expected: &str) {
    let body = body.as_ref();
    let fault = parse(body).map(|events| events.len()).expect_err(&String::from_utf8_lossy(body));
    assert_eq!(summary(&fault), expected, "{}", String::from_utf8_lossy(body));
    assert!(!fault.detail.is_empty());
}

#[test]
fn the_delivered_envelope_has_its_fields_in_one_order_and_data_last() {
    let event = one(
        r#" { "data" : { "name" : "Researcher", "status":"processing", "progress": 65.0 }, "key":"k", "type":"agent.status",
            "traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "runner":"r", "parent":"planner",
            "agent":"researcher-1","session":"s","time":"2026-11-20T10:00:00+01:00","id":"e1",
            "producer":{"id":"p","epoch":1,"seq":2} } "#,
    );
    assert_eq!(
        json(&event),
        concat!(
            r#"{"type":"agent.status","id":"e1","time":"2026-11-20T10:00:00+01:00","session":"s","agent":"researcher-1","#,
            r#""parent":"planner","runner":"r","key":"k","#,
            r#""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","#,
            r#""producer":{"id":"p","epoch":1,"seq":2},"received":"2026-11-20T09:00:00.123Z","#,
            r#""data":{"name":"Researcher","status":"processing","progress":65.0}}"#
        )
    );
    assert_eq!((event.id.as_str(), event.id_from_runner), ("e1", true));
    assert_eq!((event.session.as_str(), event.agent.as_str()), ("s", "researcher-1"));
    assert_eq!(event.received_ms, RECEIVED_MS);
    assert_eq!(event.producer, Some(wire::Producer { id: "p".into(), epoch: 1, seq: 2 }));
    assert_eq!(event.traceparent, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    assert_eq!((event.to.as_str(), event.was.len()), ("", 0));
}

#[test]
fn a_bare_event_gets_id_and_time() {
    let event = one(r#"{"type":"my.own"}"#);
    assert_eq!(
        json(&event),
        format!(r#"{{"type":"my.own","id":"new-1","time":"{RECEIVED}","received":"{RECEIVED}"}}"#)
    );
    assert!(!event.id_from_runner);
    assert_eq!(event.lane(), wire::Lane::Control);
    assert!(event.effects.is_empty());
}

#[test]
fn null_is_absent_but_for_data() {
    let event = one(r#"{"type":"my.own","id":null,"session":null,"producer":null,"time":null,"key":null,"data":null}"#);
    assert!(json(&event).ends_with(r#","data":null}"#), "{}", json(&event));
    assert_eq!((event.id.as_str(), event.session.as_str(), event.producer), ("new-1", "", None));
}

#[test]
fn the_credentials_name_is_the_runner_of_events_that_name_none() {
    let bodies = r#"[{"type":"a"},{"type":"a","runner":"own"}]"#;
    let events = with(|intake| {
        intake.default_runner = Some("key \"7\"");
        parse_body(bodies.as_bytes(), intake).expect(bodies)
    });
    assert!(json(&events[0]).contains(r#""runner":"key \"7\"""#), "{}", json(&events[0]));
    assert!(json(&events[1]).contains(r#""runner":"own""#), "{}", json(&events[1]));
}

#[test]
fn the_requests_trace_is_that_of_events_that_have_none() {
    let (own, requests) = (
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    );
    let body = format!(r#"[{{"type":"a"}},{{"type":"a","traceparent":"{own}"}}]"#);
    let events = with(|intake| {
        intake.default_traceparent = valid_traceparent(requests);
        parse_body(body.as_bytes(), intake).expect("good")
    });
    for (event, trace) in events.iter().zip([requests, own]) {
        assert_eq!(event.traceparent, trace);
        assert!(json(event).contains(&format!(r#""traceparent":"{trace}""#)), "{}", json(event));
    }
    for bad in ["", "00-x", &requests.replace("7651", "XYZW"), &format!("{requests}-more"), &"0".repeat(200)] {
        assert_eq!(valid_traceparent(bad), None, "{bad}");
    }
}

#[test]
fn strings_and_numbers_of_data_pass_byte_for_byte() {
    for (sent, kept) in [
        (r#""\u00e9 é \/ \ud83d  ""#, r#""\u00e9 é \/ \ud83d  ""#),
        ("1.50E+400", "1.50E+400"),
        ("-0", "-0"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("[ 1.0 , { \"a\" : \" b \" } ]", r#"[1.0,{"a":" b "}]"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
    ] {
        let event = one(&format!(r#"{{"type":"my.own","data": {sent} }}"#));
        assert!(json(&event).ends_with(&format!(r#","data":{kept}}}"#)), "{}", json(&event));
    }
}

#[test]
fn bad_text_is_refused_as_a_whole() {
    for (body, expected) in [
        ("", "malformed_json"),
        ("   ", "malformed_json"),
        ("{", "malformed_json"),
        ("nonsense", "malformed_json"),
        (r#"{"type":"a"} x"#, "malformed_json"),
        (r#"{"type":"a"}{"type":"b"}"#, "malformed_json"),
        (r#"[{"type":"a"},]"#, "malformed_json"),
        (r#"[{"type":"a"}"#, "malformed_json"),
        (r#"{"type":'a'}"#, "malformed_json"),
        (r#"{"type":"a","data":01}"#, "malformed_json"),
        (r#"{"type":"a","data":[1,]}"#, "malformed_json"),
        (r#"{"type":"a","data":"\x"}"#, "malformed_json"),
        ("{\"type\":\"a\",\"data\":\"\n\"}", "malformed_json"),
        ("\u{feff}{\"type\":\"a\"}", "malformed_json"),
        ("[]", "empty_batch"),
        (
            r#"[{"type":"a"},{"type":"a"},{"type":"a"},{"type":"a"},{"type":"a"}]"#,
            "batch_too_large | batch_too_large 5>4",
        ),
        (r#"[{"type":"a"},{"type":"a"},{"type":"a"},{"type":"a"},{},[]]"#, "batch_too_large | batch_too_large 6>4"),
    ] {
        check_fault(body, expected);
    }
    check_fault(b"{\"type\":\"a\xff\"}", "invalid_utf8");
    check_fault(b"{\"type\":\"a\",\"data\":\"\xed\xa0\x80\"}", "invalid_utf8");
    check_fault(" ".repeat(2_001), "request_too_large | request_too_large 2001>2000");
    check_fault("[".repeat(2_000), "malformed_json");
}

#[test]
fn a_bad_envelope_is_refused_by_field() {
    let long = "x".repeat(129);
    for (fields, expected) in [
        ("", "missing_field | missing_field type @0"),
        (r#""type":null"#, "missing_field | missing_field type @0"),
        (r#""type":7"#, "invalid_event | invalid_field type @0 | missing_field type @0"),
        (r#""type":"""#, "invalid_field | invalid_field type @0"),
        (r#""type":"A.b""#, "invalid_field | invalid_field type @0"),
        (&format!(r#""type":"{}""#, "x".repeat(65)), "invalid_field | invalid_field type @0 65>64"),
        (r#""type":"presence.joined""#, "reserved | reserved type @0"),
        (r#""type":"session.lost""#, "reserved | reserved type @0"),
        (r#""type":"a","Type":"b""#, "unknown_field | unknown_field Type @0"),
        (r#""type":"a","type":"a""#, "duplicate_field | duplicate_field type @0"),
        (r#""type":"a","ty\u0070e":"a""#, "duplicate_field | duplicate_field type @0"),
        (r#""type":"a","data":1,"data":1"#, "duplicate_field | duplicate_field data @0"),
        (r#""type":"a","position":"1-1.abc""#, "reserved | reserved position @0"),
        (r#""type":"a","received":"x""#, "reserved | reserved received @0"),
        (r#""type":"a","was":[]"#, "reserved | reserved was @0"),
        (r#""type":"a","to":"me""#, "reserved | reserved to @0"),
        (r#""type":"a","project":null"#, "reserved | reserved project @0"),
        (r#""type":"a","seen":true"#, "reserved | reserved seen @0"),
        (r#""type":"a","id":"""#, "invalid_field | invalid_field id @0"),
        (r#""type":"a","id":5"#, "invalid_field | invalid_field id @0"),
        (r#""type":"a","id":"a\u0000b""#, "invalid_field | invalid_field id @0"),
        (r#""type":"a","session":"a\u0085b""#, "invalid_field | invalid_field session @0"),
        (r#""type":"a","agent":"a\nb""#, "invalid_field | invalid_field agent @0"),
        (r#""type":"a","parent":["a"]"#, "invalid_field | invalid_field parent @0"),
        (r#""type":"a","runner":"\ud800""#, "invalid_field | invalid_field runner @0"),
        (&format!(r#""type":"a","key":"{long}""#), "invalid_field | invalid_field key @0 129>128"),
        (r#""type":"a","time":"yesterday""#, "invalid_field | invalid_field time @0"),
        (r#""type":"a","time":1795165200"#, "invalid_field | invalid_field time @0"),
        (r#""type":"a","traceparent":"00-x""#, "invalid_field | invalid_field traceparent @0"),
        (r#""type":"a","producer":"p""#, "invalid_field | invalid_field producer @0"),
        (r#""type":"a","producer":{"id":"p","epoch":1}"#, "invalid_field | invalid_field producer @0"),
        (r#""type":"a","producer":{"id":"p","epoch":1,"seq":0}"#, "invalid_field | invalid_field producer @0"),
        (r#""type":"a","producer":{"id":"p","epoch":-1,"seq":1}"#, "invalid_field | invalid_field producer @0"),
        (
            r#""type":"a","producer":{"id":"p","epoch":1,"seq":9007199254740992}"#,
            "invalid_field | invalid_field producer @0",
        ),
        (r#""type":"a","producer":{"id":"p","epoch":1,"seq":1,"x":1}"#, "invalid_field | invalid_field producer @0"),
        (r#""type":"a","producer":{"id":"","epoch":1,"seq":1}"#, "invalid_field | invalid_field producer.id @0"),
    ] {
        check_fault(format!("{{{fields}}}"), expected);
    }
    for scalar in ["null", "true", "7", "-7", "7.5", r#""text""#] {
        check_fault(scalar, "invalid_event | invalid_event @0");
    }
}

#[test]
fn data_is_measured_without_white_space() {
    let data = |inside: usize, spaces: usize| {
        format!(r#"{{"type":"a","data":[{}"{}"]}}"#, " ".repeat(spaces), "x".repeat(inside))
    };
    assert_eq!(parse(data(296, 500).as_bytes()).map(|events| events.len()), Ok(1));
    check_fault(data(297, 0), "event_too_large | event_too_large data @0 301>300");
    assert!(parse(br#"{"type":"a","data":[[[[1]]]]}"#).is_ok());
    check_fault(r#"{"type":"a","data":[[[{"a":[]}]]]}"#, "data_too_deep | data_too_deep data @0 5>4");
    check_fault(
        format!(r#"{{"type":"a","data":{}{}}}"#, "[".repeat(900), "]".repeat(900)),
        "invalid_event | event_too_large data @0 1800>300 | data_too_deep data @0 900>4",
    );
}

#[test]
fn no_depth_of_nesting_hurts() {
    let limits = EventLimits::default();
    let mut next_id = String::new;
    let mut intake = Intake {
        limits: &limits,
        received_ms: 0,
        next_id: &mut next_id,
        default_runner: None,
        default_traceparent: None,
        idempotency_key: None,
    };
    let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
    let fault = parse_body(format!(r#"[{{"type":"a","data":{deep}}},{deep}]"#).as_bytes(), &mut intake);
    let fault = fault.expect_err("too deep");
    assert_eq!(
        summary(&fault),
        "invalid_event | event_too_large data @0 2000000>262144 | data_too_deep data @0 1000000>64 | invalid_event @1"
    );
}

#[test]
fn a_batch_with_bad_events_is_refused_as_a_whole_and_names_them_all() {
    check_fault(
        r#"[{"type":"a"},{"type":"log","session":"s","data":{"level":"loud"}},7,{"type":"a","x":1,"y":2}]"#,
        "invalid_event | invalid_field data.level @1 | missing_field data.message @1 | invalid_event @2 \
         | unknown_field x @3 | unknown_field y @3",
    );
    check_fault(
        r#"[{"type":"a"},{"type":"a","x":1},{"type":"a","y":1}]"#,
        "unknown_field | unknown_field x @1 | unknown_field y @2",
    );
}

#[test]
fn many_faults_are_counted_but_not_all_named() {
    let mut fields = String::new();
    for at in 0..150 {
        let _ = write!(fields, r#","x{at}":1"#);
    }
    let fault = parse(format!(r#"{{"type":"a"{fields}}}"#).as_bytes()).expect_err("unknown fields");
    assert_eq!(fault.errors.len(), FAULTS_MAX);
    assert!(fault.detail.ends_with("; 149 more"), "{}", fault.detail);
}

#[test]
fn a_fault_becomes_a_problem_that_says_what_was_expected() {
    let problem: Problem = parse(br#"{"type":"log","data":{"level":"loud","message":1}}"#).expect_err("faulty").into();
    let expected = concat!(
        r#"{"type":"urn:tidings:problem:invalid_event","title":"Events are not valid","status":422,"#,
        r#""detail":"event 0: `session`: events of this type need it; 2 more","code":"invalid_event","errors":["#,
        r#"{"index":0,"field":"session","code":"missing_field","detail":"events of this type need it"},"#,
        r#"{"index":0,"field":"data.level","code":"invalid_field","detail":"expected one of debug, info, success, warning, error"},"#,
        r#"{"index":0,"field":"data.message","code":"invalid_field","detail":"expected a string"}]}"#
    );
    assert_eq!(String::from_utf8(problem.to_json()).expect("UTF-8"), expected);
}

#[test]
fn a_clients_text_is_repeated_in_part_only() {
    let name = format!("\\u0007{}", "é".repeat(200));
    let fault = parse(format!(r#"{{"type":"a","{name}":1}}"#).as_bytes()).expect_err("unknown field");
    let field = fault.errors[0].field.clone().expect("the field's name");
    assert!(field.starts_with("\u{fffd}é") && field.len() <= 66, "{field:?}");
}

#[test]
fn known_types_are_validated_by_the_vocabulary() {
    for (event, expected) in [
        (r#""type":"agent.status","agent":"a","data":{"status":"idle"}"#, "missing_field | missing_field session @0"),
        (r#""type":"agent.status","session":"s","data":{"status":"idle"}"#, "missing_field | missing_field agent @0"),
        (
            r#""type":"agent.status","session":"s","agent":"a","data":{"status":"IDLE"}"#,
            "invalid_field | invalid_field data.status @0",
        ),
        (
            r#""type":"agent.status","session":"s","agent":"a","data":{"status":"idle","progress":100.5}"#,
            "invalid_field | invalid_field data.progress @0",
        ),
        (
            r#""type":"agent.status","session":"s","agent":"a","data":{"status":"idle","progress":"50"}"#,
            "invalid_field | invalid_field data.progress @0",
        ),
        (r#""type":"session.started","session":"s""#, "missing_field | missing_field data.title @0"),
        (
            r#""type":"session.started","session":"s","data":{"title":null}"#,
            "missing_field | missing_field data.title @0",
        ),
        (r#""type":"session.started","session":"s","data":"text""#, "invalid_field | invalid_field data @0"),
        (
            r#""type":"session.started","session":"s","data":{"title":"t","metadata":[]}"#,
            "invalid_field | invalid_field data.metadata @0",
        ),
        (
            r#""type":"session.failed","session":"s","data":{"error":"e","retryable":"yes"}"#,
            "invalid_field | invalid_field data.retryable @0",
        ),
        (
            r#""type":"message.delta","data":{"message_id":"","text":"t"}"#,
            "invalid_field | invalid_field data.message_id @0",
        ),
        (
            r#""type":"message.delta","data":{"message_id":7,"text":"t"}"#,
            "invalid_field | invalid_field data.message_id @0",
        ),
        (
            r#""type":"usage","session":"s","data":{"input_tokens":1.5,"output_tokens":-1}"#,
            "invalid_field | invalid_field data.input_tokens @0 | invalid_field data.output_tokens @0",
        ),
        (
            r#""type":"usage","session":"s","data":{"input_tokens":9007199254740992,"output_tokens":1}"#,
            "invalid_field | invalid_field data.input_tokens @0",
        ),
        (
            r#""type":"approval.requested","session":"s","data":{"approval_id":"a","question":"q","options":"o"}"#,
            "invalid_field | invalid_field data.options @0",
        ),
        (
            r#""type":"log","session":"s","data":{"level":"info","message":"m","details":1e999}"#,
            "invalid_field | invalid_field data @0",
        ),
    ] {
        check_fault(format!("{{{event}}}"), expected);
    }
    for good in [
        r#"{"type":"session.cancelled","session":"s"}"#,
        r#"{"type":"session.cancelled","session":"s","data":null}"#,
        r#"{"type":"session.cancelled","session":"s","data":{"reason":null,"more":1}}"#,
        r#"{"type":"log","session":"s","data":{"level":"in\u0066o","message":"cut in half \ud83d"}}"#,
        r#"{"type":"message.delta","data":{"message_id":"m","te\u0078t":"t"}}"#,
    ] {
        one(good);
    }
}

#[test]
fn gaps_are_reserved_but_for_what_a_producer_dropped() {
    let event = one(r#"{"type":"gap","data":{"cause":"producer_dropped","lost":12}}"#);
    let expected =
        wire::Gap { cause: "producer_dropped".into(), lost: Some(12), certain: true, ..wire::Gap::default() };
    assert_eq!(event.gap, Some(expected));
    let event = one(r#"{"type":"gap","data":{"cause":"producer_dropped","certain":false}}"#);
    assert_eq!(event.gap.map(|gap| (gap.lost, gap.certain)), Some((None, false)));
    for (data, expected) in [
        (r#"{"cause":"trimmed"}"#, "reserved | reserved data.cause @0"),
        (r#"{"cause":"failover","lost":"x"}"#, "reserved | reserved data.cause @0"),
        (r#"{"cause":"producer_dropped","after":"1-1.abcdefghijkl"}"#, "reserved | reserved data.after @0"),
        (r#"{"cause":"producer_dropped","lost":-1}"#, "invalid_field | invalid_field data.lost @0"),
        ("{}", "missing_field | missing_field data.cause @0"),
        ("null", "missing_field | missing_field data.cause @0"),
    ] {
        check_fault(format!(r#"{{"type":"gap","data":{data}}}"#), expected);
    }
}

#[test]
fn lanes_keys_and_spans_travel_beside_the_payload() {
    for (event, lane, key) in [
        (r#""type":"agent.status","session":"s","agent":"a","data":{"status":"idle"}"#, wire::Lane::Latest, "a/idle"),
        (
            r#""type":"agent.status","session":"s","agent":"a","key":"k","data":{"status":"idle"}"#,
            wire::Lane::Latest,
            "k/idle",
        ),
        (r#""type":"session.progress","session":"s","data":{"progress":1}"#, wire::Lane::Latest, "s"),
        (r#""type":"session.progress","session":"s","key":"k","data":{"progress":1}"#, wire::Lane::Latest, "k"),
        (r#""type":"message.delta","data":{"message_id":"m","text":""}"#, wire::Lane::Delta, "m"),
        (r#""type":"message.delta","key":"k","data":{"message_id":"m","text":""}"#, wire::Lane::Delta, "k/m"),
        (
            r#""type":"reasoning.step","session":"s","data":{"step":3,"total_steps":5,"content":"c"}"#,
            wire::Lane::Delta,
            "s/3",
        ),
        (r#""type":"mcp.server","data":{"server_id":"x\u0041","status":"up"}"#, wire::Lane::Latest, "xA"),
        (r#""type":"typing","data":{"user":"u","typing":true}"#, wire::Lane::Latest, "u"),
        (r#""type":"model.status""#, wire::Lane::Latest, ""),
        (r#""type":"my.own","key":"k""#, wire::Lane::Control, "k"),
    ] {
        let event = one(&format!("{{{event}}}"));
        assert_eq!((event.lane(), event.key.as_str()), (lane, key), "{}", json(&event));
    }
}

#[test]
fn the_joinable_text_is_where_the_span_says() {
    for (event, text) in [
        (r#""type":"message.delta","data":{ "message_id" : "m" , "text" : "a\n\u00e9 é" , "x":1}"#, r"a\n\u00e9 é"),
        (r#""type":"message.delta","data":{"text":"","message_id":"m"}"#, ""),
        (r#""type":"message.delta","data":{"text":"a","message_id":"m","text":"b"}"#, "b"),
        (r#""type":"reasoning.step","data":{"step":3,"total_steps":5,"content":" c "}"#, " c "),
    ] {
        let event = one(&format!("{{{event}}}"));
        let span = event.text.expect("a delta has text");
        let (offset, length) = (span.offset as usize, span.length as usize);
        assert_eq!(&json(&event)[offset..offset + length], text);
    }
    assert_eq!(
        one(r#"{"type":"message.completed","session":"s","data":{"message_id":"m","role":"user","text":"t"}}"#).text,
        None
    );
}

#[test]
fn effects_are_those_of_the_fold() {
    let event = one(r#"{"type":"agent.started","session":"s","agent":"a","parent":"p","data":{"name":"\ud83d!"}}"#);
    let set = |path: &[&str], value: &str| {
        event
            .effects
            .iter()
            .any(|effect| effect.op() == Op::Set && effect.path == path && effect.value == value.as_bytes())
    };
    assert!(set(&["agents", "a", "name"], "\"\u{fffd}!\""), "{:?}", event.effects);
    assert!(set(&["agents", "a", "started"], &format!("\"{RECEIVED}\"")), "{:?}", event.effects);
    assert!(set(&["agents", "a", "parent"], "\"p\""), "{:?}", event.effects);
}

#[test]
fn ids_under_an_idempotency_key_are_the_same_for_every_retry() {
    let ids = |key: &str, body: &str| -> Vec<String> {
        let events = with_key(Some(key), |intake| parse_body(body.as_bytes(), intake)).expect(body);
        assert!(events.iter().all(|event| event.id_from_runner && event.id.len() <= 128));
        events.into_iter().map(|event| event.id).collect()
    };
    let first = ids("k", r#"[{"type":"a","data":{"x": 1}},{"type":"a","data":{"x": 1}},{"type":"a","id":"own"}]"#);
    assert_ne!(first[0], first[1], "equal events of one request are two events");
    assert_eq!(first[2], "own");
    let traced =
        r#"{"type":"a","data":{"x":1},"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}"#;
    assert_eq!(ids("k", traced)[0], first[0], "white space and the trace do not count");
    assert_ne!(ids("k2", traced)[0], first[0]);
    assert_ne!(ids("k", r#"{"type":"b","data":{"x":1}}"#)[0], first[0]);
    assert_ne!(ids("k", r#"{"type":"a","data":{"x":2}}"#)[0], first[0]);
    assert_ne!(ids("k", r#"{"type":"a","session":"s","data":{"x":1}}"#)[0], first[0]);
    let line = with_key(Some("k"), |intake| parse_line(br#"{"type":"a","data":{"x":1}}"#, 1, intake)).expect("a line");
    assert_eq!(line.id, first[1], "a line's index counts like an array's");
}

#[test]
fn an_event_of_a_producer_gets_its_id_from_it() {
    let event = one(r#"{"type":"a","producer":{"id":"p","epoch":2,"seq":3}}"#);
    assert_eq!((event.id.as_str(), event.id_from_runner), ("p:2:3", true));
}

#[test]
fn lines_are_single_events_with_their_own_limit() {
    let line = |line: &str| with(|intake| parse_line(line.as_bytes(), 41, intake)).map_err(|fault| summary(&fault));
    assert_eq!(line(r#" {"type":"a"} "#).map(|event| event.r#type), Ok("a".to_owned()));
    assert_eq!(line(r#"[{"type":"a"}]"#), Err("invalid_event | invalid_event @41".to_owned()));
    assert_eq!(line(r#"{"type":"a","x":1}"#), Err("unknown_field | unknown_field x @41".to_owned()));
    assert_eq!(line(r#"{"type":"a""#), Err("malformed_json".to_owned()));
    assert_eq!(line(&" ".repeat(501)), Err("line_too_large | line_too_large 501>500".to_owned()));
}

#[test]
fn idempotency_keys_are_checked() {
    assert_eq!(check_idempotency_key("0e8f2a6c"), Ok(()));
    assert_eq!(check_idempotency_key(&"x".repeat(256)), Ok(()));
    for bad in ["", "a\u{7f}b", &"x".repeat(257)] {
        assert_eq!(check_idempotency_key(bad).map_err(|fault| fault.code), Err(ErrorCode::InvalidHeader));
    }
}

/// Redacts with the built-in rules and one of our own.
fn redacted(event: &mut wire::Event) -> Result<crate::redact::Counts, Fault> {
    let own = [crate::redact::OwnRule { name: "m".into(), pattern: "msg-[0-9]+".into() }];
    let redactor = crate::redact::Redactor::new(true, &own).expect("good rules");
    let mut counts = crate::redact::Counts::default();
    let limits = EventLimits { data_bytes_max: 300, ..EventLimits::default() };
    redact(event, &redactor, &limits, &mut counts).map(|()| counts)
}

#[test]
fn redaction_reaches_all_that_is_stored() {
    let mut event = one(
        r#"{"type":"message.delta","id":"x","session":"s","agent":"a","data":{"message_id":"msg-1","text":"use password=hunter2 ,\"data\": ok"}}"#,
    );
    let fields = event.fields;
    assert_eq!(redacted(&mut event).expect("room").total(), 2);
    let expected = r#"{"type":"message.delta","id":"x","time":"2026-11-20T09:00:00.123Z","session":"s","agent":"a","received":"2026-11-20T09:00:00.123Z","data":{"message_id":"[redacted:m]","text":"use [redacted:password] ,\"data\": ok"}}"#;
    assert_eq!(without_times(json(&event)), without_times(expected));
    assert_eq!((event.fields, &*event.id), (fields, "x"));
    assert!(event.key.contains("[redacted:m]") && !event.key.contains("msg-1"), "{}", event.key);
    let span = event.text.expect("joinable text");
    let text = &json(&event)[span.offset as usize..(span.offset + span.length) as usize];
    assert_eq!(text, r#"use [redacted:password] ,\"data\": ok"#);

    let mut event =
        one(r#"{"type":"log","session":"s","parent":"p","data":{"level":"info","message":"password=hunter2"}}"#);
    redacted(&mut event).expect("room");
    let stored = format!("{event:?}");
    assert!(stored.contains("[redacted:password]") && !stored.contains("hunter2"), "{stored}");
    assert!(!event.effects.is_empty());
}

/// With the times' digits gone.
fn without_times(json: &str) -> String {
    let (mut out, mut rest) = (String::new(), json);
    for name in ["\"time\":\"", "\"received\":\""] {
        let at = rest.find(name).expect(name) + name.len();
        out.push_str(&rest[..at]);
        rest = &rest[at + rest[at..].find('"').expect("an end")..];
    }
    out + rest
}

#[test]
fn redaction_leaves_all_else_as_it_is() {
    for body in [
        r#"{"type":"log","session":"s","data":{"level":"info","message":"nothing to hide"}}"#,
        r#"{"type":"my.own"}"#,
        r#"{"type":"my.own","data":null}"#,
    ] {
        let mut event = one(body);
        let before = event.clone();
        assert_eq!(redacted(&mut event).expect("room").total(), 0);
        assert_eq!(event, before);
    }
}

#[test]
fn marks_that_find_no_room_refuse_the_event() {
    let many = vec!["\"msg-1\""; 30].join(",");
    let mut event = one(&format!(r#"{{"type":"my.own","data":[{many}]}}"#));
    let before = event.clone();
    let fault = redacted(&mut event).expect_err("too large");
    assert_eq!(summary(&fault), "event_too_large | event_too_large data 451>300");
    assert_eq!(event, before);
}
