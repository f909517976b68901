use super::*;
use crate::limits::EventLimits;

fn with<R>(run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    let limits = EventLimits { request_bytes_max: 1_000, ..EventLimits::default() };
    let mut next_id = || "unused".to_owned();
    run(&mut Intake {
        limits: &limits,
        received_ms: 0,
        next_id: &mut next_id,
        default_runner: None,
        default_traceparent: None,
        idempotency_key: None,
    })
}

/// The code of the whole, and code and field of each fault.
fn summary(fault: &Fault) -> String {
    let faults = fault.errors.iter().map(|e| format!(" | {} {}", e.code, e.field.as_deref().unwrap_or_default()));
    format!("{}{}", fault.code, faults.collect::<String>())
}

fn structured(body: &str) -> Result<wire::Event, String> {
    with(|intake| parse_structured(body.as_bytes(), intake)).map_err(|fault| summary(&fault))
}

/// The JSON of `data`, from an event that has some.
fn data(event: &wire::Event) -> &str {
    let json = std::str::from_utf8(&event.json).expect("events are UTF-8");
    json.split_once(",\"data\":").expect("an event with data").1.strip_suffix('}').expect("an object")
}

#[test]
fn a_structured_event_keeps_time_data_and_extensions() {
    let event = structured(
        r#"{"specversion":"1.0","id":"A234","source":"/runner/7","type":"agent.status","time":"2026-11-20T09:00:00.5+01:00",
            "subject":"x","datacontenttype":"application/json","dataschema":"urn:x","session":"s","agent":"a","parent":"p",
            "runner":"r","key":"k","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","other":7,
            "data":{"status": "idle"}}"#,
    )
    .expect("a CloudEvent");
    assert_eq!(
        std::str::from_utf8(&event.json),
        Ok(concat!(
            r#"{"type":"agent.status","id":"e84f39ef37fc10d4-A234","time":"2026-11-20T09:00:00.5+01:00","#,
            r#""session":"s","agent":"a","parent":"p","runner":"r","key":"k","#,
            r#""traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","#,
            r#""received":"1970-01-01T00:00:00.000Z","data":{"status":"idle"}}"#
        ))
    );
    assert!(event.id_from_runner);
    assert_eq!(event.key, "k/idle");
}

#[test]
fn ids_are_unique_by_source_and_id_and_hashed_when_long() {
    let id = |source: &str, id: &str| {
        structured(&format!(r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"a"}}"#)).expect("good").id
    };
    assert_ne!(id("/a", "1"), id("/b", "1"));
    assert_eq!(id("/a", "1"), id("/a", "1"));
    assert!(id("/a", &"x".repeat(64)).ends_with(&"x".repeat(64)));
    assert_eq!(id("/a", &"x".repeat(65)).len(), SOURCE_HASH_LEN + 1 + 40);
}

