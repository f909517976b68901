//! The topic's pure machine (docs/log.md L10, L12, L13): what it knows of a log, and what each thing heard or read does to it.
//!
//! No I/O and no clock. The shell feeds it messages, pages and heads in the order they arrive and does what it answers.
//! While a page is being read the shell keeps messages back, so the position stands still and the page is newer than it.

use tidings_broker::{Page, Span};
use tidings_protocol::entry::{Body, Entry, ForkKind};
use tidings_protocol::fold::State;
use tidings_protocol::gap::deletes_project;
use tidings_protocol::head::{Fork, Head, Located, TOMBSTONES_MAX, Tombstone, bury};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::heard::Heard;
use crate::held::{Held, Tally};
use crate::ring::Ring;

/// What a topic knows of its log.
#[derive(Debug)]
pub struct Machine {
    project: Project,
    ring_bytes_max: usize,
    started: bool,
    position: Position,
    head: Head,
    ring: Ring,
    /// What was made of the ring's entries.
    encodings: Tally,
    heard: Heard,
    /// Tombstones that the head had when it was last read.
    tombstones_read: usize,
    /// The fold at `position`, once somebody has asked for it.
    state: Option<State>,
    /// Reads that were begun, and those of them that the head has been taken over from, so that a viewer ahead of the
    /// topic can wait for one begun after it came.
    reads_begun: u64,
    reads_done: u64,
}

/// What the shell has to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Nothing.
    Nothing,
    /// Read this and feed the page.
    Read(Span),
    /// Call sync (the log forks, or is born), then read this.
    SyncThenRead(Span),
}

impl Machine {
    /// A topic that knows nothing yet. Start it by feeding the page of [`Machine::catch_up`].
    pub fn new(project: Project, ring_bytes_max: usize) -> Machine {
        Machine {
            project,
            ring_bytes_max,
            started: false,
            position: Position::ZERO,
            head: Head::default(),
            ring: Ring::default(),
            encodings: Tally::default(),
            heard: Heard::default(),
            tombstones_read: 0,
            state: None,
            reads_begun: 0,
            reads_done: 0,
        }
    }

    /// What to read when something may have been lost, or at the start.
    pub fn catch_up(&self) -> Span {
        if self.started { Span::After(self.position.id) } else { Span::Tail }
    }

    /// A read is on its way.
    pub fn read_begun(&mut self) {
        self.reads_begun += 1;
    }

    /// A message arrived. Links up: it is appended. Passed already or of a closed branch: dropped. Else something is
    /// missing, or another branch is open, which only meta on the primary is believed about.
    pub fn heard(&mut self, entry: Entry) -> Todo {
        if !self.started {
            return Todo::Read(Span::Tail);
        }
        let position = entry.position;
        let same_branch = position.branch == self.position.branch;
        if same_branch && position.n() <= self.position.n() {
            return Todo::Nothing;
        }
        if self.head.closing(position.branch).is_some() {
            return Todo::Nothing;
        }
        if same_branch && entry.prev == self.position && matches!(entry.body, Body::Events(_)) && !takes_back(&entry) {
            self.extend(entry);
            // Those whose events were trimmed since are in no message.
            let buried = self.head.tombstones.len() > self.tombstones_read + TOMBSTONES_MAX;
            return if buried { Todo::Read(self.catch_up()) } else { Todo::Nothing };
        }
        Todo::Read(self.catch_up())
    }

    /// A page that was asked for arrived.
    pub fn page(&mut self, span: Span, page: Page) -> Todo {
        let head = page.head;
        if head.fork_is_due() {
            return Todo::SyncThenRead(self.catch_up());
        }
        if !head.is_born() {
            if !self.position.is_zero() {
                // The log is gone under a cursor: its birth makes the loss tellable.
                return Todo::SyncThenRead(Span::Tail);
            }
            self.started = true;
            self.take_head(head);
            self.reads_done = self.reads_begun;
            return Todo::Nothing;
        }
        if !self.started || span == Span::Tail {
            self.reads_done = self.reads_begun;
            return self.reload(page.entries, head);
        }
        match head.locate(self.position) {
            Located::At(_) | Located::Cut(_) => {
                self.reads_done = self.reads_begun;
                self.cross(&head);
                if !self.head.knows_deletions_of(&head) {
                    self.state = None;
                }
                self.take_head(head);
                self.follow(page.entries)
            }
            // The page is newer than the position, so the log was reset.
            Located::Ahead | Located::Unknown => Todo::Read(Span::Tail),
        }
    }

    /// A check of the head, made while nothing was read. Cheap: most find nothing new.
    pub fn checked(&mut self, head: &Head) -> Todo {
        if !self.started {
            return Todo::Read(Span::Tail);
        }
        let same = head.branch == self.head.branch && head.last == self.position && !head.fork_is_due();
        if same {
            // Those whose events were trimmed since are in no message.
            self.tombstones_read = head.tombstones.len();
            self.head.tombstones.clone_from(&head.tombstones);
        }
        if same || (!head.is_born() && self.position.is_zero()) { Todo::Nothing } else { Todo::Read(self.catch_up()) }
    }

