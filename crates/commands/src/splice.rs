//! Events that a runner posts for a command, before and behind the intake. What the services fill in is added to the text as it
//! stands: `data` of runners passes byte for byte.

use tidings_protocol::codes::ErrorCode;
use tidings_protocol::intake::Fault;
use tidings_protocol::problem::FieldProblem;
use tidings_protocol::wire;

use crate::approval;
use crate::json::{Members, string, with_members};
use crate::made;
use crate::told::Told;

const ACCEPTED: &str = "command.accepted";
const COMPLETED: &str = "command.completed";
const FAILED: &str = "command.failed";

/// Whether an event of this type is a final answer.
pub fn is_final(kind: &str) -> bool {
    matches!(kind, COMPLETED | FAILED)
}

/// One event's JSON with what the command says of it: its session and agent where the event names none, and in `data`
/// `command_id` (and for `command.*` `by`, and what else the type has). What is no event is left to the intake.
///
/// # Errors
/// `data` has no room for these, or says something else.
pub fn fill(event: &str, told: &Told, runner: &str) -> Result<String, Fault> {
    let Some(members) = Members::of(event) else { return Ok(event.to_owned()) };
    let kind = members.text("type").unwrap_or_default();
    let data = filled_data(&kind, members.get("data"), told, runner)?;
    let mut more = format!("\"data\":{data}");
    if members.get("session").is_none()
        && let Some(session) = &told.session
    {
        more = format!("{more},\"session\":{}", string(session));
        if members.get("agent").is_none()
            && let Some(agent) = &told.agent
        {
            more = format!("{more},\"agent\":{}", string(agent));
        }
    }
    let mut out = String::with_capacity(event.len() + more.len());
    // What stands there twice is left in, for the intake to refuse.
    let mut replaced = false;
    let is_once = |name: &str| members.0.iter().filter(|(own, _)| own == name).count() == 1;
    let may_be_absent = ["session", "agent"].map(|name| (name, is_once(name)));
    for (name, value) in &members.0 {
        let is_absent = value.get() == "null" && may_be_absent.contains(&(name.as_ref(), true));
        if is_absent || (name == "data" && !std::mem::replace(&mut replaced, true)) {
            continue;
        }
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push_str(&string(name));
        out.push(':');
        out.push_str(value.get());
    }
    out.push(if out.is_empty() { '{' } else { ',' });
    out.push_str(&more);
    out.push('}');
    Ok(out)
}

fn filled_data(kind: &str, data: Option<&str>, told: &Told, runner: &str) -> Result<String, Fault> {
    let object = data.unwrap_or("{}");
    let invalid = |field: &str, code: ErrorCode, expected: &'static str| {
        let fault = FieldProblem::new(code).field(field).expected(expected);
        Fault { errors: vec![fault], ..Fault::new(code, format!("`{field}`: {expected}")) }
    };
    let expected = "expected an object: it is an event of a command";
    let own = Members::of(object).ok_or_else(|| invalid("data", ErrorCode::InvalidField, expected))?;
    let mut more = Vec::new();
    match own.get("command_id") {
        None => more.push(format!("\"command_id\":{}", string(&told.id))),
        Some(_) if own.text("command_id").as_deref() == Some(&told.id) => {}
        Some(_) => {
            return Err(invalid("data.command_id", ErrorCode::InvalidField, "expected the command of the path"));
        }
    }
    if kind.starts_with("command.") {
        if own.get("by").is_some() {
            return Err(invalid("data.by", ErrorCode::Reserved, "only the server says who asked"));
        }
        more.push(format!("\"by\":{}", string(&told.by)));
        if kind == ACCEPTED || is_final(kind) {
            let known = [("type", &told.kind[..]), ("runner", runner)];
            let known = known.into_iter().take(if kind == ACCEPTED { 2 } else { 1 });
            let known = known.filter(|(name, _)| own.get(name).is_none());
            more.extend(known.map(|(name, text)| format!("\"{name}\":{}", string(text))));
        }
    }
    Ok(if more.is_empty() { object.to_owned() } else { with_members(object, &more.join(",")) })
}

/// Addresses events that the intake made: each goes to the asker (`to` as it is in `told`), or to everybody; the final one is
/// guarded. Questions and decisions are the project's, and for everybody always.
///
/// # Errors
/// Something stands behind the final answer; its index.
pub fn address(events: &mut [wire::Event], told: &Told, to_everyone: bool) -> Result<(), Fault> {
    let last = events.len().saturating_sub(1);
    for (index, event) in events.iter_mut().enumerate() {
        if event.r#type.starts_with("approval.") {
            approval::guard_decision(event);
        } else if !to_everyone && !told.to().is_empty() {
            told.to().clone_into(&mut event.to);
            // What one viewer alone is told is no part of anybody's state.
            event.effects.clear();
        }
        if is_final(&event.r#type) {
            if index < last {
                let detail = "it stands behind the final answer";
                let code = ErrorCode::InvalidEvent;
                let fault = FieldProblem::new(code).expected(detail);
                return Err(Fault { errors: vec![fault], ..Fault::new(code, detail) }.at(index as u64 + 1));
            }
            event.guard = Some(made::guard(told, &note(&event.id)));
        }
    }
    Ok(())
}

