//! Inboxes in memory. `lua/inbox.lua` and what stands behind it do the same in Redis; the books are in [`book`].

mod book;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tidings_protocol::project::Project;

use self::book::{Book, Guards};
use super::{MemoryBroker, Sinks};
use crate::inbox::{
    Due, Found, Guarded, Here, Inboxes, Lapsed, LeaseAnswer, LeaseStep, Owned, Placed, Put, Standing, Take, sound,
};
use crate::{CallError, ReadError, Sink, Subscription, index};

/// Projects below which those whose inbox was left are not looked for.
const PROJECTS_MIN: usize = 256;

/// What waits in all projects, and who hears of it. Lock order: books, then a project's log; sinks alone.
#[derive(Default)]
pub(super) struct InboxBooks {
    books: Mutex<Books>,
    sinks: Mutex<HashMap<Project, Sinks>>,
}

/// What a step is to an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touch {
    /// It makes one, if there is none.
    Makes,
    /// It does so, too; if nothing comes of it the inbox goes.
    Puts,
    /// Somebody uses it.
    Uses,
    /// Somebody looks after it, which keeps it no longer than it would be kept.
    Tends,
    /// The same, and it goes if it holds nothing.
    Sweeps,
}

#[derive(Debug, Default)]
struct Books {
    projects: BTreeMap<Project, Book>,
    /// At so many, those that were left are dropped.
    look_at: usize,
}

impl Books {
    fn of(&mut self, project: &Project, now_ms: u64) -> &mut Book {
        if self.projects.len() >= self.look_at.max(PROJECTS_MIN) {
            self.projects.retain(|_, book| !book.was_left(now_ms));
            self.look_at = self.projects.len() * 2;
        }
        self.known(project, now_ms);
        self.projects.entry(project.clone()).or_default()
    }

    /// The inbox of a project, if it has one.
    fn known(&mut self, project: &Project, now_ms: u64) -> Option<&mut Book> {
        if self.projects.get(project).is_some_and(|book| book.was_left(now_ms)) {
            self.projects.remove(project);
        }
        self.projects.get_mut(project)
    }
}

impl InboxBooks {
    /// As a restart leaves it: who listens stays.
    pub(super) fn clear(&self) {
        *self.books.lock() = Books::default();
    }

    /// Tells all who listen that wake-ups may have been lost.
    pub(super) fn interrupt(&self) {
        let lists: Vec<_> = self.sinks.lock().values().map(|sinks| Arc::clone(&sinks.list)).collect();
        for (_, sink) in lists.iter().flat_map(|list| list.iter()) {
            sink.lost();
        }
    }

    fn wake(&self, project: &Project, words: &Bytes) {
        let list = self.sinks.lock().get(project).map(|sinks| Arc::clone(&sinks.list));
        for (_, sink) in list.iter().flat_map(|list| list.iter()) {
            sink.message(words.clone());
        }
    }
}

