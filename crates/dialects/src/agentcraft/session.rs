//! A session's state, read in this protocol's terms.

use serde_json::Value;
use tidings_protocol::timestamp;

use super::message::Output;
use super::words::{self, Status};
use crate::View;

/// The phase before any was said.
const FIRST_PHASE: &str = "initialization";
/// The kind of an output that names none.
const OUTPUT_TYPE: &str = "output";

/// A live session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) id: &'a str,
    pub(super) cells: &'a Value,
}

/// How a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Completed,
    /// It failed, or was given up, or its runner is gone.
    Failed,
}

/// An agent of a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agent<'a> {
    pub(super) id: &'a str,
    pub(super) cells: &'a Value,
    end: End,
}

impl<'a> Session<'a> {
    /// All live ones, by id.
    pub(super) fn all(view: &View<'a>) -> impl Iterator<Item = Session<'a>> + use<'a> {
        view.sessions().map(|(id, cells)| Session { id, cells })
    }

    pub(super) fn of(view: &View<'a>, id: &'a str) -> Option<Session<'a>> {
        view.session(id).map(|cells| Session { id, cells })
    }

    fn end(self) -> End {
        match words::text(self.cells, "status") {
            Some("completed") => End::Completed,
            Some("failed" | "cancelled" | "lost") => End::Failed,
            _ => End::Open,
        }
    }

    pub(super) fn is_open(self) -> bool {
        self.end() == End::Open
    }

    pub(super) fn query(self) -> &'a str {
        words::text(self.cells, "title").unwrap_or_default()
    }

    pub(super) fn phase(self) -> &'a str {
        let said = || words::text(self.cells, "phase").or_else(|| words::text(self.cells, "stage"));
        match words::text(self.cells, "status") {
            Some("completed") => "completed",
            Some("cancelled") => "cancelled",
            Some("failed" | "lost") => "error",
            _ => said().unwrap_or(FIRST_PHASE),
        }
    }

    /// What was said of the whole, else the mean of its agents.
    pub(super) fn progress(self) -> f64 {
        if self.end() == End::Completed {
            return 100.0;
        }
        words::progress(self.cells).unwrap_or_else(|| {
            let (mut sum, mut count) = (0.0, 0.0);
            for agent in self.agents() {
                sum += agent.progress();
                count += 1.0;
            }
            if count > 0.0 { sum / count } else { 0.0 }
        })
    }

    pub(super) fn agents(self) -> impl Iterator<Item = Agent<'a>> {
        let end = self.end();
        let agents = self.cells["agents"].as_object().into_iter().flatten();
        agents.map(move |(id, cells)| Agent { id, cells, end })
    }

    pub(super) fn agent(self, id: &str) -> Option<Agent<'a>> {
        let (id, cells) = self.cells["agents"].as_object()?.get_key_value(id)?;
        Some(Agent { id, cells, end: self.end() })
    }

    /// The name of an agent, where it has one.
    fn name_of(self, agent: &'a str) -> &'a str {
        self.agent(agent).map_or(agent, Agent::name)
    }

    pub(super) fn agents_active(self) -> usize {
        self.agents().filter(|agent| agent.status().is_active()).count()
    }

    /// When it started, in seconds.
    pub(super) fn started(self) -> Option<f64> {
        time(self.cells, "started").map(words::seconds)
    }

    /// When it would end if it went on at the pace that it had so far, in seconds.
    pub(super) fn estimated_completion(self, now_ms: u64) -> Option<f64> {
        let (started, progress) = (self.started()?, self.progress());
        let is_under_way = self.is_open() && progress > 0.0;
        is_under_way.then(|| {
            let elapsed = (words::seconds(now_ms) - started).max(0.0);
            // To the millisecond, as the other times are.
            ((started + elapsed / (progress / 100.0)) * 1_000.0).round() / 1_000.0
        })
    }

    /// The newest outputs, oldest first.
    pub(super) fn outputs(self, limit: usize) -> Vec<Output<'a>> {
        newest(&self.cells["outputs"], limit)
            .iter()
            .map(|output| Output {
                timestamp: time(output, "time").map(words::seconds).unwrap_or_default(),
                r#type: words::text(output, "kind").unwrap_or(OUTPUT_TYPE),
                content: words::text(output, "content").unwrap_or_default(),
                agent: words::text(output, "agent").map(|agent| self.name_of(agent)),
            })
            .collect()
    }

    /// The newest lines, oldest first, each with its agent's name.
    pub(super) fn lines(self, limit: usize) -> impl Iterator<Item = (&'a Value, Option<&'a str>)> {
        let lines = newest(&self.cells["logs"], limit).iter();
        lines.map(move |line| (line, words::text(line, "agent").map(|agent| self.name_of(agent))))
    }
}

impl<'a> Agent<'a> {
    pub(super) fn name(self) -> &'a str {
        words::text(self.cells, "name").unwrap_or(self.id)
    }

    /// What it does. The end of its session ends it, too.
    pub(super) fn status(self) -> Status {
        let own = words::text(self.cells, "status").map_or(Status::Idle, Status::parse);
        match self.end {
            End::Completed if !own.is_over() => Status::Completed,
            End::Failed if !own.is_over() => Status::Failed,
            _ => own,
        }
    }

    pub(super) fn progress(self) -> f64 {
        if self.status() == Status::Completed {
            return 100.0;
        }
        words::progress(self.cells).unwrap_or_default()
    }

    pub(super) fn message(self) -> Option<&'a str> {
        let summary = words::text(self.cells, "summary").filter(|_| self.cells.get("ended").is_some());
        summary.or_else(|| words::text(self.cells, "message")).or_else(|| self.task())
    }

    pub(super) fn task(self) -> Option<&'a str> {
        words::text(self.cells, "task")
    }

    /// When it started, in milliseconds.
    pub(super) fn started_ms(self) -> Option<u64> {
        time(self.cells, "started")
    }

    /// When it was last heard of, in milliseconds.
    pub(super) fn updated_ms(self) -> u64 {
        let times = ["started", "updated", "ended"].into_iter().filter_map(|name| time(self.cells, name));
        times.max().unwrap_or_default()
    }
}

/// A member that is a time, in milliseconds.
pub(super) fn time(object: &Value, name: &str) -> Option<u64> {
    words::text(object, name).and_then(timestamp::parse_rfc3339).and_then(|ms| u64::try_from(ms).ok())
}

/// The last items of a list.
fn newest(list: &Value, limit: usize) -> &[Value] {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    &items[items.len().saturating_sub(limit)..]
}
