//! A viewer: a cursor over a topic. It has no queue: when its transport can take more, it takes what lies between its
//! cursor and the head, from the ring, or from shared pages while it is behind.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, Marks, SnapshotWish};
use tidings_protocol::gap::{Gap, GapCause, deletes_project, deletes_session};
use tidings_protocol::grant::{Grant, visible};
use tidings_protocol::position::Position;
use tidings_protocol::wire;

use crate::cursor::{Cursor, Relocated, Verdict};
use crate::encoding::Encoding;
use crate::held::Held;
use crate::hub::TopicHandle;
use crate::metrics::Resumed;
use crate::pages::{Meet, PageHeld};
use crate::topic::machine::Machine;
use crate::topic::{Between, Near};
use crate::wake::Wake;

mod attended;
mod lagging;
mod measured;

pub use attended::Aside;
use attended::Attended;
use measured::Measured;
pub use measured::Sample;

/// Where one pull puts what it takes, and how much it may take.
pub struct Pull<'a> {
    /// How events become bytes.
    pub encoding: &'a dyn Encoding,
    /// Ready frames, in order; shared, not copied.
    pub out: &'a mut Vec<Bytes>,
    /// Bytes left; a pull stops at the first frame that reaches it.
    pub bytes_left: usize,
    /// Events (and gaps) left.
    pub events_left: usize,
    /// Nothing above this running count is told; `u64::MAX`: everything.
    pub until: u64,
}

impl Pull<'_> {
    fn is_full(&self) -> bool {
        self.bytes_left == 0 || self.events_left == 0
    }

    /// Nothing more fits.
    fn close(&mut self) {
        self.bytes_left = 0;
    }

    fn push(&mut self, frame: Bytes, events: usize) {
        self.bytes_left = self.bytes_left.saturating_sub(frame.len());
        self.events_left = self.events_left.saturating_sub(events);
        // In a dialect an event may be nothing at all.
        if !frame.is_empty() {
            self.out.push(frame);
        }
    }
}

/// What a viewer wants of a project.
#[derive(Debug, Clone)]
pub struct Wants {
    /// Where its stream starts (behind this).
    pub at: Position,
    /// It starts at the head and knows nothing yet, so a recent snapshot will do as well as one of this instant; for a
    /// reader that attends ([`Viewer::attend`]) one that leaves nothing out behind `at`.
    pub newcomer: bool,
    /// What to leave out.
    pub filter: Filter,
    /// What happens to a backlog.
    pub lag: Lag,
    /// Whether it follows snapshots.
    pub snapshot: SnapshotWish,
    /// What it may see.
    pub grant: Grant,
}

/// A reader of one topic.
pub struct Viewer {
    topic: TopicHandle,
    cursor: Cursor,
    newcomer: bool,
    filter: Filter,
    lag: Lag,
    grant: Grant,
    /// Key among the topic's readers.
    key: u64,
    /// The page being waited for while the cursor is off the ring.
    page: Option<BoxFuture<'static, Arc<PageHeld>>>,
    /// The topic does not know the cursor's place: wait until this many reads were begun and done before believing it.
    ahead_until: Option<u64>,
    measured: Measured,
    /// What its reader says himself.
    attended: Option<Box<Attended>>,
}

/// What a look at the topic found.
enum Step {
    /// Nothing to tell now; a wake-up follows.
    Idle,
    /// Something was told, or the cursor moved.
    Moved,
    /// What follows the cursor is on a page.
    Behind,
}

impl Viewer {
    /// A viewer of a topic that has started; `wake` is woken whenever there is news.
    pub fn new(topic: TopicHandle, wants: Wants, wake: Arc<Wake>) -> Viewer {
        let key = topic.add_reader(wake);
        topic.metrics().subscriptions.inc();
        Viewer {
            cursor: Cursor::new(wants.at, wants.snapshot),
            newcomer: wants.newcomer,
            filter: wants.filter,
            lag: wants.lag,
            grant: wants.grant,
            key,
            page: None,
            ahead_until: None,
            measured: Measured::default(),
            attended: None,
            topic,
        }
    }

    /// It is of a reader that comes back: how it goes on from its position is counted once, when that is known.
    pub fn resumes(&mut self) {
        self.measured.resuming = true;
    }

    /// The topic.
    pub fn topic(&self) -> &TopicHandle {
        &self.topic
    }

