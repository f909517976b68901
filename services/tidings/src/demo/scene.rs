//! One session as it is played: the words in which stories are written, and the events that they become.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use crate::client::draft::Draft;

/// What the models of the play cost, in dollars per million tokens in and out.
const PRICE: [f64; 2] = [2.5, 10.0];

/// Seconds between two pieces of a message.
const TOKEN_PACE: std::ops::Range<f64> = 0.05..0.16;

/// An event, and when it happens.
#[derive(Debug)]
pub(super) struct Beat {
    pub(super) at: Duration,
    pub(super) event: Draft,
}

/// A session on stage. Its clock stands where the next event happens.
pub(super) struct Scene<'a> {
    session: String,
    at: Duration,
    beats: Vec<Beat>,
    rng: &'a mut StdRng,
    names: u32,
    stage: Option<&'static str>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(session: String, at: Duration, rng: &'a mut StdRng) -> Scene<'a> {
        Scene { session, at, beats: Vec::new(), rng, names: 0, stage: None }
    }

    /// The events in their order, with ids; and when the last one happens.
    pub(super) fn into_beats(mut self) -> (Vec<Beat>, Duration) {
        self.beats.sort_by_key(|beat| beat.at);
        for (number, beat) in self.beats.iter_mut().enumerate() {
            beat.event.id = Some(format!("{}-{number}", self.session));
        }
        (self.beats, self.at)
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *of.choose(self.rng).expect("there is something to pick from")
    }

    /// A number of this range.
    pub(super) fn number(&mut self, of: std::ops::Range<u32>) -> u32 {
        self.rng.random_range(of)
    }

    /// Time passes, about so many seconds.
    pub(super) fn wait(&mut self, seconds: f64) {
        self.at += Duration::from_secs_f64(seconds * self.rng.random_range(0.85..1.15));
    }

    /// These happen side by side; it goes on when the last of them is done.
    pub(super) fn together(&mut self, parts: &[fn(&mut Scene<'_>)]) {
        let begin = self.at;
        let mut end = begin;
        for part in parts {
            self.at = begin;
            part(self);
            end = end.max(self.at);
        }
        self.at = end;
    }

    /// The session begins, with these agents (id, name, role); the first of them starts the others.
    pub(super) fn opens(&mut self, title: &str, mode: &str, agents: &[[&str; 3]]) {
        let ids: Vec<&str> = agents.iter().map(|[id, ..]| *id).collect();
        let metadata = json!({ "source": "tidings demo" });
        self.happens("session.started", &json!({ "title": title, "mode": mode, "agents": ids, "metadata": metadata }));
        let lead = ids[0];
        for [id, name, role] in agents {
            let event = Draft::new("agent.started", &self.session, &json!({ "name": name, "role": role })).by(id);
            let parent = (*id != lead).then(|| lead.to_owned());
            self.beats.push(Beat { at: self.at, event: Draft { parent, ..event } });
            self.at += Duration::from_millis(120);
        }
        let edges: Vec<[&str; 2]> = ids[1..].iter().map(|id| [lead, *id]).collect();
        self.happens("swarm.topology", &json!({ "topology": "star", "agents": ids, "edges": edges }));
    }

    /// The next stage, which completes the one before; and how far the session is with it.
    pub(super) fn stage(&mut self, stage: &'static str, progress: u32, message: &str) {
        self.stage_ends("completed");
        self.stage = Some(stage);
        self.happens("session.stage", &json!({ "stage": stage, "status": "started" }));
        self.progress(progress, message);
    }

    fn stage_ends(&mut self, status: &str) {
        if let Some(stage) = self.stage.take() {
            self.happens("session.stage", &json!({ "stage": stage, "status": status }));
        }
    }

    pub(super) fn progress(&mut self, progress: u32, message: &str) {
        let stage = self.stage;
        self.happens("session.progress", &json!({ "progress": progress, "stage": stage, "message": message }));
    }

    pub(super) fn status(&mut self, agent: &str, status: &str, progress: u32, message: &str) {
        self.does(agent, "agent.status", &json!({ "status": status, "progress": progress, "message": message }));
    }

    pub(super) fn log(&mut self, agent: &str, level: &str, message: &str) {
        self.does(agent, "log", &json!({ "level": level, "message": message, "source": agent }));
    }

    /// A message, as its tokens come.
    pub(super) fn says(&mut self, agent: &str, text: &str) {
        let message_id = self.name("msg");
        for piece in text.split_inclusive(' ') {
            self.does(agent, "message.delta", &json!({ "message_id": message_id, "text": piece }));
            self.at += Duration::from_secs_f64(self.rng.random_range(TOKEN_PACE));
        }
        self.does(agent, "message.completed", &json!({ "message_id": message_id, "role": "assistant", "text": text }));
        let words = u32::try_from(text.split(' ').count()).unwrap_or(u32::MAX);
        let read = self.number(900..6_000);
        self.spends(agent, read, words * 4 / 3);
    }

    /// A chain of thought, and what it comes to.
    pub(super) fn thinks(&mut self, agent: &str, problem: &str, steps: &[&str], result: &str) {
        self.does(agent, "reasoning.started", &json!({ "problem": problem, "mode": "chain" }));
        let begin = self.at;
        for (number, step) in (1..).zip(steps) {
            self.wait(1.1);
            let step: Value = json!({ "step": number, "total_steps": steps.len(), "content": step });
            self.does(agent, "reasoning.step", &step);
        }
        self.wait(0.7);
        let took = self.at.saturating_sub(begin).as_secs_f64();
        let took = (took * 100.0).round() / 100.0;
        let confidence = f64::from(self.number(70..96)) / 100.0;
        self.does(
            agent,
            "reasoning.completed",
            &json!({ "result": result, "confidence": confidence, "processing_time": took }),
        );
    }

    /// A tool that works, after about so many seconds.
    pub(super) fn uses(&mut self, agent: &str, tool: &str, input: &Value, seconds: f64, output: &str) {
        let (call, took) = self.calls(agent, tool, input, seconds);
        let data = json!({ "call_id": call, "name": tool, "output": output, "duration_ms": took });
        self.does(agent, "tool.completed", &data);
        self.wait(0.25);
    }

    /// A tool that fails.
    pub(super) fn fails_with(&mut self, agent: &str, tool: &str, input: &Value, seconds: f64, error: &str) {
        let (call, took) = self.calls(agent, tool, input, seconds);
        let data = json!({ "call_id": call, "name": tool, "error": error, "duration_ms": took });
        self.does(agent, "tool.failed", &data);
        self.wait(0.25);
    }

    fn calls(&mut self, agent: &str, tool: &str, input: &Value, seconds: f64) -> (String, u64) {
        let call = self.name("call");
        self.does(agent, "tool.started", &json!({ "call_id": call, "name": tool, "input": input }));
        let begin = self.at;
        self.wait(seconds);
        (call, u64::try_from(self.at.saturating_sub(begin).as_millis()).unwrap_or(u64::MAX))
    }

    /// One agent turns to another. `kind`: handoff, delegation, question or review.
    pub(super) fn turns(&mut self, from: &str, to: &str, kind: &str, reason: &str) {
        let data = json!({ "primary": from, "secondary": to, "kind": kind, "reason": reason });
        self.does(from, "agent.collaboration", &data);
        self.wait(0.4);
    }

    /// Asks a person, who answers after about so many seconds.
    pub(super) fn asks(&mut self, agent: &str, question: &str, options: [&str; 2], seconds: f64, by: &str) {
        let approval = self.name("approval");
        self.does(agent, "agent.status", &json!({ "status": "waiting", "message": "Waiting for a person" }));
        let data = json!({ "approval_id": approval, "question": question, "options": options });
        self.does(agent, "approval.requested", &data);
        self.wait(seconds);
        let data = json!({ "approval_id": approval, "decision": options[0], "by": by });
        self.does(agent, "approval.resolved", &data);
        self.wait(0.4);
    }

    pub(super) fn output(&mut self, agent: &str, kind: &str, content: &str) {
        self.does(agent, "output", &json!({ "kind": kind, "content": content }));
    }

    fn spends(&mut self, agent: &str, input: u32, output: u32) {
        let cost = (f64::from(input) * PRICE[0] + f64::from(output) * PRICE[1]) / 1e6;
        let model = if agent == "planner" { "atlas-large" } else { "atlas-mini" };
        let data = json!({ "model": model, "input_tokens": input, "output_tokens": output, "cost_usd": cost });
        self.does(agent, "usage", &data);
    }

    pub(super) fn finishes(&mut self, agent: &str, outcome: &str, summary: &str) {
        self.does(agent, "agent.finished", &json!({ "outcome": outcome, "summary": summary }));
        self.wait(0.2);
    }

    /// The session ends well.
    pub(super) fn closes(&mut self, summary: &str) {
        self.stage_ends("completed");
        self.progress(100, "Done");
        self.happens("session.completed", &json!({ "summary": summary }));
    }

    /// The session ends badly.
    pub(super) fn breaks(&mut self, error: &str, code: &str) {
        self.stage_ends("failed");
        self.happens("session.failed", &json!({ "error": error, "code": code, "retryable": true }));
    }

    fn happens(&mut self, kind: &str, data: &Value) {
        let event = Draft::new(kind, &self.session, data);
        self.beats.push(Beat { at: self.at, event });
    }

    fn does(&mut self, agent: &str, kind: &str, data: &Value) {
        let event = Draft::new(kind, &self.session, data).by(agent);
        self.beats.push(Beat { at: self.at, event });
    }

    /// A name that nothing else in this session has.
    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("{what}-{}", self.names)
    }
}
