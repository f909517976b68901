//! A made-up swarm: sessions with agents that start, think aloud, use tools, report progress and finish, event by event.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

/// Agents of a session.
const AGENTS: [&str; 4] = ["planner", "researcher-1", "researcher-2", "coder"];

/// Events of a session, from its start to its end.
const SESSION_EVENTS: usize = 400;

/// One runner's swarm: an endless run of events with ids of its own.
#[derive(Debug)]
pub struct Swarm {
    name: String,
    made: usize,
    padding: usize,
    rng: StdRng,
}

impl Swarm {
    /// The swarm of a runner; the same seed makes the same events.
    pub fn new(name: &str, seed: u64) -> Swarm {
        Swarm { name: name.to_owned(), made: 0, padding: 0, rng: StdRng::seed_from_u64(seed) }
    }

    /// The same with so many more bytes in each event.
    pub fn padded(self, padding: usize) -> Swarm {
        Swarm { padding, ..self }
    }

    /// The next events.
    pub fn events(&mut self, count: usize) -> Vec<Value> {
        (0..count).map(|_| self.event()).collect()
    }

    fn event(&mut self) -> Value {
        let index = self.made;
        self.made += 1;
        let session = format!("{}-s{}", self.name, index / SESSION_EVENTS);
        let step = index % SESSION_EVENTS;
        let agent = AGENTS[self.rng.random_range(0..AGENTS.len())];
        let (kind, mut data) = match step {
            0 => ("session.started", json!({"title": format!("task {}", index / SESSION_EVENTS), "mode": "swarm"})),
            _ if step == SESSION_EVENTS - 1 => ("session.completed", json!({"summary": "done"})),
            _ => self.step(step),
        };
        if self.padding > 0 {
            data["padding"] = json!("x".repeat(self.padding));
        }
        let mut event = json!({
            "type": kind,
            "id": format!("{}-{index:06}", self.name),
            "session": session,
            "time": format!("2026-11-20T09:{:02}:{:02}.{:03}Z", index / 60_000 % 60, index / 1_000 % 60, index % 1_000),
            "data": data,
        });
        if kind.starts_with("agent.") || kind.starts_with("message.") {
            event["agent"] = json!(agent);
        }
        event
    }

    fn step(&mut self, step: usize) -> (&'static str, Value) {
        let percent = step * 100 / SESSION_EVENTS;
        match self.rng.random_range(0..100) {
            0..5 => ("agent.started", json!({"name": "an agent", "role": "worker"})),
            5..25 => {
                let status = ["idle", "processing", "working", "waiting"][self.rng.random_range(0..4)];
                ("agent.status", json!({"status": status, "progress": percent, "message": format!("step {step}")}))
            }
            25..50 => ("message.delta", json!({"message_id": format!("m{}", step / 50), "text": "token "})),
            50..70 => ("log", json!({"level": "info", "message": format!("\u{1f41d} line {step}")})),
            70..80 => ("session.progress", json!({"progress": percent, "phase": "work"})),
            80..86 => ("tool.started", json!({"call_id": format!("c{step}"), "name": "search"})),
            86..92 => ("usage", json!({"model": "m", "input_tokens": step, "output_tokens": 7, "cost_usd": 0.01})),
            // Some events are long enough to be worth compressing.
            92..96 => ("output", json!({"content": format!("finding {step}; ").repeat(80)})),
            _ => ("custom.note", json!({"step": step, "nested": {"list": [1, 2.50, "three", null]}})),
        }
    }
}
