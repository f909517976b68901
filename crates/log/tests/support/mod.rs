//! A log on the memory broker, a lossy channel, and viewers whose frames are lines that tests can read.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{
    Answer, AppendBatch, AppendCall, CheckpointAnswer, CheckpointStep, DedupeWindow, Fields, Log as _, Retention,
    SessionDeletion,
};
use tidings_log::encoding::{Encoding, Slot};
use tidings_log::hub::{Hub, HubSettings, TOPICS_MAX};
use tidings_log::metrics::Metrics;
use tidings_log::snapshot::Snapshot;
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::compact::CompactItem;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, Marks, SnapshotWish};
use tidings_protocol::gap::{Gap, deletion};
use tidings_protocol::grant::Grant;
use tidings_protocol::head::{Head, Tombstone};
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod lossy;

pub(crate) use lossy::Lossy;

/// Events as lines: `E id position [was] [seen]`, `G cause after position lost certain`, `S position state`,
/// `C position id,id`, `A position`.
pub(crate) struct Lines;

impl Encoding for Lines {
    fn slot(&self) -> Slot {
        Slot::Json
    }

    fn event(&self, _: &Project, position: Position, event: &wire::Event, marks: Marks<'_>, out: &mut Vec<u8>) {
        let was = event.was.first().cloned().or_else(|| marks.was.map(ToString::to_string)).unwrap_or_default();
        let seen = if marks.seen { "seen" } else { "" };
        out.extend(format!("E {} {position} {was} {seen}\n", event.id).bytes());
    }

    fn gap(&self, _: &Project, gap: &Gap, out: &mut Vec<u8>) {
        let lost = gap.lost.map(|lost| lost.to_string()).unwrap_or_default();
        let line = format!("G {} {} {} {lost} {}\n", gap.cause.as_str(), gap.after, gap.position, gap.certain);
        out.extend(line.bytes());
    }

    fn snapshot(&self, _: &Project, snapshot: &Snapshot, out: &mut Vec<u8>) {
        out.extend(format!("S {} {}\n", snapshot.position, String::from_utf8_lossy(&snapshot.state)).bytes());
    }

    fn compacted(&self, _: &Project, position: Position, events: &[CompactItem<'_>], out: &mut Vec<u8>) {
        let ids: Vec<&str> = events.iter().map(|item| item.event.id.as_str()).collect();
        out.extend(format!("C {position} {}\n", ids.join(",")).bytes());
    }

    fn at(&self, _: &Project, position: Position, out: &mut Vec<u8>) {
        out.extend(format!("A {position}\n").bytes());
    }
}

/// One project, one gateway's hub.
pub(crate) struct World {
    pub broker: Arc<Lossy>,
    pub hub: Hub,
    pub project: Project,
    pub metrics: Metrics,
    branch: Branch,
    number: u64,
    ids: u64,
    stop: CancellationToken,
}

impl World {
    pub(crate) fn new(ring_bytes_max: usize) -> World {
        World::with(ring_bytes_max, |_| ())
    }

    /// A gateway with other settings.
    pub(crate) fn with(ring_bytes_max: usize, change: impl FnOnce(&mut HubSettings)) -> World {
        World::over(MemoryBroker::new(), ring_bytes_max, change)
    }

    /// Another gateway over the same store.
    pub(crate) fn sharing(world: &World, ring_bytes_max: usize) -> World {
        World::over(world.broker.inner.clone(), ring_bytes_max, |_| ())
    }

    fn over(inner: MemoryBroker, ring_bytes_max: usize, change: impl FnOnce(&mut HubSettings)) -> World {
        let broker = Lossy::new(inner);
        let mut settings = HubSettings {
            ring_bytes_max,
            budget_bytes: 1 << 30,
            pages_bytes_max: 1 << 26,
            tail_check: Duration::from_secs(5),
            linger: Duration::from_secs(30),
            topics_max: TOPICS_MAX,
            writer: "g-1".into(),
        };
        change(&mut settings);
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
        let tasks = TaskTracker::new();
        let hub = Hub::new(broker.clone(), settings, tasks.clone(), metrics.clone());
        let stop = CancellationToken::new();
        tasks.spawn(hub.clone().run(stop.clone()));
        World {
            broker,
            hub,
            project: "p".parse().expect("a name"),
            metrics,
            branch: Branch::NONE,
            number: 0,
            ids: 0,
            stop,
        }
    }

