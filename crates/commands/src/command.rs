//! A command as it is asked: reading, checking, and what its type means. Pure.

use serde_json::Value;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::limits::{DATA_DEPTH_MAX, NAME_BYTES_MAX, TYPE_BYTES_MAX};

use crate::json::{Members, compact, depth};
use crate::{OWN_PREFIX, Refusal};

/// Largest `data`, in bytes, without white space outside strings.
pub const DATA_BYTES_MAX: usize = 32 * 1024;

/// Longest capability, in bytes.
pub const CAPABILITY_BYTES_MAX: usize = 64;

/// Shortest and longest time until a command is due, in milliseconds.
pub const DEADLINE_MS: (u64, u64) = (1_000, 3_600_000);

/// What a command may say.
const FIELDS: [&str; 7] = ["type", "id", "session", "agent", "capability", "data", "deadline_ms"];

/// What a viewer asks of the runners of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is asked: grammar of event types.
    pub kind: String,
    /// Makes retries harmless; none: it is given one.
    pub id: Option<String>,
    /// For the runner that holds this session.
    pub session: Option<String>,
    /// For the runner that holds this agent.
    pub agent: Option<String>,
    /// Which runners may take it; none: the type's first segment.
    pub capability: Option<String>,
    /// JSON for the runner, without white space outside strings; none: there is none.
    pub data: Option<String>,
    /// When an answer is of no use any more, from now; none: as the service is configured.
    pub deadline_ms: Option<u64>,
}

/// What type of command, for figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `agent.*`.
    Agent,
    /// `approval.answer`.
    Approval,
    /// `command.cancel`.
    Cancel,
    /// `chat`.
    Chat,
    /// `evolution.*`.
    Evolution,
    /// `mcp.*`.
    Mcp,
    /// `reasoning.*`.
    Reasoning,
    /// `session.*`.
    Session,
    /// All others.
    Other,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 9] = [
        Class::Agent,
        Class::Approval,
        Class::Cancel,
        Class::Chat,
        Class::Evolution,
        Class::Mcp,
        Class::Reasoning,
        Class::Session,
        Class::Other,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Class::Agent => "agent",
            Class::Approval => "approval",
            Class::Cancel => "cancel",
            Class::Chat => "chat",
            Class::Evolution => "evolution",
            Class::Mcp => "mcp",
            Class::Reasoning => "reasoning",
            Class::Session => "session",
            Class::Other => "other",
        }
    }

    /// Of a type.
    pub fn of(kind: &str) -> Class {
        match (kind, kind.split('.').next().unwrap_or_default()) {
            ("approval.answer", _) => Class::Approval,
            ("command.cancel", _) => Class::Cancel,
            (_, "agent") => Class::Agent,
            (_, "chat") => Class::Chat,
            (_, "evolution") => Class::Evolution,
            (_, "mcp") => Class::Mcp,
            (_, "reasoning") => Class::Reasoning,
            (_, "session") => Class::Session,
            _ => Class::Other,
        }
    }
}

impl Command {
    /// A command of this type and nothing else.
    pub fn new(kind: impl Into<String>) -> Command {
        let (id, session, agent, capability, data, deadline_ms) = Default::default();
        Command { kind: kind.into(), id, session, agent, capability, data, deadline_ms }
    }

    /// The same with this data.
    pub fn with_data(self, data: &Value) -> Command {
        Command { data: Some(data.to_string()), ..self }
    }

    /// Reads and checks a command. Null is as good as absent.
    ///
    /// # Errors
    /// `malformed_json` for what is no JSON, `invalid_field` for JSON that is no object, else the first fault, with its field.
    pub fn parse(json: &str) -> Result<Command, Refusal> {
        let members: Members<'_> = serde_json::from_str(json).map_err(|error| fault_of(&error))?;
        for (at, (name, _)) in members.0.iter().enumerate() {
            if !FIELDS.contains(&name.as_ref()) {
                let field = echo::text(name);
                return Err(Refusal::of_field(ErrorCode::UnknownField, &field, "a command has no such field"));
            }
            if members.0[..at].iter().any(|(before, _)| before == name) {
                return Err(Refusal::of_field(ErrorCode::DuplicateField, name, "it is there twice"));
            }
        }
        let text = |name: &str| {
            let read = |json| serde_json::from_str::<String>(json);
            let wrong = |_| Refusal::of_field(ErrorCode::InvalidField, name, "expected a string");
            members.get(name).map(read).transpose().map_err(wrong)
        };
        let kind = text("type")?;
        let deadline = members.get("deadline_ms").map(str::parse::<u64>).transpose();
        let (least, most) = DEADLINE_MS;
        let command = Command {
            kind: kind.ok_or_else(|| Refusal::of_field(ErrorCode::MissingField, "type", "a command needs it"))?,
            id: text("id")?,
            session: text("session")?,
            agent: text("agent")?,
            capability: text("capability")?,
            data: members.get("data").map(compact),
            deadline_ms: deadline.map_err(|_| {
                let expected = format!("expected an integer from {least} to {most}");
                Refusal::of_field(ErrorCode::InvalidField, "deadline_ms", &expected)
            })?,
        };
        command.check()?;
        Ok(command)
    }

