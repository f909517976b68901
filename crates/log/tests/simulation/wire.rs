//! The store as one gateway sees it: reads that wait until the schedule lets them through, and a channel that the
//! schedule empties.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use parking_lot::Mutex;
use tidings_broker::{
    Answer, AppendCall, CallError, CheckpointAnswer, CheckpointStep, Fields, Index, Log, NothingWhy, Page, Probe,
    ReadError, Sink, Span, StateAt, Subscription,
};
use tidings_protocol::head::Head;
use tidings_protocol::project::Project;
use tokio::sync::{oneshot, watch};

use super::store::{Ear, Store};

/// A read on its way.
pub(crate) struct Asked {
    pub(crate) gateway: usize,
    what: What,
}

enum What {
    Page(Span, usize, oneshot::Sender<Result<Page, ReadError>>),
    State(Fields, oneshot::Sender<Result<StateAt, ReadError>>),
}

impl Asked {
    /// The answer is made and arrives.
    pub(crate) fn serve(self, store: &mut Store) {
        let node = store.readable(self.gateway);
        let at = |node: usize| (&store.nodes[node].data, store.nodes[node].replid.as_str());
        // Whoever no longer waits has gone on without it.
        match self.what {
            What::Page(span, bytes_max, sender) => {
                let bytes_max = bytes_max.min(store.page_bytes);
                let page = node.map(|node| at(node).0.read(at(node).1, span, bytes_max));
                let _ = sender.send(page);
            }
            What::State(fields, sender) => {
                let _ = sender.send(node.map(|node| at(node).0.state(at(node).1, &fields)));
            }
        }
    }
}

/// A gateway's connections.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) store: Arc<Mutex<Store>>,
    pub(crate) gateway: usize,
}

impl Wire {
    fn ask(&self, what: What) {
        let mut store = self.store.lock();
        let asked = Asked { gateway: self.gateway, what };
        if store.calm {
            asked.serve(&mut store);
        } else {
            store.asked.push(asked);
        }
    }
}

fn away<T>(_: oneshot::error::RecvError) -> Result<T, ReadError> {
    Err(ReadError::Away("the connection broke".into()))
}

impl Log for Wire {
    fn append(&self, _: Project, call: AppendCall) -> BoxFuture<'_, Result<Answer, CallError>> {
        async move {
            let mut store = self.store.lock();
            let node = store.reads_from[self.gateway];
            if !store.nodes[node].serves() {
                return Err(CallError::Nothing(NothingWhy::Away));
            }
            // Names come from the run's own source, or no two runs would be alike.
            let fresh = store.draw_branch();
            store.execute(node, &AppendCall { fresh, ..call })
        }
        .boxed()
    }

    fn read(&self, _: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move {
            let (sender, answer) = oneshot::channel();
            self.ask(What::Page(span, bytes_max, sender));
            answer.await.unwrap_or_else(away)
        }
        .boxed()
    }

    fn heads(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<Head, ReadError>>> {
        async move {
            let store = self.store.lock();
            let head = store.readable(self.gateway).map(|node| {
                let here = &store.nodes[node];
                here.data.head(&here.replid)
            });
            projects.iter().map(|_| head.clone()).collect()
        }
        .boxed()
    }

    fn checkpoint(&self, _: Project, _: CheckpointStep) -> BoxFuture<'_, Result<CheckpointAnswer, CallError>> {
        ready(Ok(CheckpointAnswer::Moved)).boxed()
    }

    fn state(&self, _: Project, fields: Fields) -> BoxFuture<'_, Result<StateAt, ReadError>> {
        async move {
            let (sender, answer) = oneshot::channel();
            self.ask(What::State(fields, sender));
            answer.await.unwrap_or_else(away)
        }
        .boxed()
    }

    fn subscribe(&self, _: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        async move {
            let mut store = self.store.lock();
            let node = store.reads_from[self.gateway];
            if !store.nodes[node].up {
                return Err(ReadError::Away("no subscriber connection".into()));
            }
            let id = store.draw();
            let ear = Ear { id, gateway: self.gateway, node: Some(node), sink, queue: VecDeque::new() };
            store.ears.push(ear);
            let shared = self.store.clone();
            Ok(Subscription::new(move || {
                let gone: Vec<Ear> = shared.lock().ears.extract_if(.., |ear| ear.id == id).collect();
                // ORDER: what the sink owns goes after the lock does.
                drop(gone);
            }))
        }
        .boxed()
    }
}

impl Index for Wire {
    fn enter(&self, _: Project) -> BoxFuture<'_, Result<(), CallError>> {
        ready(Ok(())).boxed()
    }

    fn projects(&self, _: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn lease(&self, _: u16, _: String, _: u64) -> BoxFuture<'_, Result<bool, CallError>> {
        ready(Ok(false)).boxed()
    }

    fn sweep(&self, _: Project, _: u64, _: u64) -> BoxFuture<'_, Result<(), CallError>> {
        ready(Ok(())).boxed()
    }

    fn held_bytes(&self, projects: Vec<Project>) -> BoxFuture<'_, Vec<Result<u64, ReadError>>> {
        ready(projects.iter().map(|_| Ok(0)).collect()).boxed()
    }

    fn refuse(&self, _: Project, _: u64) -> BoxFuture<'_, Result<(), CallError>> {
        ready(Ok(())).boxed()
    }
}

impl Probe for Wire {
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        ready(Ok(())).boxed()
    }

    fn connected(&self) -> watch::Receiver<bool> {
        watch::Sender::new(true).subscribe()
    }
}
