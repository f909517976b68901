//! The page cache (docs/log.md L14): stretches of logs that are off their topics' rings.
//!
//! One per gateway, shared by all its readers: whoever falls behind reads the same pages, each asked of the store once
//! while it is held. Bounded in bytes, and fair: when it is full, the project that holds most gives up its oldest page.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidings_broker::{Broker, Span};
use tidings_protocol::position::{Branch, LogId};
use tidings_protocol::project::Project;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use crate::held::{Held, Tally};
use crate::metrics::Metrics;

mod page;

pub use page::{Meet, PageHeld};

/// Encoded bytes that one page asks the store for.
pub const PAGE_BYTES: usize = 512 * 1024;

/// Pages that are read at the same time.
const READS_MAX: usize = 8;

/// Waits between tries while the store is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The page cache.
pub struct Pages {
    broker: Arc<dyn Broker>,
    bytes_max: usize,
    /// What was made of the pages' entries.
    encodings: Tally,
    shelves: Mutex<Shelves>,
    reads: Semaphore,
    tasks: TaskTracker,
    metrics: Metrics,
}

#[derive(Default)]
struct Shelves {
    projects: HashMap<Project, Shelf>,
    bytes: usize,
    /// Counts uses; the smallest was used longest ago.
    clock: u64,
}

#[derive(Default)]
struct Shelf {
    branch: Branch,
    /// By the running count behind which the page was asked for.
    pages: BTreeMap<u64, (Arc<PageHeld>, u64)>,
    bytes: usize,
    waiting: Vec<(LogId, oneshot::Sender<Arc<PageHeld>>)>,
    reading: bool,
}

impl Pages {
    /// A cache of at most this many bytes. Encodings, which are made later, count from the next [`Pages::trim`] on.
    pub fn new(broker: Arc<dyn Broker>, bytes_max: usize, tasks: TaskTracker, metrics: Metrics) -> Arc<Pages> {
        let (encodings, shelves) = (Tally::default(), Mutex::default());
        Arc::new(Pages { broker, bytes_max, encodings, shelves, reads: Semaphore::new(READS_MAX), tasks, metrics })
    }

    /// The page that holds what follows `after`, from the cache or the store. Waits while the store is away.
    ///
    /// Cancel safe: a read that was begun goes on for the others who wait for it.
    pub async fn after(self: Arc<Pages>, project: Project, after: LogId) -> Arc<PageHeld> {
        loop {
            let (sender, receiver) = oneshot::channel();
            {
                let mut shelves = self.shelves.lock();
                if let Some(page) = shelves.find(&project, after) {
                    self.metrics.page_hits.inc();
                    return page;
                }
                let shelf = shelves.projects.entry(project.clone()).or_default();
                shelf.waiting.push((after, sender));
                if !shelf.reading {
                    shelf.reading = true;
                    self.tasks.spawn(self.clone().read_for(project.clone()));
                }
            }
            if let Ok(page) = receiver.await {
                return page;
            }
        }
    }

