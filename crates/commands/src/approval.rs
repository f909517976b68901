//! Approvals: questions of runners that one answer settles. The first decision is an event with a guard; its note tells what
//! stands to whoever comes later.

mod question;

use serde::Deserialize;
use serde_json::Value;
use tidings_broker::inbox::{ItemKind, Put};
use tidings_broker::limits::GUARD_NOTE_BYTES_MAX;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::effects::cut_text;
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::timestamp::parse_rfc3339;
use tidings_protocol::wire;

use crate::command::{Command, check_name, check_path};
use crate::json::{Members, escaped, string};
use crate::made::Made;
use crate::sessions::Approval;
use crate::{DECISION_KEPT_MS, OWN_PREFIX, Refusal, digest, unix_ms};

pub use question::Question;

/// Longest decision, in bytes of JSON: it is told to whoever comes later.
pub const DECISION_BYTES_MAX: usize = 200;

/// Longest reason, in bytes of JSON.
pub const REASON_BYTES_MAX: usize = 4 * 1024;

/// The decision on a question that nobody answered in time.
pub const EXPIRED: &str = "\"expired\"";

/// How the reason follows the other members of a note.
const REASON: &str = ",\"reason\":";

/// How much of the options is told to who chose none of them, in bytes.
const OPTIONS_TOLD_BYTES_MAX: usize = 512;

/// Where an envelope has its data, its last member.
const DATA: &str = ",\"data\":";

/// Who decides so.
const CLOCK: &str = "tidings";

/// Alarms (and commands) that may be open in an inbox when one more is put.
const ALARMS_MAX: u32 = 10_000;

/// The event types.
pub(crate) const REQUESTED: &str = "approval.requested";
pub(crate) const RESOLVED: &str = "approval.resolved";

/// Longest name of who decided in a note, in bytes of text, and of JSON.
const BY_BYTES_MAX: usize = 150;

/// The guard of an approval's decision: an approval is its session's, so that sessions may number theirs alike.
pub fn guard_key(session: &str, approval: &str) -> String {
    format!("a:{}:{approval}", digest(session))
}

/// The alarm that waits for an approval's deadline.
pub(crate) fn alarm_key(session: &str, approval: &str) -> String {
    // No name holds a line feed.
    format!("{OWN_PREFIX}a:{}", digest(&format!("{session}\n{approval}")))
}

/// A decision that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was decided, JSON; `null` where it is too long to be told so.
    pub decision: String,
    /// Who decided.
    pub by: String,
    /// Why, as he said; the beginning of it, as far as a note has room.
    pub reason: Option<String>,
    /// The command that brought it, as a digest; empty: none.
    pub(crate) command: String,
}

impl Decision {
    /// Reads a guard's note.
    pub fn of_note(note: &str) -> Decision {
        let members = Members::of(note).unwrap_or(Members(Vec::new()));
        Decision {
            decision: members.get("decision").unwrap_or("null").to_owned(),
            by: members.text("by").unwrap_or_default(),
            reason: members.text("reason"),
            command: members.text("command").unwrap_or_default(),
        }
    }

    /// The note that says so, within what a note may be.
    fn note(&self) -> String {
        let decision = escaped(&self.decision);
        let decision = if decision.len() <= DECISION_BYTES_MAX + 50 { decision.as_str() } else { "null" };
        let mut by = self.by[..self.by.floor_char_boundary(BY_BYTES_MAX)].to_owned();
        // Escapes are longer than what they stand for.
        while string(&by).len() > BY_BYTES_MAX {
            by.pop();
        }
        let (by, command) = (string(&by), &self.command);
        let note = format!("{{\"decision\":{decision},\"by\":{by},\"command\":\"{command}\"}}");
        let Some(reason) = &self.reason else { return note };
        let room = GUARD_NOTE_BYTES_MAX.saturating_sub(note.len() + REASON.len() + 1);
        let mut reason = reason[..reason.floor_char_boundary(room)].to_owned();
        while !reason.is_empty() && string(&reason).len() > room {
            reason.truncate(reason.floor_char_boundary(reason.len().min(room + 1) - 1));
        }
        if reason.is_empty() {
            return note;
        }
        format!("{}{REASON}{}}}", note.strip_suffix('}').unwrap_or(&note), string(&reason))
    }
}

