//! What the cases speak in: batches, a writer, and a sink that remembers.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use tidings_protocol::entry::Entry;
use tidings_protocol::head::Head;
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::{Answer, AppendBatch, AppendCall, Broker, DedupeWindow, ProducerStep, Refusal, RefusalWhy, Sink};

/// A project's name.
pub(crate) fn project(name: &str) -> Project {
    name.parse().expect("a project's name")
}

/// A name for a branch.
pub(crate) fn fresh() -> Branch {
    Branch::from_random(rand::random())
}

/// Events without anything to be remembered.
pub(crate) fn plain(count: u32) -> AppendBatch {
    let events = (0..count).map(|n| wire::Event { json: format!("{{\"n\":{n}}}").into(), ..wire::Event::default() });
    let payload = wire::Batch { events: events.collect() }.encode_to_vec();
    AppendBatch {
        payload: payload.into(),
        count,
        ids: Vec::new(),
        producers: Vec::new(),
        deletions: Vec::new(),
        guards: Vec::new(),
    }
}

/// One event of about this many bytes.
pub(crate) fn sized(bytes: usize) -> AppendBatch {
    let event = wire::Event { json: vec![b'x'; bytes].into(), ..wire::Event::default() };
    AppendBatch { payload: wire::Batch { events: vec![event] }.encode_to_vec().into(), ..plain(1) }
}

/// Events with these ids.
pub(crate) fn named(ids: &[&str]) -> AppendBatch {
    let count = u32::try_from(ids.len()).expect("few");
    AppendBatch { ids: (0..count).zip(ids.iter().map(|id| (*id).to_owned())).collect(), ..plain(count) }
}

/// Events of one producer.
pub(crate) fn produced(id: &str, epoch: u64, seqs: &[u64]) -> AppendBatch {
    let count = u32::try_from(seqs.len()).expect("few");
    let step = |(index, seq): (u32, &u64)| ProducerStep { index, id: id.into(), epoch, seq: *seq, may_jump: false };
    AppendBatch { producers: (0..count).zip(seqs).map(step).collect(), ..plain(count) }
}

/// The same, with leave to jump.
pub(crate) fn jumping(batch: AppendBatch) -> AppendBatch {
    let producers = batch.producers.into_iter().map(|step| ProducerStep { may_jump: true, ..step }).collect();
    AppendBatch { producers, ..batch }
}

/// The refusal of the one event of a batch.
pub(crate) fn refused(why: RefusalWhy) -> Answer {
    Answer::Refused(vec![Refusal { index: 0, why }])
}

/// A writer of one project, which keeps the rules of numbers and branches.
pub(crate) struct Writer {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) project: Project,
    pub(crate) branch: Branch,
    pub(crate) number: u64,
    pub(crate) dedupe: DedupeWindow,
    id: Arc<str>,
}

impl Writer {
    /// One that has called `sync`.
    pub(crate) async fn join(broker: Arc<dyn Broker>, name: &str) -> Writer {
        let id = format!("w{:016x}", rand::random::<u64>()).into();
        let mut writer = Writer {
            broker,
            project: project(name),
            branch: Branch::NONE,
            number: 0,
            dedupe: DedupeWindow::default(),
            id,
        };
        writer.branch = writer.sync().await.branch;
        writer
    }

    /// One that opens a log, with this name for its first branch.
    #[cfg(test)]
    pub(crate) async fn open(broker: Arc<dyn Broker>, name: &str, branch: Branch) -> Writer {
        let id = format!("w{:016x}", rand::random::<u64>()).into();
        let dedupe = DedupeWindow::default();
        let writer = Writer { broker, project: project(name), branch, number: 0, dedupe, id };
        let birth = AppendCall { branch: Branch::NONE, fresh: branch, ..writer.call(None) };
        assert!(matches!(writer.send(birth).await, Answer::Synced(_)));
        writer
    }

    /// What it would send next.
    pub(crate) fn call(&self, batch: Option<AppendBatch>) -> AppendCall {
        AppendCall {
            writer: Arc::clone(&self.id),
            number: self.number + u64::from(batch.is_some()),
            branch: self.branch,
            fresh: fresh(),
            batch,
            delete: false,
            dedupe: self.dedupe,
            wait: None,
        }
    }

    pub(crate) async fn send(&self, call: AppendCall) -> Answer {
        self.broker.append(self.project.clone(), call).await.expect("the store answers")
    }

    /// Sends a batch under the next number.
    pub(crate) async fn append(&mut self, batch: AppendBatch) -> Answer {
        let call = self.call(Some(batch));
        self.number = call.number;
        self.send(call).await
    }

    /// The same, and it must be taken: the position of its last event.
    pub(crate) async fn take(&mut self, batch: AppendBatch) -> Position {
        let expected = batch.count;
        match self.append(batch).await {
            Answer::Appended { last, count, publish_error: None } if count == expected => last,
            other => panic!("not appended: {other:?}"),
        }
    }

    /// A sync that names no branch.
    pub(crate) async fn sync(&self) -> Head {
        match self.send(AppendCall { branch: Branch::NONE, ..self.call(None) }).await {
            Answer::Synced(head) => *head,
            other => panic!("not synced: {other:?}"),
        }
    }

    pub(crate) async fn head(&self) -> Head {
        self.broker.heads(vec![self.project.clone()]).await.remove(0).expect("the store answers")
    }
}

/// What a sink has heard so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) entries: Vec<Entry>,
    pub(crate) lost: u64,
}

/// A sink that remembers.
pub(crate) struct Ear {
    heard: Mutex<Heard>,
    count: watch::Sender<u64>,
}

impl Ear {
    pub(crate) fn new() -> Arc<Ear> {
        Arc::new(Ear { heard: Mutex::default(), count: watch::Sender::new(0) })
    }

    pub(crate) fn heard(&self) -> Heard {
        self.heard.lock().clone()
    }

    /// Waits until what it has heard is as wanted.
    pub(crate) async fn until(&self, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let mut count = self.count.subscribe();
        let wait = count.wait_for(|_| wanted(&self.heard.lock()));
        let _ = timeout(super::WAIT_MAX, wait).await.expect("it is heard in time").expect("the sender is in self");
        self.heard()
    }
}

impl Sink for Ear {
    fn message(&self, bytes: Bytes) {
        self.heard.lock().entries.push(Entry::from_message(bytes).expect("a message"));
        self.count.send_modify(|count| *count += 1);
    }

    fn lost(&self) {
        self.heard.lock().lost += 1;
        self.count.send_modify(|count| *count += 1);
    }
}
