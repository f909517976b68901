//! The shell: the boards of a gateway, a task for each that calls the store when it is due, and the handles that
//! connections hold.

mod looks;
mod task;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tidings_broker::ReadError;
use tidings_broker::presence::Presences;
use tidings_protocol::project::Project;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::board::{Board, Count, part_of, read_runner};
use crate::listing::{Figures, Listing, Runners};
use crate::{FULL_EVERY, Metrics, Said, Settings, Transport, Who};
use looks::Looks;

/// Reports to the store that are in flight at once, over all projects.
const CALLS_MAX: usize = 64;

/// The presence of one gateway. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Hall(Arc<Inner>);

struct Inner {
    store: Arc<dyn Presences>,
    settings: Settings,
    gateway: Arc<str>,
    metrics: Metrics,
    boards: Mutex<HashMap<Project, Arc<Kept>>>,
    calls: Semaphore,
    /// What was found for who does not watch.
    looks: Looks,
    since: Instant,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A board. Lock order: the map of boards, then a board; wakes alone.
struct Kept {
    project: Project,
    board: Mutex<Board>,
    /// The board has something to do, perhaps.
    news: Notify,
    /// How many news there were so far: who was told as many need not look.
    said: AtomicU64,
    wakes: Mutex<Wakes>,
}

#[derive(Default)]
struct Wakes {
    next: u64,
    list: Vec<(u64, Box<dyn Fn() + Send + Sync>)>,
}

/// A connection that is there. Dropping it says that it went.
pub struct Present {
    inner: Arc<Inner>,
    kept: Arc<Kept>,
    viewer: Arc<str>,
    transport: Transport,
    count: Count,
}

/// A wish to be told who is there.
pub struct Watching {
    inner: Arc<Inner>,
    kept: Arc<Kept>,
    key: u64,
    /// How many news it was told; none: nothing yet.
    told: Option<u64>,
    full_at: Instant,
}

impl Hall {
    /// A hall of the gateway of this name (drawn by each process at its start), whose tasks end when `stop` is cancelled;
    /// what was reported is taken back then.
    pub fn new(
        store: Arc<dyn Presences>,
        settings: Settings,
        gateway: Arc<str>,
        metrics: Metrics,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Hall {
        let (boards, calls, since) = (Mutex::default(), Semaphore::new(CALLS_MAX), Instant::now());
        let looks = Looks::default();
        Hall(Arc::new(Inner { store, settings, gateway, metrics, boards, calls, looks, since, tasks, stop }))
    }

    /// A connection reads a project from now on.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn enter(&self, project: &Project, who: &Who, transport: Transport) -> Present {
        let mut boards = self.0.boards.lock();
        let kept = self.0.board(&mut boards, project);
        let (is_new, count) = {
            let mut board = kept.board.lock();
            (board.enter(who, transport, unix_ms()), board.count(&who.viewer))
        };
        if is_new {
            self.0.metrics.viewers.inc();
        }
        kept.news.notify_one();
        Present { inner: Arc::clone(&self.0), kept, viewer: Arc::clone(&who.viewer), transport, count }
    }

    /// What viewers were told, where their connections count it. Asks the store each time.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn figures(&self, project: &Project) -> Result<Figures, ReadError> {
        let kept = self.0.boards.lock().get(project).cloned();
        Ok(self.0.look(project, kept.as_deref()).await?.figures())
    }

    /// All that are there, as one JSON object: as it is told to who watches here, else as the store had it within the last
    /// second. However many ask, the store is asked once in that time.
    ///
    /// # Errors
    /// When the store does not answer, and nothing is known here.
    pub async fn list(&self, project: &Project) -> Result<Bytes, ReadError> {
        let kept = self.0.boards.lock().get(project).cloned();
        let told = kept.as_ref().and_then(|kept| {
            let mut board = kept.board.lock();
            if board.is_current() { board.last_told() } else { None }
        });
        if let Some(full) = told {
            return Ok(full.texts().flatten().copied().collect());
        }
        let look = async || Ok(self.0.look(project, kept.as_deref()).await?.json(project, false).into());
        match self.0.looks.get(project, look).await {
            Ok(list) => Ok(list),
            // What was known is better than nothing, and says that it is old.
            Err(error) => match kept.and_then(|kept| kept.board.lock().last_told()) {
                Some(full) => Ok(full.texts().flatten().copied().collect()),
                _ => Err(error),
            },
        }
    }
}

