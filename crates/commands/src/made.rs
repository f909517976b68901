//! Events that the services make themselves: final answers, decisions, what people say, sessions that lost their runner.

use tidings_broker::inbox::guard_of;
use tidings_protocol::effects::{Subject, effects_of};
use tidings_protocol::timestamp::rfc3339;
use tidings_protocol::wire;
use ulid::Ulid;

use crate::json::{Members, string};
use crate::told::Told;
use crate::{ANSWER_KEPT_MS, digest, unix_ms};

/// Codes with which the services themselves answer a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailedWhy {
    /// Another answer to the same approval stands.
    AlreadyAnswered,
    /// The asker does not want it any more.
    Cancelled,
    /// The store lost it, and another asker has put one under its id since.
    Conflict,
    /// Nobody answered in time.
    Deadline,
    /// The runner that worked on it, or that it is bound to, went.
    RunnerLost,
}

impl FailedWhy {
    pub(crate) const ALL: [FailedWhy; 5] = [
        FailedWhy::AlreadyAnswered,
        FailedWhy::Cancelled,
        FailedWhy::Conflict,
        FailedWhy::Deadline,
        FailedWhy::RunnerLost,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            FailedWhy::AlreadyAnswered => "already_answered",
            FailedWhy::Cancelled => "cancelled",
            FailedWhy::Conflict => "command_conflict",
            FailedWhy::Deadline => "deadline",
            FailedWhy::RunnerLost => "runner_lost",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            FailedWhy::AlreadyAnswered => "another answer came first",
            FailedWhy::Cancelled => "it was cancelled",
            FailedWhy::Conflict => "the id is another asker's command by now",
            FailedWhy::Deadline => "nobody answered in time",
            FailedWhy::RunnerLost => "the runner went",
        }
    }
}

/// An event to be made.
pub(crate) struct Made<'a> {
    pub(crate) kind: &'a str,
    /// None: it is given one, which no retry repeats.
    pub(crate) id: Option<String>,
    pub(crate) session: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) runner: &'a str,
    /// JSON, an object.
    pub(crate) data: String,
    /// Empty: for everybody.
    pub(crate) to: &'a str,
    pub(crate) guard: Option<wire::Guard>,
}

impl Made<'_> {
    /// The event, as the intake would have made it.
    pub(crate) fn event(self) -> wire::Event {
        let now_ms = unix_ms();
        let time = rfc3339(now_ms);
        let remembered = self.id.is_some();
        let id = self.id.unwrap_or_else(|| Ulid::new().to_string());
        let named = [("session", self.session), ("agent", self.agent), ("runner", self.runner)];
        let named: Vec<String> = named
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!(",\"{name}\":{}", string(text)))
            .collect();
        let named = named.concat();
        let json = format!(
            "{{\"type\":\"{}\",\"id\":{},\"time\":\"{time}\"{named},\"received\":\"{time}\",\"data\":{}}}",
            self.kind,
            string(&id),
            self.data,
        );
        let subject =
            Subject { kind: self.kind, session: self.session, agent: self.agent, parent: "", id: &id, time: &time };
        // What one viewer alone is told is no part of anybody's state.
        let effects = match (self.to, serde_json::from_str(&self.data)) {
            ("", Ok(data)) => effects_of(&subject, &data),
            _ => Vec::new(),
        };
        wire::Event {
            json: json.into(),
            r#type: self.kind.to_owned(),
            id_from_runner: remembered,
            session: self.session.to_owned(),
            agent: self.agent.to_owned(),
            lane: wire::Lane::Control.into(),
            received_ms: now_ms,
            effects,
            to: self.to.to_owned(),
            guard: self.guard,
            id,
            ..wire::Event::default()
        }
    }
}

/// The guard of a command's final answer; its note says whose the command is. `more`: members of it, each with a comma before it.
pub(crate) fn guard(told: &Told, more: &str) -> wire::Guard {
    let note = format!("{{\"asker\":\"{}\"{more}}}", digest(&told.by));
    wire::Guard { key: guard_of(&told.id), until_ms: unix_ms().saturating_add(ANSWER_KEPT_MS), note }
}

/// Whether the answer with this note is one to this asker.
pub(crate) fn is_of(note: &str, asker: &str) -> bool {
    Members::of(note).and_then(|members| members.text("asker")).is_some_and(|whose| whose == digest(asker))
}

/// `command.completed`, made by the services. `result`: JSON.
pub(crate) fn completed(told: &Told, result: &str) -> wire::Event {
    let data = format!(
        "{{\"command_id\":{},\"type\":\"{}\",\"result\":{result},\"by\":{}}}",
        string(&told.id),
        told.kind,
        string(&told.by)
    );
    answer("command.completed", told, data, "")
}