    /// Whether everything is within its limits.
    ///
    /// # Errors
    /// The first fault, with its field and limit.
    pub fn check(&self) -> Result<(), Refusal> {
        let invalid = ErrorCode::InvalidField;
        if self.kind.len() > TYPE_BYTES_MAX {
            return Err(Refusal::over("type", TYPE_BYTES_MAX, self.kind.len()));
        }
        if !is_type(&self.kind) {
            let expected = "lower-case words of a-z, 0-9 and _, joined by dots, starting with a letter";
            return Err(Refusal::of_field(invalid, "type", expected));
        }
        let names = [("id", &self.id), ("session", &self.session), ("agent", &self.agent)];
        for (field, name) in names {
            check_name(field, name.as_deref(), NAME_BYTES_MAX)?;
        }
        check_name("capability", self.capability.as_deref(), CAPABILITY_BYTES_MAX)?;
        check_path("id", self.id.as_deref().unwrap_or_default())?;
        for (field, name) in [names[0], names[1], ("capability", &self.capability)] {
            if name.as_deref().is_some_and(|name| name.starts_with(OWN_PREFIX)) {
                let expected = format!("`{OWN_PREFIX}` begins the server's own");
                return Err(Refusal::of_field(ErrorCode::Reserved, field, &expected));
            }
        }
        let bytes = self.data.as_deref().map_or(0, str::len);
        if bytes > DATA_BYTES_MAX {
            return Err(Refusal::over("data", DATA_BYTES_MAX, bytes));
        }
        let depth = self.data.as_deref().map_or(0, depth);
        if depth > DATA_DEPTH_MAX {
            let mut refusal = Refusal::of_field(invalid, "data", "nested too deep");
            refusal.errors[0] = refusal.errors[0].clone().limit(DATA_DEPTH_MAX, depth);
            return Err(refusal);
        }
        let (least, most) = DEADLINE_MS;
        if self.deadline_ms.is_some_and(|ms| !(least..=most).contains(&ms)) {
            let mut refusal = Refusal::of_field(invalid, "deadline_ms", &format!("expected {least} to {most}"));
            let actual = self.deadline_ms.unwrap_or_default();
            refusal.errors[0].limit = Some(if actual < least { least } else { most });
            refusal.errors[0].actual = Some(actual);
            return Err(refusal);
        }
        Ok(())
    }

    /// Which runners may take it.
    pub fn capability(&self) -> &str {
        self.capability.as_deref().unwrap_or_else(|| self.kind.split('.').next().unwrap_or_default())
    }

    /// Whether it overtakes what waits: who wants something stopped, or has decided, does not queue behind the rest.
    pub fn is_urgent(&self) -> bool {
        self.kind == "approval.answer" || self.kind.split('.').next_back() == Some("stop")
    }

    /// Whether it is something that a person says.
    pub fn is_chat(&self) -> bool {
        matches!(self.kind.as_str(), "chat" | "agent.message")
    }

    /// What a person says with it: the text of `data.text`, else of `data.message`, else of `data.content`.
    pub fn text(&self) -> Option<String> {
        let members = Members::of(self.data.as_deref()?)?;
        ["text", "message", "content"].into_iter().find_map(|name| members.text(name))
    }
}

/// The grammar of event types.
fn is_type(kind: &str) -> bool {
    let segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    kind.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && kind.split('.').all(segment)
}

/// What stands in a path is no step of it: clients take `.` and `..` out.
pub(crate) fn check_path(field: &str, name: &str) -> Result<(), Refusal> {
    if matches!(name, "." | "..") {
        return Err(Refusal::of_field(ErrorCode::InvalidField, field, "must not be `.` or `..`"));
    }
    Ok(())
}

/// What is wrong with a text that is no object of members.
fn fault_of(error: &serde_json::Error) -> Refusal {
    if error.is_data() {
        return Refusal::new(ErrorCode::InvalidField, "a command is a JSON object");
    }
    Refusal::new(ErrorCode::MalformedJson, echo::parse_error(error))
}

