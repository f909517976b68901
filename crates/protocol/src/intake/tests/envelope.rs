//! The envelope: what is taken as it is, what is added, and ids.

use super::*;

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
