//! A command as it lies in an inbox and is told to a runner.

use bytes::Bytes;
use serde::Deserialize;
use tidings_broker::inbox::Leased;
use tidings_protocol::timestamp::rfc3339;

use crate::asker::Asker;
use crate::command::Command;
use crate::json::string;

/// What is known of a command that was asked, beside its data.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Told {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its id.
    pub id: String,
    /// The session that it is bound to.
    #[serde(default)]
    pub session: Option<String>,
    /// The agent that it is bound to.
    #[serde(default)]
    pub agent: Option<String>,
    /// Who asked.
    pub by: String,
    /// The viewer that its answers are for; none: everybody.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// When it was asked, RFC 3339.
    #[serde(default)]
    pub asked: String,
    /// Nobody waits for an answer.
    #[serde(default)]
    pub notice: bool,
}

impl Told {
    /// Of a command that is asked under this id.
    pub(crate) fn of(command: &Command, id: &str, asker: &Asker, now_ms: u64) -> Told {
        Told {
            kind: command.kind.clone(),
            id: id.to_owned(),
            session: command.session.clone(),
            agent: command.agent.clone(),
            by: asker.by.clone(),
            reply_to: asker.reply_to.clone(),
            asked: rfc3339(now_ms),
            notice: false,
        }
    }

    /// Reads what lies in an inbox; none: no version of these services wrote it.
    pub fn read(body: &[u8]) -> Option<Told> {
        serde_json::from_slice(body).ok()
    }

    /// What lies in the inbox: data passes as it is.
    pub(crate) fn body(&self, capability: &str, data: Option<&str>) -> Bytes {
        let or_null = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_owned(), string);
        let notice = if self.notice { ",\"notice\":true" } else { "" };
        format!(
            "{{\"type\":{},\"id\":{},\"session\":{},\"agent\":{},\"capability\":{},\"data\":{},\"by\":{},\"reply_to\":{},\
             \"asked\":\"{}\"{notice}}}",
            string(&self.kind),
            string(&self.id),
            or_null(&self.session),
            or_null(&self.agent),
            string(capability),
            data.unwrap_or("null"),
            string(&self.by),
            or_null(&self.reply_to),
            self.asked,
        )
        .into()
    }

    /// The viewer that events of the command are for; empty: everybody.
    pub fn to(&self) -> &str {
        self.reply_to.as_deref().unwrap_or_default()
    }
}

/// Writes a command as its runner is told it now: what lies in the inbox, and its lease. How long is left is said as well, for
/// runners with another clock.
pub fn write(leased: &Leased, now_ms: u64, out: &mut Vec<u8>) {
    let open = leased.body.strip_suffix(b"}").unwrap_or(&leased.body);
    out.extend_from_slice(open);
    let (deadline, accept_by) = (rfc3339(leased.deadline_ms), rfc3339(leased.until_ms));
    let left = |at_ms: u64| at_ms.saturating_sub(now_ms);
    let (lease, deadline_in, accept_in) = (leased.lease, left(leased.deadline_ms), left(leased.until_ms));
    out.extend_from_slice(
        format!(
            ",\"deadline\":\"{deadline}\",\"deadline_in_ms\":{deadline_in},\"lease\":{lease},\"accept_by\":\"{accept_by}\",\
             \"accept_in_ms\":{accept_in}}}"
        )
        .as_bytes(),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_runner_is_told_what_was_asked_byte_for_byte() {
        let asker = Asker { by: "al\"ice".into(), reply_to: Some("alice".into()), is_admin: false };
        let data = r#"{"n":1.00,"big":123456789012345678901234567890}"#;
        let command = Command { session: Some("s".into()), data: Some(data.into()), ..Command::new("session.stop") };
        let told = Told::of(&command, "c-1", &asker, 1_000);
        let body = told.body(command.capability(), command.data.as_deref());
        assert_eq!(Told::read(&body), Some(told));
        let leased =
            Leased { id: "c-1".into(), lease: 2, until_ms: 31_000, deadline_ms: 61_000, asker: "alice".into(), body };
        let mut out = Vec::new();
        write(&leased, 1_500, &mut out);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains(data), "{text}");
        let mut told: Value = serde_json::from_str(&text).expect("JSON");
        told["data"] = Value::Null;
        let expected = json!({
            "type": "session.stop", "id": "c-1", "session": "s", "agent": null, "capability": "session", "data": null,
            "by": "al\"ice", "reply_to": "alice", "asked": "1970-01-01T00:00:01.000Z",
            "deadline": "1970-01-01T00:01:01.000Z", "lease": 2, "accept_by": "1970-01-01T00:00:31.000Z",
            "deadline_in_ms": 59_500, "accept_in_ms": 29_500,
        });
        assert_eq!(told, expected);
    }
}