/// `command.failed`. `more`: members of its data, each with a comma before it.
pub(crate) fn failed(told: &Told, why: FailedWhy, runner: &str, more: &str) -> wire::Event {
    // Who cancels may not know it.
    let kind = if told.kind.is_empty() { String::new() } else { format!("\"type\":\"{}\",", told.kind) };
    let data = format!(
        "{{\"command_id\":{},{kind}\"code\":\"{}\",\"error\":\"{}\"{more},\"by\":{}}}",
        string(&told.id),
        why.as_str(),
        why.text(),
        string(&told.by)
    );
    answer("command.failed", told, data, runner)
}

fn answer(kind: &str, told: &Told, data: String, runner: &str) -> wire::Event {
    let (session, agent) = (told.session.as_deref().unwrap_or_default(), told.agent.as_deref().unwrap_or_default());
    let guard = Some(guard(told, ""));
    Made { kind, id: None, session, agent, runner, data, to: told.to(), guard }.event()
}

/// `command.failed` for who asked alone, of a command whose id is another asker's by now: it settles nothing. None: its answers
/// are for everybody, who would take it for the other's.
pub(crate) fn displaced(told: &Told) -> Option<wire::Event> {
    let event = failed(told, FailedWhy::Conflict, "", "");
    (!event.to.is_empty()).then_some(wire::Event { guard: None, ..event })
}

/// What a person says with a command, for the log.
pub(crate) fn said(told: &Told, text: &str) -> wire::Event {
    let data = format!(
        "{{\"message_id\":{id},\"role\":\"user\",\"text\":{},\"by\":{},\"command_id\":{id}}}",
        serde_json::to_string(text).expect("a string is JSON"),
        string(&told.by),
        id = string(&told.id),
    );
    Made {
        kind: "message.completed",
        // A retry says nothing twice.
        id: Some(format!("said-{}", crate::digest(&told.id))),
        session: told.session.as_deref().unwrap_or_default(),
        agent: told.agent.as_deref().unwrap_or_default(),
        runner: "",
        data,
        to: "",
        guard: None,
    }
    .event()
}

/// The runner of a session that was open lapsed, at this time.
pub(crate) fn lost(session: &str, runner: &str, until_ms: u64, last_event: Option<&str>) -> wire::Event {
    let last_event = last_event.map_or_else(|| "null".to_owned(), string);
    Made {
        kind: "session.lost",
        // Said once, however many look after it.
        id: Some(format!("lost-{}", crate::digest(&format!("{session}/{runner}/{until_ms}")))),
        session,
        agent: "",
        runner: "",
        data: format!("{{\"runner\":{},\"last_event\":{last_event}}}", string(runner)),
        to: "",
        guard: None,
    }
    .event()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told() -> Told {
        Told {
            kind: "session.stop".into(),
            id: "c-\"1".into(),
            session: Some("s".into()),
            agent: None,
            by: "alice".into(),
            reply_to: Some("alice".into()),
            asked: String::new(),
            notice: false,
        }
    }

    #[test]
    fn a_final_answer_is_for_its_asker_and_guarded() {
        let event = failed(&told(), FailedWhy::Deadline, "r-1", "");
        let json: Value = serde_json::from_slice(&event.json).expect("JSON");
        let data = json!({"command_id": "c-\"1", "type": "session.stop", "code": "deadline",
            "error": "nobody answered in time", "by": "alice"});
        assert_eq!((&json["type"], &json["data"]), (&json!("command.failed"), &data));
        assert_eq!((&json["session"], &json["runner"]), (&json!("s"), &json!("r-1")));
        let guard = event.guard.expect("a guard");
        assert_eq!((guard.key.as_str(), event.to.as_str()), ("c:c-\"1", "alice"));
        assert!(is_of(&guard.note, "alice") && !is_of(&guard.note, "bob") && !is_of("", "alice"), "{}", guard.note);
        assert!(guard.until_ms >= unix_ms() + ANSWER_KEPT_MS - 1_000 && event.effects.is_empty());
    }

    #[test]
    fn who_lost_his_id_is_told_alone() {
        let event = displaced(&told()).expect("an event");
        assert_eq!((event.to.as_str(), event.guard), ("alice", None));
        assert_eq!(displaced(&Told { reply_to: None, ..told() }), None);
    }

    #[test]
    fn what_a_person_says_is_for_all_and_the_same_again() {
        let (one, again) = (said(&told(), "stop\nit"), said(&told(), "stop\nit"));
        assert_eq!((one.id, one.id_from_runner), (again.id.clone(), true));
        let json: Value = serde_json::from_slice(&again.json).expect("JSON");
        assert_eq!((&json["data"]["text"], &json["data"]["role"]), (&json!("stop\nit"), &json!("user")));
        assert!(again.to.is_empty() && !again.effects.is_empty());
        assert!(!lost("s", "r", 7, None).effects.is_empty());
    }
}