    /// The cursor's place: everything up to here is told, or counts as told.
    pub fn at(&self) -> Position {
        self.cursor.at()
    }

    /// Takes what lies between the cursor and the head, up to the pull's limits. Ready: something was told, or a limit
    /// was reached. Pending: nothing now; the viewer's [`Wake`] (or a page's arrival, through `cx`) will say when.
    pub fn poll_pull(&mut self, cx: &mut Context<'_>, pull: &mut Pull<'_>) -> Poll<()> {
        let had = pull.out.len();
        loop {
            if pull.is_full() || self.cursor.at().n() >= pull.until {
                return Poll::Ready(());
            }
            if self.is_held(cx) {
                return if pull.out.len() > had { Poll::Ready(()) } else { Poll::Pending };
            }
            let page = match &mut self.page {
                Some(waiting) => match waiting.poll_unpin(cx) {
                    Poll::Ready(page) => {
                        self.page = None;
                        Some(page)
                    }
                    Poll::Pending => return if pull.out.len() > had { Poll::Ready(()) } else { Poll::Pending },
                },
                None => None,
            };
            match self.step(page, pull) {
                Step::Moved => {}
                Step::Behind => {
                    self.fall_behind();
                    let pages = self.topic.pages().clone();
                    self.page = Some(pages.after(self.topic.project().clone(), self.cursor.at().id).boxed());
                }
                Step::Idle => return if pull.out.len() > had { Poll::Ready(()) } else { Poll::Pending },
            }
        }
    }

    /// Whether what follows the cursor is being fetched: pending means "soon", not "nothing".
    pub fn is_catching_up(&self) -> bool {
        self.page.is_some() || self.ahead_until.is_some()
    }

    /// Whether the cursor moved on without a word, and its reader does not know where it is.
    pub fn is_untold(&self) -> bool {
        self.cursor.is_untold() && !self.cursor.wants_snapshot()
    }

    /// If the cursor moved on without a word (everything was filtered out), says where it is.
    pub fn tell_at(&mut self, encoding: &dyn Encoding, out: &mut Vec<Bytes>) {
        if self.is_untold() {
            let mut frame = Vec::new();
            encoding.at(self.topic.project(), self.cursor.at(), &mut frame);
            out.push(frame.into());
            self.cursor.told();
        }
    }

    fn step(&mut self, page: Option<Arc<PageHeld>>, pull: &mut Pull<'_>) -> Step {
        let topic = self.topic.shared();
        let machine = topic.view();
        if !machine.is_started() {
            return Step::Idle;
        }
        if !machine.head().is_born() {
            if !self.cursor.at().is_zero() {
                // The log was lost whole, or never was; a birth would only let a reader write.
                return self.wait_or_reset(&machine, pull);
            }
            if !self.cursor.wants_snapshot() {
                self.reach_head();
                return Step::Idle;
            }
        }
        match self.cursor.relocate(machine.head()) {
            Relocated::Here => self.ahead_until = None,
            Relocated::Ahead | Relocated::Unknown => return self.wait_or_reset(&machine, pull),
        }
        let at_head = self.cursor.at() == machine.position();
        if at_head {
            self.reach_head();
            if !self.cursor.wants_snapshot() {
                return Step::Idle;
            }
        }
        if at_head || self.stop(&machine) == self.cursor.at().n() {
            drop(machine);
            return self.tell_snapshot(pull);
        }
        if let Some(place) = machine.ring().place(self.cursor.at()) {
            // A newcomer needs no word of what its snapshot holds.
            if self.newcomer && self.cursor.wants_snapshot() {
                drop(machine);
                return self.tell_snapshot(pull);
            }
            let lagging = self.lag == Lag::Compact && machine.ring().lags(place.entry, lagging::LAG_BYTES);
            self.catch_up();
            self.deliver(machine.ring().from(place.entry), &machine, lagging, pull);
            self.resumed(Resumed::Exact);
            if self.cursor.at() == machine.position() && !self.cursor.wants_snapshot() {
                self.reach_head();
                return Step::Idle;
            }
            return Step::Moved;
        }
        match page {
            Some(page) => self.take_page(&page, &machine, pull),
            None => Step::Behind,
        }
    }

