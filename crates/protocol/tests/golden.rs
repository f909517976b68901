//! Bytes that earlier versions wrote: a log outlives the binary that wrote it, so they must decode to the same for ever,
//! and encode to the same again.
//!
//! A new case is added by a line with `check` and one run with `TIDINGS_NEW_GOLDEN=1`, which writes files that are not
//! there yet. A file that exists is never written: if it does not fit, the format broke.

use std::fmt::Debug;
use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::wire;
use tidings_protocol::wire::effect::Op;

/// An event with every field set that was there from the beginning.
fn full_event() -> wire::Event {
    let effect = |op: Op| wire::Effect {
        op: op.into(),
        project: op == Op::Add,
        path: vec!["agents".into(), "Bücher".into()],
        value: Bytes::from_static(br#"{"a":1}"#),
        number: -12_345_678_901,
        limit: 200,
    };
    wire::Event {
        json: Bytes::from_static(br#"{"type":"message.delta","id":"e1","data":{"message_id":"m","text":"hi"}}"#),
        r#type: "message.delta".into(),
        id: "e1".into(),
        id_from_runner: true,
        session: "s".into(),
        agent: "a".into(),
        lane: wire::Lane::Delta.into(),
        key: "m".into(),
        fields: 0xe45e_30e4_e84b_46f6,
        received_ms: 1_795_165_200_123,
        effects: [Op::Set, Op::SetOnce, Op::Add, Op::Push, Op::Delete].map(effect).into(),
        was: vec!["1763630000123-48211.k3f9a7c2m4xq".into(), "1763630000124-48215.aaaaaaaaaaaa".into()],
        to: "viewer-1".into(),
        producer: Some(wire::Producer { id: "p".into(), epoch: 3, seq: (1 << 53) - 1 }),
        gap: Some(wire::Gap {
            after: "0-0".into(),
            before: "1763630000123-48211.k3f9a7c2m4xq".into(),
            cause: "producer_dropped".into(),
            lost: Some(0),
            certain: true,
        }),
        text: Some(wire::TextSpan { offset: 66, length: 2 }),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        // Added later; `event_sent.bin` has it.
        sent_ms: 0,
        // Added later; `event_guard.bin` has it.
        guard: None,
    }
}

fn batch() -> wire::Batch {
    let bare = wire::Event { json: Bytes::from_static(br#"{"type":"a"}"#), r#type: "a".into(), ..Default::default() };
    wire::Batch { events: vec![full_event(), bare] }
}

fn message(batch: Option<wire::Batch>, fork: Option<wire::Fork>) -> wire::Message {
    let (position, count) = match fork {
        Some(_) => ("1763630000123-48211.bbbbbbbbbbbb", 1),
        None => ("1763630000123-48212.k3f9a7c2m4xq", 2),
    };
    wire::Message {
        position: position.into(),
        prev: "1763630000000-48210.k3f9a7c2m4xq".into(),
        count,
        total_bytes: 987_654_321,
        batch,
        fork,
    }
}

fn check<M: Message + Default + PartialEq + Debug>(name: &str, value: &M) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("TIDINGS_NEW_GOLDEN").is_some() && !path.exists() {
        std::fs::write(&path, value.encode_to_vec()).expect("a golden file can be written");
    }
    let golden = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let decoded = M::decode(golden.as_slice()).expect("golden bytes decode");
    assert_eq!(&decoded, value, "{name} decodes to something else");
    assert_eq!(decoded.encode_to_vec(), golden, "{name} encodes to something else");
}

#[test]
fn events_keep_their_encoding() {
    check("event.bin", &full_event());
    check("event_sent.bin", &wire::Event { sent_ms: 1_795_165_200_100, ..full_event() });
    let guard = wire::Guard { key: "c:cmd-1".into(), until_ms: 1_795_251_600_123, note: "completed by r-1".into() };
    check("event_guard.bin", &wire::Event { guard: Some(guard), ..full_event() });
    check("batch.bin", &batch());
}

#[test]
fn messages_keep_their_encoding() {
    let fork = wire::Fork {
        closed: "k3f9a7c2m4xq".into(),
        survived: "1763630000000-48210.k3f9a7c2m4xq".into(),
        kind: "failover".into(),
    };
    check("message_batch.bin", &message(Some(batch()), None));
    check("message_elsewhere.bin", &message(None, None));
    check("message_fork.bin", &message(None, Some(fork)));
}

/// The layer above reads the same bytes.
#[test]
fn entries_are_read_from_golden_messages() {
    let read = |name: &str| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let bytes = Bytes::from(std::fs::read(path).expect("a golden file"));
        let entry = Entry::from_message(bytes.clone()).expect("a golden message is an entry");
        assert_eq!(entry.to_message(), bytes);
        entry
    };
    assert_eq!(read("message_batch.bin").body, Body::Events(batch().events));
    assert_eq!(read("message_elsewhere.bin").body, Body::Elsewhere(2));
    assert!(matches!(read("message_fork.bin").body, Body::Fork(_)));
}

/// A newer version adds fields: this one must skip them and read the rest.
#[test]
fn unknown_fields_are_skipped() {
    let mut bytes = full_event().encode_to_vec();
    prost::encoding::string::encode(999, &"new".to_owned(), &mut bytes);
    assert_eq!(wire::Event::decode(bytes.as_slice()).expect("a newer event"), full_event());
}