    /// Appends events of these ids in one entry, healing the writer's view of the branch as often as needed.
    pub(crate) async fn append(&mut self, events: Vec<wire::Event>) -> Vec<Position> {
        let count = u32::try_from(events.len()).expect("few");
        let deletion = |(index, event): (u32, &wire::Event)| {
            let Tombstone { session, was, .. } = Tombstone::of(Position::ZERO, event)?;
            Some(SessionDeletion { index, session, was })
        };
        let batch = AppendBatch {
            guards: vec![],
            deletions: (0..).zip(&events).filter_map(deletion).collect(),
            ids: (0..).zip(&events).filter(|(_, e)| e.id_from_runner).map(|(i, e)| (i, e.id.clone())).collect(),
            payload: wire::Batch { events }.encode_to_vec().into(),
            count,
            producers: vec![],
        };
        loop {
            if self.branch.is_none() {
                self.sync().await;
            }
            self.number += 1;
            match self.call(Some(batch.clone())).await {
                Answer::Appended { last, count, .. } => {
                    return (0..u64::from(count)).rev().map(|back| last.back(back)).collect();
                }
                Answer::Heal(heal) => self.branch = heal.head.branch,
                other => panic!("append answered {other:?}"),
            }
        }
    }

    /// Lets the log be born or fork.
    pub(crate) async fn sync(&mut self) -> Head {
        loop {
            match self.call(None).await {
                Answer::Synced(head) => {
                    self.branch = head.branch;
                    return *head;
                }
                Answer::Heal(heal) => self.branch = heal.head.branch,
                other => panic!("sync answered {other:?}"),
            }
        }
    }

    /// Deletes the project: the position of the deletion.
    pub(crate) async fn delete_project(&mut self) -> Position {
        self.sync().await;
        self.number += 1;
        match self.send(AppendCall { delete: true, ..self.next_call(None) }).await {
            Answer::Appended { last, .. } => {
                self.branch = last.branch;
                last
            }
            other => panic!("deletion answered {other:?}"),
        }
    }

    /// Puts a deletion of the project back that first stood behind the end of a branch.
    pub(crate) async fn delete_project_again(&mut self, behind: Position) -> Position {
        self.ids += 1;
        let event = deletion(None, &format!("d{}", self.ids), 0);
        self.sync().await;
        self.number += 1;
        let again = SessionDeletion { index: 0, session: String::new(), was: vec![behind] };
        let payload = wire::Batch { events: vec![event] }.encode_to_vec().into();
        let batch =
            AppendBatch { payload, count: 1, ids: vec![], producers: vec![], deletions: vec![again], guards: vec![] };
        match self.call(Some(batch)).await {
            Answer::Appended { last, .. } => last,
            other => panic!("deletion answered {other:?}"),
        }
    }

    /// Deletes the session of all events, by an event of id `d<N>`.
    pub(crate) async fn delete_session(&mut self) -> Position {
        self.ids += 1;
        self.append(vec![deletion(Some("s"), &format!("d{}", self.ids), 0)]).await[0]
    }

    async fn call(&self, batch: Option<AppendBatch>) -> Answer {
        self.send(self.next_call(batch)).await
    }

    fn next_call(&self, batch: Option<AppendBatch>) -> AppendCall {
        AppendCall {
            writer: "w-1".into(),
            number: self.number,
            branch: self.branch,
            fresh: Branch::from_random(rand::random()),
            batch,
            delete: false,
            dedupe: DedupeWindow::default(),
            wait: None,
        }
    }

    async fn send(&self, call: AppendCall) -> Answer {
        self.broker.append(self.project.clone(), call).await.expect("the memory broker is there")
    }