/// A name is not empty, not too long, and has no control characters.
pub(crate) fn check_name(field: &str, name: Option<&str>, bytes_max: usize) -> Result<(), Refusal> {
    let Some(name) = name else { return Ok(()) };
    let expected = if name.is_empty() {
        "must not be empty"
    } else if name.chars().any(char::is_control) {
        "must not have control characters"
    } else if name.len() > bytes_max {
        return Err(Refusal::over(field, bytes_max, name.len()));
    } else {
        return Ok(());
    };
    Err(Refusal::of_field(ErrorCode::InvalidField, field, expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_read() {
        let json = r#" {"type":"session.stop","id":"c-1","session":"s","agent":null,
            "data":{ "reason" : " x ", "n": 1.00 },"deadline_ms":5000}"#;
        let command = Command::parse(json).expect("a good command");
        assert_eq!((command.capability(), command.is_urgent(), command.agent.as_deref()), ("session", true, None));
        assert_eq!(command.data.as_deref(), Some(r#"{"reason":" x ","n":1.00}"#));
        assert_eq!((command.deadline_ms, Class::of(&command.kind)), (Some(5_000), Class::Session));
    }

    #[test]
    fn faults_name_their_field_and_limit() {
        let check = |json: &str, code: ErrorCode, field: Option<&str>, limit: Option<u64>| {
            let refusal = Command::parse(json).expect_err(json);
            let fault = refusal.errors.first();
            assert_eq!(refusal.code, code, "{json}");
            assert_eq!(fault.and_then(|fault| fault.field.as_deref()), field, "{json}");
            assert_eq!(fault.and_then(|fault| fault.limit), limit, "{json}");
        };
        let long = "x".repeat(129);
        let (invalid, limit) = (ErrorCode::InvalidField, Some(128));
        check("[]", invalid, None, None);
        check("7", invalid, None, None);
        check("{\"type\":\"a\"", ErrorCode::MalformedJson, None, None);
        check("{}", ErrorCode::MissingField, Some("type"), None);
        check(r#"{"type":null}"#, ErrorCode::MissingField, Some("type"), None);
        check(r#"{"type":"Chat"}"#, invalid, Some("type"), None);
        check(r#"{"type":"a..b"}"#, invalid, Some("type"), None);
        check(r#"{"type":7}"#, invalid, Some("type"), None);
        check(&format!("{{\"type\":\"{}\"}}", "t".repeat(65)), invalid, Some("type"), Some(64));
        for field in ["id", "session", "agent"] {
            check(&format!("{{\"type\":\"a\",\"{field}\":\"{long}\"}}"), invalid, Some(field), limit);
            check(&format!("{{\"type\":\"a\",\"{field}\":\"\"}}"), invalid, Some(field), None);
            check(&format!("{{\"type\":\"a\",\"{field}\":\"a\\u0085b\"}}"), invalid, Some(field), None);
        }
        check(&format!("{{\"type\":\"a\",\"capability\":\"{long}\"}}"), invalid, Some("capability"), Some(64));
        check(r#"{"type":"a","id":"tidings:x"}"#, ErrorCode::Reserved, Some("id"), None);
        check(r#"{"type":"a","session":"tidings:r:x"}"#, ErrorCode::Reserved, Some("session"), None);
        check(r#"{"type":"a","id":"."}"#, invalid, Some("id"), None);
        check(r#"{"type":"a","id":".."}"#, invalid, Some("id"), None);
        check(r#"{"type":"a","capability":"tidings:runner"}"#, ErrorCode::Reserved, Some("capability"), None);
        check(r#"{"type":"a","who":1}"#, ErrorCode::UnknownField, Some("who"), None);
        check(r#"{"type":"a","type":"b"}"#, ErrorCode::DuplicateField, Some("type"), None);
        check(r#"{"type":"a","deadline_ms":999}"#, invalid, Some("deadline_ms"), Some(1_000));
        check(r#"{"type":"a","deadline_ms":3600001}"#, invalid, Some("deadline_ms"), Some(3_600_000));
        check(r#"{"type":"a","deadline_ms":-1}"#, invalid, Some("deadline_ms"), None);
        let nested = |depth: usize| format!(r#"{{"type":"a","data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        assert!(Command::parse(&nested(64)).is_ok());
        check(&nested(65), invalid, Some("data"), Some(64));
        let data = "y".repeat(DATA_BYTES_MAX - 2);
        assert!(Command::parse(&format!("{{\"type\":\"a\",\"data\": \"{data}\" }}")).is_ok());
        check(&format!("{{\"type\":\"a\",\"data\":\"{data}z\"}}"), invalid, Some("data"), Some(DATA_BYTES_MAX as u64));
    }

    #[test]
    fn people_say_text_message_or_content() {
        let text = |json: &str| Command { data: Some(json.to_owned()), ..Command::new("chat") }.text();
        assert_eq!(text(r#"{"content":"c","message":"m","text":"t"}"#).as_deref(), Some("t"));
        assert_eq!(text(r#"{"content":"c","message":"m","text":5}"#).as_deref(), Some("m"));
        assert_eq!(text(r#"{"content":"c"}"#).as_deref(), Some("c"));
        assert_eq!((text("{}"), text("[1]"), Command::new("chat").text()), (None, None, None));
    }
}