    /// The cursor lies above the head, or on a branch that is not known: another gateway knew more (it crossed a fork
    /// before this one), or the log was reset. A read begun after now tells.
    fn wait_or_reset(&mut self, machine: &Machine, pull: &mut Pull<'_>) -> Step {
        let (begun, done) = machine.reads();
        match self.ahead_until {
            None => {
                self.ahead_until = Some(begun + 1);
                self.topic.ask_read();
                Step::Idle
            }
            Some(until) if done < until => Step::Idle,
            Some(_) => {
                self.ahead_until = None;
                self.reset(machine, pull)
            }
        }
    }

    fn take_page(&mut self, page: &PageHeld, machine: &Machine, pull: &mut Pull<'_>) -> Step {
        if page.head.branch != machine.head().branch {
            // A fork that the topic has not crossed: it goes first, then its readers follow. Or the page is the old one.
            self.topic.pages().forget(self.topic.project());
            self.topic.ask_read();
            return Step::Idle;
        }
        let at = self.cursor.at();
        match page.meet(at) {
            Meet::Follows => {}
            Meet::NeverWas => return self.reset(machine, pull),
            Meet::Trimmed(resume) if resume.n() <= machine.position().n() => {
                for gap in self.cursor.trimmed(machine.head(), resume) {
                    self.tell_gap(&gap, pull);
                }
            }
            // The page, or the topic, is older than what the other knows; or a fork is due, and the topic has it made.
            Meet::Trimmed(_) | Meet::Nothing => {
                self.topic.ask_read();
                return Step::Idle;
            }
        }
        self.measured.replaying = true;
        self.deliver(page.entries.iter(), machine, self.lag == Lag::Compact, pull);
        self.measured.replaying = false;
        self.resumed(Resumed::Exact);
        if self.cursor.at() == at {
            // Nothing here that may be told yet: the page reaches beyond the topic, or ends at the cursor.
            self.topic.ask_read();
            return Step::Idle;
        }
        // Whoever was told something is told of a fork as well: its snapshot does not stand for that.
        self.newcomer = false;
        Step::Moved
    }

    /// The cursor's place is in no history that is left: it goes on at the head.
    fn reset(&mut self, machine: &Machine, pull: &mut Pull<'_>) -> Step {
        if self.cursor.go_back(machine.head()) {
            return Step::Moved;
        }
        let gap = self.cursor.reset(machine.head());
        self.resumed(Resumed::Reset);
        self.tell_gap(&gap, pull);
        Step::Moved
    }

