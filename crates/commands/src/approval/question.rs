//! Questions as runners ask them, and what is said of one that is asked behind its decision.

use tidings_protocol::wire;

use super::{Decision, REQUESTED, data_of, guard_key, resolved};
use crate::digest;
use crate::json::string;

/// A question, as somebody asked it by an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    session: String,
    approval: String,
    /// The event's id.
    event: String,
}

impl Question {
    /// The question that an event asks, if it does.
    pub fn of(event: &wire::Event) -> Option<Question> {
        if event.r#type != REQUESTED {
            return None;
        }
        let approval = data_of(event, |data| data.text("approval_id"))?;
        Some(Question { session: event.session.clone(), approval, event: event.id.clone() })
    }

    /// The guard of its decision.
    pub fn guard_key(&self) -> String {
        guard_key(&self.session, &self.approval)
    }

    /// `approval.resolved` once more, for a question that was asked again behind its decision: nobody is left with an open
    /// one. `note`: of the guard that stands. It decides nothing; asked by the same event it is the same.
    pub fn resolved_again(&self, note: &str) -> wire::Event {
        let said = Decision::of_note(note);
        let more = said.reason.as_deref().map(|reason| format!("\"reason\":{},", string(reason))).unwrap_or_default();
        let id = format!("approval-again-{}", digest(&self.event));
        let event = resolved(&self.approval, &self.session, &said, &more, Some(id));
        wire::Event { guard: None, ..event }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Answer, RESOLVED};
    use super::*;
    use crate::command::Command;
    use crate::made::Made;

    #[test]
    fn what_is_asked_again_is_told_its_decision_and_decides_nothing() {
        let data = r#"{"approval_id":"a","question":"?","options":[]}"#.to_owned();
        let (session, agent, runner, to) = ("s", "", "", "");
        let id = Some("e-2".into());
        let asked = Made { kind: REQUESTED, id, session, agent, runner, data, to, guard: None }.event();
        let question = Question::of(&asked).expect("a question");
        let data = json!({"approval_id": "a", "decision": {"go": 1}, "reason": "why"});
        let command = Command { session: Some("s".into()), ..Command::new("approval.answer").with_data(&data) };
        let decided = Answer::of(&command).expect("good").resolved("c-1", "s", "bob");
        assert_eq!(Question::of(&decided), None);
        let guard = decided.guard.expect("a guard");
        assert_eq!(guard.key, question.guard_key());
        let again = question.resolved_again(&guard.note);
        assert_eq!((&again.guard, again.session.as_str(), again.effects.len()), (&None, "s", 1));
        assert_eq!(again.id, question.resolved_again(&guard.note).id, "asked by the same event it is the same");
        let told: serde_json::Value = serde_json::from_slice(&again.json).expect("JSON");
        let data = json!({"approval_id": "a", "decision": {"go": 1}, "reason": "why", "by": "bob"});
        assert_eq!((&told["type"], &told["data"]), (&json!(RESOLVED), &data));
    }
}
