use proptest::prelude::*;
use serde_json::json;

use super::super::payload;
use super::*;

#[test]
fn the_texts_of_the_libraries_are_read() {
    let root = || "/".to_owned();
    let event =
        |id, name: &str, arguments| Said::Event(Event { namespace: root(), id, name: name.to_owned(), arguments });
    let table = [
        ("0", Said::Connect { namespace: root(), auth: None }),
        (r#"0{"token":"x"}"#, Said::Connect { namespace: root(), auth: Some(json!({ "token": "x" })) }),
        ("0/admin,", Said::Connect { namespace: "/admin".to_owned(), auth: None }),
        ("1/admin", Said::Disconnect { namespace: "/admin".to_owned() }),
        ("0/admin?token=1,{}", Said::Connect { namespace: "/admin".to_owned(), auth: Some(json!({})) }),
        (r#"2["hi",1,null]"#, event(None, "hi", vec![json!(1), json!(null)])),
        (r#"212["hi"]"#, event(Some(12), "hi", vec![])),
        ("312[]", Said::Ack { namespace: root(), id: 12, arguments: vec![] }),
        (r#"51-["x",{"_placeholder":true,"num":0}]"#, Said::Binary),
    ];
    for (text, said) in table {
        assert_eq!(Said::parse(text), Ok(said), "{text}");
    }
    for text in [
        "",
        "7",
        "2",
        "2{}",
        "2[]",
        "2[1]",
        "3[]",
        "0[]",
        "1{}",
        "4",
        "299999999999999999999[\"a\"]",
        "2[\"disconnect\"]",
    ] {
        assert_eq!(Said::parse(text), Err(NotAPacket), "{text}");
    }
}

#[test]
fn an_event_of_the_root_namespace_is_found_in_a_packet() {
    assert_eq!(super::event(r#"42["a"]"#).map(|event| event.name).as_deref(), Some("a"));
    assert_eq!(super::event(r#"42/x,["a"]"#), None);
    assert_eq!(super::event("40"), None);
}

#[test]
fn a_payload_is_parted_at_its_separators() {
    assert_eq!(payload::split("40\u{1e}42[\"a\"]", 8), Some(vec!["40", "42[\"a\"]"]));
    assert_eq!(payload::split("", 8), None);
    assert_eq!(payload::split("2\u{1e}", 8), None);
    assert_eq!(payload::split("2\u{1e}2\u{1e}2", 2), None);
    assert_eq!(payload::join(&["2", "6"]), "2\u{1e}6");
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(".*", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn objects() -> impl Strategy<Value = Value> {
    prop::collection::hash_map(".*", json_values(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn said() -> impl Strategy<Value = Said> {
    let names = || prop_oneof![Just("/".to_owned()), "/[a-z/]{1,20}"];
    let lists = || prop::collection::vec(json_values(), 0..4);
    prop_oneof![
        (names(), prop::option::of(objects())).prop_map(|(namespace, auth)| Said::Connect { namespace, auth }),
        names().prop_map(|namespace| Said::Disconnect { namespace }),
        (names(), prop::option::of(any::<u64>()), "[a-z_]{1,8}[0-9]", lists())
            .prop_map(|(namespace, id, name, arguments)| Said::Event(Event { namespace, id, name, arguments })),
        (names(), any::<u64>(), lists()).prop_map(|(namespace, id, arguments)| Said::Ack { namespace, id, arguments }),
        (names(), objects()).prop_map(|(namespace, data)| Said::ConnectError { namespace, data }),
        Just(Said::Binary),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same(said in said(), text in ".*") {
        prop_assert_eq!(Said::parse(&said.text()), Ok(said.clone()));
        let packet = Packet::Message(said.text());
        prop_assert_eq!(Packet::parse(&packet.text()), Ok(packet.clone()));
        // In a payload it stays one packet.
        let body = payload::join(&[packet.text(), "2".to_owned()]);
        let text_of = packet.text();
        prop_assert_eq!(payload::split(&body, 8), Some(vec![text_of.as_str(), "2"]));
        for packet in [Packet::Ping(text.clone()), Packet::Pong(text.clone()), Packet::Open(text)] {
            prop_assert_eq!(Packet::parse(&packet.text()), Ok(packet.clone()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".*") {
        if let Ok(said) = Said::parse(&text) && said != Said::Binary {
            prop_assert_eq!(Said::parse(&said.text()), Ok(said));
        }
    }
}

#[test]
fn packets_are_bounded() {
    let event = |arguments: usize| format!("2[\"a\"{}]", ",1".repeat(arguments));
    assert!(Said::parse(&event(ARGUMENTS_MAX - 1)).is_ok());
    assert_eq!(Said::parse(&event(ARGUMENTS_MAX)), Err(NotAPacket));
    let connect = |bytes: usize| format!("0/{},", "n".repeat(bytes - 1));
    assert!(Said::parse(&connect(NAMESPACE_BYTES_MAX)).is_ok());
    assert_eq!(Said::parse(&connect(NAMESPACE_BYTES_MAX + 1)), Err(NotAPacket));
}

#[test]
fn no_event_has_a_name_of_the_library() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert_eq!(Said::parse(&format!("2[\"{name}\"]")), Err(NotAPacket), "{name}");
    }
}