/// What a command `approval.answer` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) approval_id: String,
    /// JSON.
    pub(crate) decision: String,
    /// JSON.
    reason: Option<String>,
}

impl Answer {
    /// Reads the command's data.
    pub(crate) fn of(command: &Command) -> Result<Answer, Refusal> {
        let missing = |field: &str| Refusal::of_field(ErrorCode::MissingField, field, "an answer needs it");
        let data = command.data.as_deref().and_then(Members::of).ok_or_else(|| missing("data"))?;
        let approval_id = data.text("approval_id").ok_or_else(|| missing("data.approval_id"))?;
        check_name("data.approval_id", Some(&approval_id), NAME_BYTES_MAX)?;
        check_path("data.approval_id", &approval_id)?;
        let decision = data.get("decision").ok_or_else(|| missing("data.decision"))?.to_owned();
        if decision.len() > DECISION_BYTES_MAX {
            return Err(Refusal::over("data.decision", DECISION_BYTES_MAX, decision.len()));
        }
        let reason = data.get("reason").map(str::to_owned);
        if let Some(bytes) = reason.as_deref().map(str::len).filter(|bytes| *bytes > REASON_BYTES_MAX) {
            return Err(Refusal::over("data.reason", REASON_BYTES_MAX, bytes));
        }
        if command.session.is_none() {
            return Err(Refusal::of_field(ErrorCode::MissingField, "session", "an answer names its session"));
        }
        Ok(Answer { approval_id, decision, reason })
    }

    /// Whether the decision is one of the options. Of an option that is an object its `id` is meant as well; where there are
    /// none, or state holds not all of them, any text will do.
    ///
    /// # Errors
    /// It is not; which there are.
    pub(crate) fn check(&self, approval: &Approval) -> Result<(), Refusal> {
        let decision: Option<Value> = serde_json::from_str(&self.decision).ok();
        let means = |said: &Value, option: &Value| said == option || option.get("id") == Some(said);
        let is_one = |option: &Value| decision.as_ref().is_some_and(|said| means(said, option));
        let is_any = approval.options.is_empty() || approval.options_cut;
        if approval.options.iter().any(is_one) || (is_any && matches!(decision, Some(Value::String(_)))) {
            return Ok(());
        }
        let expected = if approval.options.is_empty() {
            "expected a string".to_owned()
        } else {
            let word = |option: &Value| option.get("id").unwrap_or(option).to_string();
            let words = approval.options.iter().map(word).collect::<Vec<_>>().join(", ");
            format!("expected one of {}", cut_text(&words, OPTIONS_TOLD_BYTES_MAX))
        };
        Err(Refusal::of_field(ErrorCode::InvalidField, "data.decision", &expected))
    }

    /// `approval.resolved`, brought by this command.
    pub(crate) fn resolved(&self, command: &str, session: &str, by: &str) -> wire::Event {
        let more = self.reason.as_deref().map(|reason| format!("\"reason\":{reason},")).unwrap_or_default();
        let brought = digest(command);
        let reason = self.reason.as_deref().and_then(|json| serde_json::from_str(json).ok());
        let said = Decision { decision: self.decision.clone(), by: by.to_owned(), reason, command: brought.clone() };
        // One command decides one approval: under the same id for another one it is another event.
        let decided = digest(&format!("{session}\n{}\n{command}", self.approval_id));
        resolved(&self.approval_id, session, &said, &more, Some(format!("approval-{decided}")))
    }
}

