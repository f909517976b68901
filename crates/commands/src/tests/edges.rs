//! Edges: bounds, rules for names, and what every refusal is called.

use serde_json::{Value, json};
use tidings_broker::inbox::Inboxes as _;
use tidings_broker::{CallError, NothingWhy};
use tidings_log::writer::Failure;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Holder};

use super::{Rig, ask, name, told};
use crate::approval::{Alarmed, Answer, Decision, REASON_BYTES_MAX};
use crate::asker::Asker;
use crate::command::{Class, Command};
use crate::made::{self, FailedWhy};
use crate::told::Told;
use crate::{Refusal, splice};

fn answering(data: &Value) -> Command {
    Command { session: Some("s".into()), ..Command::new("approval.answer").with_data(data) }
}

#[test]
fn a_decision_that_grows_by_its_escapes_is_told_as_unknown() {
    // Each takes two bytes as text, and six without control characters.
    let note = |letters: usize| {
        let data = json!({"approval_id": "a", "decision": "\u{85}".repeat(letters)});
        let event = Answer::of(&answering(&data)).expect("good").resolved("c", "s", "bob");
        event.guard.expect("a guard").note
    };
    assert_eq!(Decision::of_note(&note(41)).decision, format!("\"{}\"", "\\u0085".repeat(41)));
    assert_eq!(
        (Decision::of_note(&note(42)).decision.as_str(), Decision::of_note(&note(99)).decision.as_str()),
        ("null", "null")
    );
}

#[test]
fn an_answer_has_an_id_for_paths_and_a_reason_within_its_bound() {
    let of = |data: Value| Answer::of(&answering(&data)).map_err(|refusal| refusal.errors[0].field.clone());
    for id in [".", "..", "", "a\nb", &"x".repeat(129)] {
        let refused = of(json!({"approval_id": id, "decision": true})).expect_err(id);
        assert_eq!(refused.as_deref(), Some("data.approval_id"), "{id:?}");
    }
    let reason = |bytes: usize| json!({"approval_id": "a", "decision": true, "reason": "y".repeat(bytes - 2)});
    assert!(of(reason(REASON_BYTES_MAX)).is_ok());
    assert_eq!(of(reason(REASON_BYTES_MAX + 1)).expect_err("too long").as_deref(), Some("data.reason"));
}

