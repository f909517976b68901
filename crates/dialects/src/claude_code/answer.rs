//! What a hook is answered.

use serde_json::{Value, json};

/// A decision on a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// This time.
    Allow,
    /// From now on, as the tool itself suggested.
    AllowAlways,
    /// No.
    Deny,
}

impl Decision {
    /// The options of an approval; the last one only where the tool suggested something.
    pub const OPTIONS: [&'static str; 3] = ["allow", "deny", "allow_always"];

    /// What a dashboard's word means; none: it is no decision of ours (`expired`, say), and the tool decides by itself.
    pub fn parse(word: &str) -> Option<Decision> {
        match word {
            "allow" | "approve" | "approved" | "yes" => Some(Decision::Allow),
            "allow_always" => Some(Decision::AllowAlways),
            "deny" | "reject" | "rejected" | "no" => Some(Decision::Deny),
            _ => None,
        }
    }
}

/// The answer to a permission hook. `reason` is told with a refusal; `suggestions` are the hook's own.
pub fn answer(decision: Decision, reason: Option<&str>, suggestions: Option<&Value>) -> Value {
    let decision = match (decision, suggestions) {
        (Decision::Deny, _) => json!({"behavior": "deny", "message": reason.unwrap_or("denied by a viewer")}),
        (Decision::AllowAlways, Some(suggestions)) => json!({"behavior": "allow", "updatedPermissions": suggestions}),
        (Decision::Allow | Decision::AllowAlways, _) => json!({"behavior": "allow"}),
    };
    json!({"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}})
}

/// The answer of who has nothing to say: the tool goes on as if nobody had been asked.
pub fn no_opinion() -> Value {
    json!({})
}