fn resolved(approval: &str, session: &str, said: &Decision, more: &str, id: Option<String>) -> wire::Event {
    let data = format!(
        "{{\"approval_id\":{},\"decision\":{},{more}\"by\":{}}}",
        string(approval),
        said.decision,
        string(&said.by)
    );
    let guard = Some(guard(session, approval, said.note()));
    Made { kind: RESOLVED, id, session, agent: "", runner: "", data, to: "", guard }.event()
}

fn guard(session: &str, approval: &str, note: String) -> wire::Guard {
    wire::Guard { key: guard_key(session, approval), until_ms: unix_ms().saturating_add(DECISION_KEPT_MS), note }
}

/// Whether an event is a decision.
pub fn is_decision(event: &wire::Event) -> bool {
    event.r#type == RESOLVED
}

/// Says in a decision (as the intake made it) who decided, whatever it says itself. Other events stay as they are.
pub fn sign(event: &mut wire::Event, by: &str) {
    if !is_decision(event) {
        return;
    }
    let Ok(json) = std::str::from_utf8(&event.json) else { return };
    let Some(data_at) = json.find(DATA).map(|at| at + DATA.len()) else { return };
    let Some(data) = json[data_at..].strip_suffix('}').and_then(Members::of) else { return };
    let others = data.0.iter().filter(|(name, _)| name != "by");
    let mut members: Vec<String> = others.map(|(name, value)| format!("{}:{}", string(name), value.get())).collect();
    members.push(format!("\"by\":{}", string(by)));
    event.json = format!("{}{{{}}}}}", &json[..data_at], members.join(",")).into();
}

/// Guards a decision by what it says: it stands like any other, or comes too late.
pub fn guard_decision(event: &mut wire::Event) {
    if !is_decision(event) {
        return;
    }
    // That of a command keeps the command that brought it.
    let before = event.guard.as_ref().map(|guard| Decision::of_note(&guard.note).command);
    let decided = data_of(event, |data| {
        let decision = data.get("decision").unwrap_or("null").to_owned();
        let (by, reason) = (data.text("by").unwrap_or_default(), data.text("reason"));
        let said = Decision { decision, by, reason, command: before.unwrap_or_default() };
        Some(guard(&event.session, &data.text("approval_id")?, said.note()))
    });
    event.guard = decided;
}

/// The alarm for a question with a deadline; none: it has none, or this is no question.
pub fn alarm(event: &wire::Event) -> Option<Put> {
    if event.r#type != REQUESTED {
        return None;
    }
    let (approval_id, deadline) = data_of(event, |data| Some((data.text("approval_id")?, data.text("deadline")?)))?;
    let deadline_ms = u64::try_from(parse_rfc3339(&deadline)?).unwrap_or_default();
    let body = format!("{{\"approval_id\":{},\"session\":{}}}", string(&approval_id), string(&event.session));
    Some(Put {
        id: alarm_key(&event.session, &approval_id),
        asker: String::new(),
        kind: ItemKind::Alarm { guard: guard_key(&event.session, &approval_id) },
        deadline_ms: deadline_ms.saturating_sub(unix_ms()),
        open_max: ALARMS_MAX,
        body: body.into(),
        life: None,
    })
}

/// What an alarm says of its approval.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Alarmed {
    approval_id: String,
    session: String,
}

impl Alarmed {
    /// Reads an alarm's body; none: it is no approval's.
    pub(crate) fn read(body: &[u8]) -> Option<Alarmed> {
        serde_json::from_slice(body).ok()
    }

    /// `approval.resolved`, since nobody answered.
    pub(crate) fn expired(&self) -> wire::Event {
        let said =
            Decision { decision: EXPIRED.to_owned(), by: CLOCK.to_owned(), reason: None, command: String::new() };
        resolved(&self.approval_id, &self.session, &said, "", None)
    }
}