/// What the guard of a runner's answer says: which event it was, so that a retry is known.
fn note(event: &str) -> String {
    format!(",\"event\":{}", string(event))
}

/// Whether the answer with this note is this event.
pub fn is_same(note: &str, event: &str) -> bool {
    Members::of(note).and_then(|members| members.text("event")).as_deref() == Some(event)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_protocol::intake::{Intake, parse_body};
    use tidings_protocol::limits::EventLimits;

    use super::*;

    fn told() -> Told {
        Told {
            kind: "chat".into(),
            id: "c-1".into(),
            session: Some("s".into()),
            agent: Some("a".into()),
            by: "alice".into(),
            reply_to: Some("alice".into()),
            asked: String::new(),
            notice: false,
        }
    }

    fn taken(event: &str) -> Result<wire::Event, Fault> {
        let mut next_id = || "id".to_owned();
        let mut intake = Intake {
            limits: &EventLimits::default(),
            received_ms: 1,
            next_id: &mut next_id,
            default_runner: Some("r"),
            default_traceparent: None,
            idempotency_key: None,
        };
        Ok(parse_body(fill(event, &told(), "r")?.as_bytes(), &mut intake)?.remove(0))
    }

    #[test]
    fn what_the_command_knows_is_filled_in_and_the_rest_passes() {
        let filled = |event| fill(event, &told(), "r").expect("an event");
        assert_eq!(
            filled(r#"{"type":"message.delta","data":{"n":1.00,"command_id":"c-1"}}"#),
            r#"{"type":"message.delta","data":{"n":1.00,"command_id":"c-1"},"session":"s","agent":"a"}"#
        );
        assert_eq!(
            filled(r#"{"type":"x","session":"t","data":{ "n" : 1.00 }}"#),
            r#"{"type":"x","session":"t","data":{ "n" : 1.00 ,"command_id":"c-1"}}"#
        );
        assert_eq!(
            filled(r#"{"type":"command.accepted","session":null}"#),
            r#"{"type":"command.accepted","data":{"command_id":"c-1","by":"alice","type":"chat","runner":"r"},"session":"s","agent":"a"}"#
        );
        assert_eq!(
            filled(r#"{"type":"command.failed","data":{"code":"broke"}}"#),
            r#"{"type":"command.failed","data":{"code":"broke","command_id":"c-1","by":"alice","type":"chat"},"session":"s","agent":"a"}"#
        );
        assert!(
            filled(r#"{"type":"command.completed","data":{"type":"mine"}}"#).contains(r#"{"type":"mine","command_id"#)
        );
        assert!(!filled(r#"{"type":"command.progress"}"#).contains("chat"));
        assert_eq!(filled("[7]"), "[7]");
    }

    #[test]
    fn data_that_says_something_else_is_refused() {
        let field = |event| fill(event, &told(), "r").expect_err(event).errors[0].field.clone();
        assert_eq!(field(r#"{"type":"x","data":7}"#).as_deref(), Some("data"));
        assert_eq!(field(r#"{"type":"x","data":{"command_id":"c-2"}}"#).as_deref(), Some("data.command_id"));
        assert_eq!(field(r#"{"type":"command.completed","data":{"by":"eve"}}"#).as_deref(), Some("data.by"));
        for twice in [r#"{"type":"x","data":{},"data":{}}"#, r#"{"type":"x","session":"t","agent":"b","agent":null}"#] {
            assert_eq!(taken(twice).expect_err("refused").code, ErrorCode::DuplicateField, "{twice}");
        }
    }

    #[test]
    fn events_go_to_the_asker_and_the_last_is_final() {
        let log = r#"{"type":"log","data":{"level":"info","message":"m"}}"#;
        let asked = r#"{"type":"approval.requested","data":{"approval_id":"a","question":"?","options":[]}}"#;
        let done = r#"{"type":"command.completed","id":"e-1"}"#;
        let mut events: Vec<_> = [log, asked, done].map(|event| taken(event).expect("good")).into();
        address(&mut events, &told(), false).expect("good");
        let to: Vec<&str> = events.iter().map(|event| event.to.as_str()).collect();
        assert_eq!((to, events[0].effects.len()), (vec!["alice", "", "alice"], 0));
        let guard = events[2].guard.clone().expect("it is final");
        assert!(guard.key == "c:c-1" && is_same(&guard.note, "e-1") && !is_same(&guard.note, "e-2"));
        assert!(events[0].guard.is_none() && events[1].guard.is_none());
        let mut public = vec![taken(log).expect("good")];
        address(&mut public, &told(), true).expect("good");
        assert!(public[0].to.is_empty() && !public[0].effects.is_empty());
        events.push(taken(log).expect("good"));
        let fault = address(&mut events, &told(), false).expect_err("refused");
        assert_eq!((fault.code, fault.errors[0].index), (ErrorCode::InvalidEvent, Some(3)));
        let json: serde_json::Value = serde_json::from_slice(&events[2].json).expect("JSON");
        assert_eq!(json["data"], json!({"command_id": "c-1", "by": "alice", "type": "chat"}));
    }
}
