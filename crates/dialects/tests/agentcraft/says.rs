//! What clients say, and what is done about it.

use proptest::prelude::*;
use serde_json::Value;
use tidings_dialects::agentcraft::{AgentCraft, Shape};
use tidings_dialects::{Action, Ask, Dialect as _};

use crate::stage::NOW_MS;

fn heard(text: &str) -> Vec<Action> {
    AgentCraft::new(Shape::Both).hear(text, NOW_MS)
}

#[test]
fn logs_and_state_are_asked_for_by_session() {
    let logs = Ask::Logs { session: "s1".into(), limit: 50 };
    assert_eq!(heard(r#"{"type":"get_session_logs","session_id":"s1"}"#), [Action::Present(logs)]);
    let state = Ask::Session("s1".into());
    assert_eq!(heard(r#"{"session_id":"s1","type":"get_session_state","x":1}"#), [Action::Present(state)]);
}

#[test]
fn nobody_answers_what_is_not_known_or_names_no_session() {
    let silent = [
        r#"{"type":"get_session_logs"}"#,
        r#"{"type":"get_session_state","session_id":""}"#,
        r#"{"type":"get_session_state","session_id":null}"#,
        r#"{"type":"get_session_logs","session_id":7}"#,
        r#"{"type":"pong"}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":7}"#,
        "{}",
    ];
    for text in silent {
        assert_eq!(heard(text), [], "{text}");
    }
}

#[test]
fn what_is_no_object_cuts_the_connection_without_a_close_frame() {
    for text in ["", "{", "ping", "7", "null", "[]", r#""ping""#, "{\"type\":\"pong\"} x"] {
        assert_eq!(heard(text), [Action::Close { code: 1006, reason: "" }], "{text}");
    }
}

#[test]
fn who_comes_back_streams_logs_if_it_did_and_has_the_shape_of_the_settings() {
    let [flat, both] = [Shape::Flat, Shape::Both].map(AgentCraft::new);
    assert_eq!(both.again(flat.streaming(true).variant()), both.streaming(true).variant());
    assert_eq!(both.again(flat.variant()), both.variant());
    assert_eq!(both.again(u8::MAX), both.variant(), "no such variant");
}

#[test]
fn log_streaming_is_a_variant() {
    let (plain, streaming) = (AgentCraft::new(Shape::Both), AgentCraft::new(Shape::Both).streaming(true));
    let said = |action: &Action| match action {
        Action::Say(text) => serde_json::from_str::<Value>(text).expect("messages are JSON"),
        other => panic!("nothing was said: {other:?}"),
    };
    let started = heard(r#"{"type":"start_log_streaming"}"#);
    assert_eq!(said(&started[0])["session_id"], "default");
    assert_eq!(started[1..], [Action::Become(streaming.variant())]);
    let started = streaming.hear(r#"{"type":"start_log_streaming","session_id":"s1"}"#, NOW_MS);
    assert_eq!(said(&started[0])["session_id"], "s1");
    let stopped = streaming.hear(r#"{"type":"stop_log_streaming"}"#, NOW_MS);
    assert_eq!(stopped[0], Action::Become(plain.variant()));
    assert_eq!(said(&stopped[1])["type"], "log_streaming_stopped");
}

proptest! {
    /// Whatever a client says, it is answered by at most one message, and never by a panic.
    #[test]
    fn any_text_is_heard(kind in "[a-z_]{0,24}", session in "\\PC{0,20}", text in "\\PC{0,60}") {
        let message = serde_json::json!({ "type": kind, "session_id": session }).to_string();
        for text in [message.as_str(), &text, message.get(..message.len() / 2).unwrap_or_default()] {
            prop_assert!(heard(text).len() <= 2);
        }
    }
}
