//! Events for a log in memory, and the writer that appends them.
#![allow(dead_code, reason = "each test uses some of it")]

use prost::Message as _;
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{Answer, AppendBatch, AppendCall, DedupeWindow, Index as _, Log as _};
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::project::Project;
use tidings_protocol::wire;

/// Appends to one project.
pub(crate) struct Writer {
    broker: MemoryBroker,
    project: Project,
    branch: Branch,
    number: u64,
}

impl Writer {
    /// A writer of a project, which is entered into the index.
    pub(crate) async fn new(broker: &MemoryBroker, project: &str) -> Writer {
        let project: Project = project.parse().expect("a name");
        broker.enter(project.clone()).await.expect("memory is there");
        Writer { broker: broker.clone(), project, branch: Branch::NONE, number: 0 }
    }

    /// Appends events in one entry; the position of the last one.
    pub(crate) async fn append(&mut self, events: Vec<wire::Event>) -> Position {
        let count = u32::try_from(events.len()).expect("few");
        let payload = wire::Batch { events }.encode_to_vec().into();
        let batch = AppendBatch {
            payload,
            count,
            ids: Vec::new(),
            producers: Vec::new(),
            deletions: Vec::new(),
            guards: Vec::new(),
        };
        self.number += 1;
        loop {
            match self.call(Some(batch.clone())).await {
                Answer::Appended { last, .. } => return last,
                Answer::Heal(heal) => {
                    self.branch = heal.head.branch;
                    self.number += 1;
                }
                other => panic!("append answered {other:?}"),
            }
        }
    }

    /// Lets the log fork, where that is due.
    pub(crate) async fn sync(&mut self) {
        match self.call(None).await {
            Answer::Synced(head) => self.branch = head.branch,
            Answer::Heal(heal) => self.branch = heal.head.branch,
            other => panic!("sync answered {other:?}"),
        }
    }

    async fn call(&self, batch: Option<AppendBatch>) -> Answer {
        let call = AppendCall {
            writer: "w-1".into(),
            number: self.number,
            branch: self.branch,
            fresh: Branch::from_random(rand::random()),
            batch,
            delete: false,
            dedupe: DedupeWindow::default(),
            wait: None,
        };
        self.broker.append(self.project.clone(), call).await.expect("memory is there")
    }
}

/// An event of this id with so many bytes of text.
pub(crate) fn event(id: &str, text_bytes: usize) -> wire::Event {
    let text = "x".repeat(text_bytes);
    wire::Event {
        json: format!(r#"{{"type":"note","id":"{id}","data":{{"text":"{text}"}}}}"#).into(),
        r#type: "note".into(),
        id: id.into(),
        ..Default::default()
    }
}
