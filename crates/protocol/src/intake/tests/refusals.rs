//! What is refused, by which field, and what its problem says.

use std::fmt::Write as _;

use super::*;

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
