//! Runners: what they send, and that they send it again under the same ids when nobody answers.

use std::time::Duration;

use tidings_log::writer::{Item, Slot};
use tidings_protocol::gap::deletion;
use tidings_protocol::wire::{self, effect::Op as EffectOp};

use super::world::{Request, World};

impl World {
    /// b: 1 runner-set id + 2 two events + 4 session + 8 * what the events do.
    pub(crate) fn request(&mut self, ingest: usize, b: usize) {
        let named = b % 2 == 1;
        let events = (0..=(b >> 1) % 2).map(|index| self.event((b >> 2) % 2, (b >> 3) + index, named)).collect();
        self.submit(ingest, events, named);
    }

    fn event(&mut self, session: usize, does: usize, named: bool) -> wire::Event {
        let number = self.store.lock().draw();
        let id = format!("{}{number}", if named { "r" } else { "e" });
        let effect = |op: EffectOp, path: &[&str], value: String| wire::Effect {
            op: op.into(),
            path: path.iter().map(|name| (*name).to_owned()).collect(),
            value: value.into(),
            number: 1,
            limit: 8,
            project: false,
        };
        let (lane, key, effects) = match does % 6 {
            0 | 4 => (wire::Lane::Control, "", effect(EffectOp::Set, &["status"], number.to_string())),
            1 => (wire::Lane::Latest, "k", effect(EffectOp::Add, &["usage", "tokens"], String::new())),
            2 => (wire::Lane::Latest, "k", effect(EffectOp::Push, &["logs"], number.to_string())),
            3 => (wire::Lane::Latest, "l", effect(EffectOp::SetOnce, &["started"], number.to_string())),
            _ if does % 11 == 10 => (wire::Lane::Control, "", effect(EffectOp::Delete, &[], String::new())),
            _ => (wire::Lane::Control, "", effect(EffectOp::Set, &["agents", "a", "status"], number.to_string())),
        };
        wire::Event {
            json: format!("{{\"id\":\"{id}\"}}").into(),
            r#type: "work".into(),
            id,
            id_from_runner: named,
            session: format!("s{session}"),
            lane: lane.into(),
            key: key.to_owned(),
            effects: vec![effects],
            ..wire::Event::default()
        }
    }

    /// The one producer's next event, through whichever ingest.
    pub(crate) fn produce(&mut self, ingest: usize, b: usize) {
        self.sequence += 1;
        let seq = self.sequence;
        let event = self.event(b % 2, 1, true);
        let producer = Some(wire::Producer { id: "p".into(), epoch: 1, seq });
        let event = wire::Event { id: format!("p:1:{seq}"), producer, ..event };
        self.submit(ingest, vec![event], true);
    }

    fn submit(&mut self, ingest: usize, events: Vec<wire::Event>, repeatable: bool) {
        let answered = vec![false; events.len()];
        let asked = self.now();
        self.requests.push(Request { events, repeatable, ingest, key: 0, answered, asked, repeated: false });
        self.push(self.requests.len() - 1, ingest);
    }

    fn push(&mut self, index: usize, ingest: usize) {
        self.keys += 1;
        let request = &mut self.requests[index];
        (request.key, request.ingest) = (self.keys, ingest);
        for (event, number) in request.events.iter().zip(0..) {
            let item = Item::new(event, Slot { request: self.keys, index: number }, false);
            self.ingests[ingest].machine.push(item);
        }
        self.ingests[ingest].waiting.insert(self.keys, index);
    }

    /// A runner gives up waiting and sends the same again, mostly through the other ingest.
    pub(crate) fn retry(&mut self, a: usize, b: usize) {
        let open = |request: &&mut Request| request.repeatable && request.answered.contains(&false);
        let open: Vec<&mut Request> = self.requests.iter_mut().filter(open).collect();
        let count = open.len();
        let Some(request) = open.into_iter().nth(a % count.max(1)) else { return };
        let (key, before) = (request.key, request.ingest);
        let index = self.requests.iter().position(|request| request.key == key).expect("it is one of them");
        self.requests[index].repeated = true;
        self.ingests[before].waiting.remove(&key);
        self.ingests[before].machine.forget(key);
        self.push(index, if b.is_multiple_of(4) { before } else { 1 - before });
    }

    pub(crate) fn delete(&mut self, ingest: usize, session: Option<usize>) {
        let id = format!("{}{}", if session.is_some() { "d" } else { "x" }, self.store.lock().draw());
        let name = session.map(|session| format!("s{}", session % 2));
        self.submit(ingest, vec![deletion(name.as_deref(), &id, 0)], false);
    }

    /// When the last deletion of the project that anybody wanted was acknowledged; none: not yet, or nobody did.
    pub(crate) fn deleted_at(&self) -> Option<Duration> {
        let of_project = |id: &str| id.starts_with('x');
        let wanted = self.requests.iter().filter(|request| of_project(&request.events[0].id)).count();
        let done: Vec<_> = self.acks.iter().filter(|ack| of_project(&ack.id)).map(|ack| ack.heard).collect();
        if done.len() == wanted { done.into_iter().max() } else { None }
    }

    /// Somebody wanted the project deleted.
    pub(crate) fn deletes_project(&self) -> bool {
        self.requests.iter().any(|request| request.events[0].id.starts_with('x'))
    }
}