    /// Reads pages of one project, one after the other, the oldest wish first, until nobody waits.
    async fn read_for(self: Arc<Pages>, project: Project) {
        let mut retry = RETRY.0;
        loop {
            let wish = {
                let mut shelves = self.shelves.lock();
                let Some(shelf) = shelves.projects.get_mut(&project) else { return };
                shelf.waiting.retain(|(_, sender)| !sender.is_closed());
                let Some(oldest) = shelf.waiting.iter().map(|(after, _)| *after).min_by_key(|after| after.n) else {
                    shelf.reading = false;
                    shelves.tidy(&project);
                    return;
                };
                oldest
            };
            let permit = self.reads.acquire().await;
            let page = self.broker.read(project.clone(), Span::After(wish), PAGE_BYTES).await;
            drop(permit);
            match page {
                Ok(page) => {
                    retry = RETRY.0;
                    self.metrics.page_reads.inc();
                    let held = |entry| Held::new(&project, entry, &self.encodings);
                    let entries: Vec<_> = page.entries.into_iter().map(held).collect();
                    let page = Arc::new(PageHeld {
                        bytes: entries.iter().map(|held| held.payload_bytes()).sum(),
                        end: entries.last().map_or(wish.n, |held| held.position().n()),
                        entries,
                        head: page.head,
                        trimmed_to: page.trimmed_to,
                    });
                    self.shelve(&project, wish, &page);
                }
                Err(error) => {
                    tracing::debug!(%error, project = %project, "page read failed, will try again");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Keeps a page and hands it to all who wait for something in it.
    fn shelve(&self, project: &Project, wish: LogId, page: &Arc<PageHeld>) {
        let mut shelves = self.shelves.lock();
        shelves.clock += 1;
        let clock = shelves.clock;
        let shelf = shelves.projects.entry(project.clone()).or_default();
        let mut freed = 0;
        if shelf.branch != page.head.branch {
            // Pages of another branch may hold what was cut.
            freed = shelf.bytes;
            shelf.pages.clear();
            shelf.bytes = 0;
            shelf.branch = page.head.branch;
        }
        // Who stands behind the head waits for nothing that a further read would find.
        let reaches_head = page.end >= page.head.last.n();
        // An unsound page is for who wished it alone, and is not kept.
        let sound = page.is_sound_behind(wish.n);
        let covers =
            |after: &LogId| *after == wish || (sound && wish.n <= after.n && (after.n < page.end || reaches_head));
        let (served, waiting) = shelf.waiting.drain(..).partition(|(after, _)| covers(after));
        shelf.waiting = waiting;
        let mut added = 0;
        if sound {
            added = page.bytes;
            if let Some((old, _)) = shelf.pages.insert(wish.n, (page.clone(), clock)) {
                freed += old.bytes;
                shelf.bytes -= old.bytes;
            }
            shelf.bytes += page.bytes;
        }
        shelves.bytes = shelves.bytes + added - freed;
        shelves.evict(self.bytes_max, &self.encodings);
        drop(shelves);
        for (_, sender) in served {
            // Whoever no longer waits has its cursor elsewhere.
            let _ = sender.send(page.clone());
        }
    }

    /// Drops a project's pages: its log was cut or reset.
    pub fn forget(&self, project: &Project) {
        let mut shelves = self.shelves.lock();
        if let Some(shelf) = shelves.projects.get_mut(project) {
            shelf.pages.clear();
            let bytes = std::mem::take(&mut shelf.bytes);
            shelves.bytes -= bytes;
            shelves.tidy(project);
        }
    }

    /// Gives up pages that do not fit since more was made of them.
    pub fn trim(&self) {
        self.shelves.lock().evict(self.bytes_max, &self.encodings);
    }

    /// Bytes held, encodings included.
    pub fn bytes(&self) -> usize {
        self.shelves.lock().bytes + self.encodings.bytes()
    }
}

impl Shelves {
    /// The page that holds the event behind `after`, if it is here.
    fn find(&mut self, project: &Project, after: LogId) -> Option<Arc<PageHeld>> {
        self.clock += 1;
        let clock = self.clock;
        let shelf = self.projects.get_mut(project)?;
        let (_, (page, used)) =
            shelf.pages.range_mut(..=after.n).next_back().filter(|(_, (page, _))| after.n < page.end)?;
        *used = clock;
        Some(page.clone())
    }

    fn evict(&mut self, bytes_max: usize, encodings: &Tally) {
        let mut excess = (self.bytes + encodings.bytes()).saturating_sub(bytes_max);
        while excess > 0 {
            let Some((project, shelf)) = self.projects.iter_mut().max_by_key(|(_, shelf)| shelf.bytes) else { return };
            let Some(oldest) = shelf.pages.iter().min_by_key(|(_, (_, used))| *used).map(|(start, _)| *start) else {
                return;
            };
            if let Some((page, _)) = shelf.pages.remove(&oldest) {
                shelf.bytes -= page.bytes;
                self.bytes -= page.bytes;
                // Not what is left by the tally: somebody may still read the page.
                excess = excess.saturating_sub(page.bytes + page.encoded_bytes());
            }
            if shelf.is_idle() {
                let project = project.clone();
                self.projects.remove(&project);
            }
        }
    }

    /// Takes a shelf away that holds nothing and that nobody waits at: names cost nothing.
    fn tidy(&mut self, project: &Project) {
        if self.projects.get(project).is_some_and(Shelf::is_idle) {
            self.projects.remove(project);
        }
    }
}

impl Shelf {
    fn is_idle(&self) -> bool {
        self.pages.is_empty() && !self.reading && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests;
