//! The messages as they are on the wire: every field, in order, with its JSON type.

use serde::Serialize;
use serde_json::Value;

/// What a client is told. Times: `f64` is seconds since the Unix epoch, `String` is RFC 3339.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message<'a> {
    ActiveSessions { timestamp: f64, data: ActiveSessions<'a> },
    AgentStatus(AgentStatus<'a>),
    AgentCollaboration(Collaboration<'a>),
    SessionState { session_id: &'a str, state: SessionState<'a>, timestamp: f64 },
    SessionLogs { session_id: &'a str, logs: Vec<Line<'a>>, timestamp: f64 },
    SessionNotFound { session_id: &'a str, timestamp: f64 },
    Ping { timestamp: f64 },
    SessionStarted(Nested<'a>),
    AgentStatusUpdate(Nested<'a>),
    PhaseUpdate(Nested<'a>),
    CrewOutput(Nested<'a>),
    SessionCompleted(Nested<'a>),
    SessionError(Nested<'a>),
    LogStreamingStarted { session_id: &'a str, timestamp: f64, message: &'a str },
    LogStreamingStopped { timestamp: f64, message: &'a str },
    CrewaiLog { timestamp: f64, log: Box<Log<'a>> },
}

impl Message<'_> {
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("a message has no map whose keys are no strings")
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ActiveSessions<'a> {
    pub(super) total_sessions: usize,
    pub(super) sessions: Vec<ActiveSession<'a>>,
}

/// The document's four fields, then the code's.
#[derive(Debug, Serialize)]
pub(super) struct ActiveSession<'a> {
    pub(super) session_id: &'a str,
    pub(super) query: &'a str,
    pub(super) status: &'static str,
    pub(super) agents_active: usize,
    pub(super) phase: &'a str,
    pub(super) progress: f64,
    pub(super) agents: usize,
    pub(super) started_at: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(super) struct AgentStatus<'a> {
    pub(super) agent_id: &'a str,
    pub(super) agent_name: &'a str,
    pub(super) status: &'static str,
    pub(super) progress: u8,
    pub(super) message: &'a str,
    pub(super) timestamp: String,
    pub(super) metadata: Metadata<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct Metadata<'a> {
    pub(super) task_id: Option<&'a str>,
    /// Seconds, as a rule; whatever the runner said.
    pub(super) estimated_completion: &'a Value,
}

#[derive(Debug, Serialize)]
pub(super) struct Collaboration<'a> {
    pub(super) primary_agent: &'a str,
    pub(super) secondary_agent: &'a str,
    pub(super) collaboration_type: &'a str,
    pub(super) reason: &'a str,
    pub(super) timestamp: String,
}

#[derive(Debug, Serialize)]
pub(super) struct SessionState<'a> {
    pub(super) session_id: &'a str,
    pub(super) query: &'a str,
    pub(super) current_phase: &'a str,
    pub(super) overall_progress: u8,
    pub(super) active_agents: Vec<ActiveAgent<'a>>,
    pub(super) crew_output: Vec<Output<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct ActiveAgent<'a> {
    pub(super) agent_name: &'a str,
    pub(super) status: &'static str,
    pub(super) progress: u8,
    pub(super) current_task: &'a str,
    pub(super) details: Value,
}

#[derive(Debug, Serialize)]
pub(super) struct Output<'a> {
    pub(super) timestamp: f64,
    pub(super) r#type: &'a str,
    pub(super) content: &'a str,
    pub(super) agent: Option<&'a str>,
}

/// A line of a session's log, in the document's form or the code's.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Line<'a> {
    Document {
        timestamp: String,
        level: &'a str,
        agent: &'a str,
        message: &'a str,
        details: Value,
    },
    /// The document's form with what it lacks of the code's.
    Both {
        timestamp: String,
        level: &'a str,
        agent: &'a str,
        message: &'a str,
        details: Value,
        r#type: &'static str,
        status: &'static str,
        task: &'a str,
    },
    AgentActivity {
        timestamp: f64,
        r#type: &'static str,
        agent: &'a str,
        status: &'static str,
        task: &'a str,
        details: Option<&'a str>,
    },
    CrewActivity {
        timestamp: f64,
        r#type: &'static str,
        message: &'a str,
        details: Option<&'a str>,
    },
}

/// An event with the session's state beside it.
#[derive(Debug, Serialize)]
pub(super) struct Nested<'a> {
    pub(super) session_id: &'a str,
    pub(super) timestamp: f64,
    pub(super) state: NestedState<'a>,
    /// What the message is about, for the one client that reads it here.
    pub(super) data: Value,
}

#[derive(Debug, Serialize)]
pub(super) struct NestedState<'a> {
    pub(super) session_id: &'a str,
    pub(super) query: &'a str,
    pub(super) total_agents: usize,
    pub(super) active_agents: Vec<NestedAgent<'a>>,
    pub(super) completed_agents: Vec<&'a str>,
    pub(super) current_phase: &'a str,
    pub(super) overall_progress: f64,
    pub(super) started_at: f64,
    pub(super) estimated_completion: Option<f64>,
    pub(super) crew_output: Vec<Output<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct NestedAgent<'a> {
    pub(super) agent_id: &'a str,
    pub(super) agent_name: &'a str,
    pub(super) status: &'static str,
    pub(super) current_task: Option<&'a str>,
    pub(super) progress: f64,
    pub(super) details: Option<&'a str>,
    pub(super) started_at: Option<f64>,
    pub(super) updated_at: f64,
}

/// A line of a Python logger.
#[derive(Debug, Serialize)]
pub(super) struct Log<'a> {
    pub(super) timestamp: f64,
    pub(super) datetime: String,
    pub(super) session_id: &'a str,
    pub(super) level: &'static str,
    pub(super) logger: &'a str,
    pub(super) message: String,
    pub(super) raw_message: &'a str,
    pub(super) source: &'static str,
    pub(super) module: &'a str,
    pub(super) function: &'a str,
    pub(super) line: u64,
    pub(super) event_type: &'a str,
    pub(super) agent_info: AgentInfo<'a>,
}

#[derive(Debug, Serialize)]
pub(super) struct AgentInfo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<&'a str>,
}
