//! A build: a session of ours, as their dashboard looks at it.

use serde_json::Value;

use super::words;
use crate::View;

/// Messages that a status lists of each kind, the newest ones.
const MESSAGES_MAX: usize = 20;

/// A session, live or gone: what is not known of it is empty.
#[derive(Debug, Clone, Copy)]
pub struct Build<'a> {
    /// The session; empty: none has begun.
    pub session: &'a str,
    /// The session as a snapshot has it, or as the list of sessions does.
    pub value: &'a Value,
}

/// An agent of a build.
#[derive(Debug, Clone, PartialEq)]
pub struct Agent<'a> {
    /// Its id, as in messages.
    pub name: &'a str,
    /// `idle`, `working`, `completed` or `failed`.
    pub status: &'static str,
    /// A number of percent.
    pub progress: Value,
    /// What it does; empty: not said.
    pub task: &'a str,
    /// When it was heard last, in milliseconds since the Unix epoch.
    pub updated_ms: Option<u64>,
}

impl<'a> Build<'a> {
    /// Nothing has begun.
    pub const NONE: Build<'static> = Build { session: "", value: &Value::Null };

    /// A live session.
    pub fn live(view: &View<'a>, session: &str) -> Option<Build<'a>> {
        view.sessions().find(|(id, _)| *id == session).map(|(session, value)| Build { session, value })
    }

    /// The live session that started last; of two, the one whose id sorts behind the other's.
    pub fn newest_live(view: &View<'a>) -> Option<Build<'a>> {
        let live = view.sessions().map(|(session, value)| Build { session, value });
        live.max_by_key(|build| (build.started_ms(), build.session))
    }

    /// The session of a list (docs/protocol.md) that is meant, with as much as a list tells of it: this one, live or gone; or,
    /// where none is named, the live one that started last, else the one that went last.
    pub fn listed(rows: &'a Value, session: Option<&str>) -> Option<Build<'a>> {
        let rows = rows.as_array().into_iter().flatten();
        let mut builds = rows.map(Build::of_row);
        if let Some(session) = session {
            return builds.find(|build| build.session == session);
        }
        let live = builds.clone().filter(Build::is_live);
        // Those that are gone stand newest first.
        live.max_by_key(|build| (build.started_ms(), build.session)).or_else(|| builds.next())
    }

    /// A row of such a list.
    pub fn of_row(value: &'a Value) -> Build<'a> {
        Build { session: value["session"].as_str().unwrap_or_default(), value }
    }

    /// Whether there is more of it than what a list tells.
    pub fn is_live(&self) -> bool {
        self.value["live"] != Value::Bool(false)
    }

    /// `initializing`, `in_progress`, `completed`, `failed` or `paused`.
    pub fn status(&self) -> &'static str {
        let begun = (!self.session.is_empty()).then_some("running");
        words::project_status(self.value["status"].as_str().or(begun))
    }

    /// The build's name.
    pub fn title(&self) -> Option<&'a str> {
        self.value["title"].as_str()
    }

    /// What the runner says of itself and its task.
    pub fn metadata(&self, name: &str) -> &'a Value {
        &self.value["metadata"][name]
    }

    /// When it started, in milliseconds since the Unix epoch.
    pub fn started_ms(&self) -> Option<u64> {
        words::time_ms(&self.value["started"])
    }

    /// When it ended.
    pub fn ended_ms(&self) -> Option<u64> {
        words::time_ms(&self.value["ended"])
    }

    /// How far it is: a number of percent.
    pub fn progress(&self) -> Value {
        words::progress(self.status(), &self.value["progress"])
    }

    /// What it says of its progress; empty: nothing.
    pub fn message(&self) -> &'a str {
        self.value["message"].as_str().unwrap_or_default()
    }

    /// The stage that it is in, if it said so.
    pub fn stage(&self) -> Option<&'a str> {
        self.value["stage"].as_str().filter(|stage| !stage.is_empty())
    }

    /// Stages that are done, in their order.
    pub fn stages_completed(&self) -> Vec<&'a str> {
        let stages = self.value["stages"].as_object().into_iter().flatten();
        let done = stages.filter(|(_, stage)| stage["status"] == "completed");
        let mut done: Vec<_> = done.map(|(name, _)| name.as_str()).collect();
        done.sort_by_key(|name| (words::rank(&words::STAGES, name), *name));
        done
    }

    /// What its end says.
    pub fn outcome(&self) -> &'a Value {
        &self.value["outcome"]
    }

    /// Why it failed.
    pub fn error(&self) -> Option<&'a str> {
        self.outcome()["error"].as_str()
    }

    /// The newest messages of a level in its log, oldest first.
    pub fn messages(&self, level: &str) -> Vec<&'a str> {
        let lines = self.value["logs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = lines.iter().rev().filter(|line| words::level(line["level"].as_str()) == level);
        let mut newest: Vec<_> = of.filter_map(|line| line["message"].as_str()).take(MESSAGES_MAX).collect();
        newest.reverse();
        newest
    }

    /// Its agents, in the order in which theirs work, then by name.
    pub fn agents(&self) -> Vec<Agent<'a>> {
        let agents = self.value["agents"].as_object().into_iter().flatten();
        let mut agents: Vec<_> = agents.map(|(name, agent)| Agent::of(name, agent)).collect();
        agents.sort_by_key(|agent| (words::rank(&words::AGENTS, agent.name), agent.name));
        agents
    }
}

impl<'a> Agent<'a> {
    fn of(name: &'a str, agent: &'a Value) -> Agent<'a> {
        let status = words::agent_status(agent["status"].as_str());
        let texts = ["task", "message", "summary", "role"].iter().find_map(|name| agent[*name].as_str());
        let times = ["ended", "updated", "started"].iter().filter_map(|name| words::time_ms(&agent[*name]));
        Agent {
            name,
            status,
            progress: words::progress(status, &agent["progress"]),
            task: texts.unwrap_or_default(),
            updated_ms: times.max(),
        }
    }
}
