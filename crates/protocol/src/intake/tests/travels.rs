//! What travels beside the payload: validity by type, lanes, keys, spans and effects.

use super::*;
use crate::wire::effect::Op;

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
            r#""type":"approval.requested","session":"s","data":{"approval_id":"a","question":"?","options":[],"deadline":"soon"}"#,
            "invalid_field | invalid_field data.deadline @0",
        ),
        (
            r#""type":"approval.requested","session":"s","data":{"approval_id":"a","question":"?","options":[],"deadline":5}"#,
            "invalid_field | invalid_field data.deadline @0",
        ),
        (
            r#""type":"approval.requested","session":"s","data":{"approval_id":"a","question":"?","options":[],"deadline":"2026-13-01T00:00:00Z"}"#,
            "invalid_field | invalid_field data.deadline @0",
        ),
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
fn when_it_was_sent_is_the_runners_word_within_bounds() {
    const HOUR_MS: u64 = 3_600_000;
    for (time, expected) in [
        (RECEIVED_MS - 1_234, RECEIVED_MS - 1_234),
        // A runner's clock that is ahead, and one that is years behind.
        (RECEIVED_MS + 60_000, RECEIVED_MS),
        (1_000, RECEIVED_MS - HOUR_MS),
    ] {
        let time = crate::timestamp::rfc3339(time);
        let events = parse(format!(r#"{{"type":"log.x","time":"{time}"}}"#).as_bytes()).expect("valid");
        assert_eq!(events[0].sent_ms, expected, "{time}");
    }
    let before_1970 = parse(br#"{"type":"log.x","time":"1969-12-31T23:59:59Z"}"#).expect("valid");
    assert_eq!(before_1970[0].sent_ms, RECEIVED_MS - HOUR_MS);
    assert_eq!(parse(br#"{"type":"log.x"}"#).expect("valid")[0].sent_ms, 0, "nothing was said");
}
