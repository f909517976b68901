//! Properties of the intake that hold for any bytes and any event.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_protocol::frames::{Marks, write_event};
use tidings_protocol::intake::{Fault, Intake, cloudevents, parse_body, parse_line};
use tidings_protocol::limits::EventLimits;
use tidings_protocol::wire;

fn with<R>(run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    let limits = EventLimits::default();
    let mut next_id = || "01JD0000000000000000000000".to_owned();
    run(&mut Intake {
        limits: &limits,
        received_ms: 1_795_165_200_123,
        next_id: &mut next_id,
        default_runner: None,
        default_traceparent: None,
        idempotency_key: Some("key"),
    })
}

fn parse(body: &[u8]) -> Result<Vec<wire::Event>, Fault> {
    with(|intake| parse_body(body, intake))
}

/// JSON that a generic writer would not produce: odd numbers, escapes, doubled names, white space everywhere.
/// Pairs of the text as it is sent and without white space.
fn raw_json() -> impl Strategy<Value = (String, String)> {
    let space = || "[ \t\r\n]{0,3}";
    let number = "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?";
    let string = r#""([ a-z\{\}\[\]:,é€😀]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,12}""#;
    let scalar = prop_oneof![
        number.prop_map(String::from),
        string.prop_map(String::from),
        Just("null".into()),
        Just("true".into())
    ];
    let leaf = scalar.prop_map(|text: String| (text.clone(), text));
    leaf.prop_recursive(4, 32, 6, move |inner| {
        let spaced =
            (space(), inner, space()).prop_map(|(before, (sent, kept), after)| (before + &sent + &after, kept));
        let member = (space(), string, space(), spaced.clone()).prop_map(|(before, name, after, (sent, kept))| {
            (format!("{before}{name}{after}:{sent}"), format!("{name}:{kept}"))
        });
        let join = |parts: Vec<(String, String)>, open: &str, close: &str| {
            let (sent, kept): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            (format!("{open}{}{close}", sent.join(",")), format!("{open}{}{close}", kept.join(",")))
        };
        prop_oneof![
            proptest::collection::vec(spaced, 0..6).prop_map(move |parts| join(parts, "[", "]")),
            proptest::collection::vec(member, 0..6).prop_map(move |parts| join(parts, "{", "}")),
        ]
    })
}

/// A piece of what an event looks like, so that random texts get far into the parser.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#"{"type":"log","session":"s","data":{"level":"info","message":"m"}}"#.to_owned()),
        Just(r#""type":"message.delta","data":{"message_id":"m","text":"\ud83d"}"#.to_owned()),
        Just(r#""producer":{"id":"p","epoch":1,"seq":1}"#.to_owned()),
        Just(r#""specversion":"1.0","id":"1","source":"/a","data_base64":"AAE=""#.to_owned()),
        "[\\[\\]{}:,\"\\\\ 0-9a-z.]{0,3}".prop_map(String::from),
        "\\PC{0,6}".prop_map(String::from),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = with(|intake| parse_line(&bytes, 0, intake));
        let _ = with(|intake| cloudevents::parse_structured(&bytes, intake));
        let _ = with(|intake| cloudevents::parse_batch(&bytes, intake));
        let headers = [("ce-specversion", &b"1.0"[..]), ("ce-id", &bytes), ("ce-source", &bytes), ("ce-type", b"a")];
        let _ = with(|intake| cloudevents::parse_binary(headers, None, &bytes, intake));
    }

    #[test]
    fn any_near_event_is_answered(parts in proptest::collection::vec(fragment(), 0..8)) {
        let text = parts.concat();
        for body in [text.clone(), format!("{{{text}}}"), format!("[{{{text}}}]")] {
            match parse(body.as_bytes()) {
                Ok(events) => for event in events {
                    serde_json::from_slice::<&serde_json::value::RawValue>(&event.json).expect("delivered JSON is JSON");
                },
                Err(fault) => prop_assert!(!fault.detail.is_empty()),
            }
            let _ = with(|intake| cloudevents::parse_structured(body.as_bytes(), intake));
        }
    }

    #[test]
    fn data_passes_byte_for_byte_but_for_white_space((sent, kept) in raw_json(), before in "[ \t\r\n]{0,3}") {
        let body = format!("{{\"data\":{before}{sent}{before},\"type\":\"my.own\"}}");
        let events = parse(body.as_bytes()).expect("valid JSON as data of an unknown type");
        let json = std::str::from_utf8(&events[0].json).expect("events are UTF-8");
        let (_, data) = json.split_once(",\"data\":").expect("data is delivered");
        prop_assert_eq!(data, format!("{kept}}}"));
    }

    /// What was sent is what a viewer reads, and the delivered envelope without the server's fields is taken again.
    #[test]
    fn an_event_round_trips(
        names in proptest::collection::vec("[^\\p{Cc}]{1,20}", 6),
        text in any::<String>(),
        progress in 0..=100_u8,
    ) {
        let [id, session, agent, parent, runner, key] = names.try_into().expect("six names");
        let sent = json!({
            "type": "agent.status", "id": id, "time": "2026-11-20T09:00:00Z", "session": session, "agent": agent,
            "parent": parent, "runner": runner, "key": key,
            "data": {"status": "idle", "progress": progress, "message": text},
        });
        let event = parse(sent.to_string().as_bytes()).expect("a good event").remove(0);
        prop_assert_eq!(&event.id, &id);
        prop_assert_eq!(&event.session, &session);
        prop_assert_eq!(&event.agent, &agent);
        let mut delivered = Vec::new();
        let project = "p".parse().expect("a project's name");
        let position = "7-7.abcdefghijkl".parse().expect("a position");
        write_event(&project, position, &event, Marks::default(), &mut delivered);
        let mut read: Value = serde_json::from_slice(&delivered).expect("delivered JSON");
        for (field, expected) in
            [("received", "2026-11-20T09:00:00.123Z"), ("project", "p"), ("position", "7-7.abcdefghijkl")]
        {
            let value = read.as_object_mut().expect("an object").remove(field);
            prop_assert_eq!(value, Some(json!(expected)));
        }
        prop_assert_eq!(&read, &sent);
        let again = parse(read.to_string().as_bytes()).expect("a good event").remove(0);
        prop_assert_eq!(&again.effects, &event.effects);
        prop_assert_eq!((again.fields, &again.key), (event.fields, &event.key));
    }

    /// The joinable text can be cut out and joined without parsing.
    #[test]
    fn the_span_is_the_inside_of_the_text(text in any::<String>(), other in raw_json()) {
        let body = format!(r#"{{"type":"message.delta","data":{{"x":{},"message_id":"m","text":{}}}}}"#, other.0, json!(text));
        let event = parse(body.as_bytes()).expect("a good event").remove(0);
        let span = event.text.expect("a delta has text");
        let (start, end) = (span.offset as usize, (span.offset + span.length) as usize);
        let inside = std::str::from_utf8(&event.json[start..end]).expect("a span is UTF-8");
        prop_assert_eq!(serde_json::from_str::<String>(&format!("\"{inside}\"")).expect("a string"), text);
    }

    /// A batch gives the same events as its members one by one.
    #[test]
    fn a_batch_is_its_events(count in 1..20_usize, data in raw_json()) {
        let event = format!(r#"{{"type":"my.own","id":"same","data":{}}}"#, data.0);
        let alone = parse(event.as_bytes()).expect("a good event");
        let batch = parse(format!("[{}]", vec![event; count].join(" , ")).as_bytes()).expect("a good batch");
        prop_assert_eq!(batch, vec![alone[0].clone(); count]);
    }
}
