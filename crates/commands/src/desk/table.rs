//! The commands that a desk keeps, bounded in number and bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tidings_broker::inbox::Put;
use tidings_protocol::project::Project;
use tokio::time::Instant;

use super::{OPEN_BYTES_MAX, OPEN_MAX};
use crate::told::Told;

/// What a kept command weighs beside its body, about.
const OVERHEAD_BYTES: usize = 768;

/// A command that waits for its final answer.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// To put it again.
    pub(super) put: Put,
    pub(super) told: Told,
    pub(super) due_at: Instant,
}

type Open = HashMap<Project, HashMap<String, (Kept, Reserved)>, foldhash::fast::RandomState>;

/// All of them. Cheap to clone.
#[derive(Clone)]
pub(super) struct Table(Arc<Inner>);

struct Inner {
    open: Mutex<Open>,
    room: Arc<Room>,
    gauge: IntGauge,
}

#[derive(Default)]
struct Room(Mutex<(usize, usize)>);

/// Room that is taken; dropping it gives it back.
struct Reserved {
    room: Arc<Room>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut used = self.room.0.lock();
        used.0 -= 1;
        used.1 -= self.bytes;
    }
}

/// Room for one command.
pub(super) struct Place {
    table: Table,
    reserved: Reserved,
}

impl Place {
    /// Keeps a command there; one of that id is replaced.
    pub(super) fn keep(self, project: &Project, kept: Kept) {
        let Place { table, reserved } = self;
        let mut open = table.0.open.lock();
        let before = open.entry(project.clone()).or_default().insert(kept.put.id.clone(), (kept, reserved));
        if before.is_none() {
            table.0.gauge.inc();
        }
    }
}

impl Table {
    pub(super) fn new(gauge: IntGauge) -> Table {
        Table(Arc::new(Inner { open: Mutex::default(), room: Arc::default(), gauge }))
    }

    /// Room for a command with so large a body, if there is any.
    pub(super) fn reserve(&self, body_bytes: usize) -> Option<Place> {
        let bytes = body_bytes + OVERHEAD_BYTES;
        let room = &self.0.room;
        let mut used = room.0.lock();
        if used.0 >= OPEN_MAX || used.1 + bytes > OPEN_BYTES_MAX {
            return None;
        }
        used.0 += 1;
        used.1 += bytes;
        Some(Place { table: self.clone(), reserved: Reserved { room: room.clone(), bytes } })
    }

    /// A kept command.
    pub(super) fn get(&self, project: &Project, id: &str) -> Option<Kept> {
        self.0.open.lock().get(project)?.get(id).map(|(kept, _)| kept.clone())
    }

    /// It is answered, or nobody's any more.
    pub(super) fn forget(&self, project: &Project, id: &str) {
        let mut open = self.0.open.lock();
        let Some(of_project) = open.get_mut(project) else { return };
        if of_project.remove(id).is_some() {
            self.0.gauge.dec();
        }
        if of_project.is_empty() {
            open.remove(project);
        }
    }

    /// The ids of all, by project.
    pub(super) fn all(&self) -> Vec<(Project, Vec<String>)> {
        let open = self.0.open.lock();
        open.iter().map(|(project, of_project)| (project.clone(), of_project.keys().cloned().collect())).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.open.lock().values().map(HashMap::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use tidings_broker::inbox::ItemKind;

    use super::*;

    fn kept(id: &str) -> Kept {
        let told = r#"{"type":"a","id":"i","by":"b"}"#;
        let put = Put {
            id: id.into(),
            asker: "b".into(),
            kind: ItemKind::Alarm { guard: "g".into() },
            deadline_ms: 1,
            open_max: 1,
            body: told.into(),
        };
        Kept { put, told: Told::read(told.as_bytes()).expect("told"), due_at: Instant::now() }
    }

    #[tokio::test]
    async fn room_is_bounded_and_comes_back() {
        let gauge = IntGauge::new("g", "g").expect("a gauge");
        let table = Table::new(gauge.clone());
        let demo: Project = "demo".parse().expect("a name");
        let half = OPEN_BYTES_MAX / 2 - OVERHEAD_BYTES;
        let place = |table: &Table| table.reserve(half).expect("room");
        place(&table).keep(&demo, kept("a"));
        place(&table).keep(&demo, kept("b"));
        assert!(table.reserve(0).is_none(), "it is full");
        table.forget(&demo, "a");
        table.forget(&demo, "a");
        place(&table).keep(&demo, kept("b"));
        assert_eq!((table.len(), gauge.get()), (1, 1), "the same command is kept once");
        drop(place(&table));
        assert!(table.get(&demo, "b").is_some() && table.get(&demo, "a").is_none());
        assert_eq!(table.all(), [(demo, vec!["b".to_owned()])]);
    }
}
