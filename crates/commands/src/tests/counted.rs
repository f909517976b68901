//! Inboxes that count what is asked of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tidings_broker::inbox::{
    Due, Found, Guarded, Here, Inboxes, Lapsed, LeaseAnswer, LeaseStep, Owned, Placed, Put, Standing, Take,
};
use tidings_broker::memory::MemoryBroker;
use tidings_broker::{CallError, ReadError, Sink, Subscription};
use tidings_protocol::project::Project;

pub(super) struct Counted {
    memory: MemoryBroker,
    calls: AtomicUsize,
}

impl Counted {
    pub(super) fn new(memory: MemoryBroker) -> Arc<Counted> {
        Arc::new(Counted { memory, calls: AtomicUsize::new(0) })
    }

    /// How often it was asked something, since the last time.
    pub(super) fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::SeqCst)
    }

    fn asked(&self) -> &dyn Inboxes {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.memory
    }
}

type Call<'a, T> = BoxFuture<'a, Result<T, CallError>>;
type Read<'a, T> = BoxFuture<'a, Result<T, ReadError>>;

impl Inboxes for Counted {
    fn put(&self, project: Project, item: Put) -> Call<'_, Placed> {
        self.asked().put(project, item)
    }

    fn take(&self, project: Project, take: Take) -> Call<'_, Here> {
        self.asked().take(project, take)
    }

    fn leave(&self, project: Project, runner: String, subject: String) -> Call<'_, bool> {
        self.asked().leave(project, runner, subject)
    }

    fn answer(
        &self,
        project: Project,
        runner: String,
        subject: String,
        steps: Vec<LeaseStep>,
    ) -> Call<'_, Vec<LeaseAnswer>> {
        self.asked().answer(project, runner, subject, steps)
    }

    fn settle(&self, project: Project, ids: Vec<String>) -> Call<'_, ()> {
        self.asked().settle(project, ids)
    }

    fn look(&self, project: Project, ids: Vec<String>) -> Read<'_, Vec<Standing>> {
        self.asked().look(project, ids)
    }

    fn find(&self, project: Project, id: String) -> Read<'_, Option<Found>> {
        self.asked().find(project, id)
    }

    fn guard(&self, project: Project, key: String) -> Read<'_, Option<Guarded>> {
        self.asked().guard(project, key)
    }

    fn due(&self, project: Project) -> Call<'_, Due> {
        self.asked().due(project)
    }

    fn forget(&self, project: Project, lapsed: Vec<Lapsed>) -> Call<'_, ()> {
        self.asked().forget(project, lapsed)
    }

    fn own(&self, project: Project, owned: Vec<Owned>) -> Call<'_, ()> {
        self.asked().own(project, owned)
    }

    fn projects(&self, shard: u16) -> Read<'_, Vec<Project>> {
        self.asked().projects(shard)
    }

    fn clear(&self, project: Project) -> Call<'_, ()> {
        self.asked().clear(project)
    }

    /// It costs the store no call of its own: all that wait share one.
    fn watch(&self, project: Project, sink: Arc<dyn Sink>) -> Read<'_, Subscription> {
        self.memory.watch(project, sink)
    }
}