impl MemoryBroker {
    /// One step on a project's inbox, and then the wake-up that it asks for.
    fn inbox_step<T>(&self, project: &Project, touch: Touch, step: impl FnOnce(&mut Book, u64, &Guards<'_>) -> T) -> T {
        let now_ms = self.0.clock.now_ms();
        let slot = self.0.logs.read().get(project).cloned();
        let guards = |key: &str| slot.as_ref().and_then(|slot| slot.data.lock().guard(now_ms, key));
        let (answer, words) = {
            let mut books = self.0.inboxes.books.lock();
            // Asking for an inbox that is not there must not cost memory.
            let mut nothing = Book::default();
            let book = match touch {
                Touch::Makes | Touch::Puts => books.of(project, now_ms),
                Touch::Uses | Touch::Tends | Touch::Sweeps => books.known(project, now_ms).unwrap_or(&mut nothing),
            };
            let answer = step(book, now_ms, &guards);
            let words = book.close(now_ms, !matches!(touch, Touch::Tends | Touch::Sweeps));
            if matches!(touch, Touch::Puts | Touch::Sweeps) && book.is_idle() && !book.remains() {
                books.projects.remove(project);
            }
            (answer, words)
        };
        if let Some(words) = words {
            self.0.inboxes.wake(project, &words);
        }
        answer
    }

    fn watch_inbox(&self, project: Project, sink: Arc<dyn Sink>) -> Subscription {
        let id = {
            let mut sinks = self.0.inboxes.sinks.lock();
            let sinks = sinks.entry(project.clone()).or_default();
            sinks.next += 1;
            sinks.list = sinks.list.iter().cloned().chain([(sinks.next, sink)]).collect();
            sinks.next
        };
        let broker = self.clone();
        Subscription::new(move || {
            let mut sinks = broker.0.inboxes.sinks.lock();
            let Some(of_project) = sinks.get_mut(&project) else { return };
            let left: Arc<[_]> = of_project.list.iter().filter(|(other, _)| *other != id).cloned().collect();
            let is_last = left.is_empty();
            let before = std::mem::replace(&mut of_project.list, left);
            if is_last {
                sinks.remove(&project);
            }
            // ORDER: the sink may go with this, and whatever it owns; not under the lock.
            drop(sinks);
            drop(before);
        })
    }
}

impl Inboxes for MemoryBroker {
    fn put(&self, project: Project, item: Put) -> BoxFuture<'_, Result<Placed, CallError>> {
        async move {
            item.sound()?;
            let put = |book: &mut Book, now_ms, guards: &Guards<'_>| {
                let answer = book.put(now_ms, item, guards);
                Placed { answer, life: book.life() }
            };
            Ok(self.inbox_step(&project, Touch::Puts, put))
        }
        .boxed()
    }

    fn take(&self, project: Project, take: Take) -> BoxFuture<'_, Result<Here, CallError>> {
        async move {
            let take = take.sound()?;
            Ok(self.inbox_step(&project, Touch::Makes, |book, now_ms, guards| book.take(now_ms, take, guards)))
        }
        .boxed()
    }

    fn leave(&self, project: Project, runner: String, subject: String) -> BoxFuture<'_, Result<bool, CallError>> {
        async move {
            Ok(self.inbox_step(&project, Touch::Uses, |book, now_ms, _| book.leave(now_ms, &runner, &subject)))
        }
        .boxed()
    }

    fn answer(
        &self,
        project: Project,
        runner: String,
        subject: String,
        steps: Vec<LeaseStep>,
    ) -> BoxFuture<'_, Result<Vec<LeaseAnswer>, CallError>> {
        async move {
            let whose = (runner.as_str(), subject.as_str());
            Ok(self
                .inbox_step(&project, Touch::Uses, |book, now_ms, guards| book.answer(now_ms, whose, &steps, guards)))
        }
        .boxed()
    }

    fn settle(&self, project: Project, ids: Vec<String>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            self.inbox_step(&project, Touch::Uses, |book, _, _| book.settle(&ids));
            Ok(())
        }
        .boxed()
    }

    fn look(&self, project: Project, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<Standing>, ReadError>> {
        async move { Ok(self.inbox_step(&project, Touch::Tends, |book, now_ms, guards| book.look(now_ms, &ids, guards))) }
            .boxed()
    }

    fn find(&self, project: Project, id: String) -> BoxFuture<'_, Result<Option<Found>, ReadError>> {
        async move { Ok(self.inbox_step(&project, Touch::Tends, |book, now_ms, guards| book.find(now_ms, &id, guards))) }
            .boxed()
    }

    fn guard(&self, project: Project, key: String) -> BoxFuture<'_, Result<Option<Guarded>, ReadError>> {
        async move {
            let slot = self.0.logs.read().get(&project).cloned();
            Ok(slot.and_then(|slot| slot.data.lock().guard(self.0.clock.now_ms(), &key)))
        }
        .boxed()
    }

    fn due(&self, project: Project) -> BoxFuture<'_, Result<Due, CallError>> {
        async move { Ok(self.inbox_step(&project, Touch::Sweeps, |book, now_ms, guards| book.due(now_ms, guards))) }
            .boxed()
    }

    fn forget(&self, project: Project, lapsed: Vec<Lapsed>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            self.inbox_step(&project, Touch::Tends, |book, now_ms, _| book.forget(now_ms, &lapsed));
            Ok(())
        }
        .boxed()
    }

    fn own(&self, project: Project, owned: Vec<Owned>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            for owned in &owned {
                sound([&owned.session, &owned.agent].into_iter().chain(&owned.runner))?;
            }
            let claims_only = !owned.is_empty() && owned.iter().all(|owned| owned.weak);
            let touch = if claims_only { Touch::Uses } else { Touch::Makes };
            self.inbox_step(&project, touch, |book, now_ms, _| book.own(now_ms, owned));
            Ok(())
        }
        .boxed()
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        async move {
            let now_ms = self.0.clock.now_ms();
            let books = self.0.inboxes.books.lock();
            let entered = books.projects.iter().filter(|(_, book)| book.is_entered() && !book.was_left(now_ms));
            let of_shard = entered.map(|(project, _)| project).filter(|project| index::shard_of(project) == shard);
            Ok(of_shard.cloned().collect())
        }
        .boxed()
    }

    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            let now_ms = self.0.clock.now_ms();
            {
                let mut books = self.0.inboxes.books.lock();
                let life = books.known(&project, now_ms).map_or(0, |book| book.life());
                *books.of(&project, now_ms) = Book::of_life(now_ms.max(life + 1), now_ms);
            }
            self.0.inboxes.wake(&project, &Bytes::new());
            Ok(())
        }
        .boxed()
    }

    fn watch(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        async move { Ok(self.watch_inbox(project, sink)) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::inbox::KEPT_MS;

    #[tokio::test]
    async fn inboxes_that_were_left_are_forgotten() {
        let clock = ManualClock::at(1_000_000_000);
        let broker = MemoryBroker::with_clock(clock.clone());
        for number in 0..10 * PROJECTS_MIN {
            let project: Project = format!("p{number}").parse().expect("a name");
            broker.due(project.clone()).await.expect("memory answers");
            broker.own(project, Vec::new()).await.expect("memory answers");
            clock.set(clock.now_ms() + KEPT_MS / 8);
        }
        assert!(broker.0.inboxes.books.lock().projects.len() < 2 * PROJECTS_MIN);
    }
}