#[test]
fn what_nobody_decided_the_clock_decides() {
    let alarmed = Alarmed::read(br#"{"approval_id":"a","session":"s"}"#).expect("an alarm");
    let stands = Decision::of_note(&alarmed.expired().guard.expect("a guard").note);
    assert_eq!((stands.decision.as_str(), stands.by.as_str(), stands.reason), ("\"expired\"", "tidings", None));
}

#[test]
fn what_a_type_means() {
    for (kind, class, urgent, chat) in [
        ("agent.pause", Class::Agent, false, false),
        ("agent.message", Class::Agent, false, true),
        ("approval.answer", Class::Approval, true, false),
        ("approval.other", Class::Other, false, false),
        ("command.cancel", Class::Cancel, false, false),
        ("command.other", Class::Other, false, false),
        ("chat", Class::Chat, false, true),
        ("chat.stop", Class::Chat, true, false),
        ("evolution.start", Class::Evolution, false, false),
        ("mcp.manage", Class::Mcp, false, false),
        ("reasoning.stop", Class::Reasoning, true, false),
        ("session.stop", Class::Session, true, false),
        ("stop", Class::Other, true, false),
        ("stop.it", Class::Other, false, false),
    ] {
        let command = Command::new(kind);
        assert_eq!((Class::of(kind), command.is_urgent(), command.is_chat()), (class, urgent, chat), "{kind}");
    }
}

#[test]
fn an_askers_name_is_one_line() {
    let grant = Grant::new("al\u{85}i\nce\u{7f}", Holder::User, Vec::new());
    assert_eq!(Asker::of(&grant).by, "alice");
    assert_eq!(Asker::viewer("\u{1}bob").by, "bob");
}

#[test]
fn every_failure_has_its_own_code() {
    for (why, code) in [
        (Failure::Away, ErrorCode::RedisAway),
        (Failure::Unsettled, ErrorCode::RedisAway),
        (Failure::Busy, ErrorCode::Busy),
        (Failure::DeletionsFull, ErrorCode::DeletionsFull),
        (Failure::Draining, ErrorCode::Draining),
        (Failure::Memory, ErrorCode::MemoryPressure),
        (Failure::OverShare, ErrorCode::OverShare),
        (Failure::OutcomeUnknown, ErrorCode::OutcomeUnknown),
        (Failure::ProducersFull, ErrorCode::ProducersFull),
    ] {
        assert_eq!(Refusal::from(why).code, code);
    }
    for (error, code) in [
        (CallError::Nothing(NothingWhy::Memory), ErrorCode::MemoryPressure),
        (CallError::Nothing(NothingWhy::OverShare), ErrorCode::OverShare),
        (CallError::Nothing(NothingWhy::Away), ErrorCode::RedisAway),
        (CallError::Nothing(NothingWhy::Busy), ErrorCode::RedisAway),
        (CallError::Unknown("late".into()), ErrorCode::OutcomeUnknown),
    ] {
        assert_eq!(Refusal::from(error).code, code);
    }
}

#[test]
fn an_event_keeps_the_agent_that_it_names() {
    let told = Told { session: Some("s".into()), agent: Some("a".into()), ..told("c", "alice") };
    let filled = |event: &str| {
        let filled: Value = serde_json::from_str(&splice::fill(event, &told, "r").expect("an event")).expect("JSON");
        (filled["session"].clone(), filled["agent"].clone())
    };
    assert_eq!(filled(r#"{"type":"log","agent":"b"}"#), (json!("s"), json!("b")));
    assert_eq!(filled(r#"{"type":"log","agent":null}"#), (json!("s"), json!("a")));
    assert_eq!(filled(r#"{"type":"log","session":"t"}"#), (json!("t"), Value::Null), "the agent is of another session");
}

#[test]
fn a_runner_is_told_that_nobody_waits_for_a_notice() {
    for notice in [false, true] {
        let told = Told { notice, ..told("c", "alice") };
        let body = told.body("chat", None);
        assert_eq!(Told::read(&body), Some(told));
        assert_eq!(String::from_utf8_lossy(&body).contains("\"notice\""), notice);
    }
}

#[test]
fn a_failure_says_no_more_of_a_command_than_is_known() {
    let data = |kind: &str| {
        let told = Told { kind: kind.into(), ..told("c", "alice") };
        let event = made::failed(&told, FailedWhy::Cancelled, "", "");
        let mut json: Value = serde_json::from_slice(&event.json).expect("JSON");
        json["data"]["type"].take()
    };
    assert_eq!((data("chat"), data("")), (json!("chat"), Value::Null));
    let event = made::failed(&Told { kind: String::new(), ..told("c", "alice") }, FailedWhy::Cancelled, "", "");
    assert!(!String::from_utf8_lossy(&event.json).contains("\"type\":\"\""));
}

#[test]
fn a_session_that_is_lost_again_is_said_again() {
    let id = |until_ms: u64| made::lost("s", "r", until_ms, None).id;
    assert_eq!(id(1), id(1));
    assert_ne!(id(1), id(2));
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_cannot_be_cancelled_by_itself_nor_what_is_the_services_own() {
    let (rig, alice) = (Rig::new(), Asker::viewer("alice"));
    let desk = rig.desk();
    rig.takes("p").await;
    for target in ["1", "tidings:a:x", "", "a\nb"] {
        let cancel = ask("command.cancel", "1").with_data(&json!({"command_id": target}));
        let refusal = desk.ask(&name("p"), &alice, cancel).await.expect_err(target);
        assert_eq!(
            (refusal.code, refusal.errors[0].field.as_deref()),
            (ErrorCode::InvalidField, Some("data.command_id"))
        );
    }
    assert!(!rig.is_answered("p", "1").await);
}

#[tokio::test(start_paused = true)]
async fn nobody_cancels_what_another_asked_though_the_store_lost_it() {
    let rig = Rig::new();
    let desk = rig.desk();
    rig.takes("p").await;
    desk.ask(&name("p"), &Asker::viewer("alice"), ask("run", "1")).await.expect("it is taken");
    rig.store.memory.clear(name("p")).await.expect("memory answers");
    rig.takes("p").await;
    let cancel = |id: &str| ask("command.cancel", id).with_data(&json!({"command_id": "1"}));
    let refusal = desk.ask(&name("p"), &Asker::viewer("bob"), cancel("2")).await.expect_err("it is another's");
    assert_eq!(refusal.code, ErrorCode::CommandGone);
    assert!(!rig.is_answered("p", "1").await);
    desk.ask(&name("p"), &Asker::viewer("alice"), cancel("3")).await.expect("it is hers");
    assert!(rig.is_answered("p", "1").await);
}