#[test]
fn base64_data_is_json_text_or_stays_base64() {
    let event = |content_type: &str, base64: &str| {
        let content_type = format!(r#""datacontenttype":"{content_type}","#);
        let known = r#""specversion":"1.0","id":"1","source":"/a","type":"a""#;
        structured(&format!(r#"{{{content_type}{known},"data_base64":"{base64}"}}"#))
    };
    assert_eq!(event("application/json", "eyJhIjogMX0=").as_ref().map(data), Ok(r#"{"a":1}"#));
    assert_eq!(event("application/vnd.x+json", "eyJhIjogMX0=").as_ref().map(data), Ok(r#"{"a":1}"#));
    assert_eq!(event("text/plain", "YSJi").as_ref().map(data), Ok(r#""a\"b""#));
    assert_eq!(event("image/png", "/////w==").as_ref().map(data), Ok(r#""/////w==""#));
    assert_eq!(event("text/plain; charset=latin1", "/w==").as_ref().map(data), Ok(r#""/w==""#));
    assert_eq!(event("application/json", "ew=="), Err("malformed_json | malformed_json data_base64".into()));
    assert_eq!(event("text/plain", "/w=="), Err("invalid_utf8 | invalid_utf8 data_base64".into()));
    assert_eq!(event("text/plain", "*"), Err("invalid_field | invalid_field data_base64".into()));
}

#[test]
fn errors_name_the_attribute() {
    for (body, expected) in [
        (
            "{}",
            "missing_field | missing_field specversion | missing_field id | missing_field source | missing_field type",
        ),
        (r#"{"specversion":"0.3","id":"1","source":"/a","type":"a"}"#, "invalid_field | invalid_field specversion"),
        (
            r#"{"specversion":"1.0","id":"","source":"","type":"a"}"#,
            "invalid_field | invalid_field id | invalid_field source",
        ),
        (
            r#"{"specversion":"1.0","id":7,"source":"/a","type":"a"}"#,
            "invalid_event | invalid_field id | missing_field id",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/a","type":"com.Example.x"}"#,
            "invalid_field | invalid_field type",
        ),
        (r#"{"specversion":"1.0","id":"1","source":"/a","type":"presence.left"}"#, "reserved | reserved type"),
        (
            r#"{"specversion":"1.0","id":"1","source":"/a","type":"a","session":5}"#,
            "invalid_field | invalid_field session",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/a","type":"a","time":"now"}"#,
            "invalid_field | invalid_field time",
        ),
        (r#"{"specversion":"1.0","id":"1","id":"1","source":"/a","type":"a"}"#, "duplicate_field | duplicate_field id"),
        (
            r#"{"specversion":"1.0","id":"1","source":"/a","type":"a","data":1,"data_base64":"MQ=="}"#,
            "invalid_field | invalid_field data_base64",
        ),
        (
            r#"{"specversion":"1.0","id":"1","source":"/a","type":"log","data":{"level":"info","message":"m"}}"#,
            "missing_field | missing_field session",
        ),
        ("[]", "invalid_event | invalid_event "),
        ("{", "malformed_json"),
    ] {
        assert_eq!(structured(body), Err(expected.to_owned()), "{body}");
    }
}

#[test]
fn a_batch_is_taken_or_refused_as_a_whole() {
    let batch = |body: &str| with(|intake| parse_batch(body.as_bytes(), intake)).map_err(|fault| summary(&fault));
    let good = r#"{"specversion":"1.0","id":"1","source":"/a","type":"a"}"#;
    assert_eq!(batch(&format!("[{good},{good}]")).map(|events| events.len()), Ok(2));
    assert_eq!(batch(&format!("[{good},7]")), Err("invalid_event | invalid_event ".to_owned()));
    assert_eq!(batch("[]"), Err("empty_batch".to_owned()));
    assert_eq!(batch(good), Err("invalid_event".to_owned()));
}

fn binary(headers: &[(&str, &[u8])], content_type: Option<&str>, body: &[u8]) -> Result<wire::Event, String> {
    let known: [(&str, &[u8]); 5] = [
        ("ce-specversion", b"1.0"),
        ("CE-Id", b"1"),
        ("ce-source", b"/a"),
        ("ce-type", b"a"),
        ("content-length", b"1"),
    ];
    let headers = known.iter().chain(headers).copied();
    with(|intake| parse_binary(headers, content_type, body, intake)).map_err(|fault| summary(&fault))
}

#[test]
fn binary_data_is_what_its_media_type_says() {
    for (content_type, body, expected) in [
        (Some("application/json"), &b" {\"a\": [1 ]} "[..], r#"{"a":[1]}"#),
        (None, b"1", "1"),
        (Some("Application/X+JSON; charset=UTF-8"), b"null", "null"),
        (Some("text/csv"), "a;\"é\"\n".as_bytes(), r#""a;\"é\"\n""#),
        (Some("text/plain; charset=iso-8859-1"), b"\xe9", r#""6Q==""#),
        (Some("application/octet-stream"), b"\0\x01", r#""AAE=""#),
    ] {
        assert_eq!(binary(&[], content_type, body).as_ref().map(data), Ok(expected), "{content_type:?}");
    }
    let empty = binary(&[], Some("application/json"), b"").expect("an event without data");
    assert!(!std::str::from_utf8(&empty.json).expect("UTF-8").contains("data"));
    assert_eq!(binary(&[], None, b"{"), Err("malformed_json".to_owned()));
    assert_eq!(binary(&[], None, b"\xff"), Err("invalid_utf8".to_owned()));
    assert_eq!(binary(&[], Some("text/plain"), b"\xff"), Err("invalid_utf8".to_owned()));
    assert_eq!(binary(&[], None, &[b' '; 1_001]), Err("request_too_large | request_too_large ".to_owned()));
}

#[test]
fn binary_attributes_are_unquoted_and_percent_decoded() {
    let session = |value: &[u8]| binary(&[("ce-session", value)], None, b"").map(|event| event.session);
    assert_eq!(session(b"plain text").as_deref(), Ok("plain text"));
    assert_eq!(session(b"Euro%20%E2%82%ac%25").as_deref(), Ok("Euro €%"));
    assert_eq!(session(br#""a\"b\\c %22""#).as_deref(), Ok(r#"a"b\c ""#));
    assert_eq!(session(br"a\b").as_deref(), Ok(r"a\b"));
    for bad in [&b"%"[..], b"%4", b"%zz", b"%+1", b"%ff", b"\xff", b"%00", b"", br#""\""#] {
        assert_eq!(session(bad), Err("invalid_field | invalid_field session".to_owned()), "{bad:?}");
    }
    assert_eq!(
        binary(&[("ce-id", b"2")], None, b"").map(|event| event.id),
        Err("duplicate_field | duplicate_field id".to_owned())
    );
    assert_eq!(
        binary(&[("ce-other", b"%"), ("ce", b"x"), ("\u{e9}e-x", b"")], None, b"").map(|event| event.session),
        Ok(String::new())
    );
}
