//! Redaction of what was taken.

use super::*;

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