    /// Tells the entries behind the cursor, in order, until they end or the pull is full.
    fn deliver<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Arc<Held>>,
        machine: &Machine,
        lagging: bool,
        pull: &mut Pull<'_>,
    ) {
        let top = machine.position().n().min(pull.until).min(self.stop(machine));
        let at = self.cursor.at().n();
        let mut entries = entries.skip_while(|held| held.position().n() <= at).peekable();
        while let Some(held) = entries.next_if(|held| !pull.is_full() && held.entry().first_id().n <= top) {
            if let Some(note) = held.fork() {
                match self.cursor.cross(held.position(), note) {
                    Some(gap) => self.tell_gap(&gap, pull),
                    None => self.cursor.advance(held.position()),
                }
            } else if lagging {
                self.deliver_compacted(held, &mut entries, machine, top, pull);
            } else {
                let before = pull.out.len();
                self.deliver_entry(held, machine, top, pull);
                if held.traced().is_some() && pull.out.len() > before {
                    self.note_traced(held);
                }
            }
        }
    }

    fn deliver_entry(&mut self, held: &Held, machine: &Machine, top: u64, pull: &mut Pull<'_>) {
        let entry = held.entry();
        let start = self.cursor.first_unread(entry);
        let end = end_below(held, top);
        if start >= end {
            return;
        }
        let clear = machine.head().is_clear_from(entry.first_id().n);
        let news = !machine.ids().has_olds() && !self.cursor.had_some_of(entry);
        if clear && held.is_plain() && self.filter.is_open() && news {
            let frames = held.frames(pull.encoding);
            let fit = frames.fit(start, pull.bytes_left).min(end).min(start.saturating_add(pull.events_left));
            self.on_told((fit - start) as u64, entry.position_of(start), held.events().get(start));
            pull.push(frames.slice(start..fit), fit - start);
            self.note_dues(held, start..fit, pull);
            if fit < end {
                // The rest of the entry comes before anything behind it, however little would still fit.
                pull.close();
            }
            self.cursor.advance(entry.position_of(fit - 1));
            self.cursor.told();
            return;
        }
        for (index, event) in held.events().iter().enumerate().take(end).skip(start) {
            if pull.is_full() {
                return;
            }
            self.deliver_event(held, index, event, machine, pull);
        }
    }

    fn deliver_event(
        &mut self,
        held: &Held,
        index: usize,
        event: &wire::Event,
        machine: &Machine,
        pull: &mut Pull<'_>,
    ) {
        let position = held.entry().position_of(index);
        let verdict = if self.wants(position, event, machine) {
            self.cursor.judge(position, event, machine.ids())
        } else {
            Verdict::Skip
        };
        self.cursor.advance(position);
        let Verdict::Tell { was, seen } = verdict else { return };
        if deletes_project(event) {
            let gap = self.cursor.project_deleted(position);
            return self.tell_gap(&gap, pull);
        }
        if was.is_none() && !seen {
            pull.push(held.frames(pull.encoding).slice(index..index + 1), 1);
            self.note_dues(held, index..index + 1, pull);
        } else {
            let mut frame = Vec::new();
            let marks = Marks { was: was.as_ref(), seen };
            let due = pull.encoding.tell(held.project(), position, event, marks, &mut frame);
            pull.push(frame.into(), 1);
            self.note_due(due, position, pull);
        }
        self.on_told(1, position, Some(event));
        self.cursor.told();
        if deletes_session(event) {
            self.cursor.session_deleted();
            if self.attended.is_some() {
                self.cursor.want_snapshot();
            }
            self.topic.metrics().on_gap(GapCause::Deleted);
        }
    }

    fn wants(&self, position: Position, event: &wire::Event, machine: &Machine) -> bool {
        visible(event, position, machine.head(), &self.grant) && self.filter.passes(event)
    }

    fn tell_gap(&mut self, gap: &Gap, pull: &mut Pull<'_>) {
        if self.set_aside(|| Aside::Gap(*gap), pull) {
            self.newcomer = false;
        } else {
            let mut frame = Vec::new();
            pull.encoding.gap(self.topic.project(), gap, &mut frame);
            pull.push(frame.into(), 1);
        }
        self.topic.metrics().on_gap(gap.cause);
        self.resumed(Resumed::Gap);
    }

    fn tell_snapshot(&mut self, pull: &mut Pull<'_>) -> Step {
        let at = self.cursor.at();
        let told = match (self.newcomer, &self.attended) {
            (false, None) => self.topic.snapshot(at, Near::There).into(),
            (true, None) => self.topic.snapshot(at, Near::Anywhere).into(),
            // What a dialect makes of a snapshot does not say all that happened: nothing behind its place is left out.
            (true, Some(_)) => self.topic.snapshot(at, Near::Before).into(),
            // Those who come back, or met a gap, are many at once: they take turns, and each turn is one snapshot.
            (false, Some(_)) => self.topic.state_between(Some(at), at),
        };
        match told {
            Between::Here(snapshot) => {
                self.newcomer = false;
                if !self.set_aside(|| Aside::Snapshot(snapshot.clone()), pull) {
                    pull.push(snapshot.frame(self.topic.project(), pull.encoding), 1);
                }
                self.cursor.snapshot_told(snapshot.position);
                Step::Moved
            }
            Between::Moved => {
                // Then the stream comes first, and the snapshot at the head, where it is exact.
                self.newcomer &= self.attended.is_none();
                Step::Moved
            }
            Between::Later(time) => {
                self.hold(time);
                Step::Moved
            }
            Between::Cold => Step::Idle,
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.catch_up();
        self.topic.metrics().subscriptions.dec();
        self.topic.remove_reader(self.key);
    }
}

impl std::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Viewer")
            .field("project", self.topic.project())
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// The end of an entry's events that lie at or below `top`.
fn end_below(held: &Held, top: u64) -> usize {
    let above = held.position().n().saturating_sub(top);
    held.events().len().saturating_sub(usize::try_from(above).unwrap_or(usize::MAX))
}

/// Counts handles of a topic, so that the hub can drop it when the last one goes.
pub(crate) fn release(topic: &crate::topic::Topic) {
    topic.uses().fetch_sub(1, Ordering::AcqRel);
}