    /// Appends `count` events with ids `e1`, `e2`, ... in one entry.
    pub(crate) async fn say(&mut self, count: u64) -> Vec<Position> {
        let events = (0..count).map(|_| self.event()).collect();
        self.append(events).await
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> wire::Event {
        self.ids += 1;
        event(&format!("e{}", self.ids))
    }

    /// Trims everything but the newest `events` events.
    pub(crate) async fn trim(&mut self, events: u64) {
        let stored = self.broker.state(self.project.clone(), Fields::All).await.expect("there");
        let step = CheckpointStep {
            incarnation: stored.head.incarnation.clone(),
            from: stored.position,
            to: stored.head.last,
            deletion: stored.head.newest_project_deletion(),
            version: 1,
            fields: vec![],
            retention: Retention { events, bytes: u64::MAX, age_ms: u64::MAX },
            hard: false,
        };
        let answer = self.broker.checkpoint(self.project.clone(), step).await.expect("there");
        assert!(matches!(answer, CheckpointAnswer::Done { .. }), "{answer:?}");
    }

    /// A viewer behind `at`.
    pub(crate) async fn viewer(&self, at: Position) -> Reader {
        self.viewer_with(at, Lag::Full, SnapshotWish::No, Filter::default()).await
    }

    pub(crate) async fn viewer_with(&self, at: Position, lag: Lag, snapshot: SnapshotWish, filter: Filter) -> Reader {
        let topic = self.hub.topic(&self.project).expect("room for one");
        tokio::time::timeout(Duration::from_mins(2), topic.started()).await.expect("the topic never started");
        let wake = Arc::new(Wake::default());
        let wants = Wants { at, newcomer: false, filter, lag, snapshot, grant: Grant::open("v-1") };
        Reader { viewer: Viewer::new(topic, wants, wake.clone()), wake }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) fn event(id: &str) -> wire::Event {
    let json = format!("{{\"type\":\"log\",\"id\":\"{id}\",\"data\":{{}}}}");
    wire::Event {
        json: json.into(),
        r#type: "log".into(),
        id: id.into(),
        id_from_runner: true,
        session: "s".into(),
        ..Default::default()
    }
}

/// A viewer and its connection.
pub(crate) struct Reader {
    pub viewer: Viewer,
    wake: Arc<Wake>,
}

impl Reader {
    /// Takes frames until there is at least one line, at most so many bytes and events.
    pub(crate) async fn take(&mut self, bytes: usize, events: usize) -> Vec<String> {
        let mut out = Vec::new();
        let mut polls = 0;
        let pulling = poll_fn(|cx| {
            // On a paused clock no time passes for those who wake each other.
            polls += 1;
            assert!(polls < 10_000, "woken again and again for nothing");
            self.wake.register(cx.waker());
            self.wake.take();
            let mut pull =
                Pull { encoding: &Lines, out: &mut out, bytes_left: bytes, events_left: events, until: u64::MAX };
            self.viewer.poll_pull(cx, &mut pull)
        });
        // On a paused clock: a viewer that waits in vain fails its test instead of waiting for ever.
        tokio::time::timeout(Duration::from_mins(2), pulling).await.expect("nothing came");
        let told = lines(&out);
        if told.last().is_some_and(|line| line.starts_with("E ")) {
            let topic = self.viewer.topic().view().position();
            assert!(self.viewer.at().n() <= topic.n(), "told up to {} beyond its topic's {topic}", self.viewer.at());
        }
        told
    }

    /// Takes everything that is there or comes until `last` is told, by its line's beginning.
    pub(crate) async fn until(&mut self, last: &str) -> Vec<String> {
        self.until_any(&[last]).await
    }

    /// The same for whichever comes first.
    pub(crate) async fn until_any(&mut self, last: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        while !all.iter().any(|line: &String| last.iter().any(|last| line.starts_with(last))) {
            let taking = tokio::time::timeout(Duration::from_mins(1), self.take(1 << 20, usize::MAX));
            match taking.await {
                Ok(lines) => all.extend(lines),
                Err(elapsed) => panic!("{last:?} never came ({elapsed}): {all:#?}"),
            }
        }
        all
    }

    /// What is there now without waiting (pages excepted).
    pub(crate) async fn now(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        poll_fn(|cx| {
            self.wake.register(cx.waker());
            self.wake.take();
            let mut pull = Pull {
                encoding: &Lines,
                out: &mut out,
                bytes_left: usize::MAX,
                events_left: usize::MAX,
                until: u64::MAX,
            };
            match self.viewer.poll_pull(cx, &mut pull) {
                Poll::Pending if self.viewer.is_catching_up() => Poll::Pending,
                _ => Poll::Ready(()),
            }
        })
        .await;
        lines(&out)
    }
}

fn lines(frames: &[Bytes]) -> Vec<String> {
    let text: Vec<u8> = frames.concat();
    String::from_utf8(text).expect("UTF-8").lines().map(|line| line.trim_end().to_owned()).collect()
}

/// The ids of the events told, in order.
pub(crate) fn ids(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("E ")?.split(' ').next()).collect()
}