fn data_of<T>(event: &wire::Event, read: impl FnOnce(&Members<'_>) -> Option<T>) -> Option<T> {
    let envelope = Members::of(std::str::from_utf8(&event.json).ok()?)?;
    read(&Members::of(envelope.get("data")?)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tidings_broker::limits::GUARD_KEY_BYTES_MAX;
    use tidings_protocol::timestamp::rfc3339;

    use super::*;

    fn answer(data: &serde_json::Value) -> Command {
        Command { session: Some("s".into()), ..Command::new("approval.answer").with_data(data) }
    }

    #[test]
    fn an_answer_is_checked() {
        let check = |command: &Command, field: &str| {
            let refusal = Answer::of(command).expect_err(field);
            assert_eq!(refusal.errors[0].field.as_deref(), Some(field), "{command:?}");
        };
        check(&Command::new("approval.answer"), "data");
        check(&answer(&json!({"decision": "y"})), "data.approval_id");
        check(&answer(&json!({"approval_id": "a"})), "data.decision");
        check(&answer(&json!({"approval_id": "a", "decision": "y".repeat(200)})), "data.decision");
        check(&answer(&json!({"approval_id": "a", "decision": 1, "reason": "y".repeat(5_000)})), "data.reason");
        let homeless = Command { session: None, ..answer(&json!({"approval_id": "a", "decision": true})) };
        check(&homeless, "session");
    }

    #[test]
    fn the_note_tells_what_stands() {
        let command = answer(&json!({"approval_id": "a", "decision": {"go": "\u{85}"}, "reason": "why"}));
        let event = Answer::of(&command).expect("good").resolved("c-1", "s", &"\"".repeat(256));
        let guard = event.guard.expect("a guard");
        assert!(
            guard.note.len() <= GUARD_NOTE_BYTES_MAX && !guard.note.chars().any(char::is_control),
            "{}",
            guard.note
        );
        let stands = Decision::of_note(&guard.note);
        assert_eq!((stands.decision.as_str(), stands.command), ("{\"go\":\"\\u0085\"}", digest("c-1")));
        assert_eq!(stands.reason.as_deref(), Some("why"));
        let long = answer(&json!({"approval_id": "a", "decision": "no", "reason": "ä\n\"".repeat(300)}));
        let event = Answer::of(&long).expect("good").resolved("c-1", "s", "bob");
        let note = event.guard.expect("a guard").note;
        assert!((GUARD_NOTE_BYTES_MAX - 4..=GUARD_NOTE_BYTES_MAX).contains(&note.len()), "{}", note.len());
        assert!(Decision::of_note(&note).reason.is_some_and(|reason| reason.starts_with("ä\n\"")));
        assert_eq!((guard.key, event.session.as_str(), event.effects.len()), (guard_key("s", "a"), "s", 1));
    }

    #[test]
    fn keys_and_notes_of_guards_are_within_their_limits() {
        let longest = "\"".repeat(NAME_BYTES_MAX);
        let keys = [guard_key(&longest, &longest), tidings_broker::inbox::guard_of(&longest)];
        assert!(keys.iter().all(|key| key.len() <= GUARD_KEY_BYTES_MAX), "{keys:?}");
        let told = crate::told::Told::of(&Command::new("run"), &longest, &crate::asker::Asker::viewer("ä"), 0);
        let mut event = crate::made::completed(&told, "1");
        event.id.clone_from(&longest);
        let mut events = vec![event];
        crate::splice::address(&mut events, &told, false).expect("one final answer");
        let guard = events.remove(0).guard.expect("it is final");
        assert!(guard.note.len() <= GUARD_NOTE_BYTES_MAX, "{}", guard.note);
        assert!(crate::splice::is_same(&guard.note, &longest) && crate::made::is_of(&guard.note, "ä"));
    }

    #[test]
    fn a_question_with_a_deadline_rings_and_a_published_decision_is_guarded() {
        let due = rfc3339(unix_ms() + 60_000);
        let data = json!({"approval_id": "a", "question": "?", "options": [], "deadline": due}).to_string();
        let made = |kind, data| {
            let (session, agent, runner, to) = ("s", "", "", "");
            Made { kind, id: None, session, agent, runner, data, to, guard: None }.event()
        };
        let put = alarm(&made(REQUESTED, data)).expect("an alarm");
        assert!((55_000..=60_000).contains(&put.deadline_ms), "{}", put.deadline_ms);
        let alarmed = Alarmed::read(&put.body).expect("its body");
        assert_eq!(Decision::of_note(&alarmed.expired().guard.expect("one").note).decision, EXPIRED);
        assert_eq!(alarm(&made(REQUESTED, r#"{"approval_id":"a"}"#.into())), None);
        let mut own = made(RESOLVED, r#"{"approval_id":"b","decision":"yes","by":"r"}"#.into());
        guard_decision(&mut own);
        let guard = own.guard.expect("a guard");
        assert_eq!((guard.key, Decision::of_note(&guard.note).by.as_str()), (guard_key("s", "b"), "r"));
    }

    fn published(session: &str, data: String) -> wire::Event {
        let (agent, runner, to) = ("", "", "");
        Made { kind: RESOLVED, id: None, session, agent, runner, data, to, guard: None }.event()
    }

    #[test]
    fn a_long_name_is_cut_before_it_is_looked_at() {
        let by = "\u{1}\u{fc}".repeat(128 * 1024);
        let mut event =
            published("s", json!({"approval_id": "a", "decision": "y", "by": by, "reason": by}).to_string());
        // Letter by letter this would take minutes.
        guard_decision(&mut event);
        let note = event.guard.expect("a guard").note;
        assert!(note.len() <= GUARD_NOTE_BYTES_MAX, "{}", note.len());
        let stands = Decision::of_note(&note);
        assert!(by.starts_with(&stands.by) && !stands.by.is_empty() && stands.reason.is_some());
    }

    #[test]
    fn a_decision_is_signed_by_who_publishes_it() {
        let data = r#"{"by":"alice","decision":{"n":1.00},"approval_id":"a","by":"bob","note":",\"data\":{"}"#;
        let mut event = published("s", data.to_owned());
        sign(&mut event, "e\"ve");
        let json = std::str::from_utf8(&event.json).expect("text");
        assert!(
            json.ends_with(r#","data":{"decision":{"n":1.00},"approval_id":"a","note":",\"data\":{","by":"e\"ve"}}"#),
            "{json}"
        );
        guard_decision(&mut event);
        assert_eq!(Decision::of_note(&event.guard.expect("a guard").note).by, "e\"ve");
    }

    #[test]
    fn sessions_may_number_their_approvals_alike() {
        let one = published("s1", json!({"approval_id": "1", "decision": "y", "by": "r"}).to_string());
        let key = |mut event: wire::Event| {
            guard_decision(&mut event);
            event.guard.expect("a guard").key
        };
        let other = wire::Event { session: "s2".into(), ..one.clone() };
        assert_ne!(key(one), key(other));
        assert_ne!(alarm_key("s1", "1"), alarm_key("s2", "1"));
        assert_ne!(alarm_key("s", "1"), alarm_key("s1", ""));
    }

    #[test]
    fn what_redaction_changed_is_what_the_note_says() {
        let command = answer(&json!({"approval_id": "a", "decision": "no", "reason": "hunter2"}));
        let mut event = Answer::of(&command).expect("good").resolved("c-1", "s", "bob");
        let json = String::from_utf8(event.json.to_vec()).expect("text");
        event.json = json.replace("hunter2", "***").into();
        guard_decision(&mut event);
        let stands = Decision::of_note(&event.guard.expect("a guard").note);
        assert_eq!((stands.reason.as_deref(), stands.command), (Some("***"), digest("c-1")));
    }
}