    fn take_head(&mut self, head: Head) {
        self.tombstones_read = head.tombstones.len();
        self.head = head;
    }

    /// If the open branch is another one than the position's, what was heard above the cut is forgotten (but for ids).
    fn cross(&mut self, head: &Head) {
        if self.position.branch == head.branch || self.position.is_zero() {
            return;
        }
        let deleted = |fork: &Fork| fork.kind == ForkKind::Deleted && fork.from.n() > self.position.n();
        if head.forks.iter().any(deleted) {
            // What was heard of it is not told any more; who lags meets the gap on a page.
            self.ring = Ring::starting_at(self.position);
            self.state = None;
        }
        let Some(fork) = head.closing(self.position.branch) else { return };
        if self.position.n() > fork.survived.n() {
            let survived = fork.survived;
            self.heard.cut(survived);
            self.ring.cut_above(survived);
            self.state = None;
            self.position = survived;
        }
    }

    fn follow(&mut self, entries: Vec<Entry>) -> Todo {
        let before = self.position;
        for entry in entries {
            if entry.position.n() <= self.position.n() {
                continue;
            }
            if entry.prev != self.position {
                // Trimmed in between: viewers meet the gap on pages.
                return Todo::Read(Span::Tail);
            }
            self.extend(entry);
        }
        if self.position == self.head.last {
            Todo::Nothing
        } else if self.position.n() < self.head.last.n() && self.position != before {
            Todo::Read(self.catch_up())
        } else {
            // Nothing follows that could be linked to: all of it was trimmed.
            Todo::Read(Span::Tail)
        }
    }

    /// Starts anew at the log's end.
    fn reload(&mut self, entries: Vec<Entry>, head: Head) -> Todo {
        self.state = None;
        let base = entries.first().map_or(head.last, |first| first.prev);
        self.ring = Ring::starting_at(base);
        self.position = base;
        for entry in entries {
            self.extend(entry);
        }
        self.started = true;
        self.take_head(head);
        // A tail always ends at the head that it was read with; anything else is a malformed log, which viewers page.
        self.position = self.head.last;
        Todo::Nothing
    }

    fn extend(&mut self, entry: Entry) {
        if takes_back(&entry) {
            self.state = None;
        }
        if let Some(state) = &mut self.state {
            state.apply_visible(&entry, &self.head);
        }
        self.position = entry.position;
        if let Body::Events(events) = &entry.body {
            let news = entry.position.n() > self.head.last.n();
            for (index, event) in events.iter().enumerate() {
                let position = entry.position_of(index);
                // Ids that ingest made, too: it sends an append again whose answer was lost.
                self.heard.note(&event.id, position);
                // A head that was read with it has its tombstone already.
                if let Some(tombstone) = Tombstone::of(position, event).filter(|_| news) {
                    bury(&mut self.head.tombstones, tombstone);
                }
            }
        }
        // A head that was read with a page may lie beyond it: then there is more to read.
        if entry.position.n() > self.head.last.n() {
            self.head.last = entry.position;
            self.head.total_bytes = entry.total_bytes;
        }
        self.ring.push(Held::new(&self.project, entry, &self.encodings), self.ring_bytes_max);
    }

    /// Takes a fold that was loaded from outside, if the ring can roll it forward to the position; else gives it back.
    pub fn attach(&mut self, mut state: State) -> Result<(), Box<State>> {
        if state.position() != self.position {
            let Some(place) = self.ring.place(state.position()).filter(|place| place.event == 0) else {
                return Err(Box::new(state));
            };
            if self.ring.from(place.entry).any(|held| takes_back(held.entry())) {
                return Err(Box::new(state));
            }
            for held in self.ring.from(place.entry) {
                state.apply_visible(held.entry(), &self.head);
            }
        }
        self.state = Some(state);
        Ok(())
    }

    /// Gives memory back: bounds the ring anew (the newest entry always stays), keeps the newest `ids_max` ids heard, and
    /// forgets the fold, which is loaded again when somebody asks.
    pub fn shrink(&mut self, ring_bytes_max: usize, ids_max: usize) {
        self.ring.shrink(ring_bytes_max);
        self.heard.shrink(ids_max);
        self.state = None;
    }

    /// Whether the topic knows its log.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// The last position known: nobody is told beyond it.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The head as last read, with what was heard since.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The newest entries.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Ids heard.
    pub fn ids(&self) -> &Heard {
        &self.heard
    }

    /// The fold at the position, if it is warm.
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Reads begun so far, and up to which of them the head is known.
    pub fn reads(&self) -> (u64, u64) {
        (self.reads_begun, self.reads_done)
    }

    /// Bytes held, about, encodings included.
    pub fn bytes(&self) -> usize {
        let state = self.state.as_ref().map_or(0, State::weight_bytes);
        self.ring.bytes() + self.encodings.bytes() + self.heard.bytes() + state
    }
}

/// Whether it holds the project's deletion, put back: a state of before it is none behind it.
fn takes_back(entry: &Entry) -> bool {
    matches!(&entry.body, Body::Events(events) if events.iter().any(deletes_project))
}

#[cfg(test)]
mod tests;
