//! The commands that a desk keeps, bounded in number and bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGauge;
use tidings_broker::inbox::Put;
use tidings_protocol::project::Project;
use tokio::time::Instant;

use super::{OPEN_BYTES_MAX, OPEN_MAX, PROJECT_SHARE};
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

/// What is taken of it, in all and by each project.
#[derive(Default)]
struct Room(Mutex<(Used, HashMap<Project, Used, foldhash::fast::RandomState>)>);

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Used {
    count: usize,
    bytes: usize,
}

impl Used {
    fn and(self, bytes: usize) -> Used {
        Used { count: self.count + 1, bytes: self.bytes + bytes }
    }

    fn without(self, bytes: usize) -> Used {
        Used { count: self.count - 1, bytes: self.bytes - bytes }
    }

    /// Whether it is within so many of a desk's room.
    fn is_within(self, share: usize) -> bool {
        self.count <= OPEN_MAX / share && self.bytes <= OPEN_BYTES_MAX / share
    }
}

/// Room that is taken; dropping it gives it back.
struct Reserved {
    room: Arc<Room>,
    project: Project,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut room = self.room.0.lock();
        room.0 = room.0.without(self.bytes);
        let Some(of_project) = room.1.get_mut(&self.project) else { return };
        *of_project = of_project.without(self.bytes);
        if *of_project == Used::default() {
            room.1.remove(&self.project);
        }
    }
}

/// Room for one command.
pub(super) struct Place {
    table: Table,
    reserved: Reserved,
}

impl Place {
    /// Keeps a command there; one of that id is replaced.
    pub(super) fn keep(self, kept: Kept) {
        let Place { table, reserved } = self;
        let mut open = table.0.open.lock();
        let before = open.entry(reserved.project.clone()).or_default().insert(kept.put.id.clone(), (kept, reserved));
        if before.is_none() {
            table.0.gauge.inc();
        }
    }
}

impl Table {
    pub(super) fn new(gauge: IntGauge) -> Table {
        Table(Arc::new(Inner { open: Mutex::default(), room: Arc::default(), gauge }))
    }

    /// Room for a command of the project with so large a body, if there is any.
    pub(super) fn reserve(&self, project: &Project, body_bytes: usize) -> Option<Place> {
        let bytes = body_bytes + OVERHEAD_BYTES;
        let mut room = self.0.room.0.lock();
        let all = room.0.and(bytes);
        let of_project = room.1.get(project).copied().unwrap_or_default().and(bytes);
        if !all.is_within(1) || !of_project.is_within(PROJECT_SHARE) {
            return None;
        }
        room.0 = all;
        room.1.insert(project.clone(), of_project);
        let (room, project) = (self.0.room.clone(), project.clone());
        Some(Place { table: self.clone(), reserved: Reserved { room, project, bytes } })
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
            life: None,
        };
        Kept { put, told: Told::read(told.as_bytes()).expect("told"), due_at: Instant::now() }
    }

    #[tokio::test]
    async fn room_is_bounded_and_comes_back() {
        let gauge = IntGauge::new("g", "g").expect("a gauge");
        let table = Table::new(gauge.clone());
        let demo: Project = "demo".parse().expect("a name");
        let half = OPEN_BYTES_MAX / PROJECT_SHARE / 2 - OVERHEAD_BYTES;
        let place = |table: &Table| table.reserve(&demo, half).expect("room");
        place(&table).keep(kept("a"));
        place(&table).keep(kept("b"));
        assert!(table.reserve(&demo, 0).is_none(), "it has its share");
        table.forget(&demo, "a");
        table.forget(&demo, "a");
        place(&table).keep(kept("b"));
        assert_eq!((table.len(), gauge.get()), (1, 1), "the same command is kept once");
        drop(place(&table));
        assert!(table.get(&demo, "b").is_some() && table.get(&demo, "a").is_none());
        assert_eq!(table.all(), [(demo, vec!["b".to_owned()])]);
    }

    #[tokio::test]
    async fn one_project_leaves_room_for_others() {
        let table = Table::new(IntGauge::new("g", "g").expect("a gauge"));
        let project = |number: usize| format!("p{number}").parse::<Project>().expect("a name");
        let fill = |number: usize| std::iter::from_fn(|| table.reserve(&project(number), 0)).collect::<Vec<_>>();
        let mut all: Vec<Vec<Place>> = (0..PROJECT_SHARE).map(fill).collect();
        assert!(all.iter().all(|places| places.len() == OPEN_MAX / PROJECT_SHARE), "all have the same");
        assert!(table.reserve(&project(PROJECT_SHARE), 0).is_none(), "it is full");
        all.pop();
        assert!(table.reserve(&project(PROJECT_SHARE), 0).is_some() && table.reserve(&project(0), 0).is_none());
        drop(all);
        assert!(table.0.room.0.lock().1.is_empty());
    }
}