impl Inner {
    /// The board of a project, made when it is not there.
    fn board(self: &Arc<Self>, boards: &mut HashMap<Project, Arc<Kept>>, project: &Project) -> Arc<Kept> {
        if let Some(kept) = boards.get(project) {
            return Arc::clone(kept);
        }
        let board = Board::new(project.clone(), Arc::clone(&self.gateway), &self.settings);
        let kept = Arc::new(Kept {
            project: project.clone(),
            board: Mutex::new(board),
            news: Notify::new(),
            said: AtomicU64::new(0),
            wakes: Mutex::default(),
        });
        boards.insert(project.clone(), Arc::clone(&kept));
        self.tasks.spawn(task::run(Arc::clone(self), Arc::clone(&kept)));
        kept
    }

    /// Reads all that are there from the store; what is here is known better.
    async fn look(&self, project: &Project, kept: Option<&Kept>) -> Result<Listing, ReadError> {
        self.metrics.store_calls.inc();
        let counted = |error: ReadError| {
            self.metrics.store_errors.inc();
            error
        };
        let roll = self.store.roll(project.clone(), 0).await.map_err(counted)?;
        let others = roll.gateways.into_iter().filter(|listed| listed.gateway != self.gateway);
        let reads = join_all(others.map(|listed| async move {
            let members = self.store.members(project.clone(), Arc::clone(&listed.gateway)).await?;
            Ok(members.map(|members| (listed.gateway, part_of(members))))
        }));
        let read: Result<Vec<_>, ReadError> = reads.await.into_iter().collect();
        let mut parts: Vec<_> = read.map_err(counted)?.into_iter().flatten().collect();
        let own = kept.and_then(|kept| kept.board.lock().own());
        parts.extend(own.map(|part| (Arc::clone(&self.gateway), part)));
        let runners: Runners = roll.runners.unwrap_or_default().into_iter().map(read_runner).collect();
        Ok(Listing::of(parts.iter().map(|(gateway, part)| (gateway, part)), &runners, roll.runners_others))
    }

    /// Does something that may change how many runners are known.
    fn counting<T>(&self, board: &mut Board, act: impl FnOnce(&mut Board) -> T) -> T {
        let gauge = |board: &Board| i64::try_from(board.runners()).unwrap_or(i64::MAX);
        let before = gauge(board);
        let done = act(board);
        self.metrics.runners.add(gauge(board) - before);
        done
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Present {
    /// Counts messages that the viewer was told, for [`Hall::figures`].
    pub fn told(&self, messages: u64) {
        self.count.add(messages);
    }

    /// Tells who is there, too, from now on. `wake` is called when there is something to take, from anywhere: it must not
    /// block.
    pub fn watch(&self, wake: impl Fn() + Send + Sync + 'static) -> Watching {
        let key = {
            let mut wakes = self.kept.wakes.lock();
            wakes.next += 1;
            let key = wakes.next;
            wakes.list.push((key, Box::new(wake)));
            key
        };
        self.kept.board.lock().watch();
        self.kept.news.notify_one();
        Watching {
            inner: Arc::clone(&self.inner),
            kept: Arc::clone(&self.kept),
            key,
            told: None,
            full_at: Instant::now(),
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        if self.kept.board.lock().leave(&self.viewer, self.transport) {
            self.inner.metrics.viewers.dec();
        }
        self.kept.news.notify_one();
    }
}

impl Watching {
    /// What there is to say: all that are there, first and every [`FULL_EVERY`]; who came and went, in between. Cheap when
    /// there is nothing. Who does not take it for long is told all that are there.
    pub fn take(&mut self, now: Instant) -> Vec<Arc<Said>> {
        let full = now >= self.full_at;
        if !full && self.told == Some(self.kept.said.load(Ordering::Acquire)) {
            return Vec::new();
        }
        let untold = self.kept.board.lock().untold(self.told, full);
        if untold.at > 0 {
            self.told = Some(untold.at);
        }
        if untold.full {
            self.full_at = now + FULL_EVERY;
        }
        untold.said
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut wakes = self.kept.wakes.lock();
        let index = wakes.list.iter().position(|(key, _)| *key == self.key);
        let gone = index.map(|index| wakes.list.swap_remove(index));
        // ORDER: it owns whom it wakes; not under the lock.
        drop(wakes);
        drop(gone);
        self.inner.counting(&mut self.kept.board.lock(), Board::unwatch);
        self.kept.news.notify_one();
    }
}

impl Kept {
    fn wake_all(&self) {
        for (_, wake) in &self.wakes.lock().list {
            wake();
        }
    }
}

impl std::fmt::Debug for Present {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Present")
    }
}

impl std::fmt::Debug for Watching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watching")
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
