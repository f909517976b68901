//! Who waits at this process for what the store has: one watch for each project, and those who wait behind it in a line.
//!
//! A wake-up says whom it concerns. What one runner can do wakes one, who has stood longest; what is said of somebody wakes
//! him. So a command costs the store about one look of each process, however many wait. Who was woken and does not look
//! (its client went, its hands are full) passes it on to the next. That a client went need not be known: a runner that comes
//! back may have left a request behind that still waits, so of one runner's requests the last is woken.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::Mutex;
use tidings_broker::inbox::Inboxes;
use tidings_broker::inbox::waking::{Word, words};
use tidings_broker::{ReadError, Sink, Subscription};
use tidings_protocol::project::Project;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

type Rooms = Mutex<HashMap<Project, Weak<Room>, foldhash::fast::RandomState>>;

/// The lines of all projects.
pub(crate) struct Lines {
    inboxes: Arc<dyn Inboxes>,
    rooms: Arc<Rooms>,
}

/// Where those stand who wait for one project. It is there for as long as somebody stands in it.
struct Room {
    project: Project,
    line: Arc<Line>,
    /// Shared between threads, which a subscription by itself is not.
    watching: OnceCell<Mutex<Subscription>>,
    rooms: Arc<Rooms>,
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut rooms = self.rooms.lock();
        // Another one may stand in its place by now.
        if rooms.get(&self.project).is_some_and(|room| room.strong_count() == 0) {
            rooms.remove(&self.project);
        }
    }
}

/// Those who wait, in their order.
#[derive(Default)]
struct Line(Mutex<Standing>);

#[derive(Default)]
struct Standing {
    next: u64,
    waiters: HashMap<u64, Waiter, foldhash::fast::RandomState>,
    /// Who stands for what. Who was woken stands for nothing until he stands in line again.
    by_word: HashMap<String, BTreeSet<u64>, foldhash::fast::RandomState>,
}

struct Waiter {
    bell: Arc<Notify>,
    wants: Vec<String>,
    /// What he was woken for in place of others, and has not seen to.
    owes: Vec<String>,
}

impl Lines {
    pub(crate) fn new(inboxes: Arc<dyn Inboxes>) -> Lines {
        Lines { inboxes, rooms: Arc::default() }
    }

    /// A place in a project's line; who has it hears of everything from now on for which he stands ([`Place::stand`]).
    ///
    /// # Errors
    /// Those of the store: nobody can be woken.
    pub(crate) async fn join(&self, project: &Project) -> Result<Place, ReadError> {
        let room = self.room(project);
        let watch = async || {
            let watching = self.inboxes.watch(project.clone(), Arc::<Line>::clone(&room.line)).await;
            watching.map(Mutex::new)
        };
        room.watching.get_or_try_init(watch).await?;
        let bell = Arc::new(Notify::new());
        let id = room.line.enter(bell.clone());
        Ok(Place { room, id, bell, covers: Vec::new() })
    }

    fn room(&self, project: &Project) -> Arc<Room> {
        let mut rooms = self.rooms.lock();
        if let Some(room) = rooms.get(project).and_then(Weak::upgrade) {
            return room;
        }
        let (project, rooms_too) = (project.clone(), self.rooms.clone());
        let room = Arc::new(Room { project, line: Arc::default(), watching: OnceCell::new(), rooms: rooms_too });
        rooms.insert(room.project.clone(), Arc::downgrade(&room));
        room
    }
}

/// Somebody's place in a line. What he was woken for and has not seen to is passed on when it is dropped.
pub(crate) struct Place {
    room: Arc<Room>,
    id: u64,
    bell: Arc<Notify>,
    /// What the look that is under way sees to.
    covers: Vec<String>,
}

impl Place {
    /// Stands in line for these, behind all others who came before. Done before each look, so that nothing comes in between:
    /// the look sees to what he was woken for.
    pub(crate) fn stand(&mut self, wants: &[Word<'_>]) {
        self.covers.extend(self.room.line.stand(self.id, wants));
    }

    /// The look is done.
    pub(crate) fn looked(&mut self) {
        self.covers.clear();
    }

    /// The look is done, and he can do nothing of what it was for: somebody else may. He goes on to stand for these alone.
    pub(crate) fn pass_on(&mut self, wants: &[Word<'_>]) {
        self.covers.extend(self.room.line.stand(self.id, wants));
        self.room.line.wake_others(std::mem::take(&mut self.covers));
    }

    /// Waits until he is woken, at most until `until` or `stop`.
    pub(crate) async fn woken(&self, until: Instant, stop: &CancellationToken) {
        tokio::select! {
            () = self.bell.notified() => {}
            () = tokio::time::sleep_until(until) => {}
            () = stop.cancelled() => {}
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let owes = self.room.line.leave(self.id);
        self.room.line.wake_others(std::mem::take(&mut self.covers));
        self.room.line.wake_others(owes);
    }
}

impl Line {
    fn enter(&self, bell: Arc<Notify>) -> u64 {
        let mut standing = self.0.lock();
        standing.next += 1;
        let id = standing.next;
        standing.waiters.insert(id, Waiter { bell, wants: Vec::new(), owes: Vec::new() });
        id
    }

    /// What he owes until now.
    fn stand(&self, id: u64, wants: &[Word<'_>]) -> Vec<String> {
        let mut standing = self.0.lock();
        standing.step_out(id);
        let wants: Vec<String> = wants.iter().map(ToString::to_string).collect();
        for want in &wants {
            standing.by_word.entry(want.clone()).or_default().insert(id);
        }
        let Some(waiter) = standing.waiters.get_mut(&id) else { return Vec::new() };
        waiter.wants = wants;
        std::mem::take(&mut waiter.owes)
    }

    fn leave(&self, id: u64) -> Vec<String> {
        let mut standing = self.0.lock();
        standing.step_out(id);
        standing.waiters.remove(&id).map(|waiter| waiter.owes).unwrap_or_default()
    }

    fn wake_others(&self, words: Vec<String>) {
        let mut standing = self.0.lock();
        for word in words {
            standing.wake_first(word);
        }
    }

    fn wake_all(&self) {
        let mut standing = self.0.lock();
        standing.by_word.clear();
        for waiter in standing.waiters.values_mut() {
            waiter.wants.clear();
            waiter.bell.notify_one();
        }
    }
}

impl Standing {
    fn step_out(&mut self, id: u64) {
        let Some(waiter) = self.waiters.get_mut(&id) else { return };
        for want in std::mem::take(&mut waiter.wants) {
            let Some(who) = self.by_word.get_mut(&want) else { continue };
            who.remove(&id);
            if who.is_empty() {
                self.by_word.remove(&want);
            }
        }
    }

    /// Who has stood longest for what one of them can do, in his last request.
    fn wake_first(&mut self, word: String) {
        let Some(standing) = self.by_word.get(&word) else { return };
        let Some(id) = standing.first().map(|first| self.last_of_his(*first, standing)) else { return };
        self.step_out(id);
        let Some(waiter) = self.waiters.get_mut(&id) else { return };
        waiter.owes.push(word);
        waiter.bell.notify_one();
    }

    /// Of those who stand there, the last request of the runner whose request this is.
    fn last_of_his(&self, id: u64, standing: &BTreeSet<u64>) -> u64 {
        let wants = self.waiters.get(&id).map(|waiter| waiter.wants.as_slice()).unwrap_or_default();
        let own = wants.iter().find(|want| matches!(words(want.as_bytes()).as_deref(), Some([Word::Runner(_)])));
        let his = own.and_then(|own| self.by_word.get(own)).into_iter().flatten();
        his.rev().find(|his| standing.contains(his)).copied().unwrap_or(id)
    }

    /// All who stand for what is said of them.
    fn wake_each(&mut self, word: &str) {
        for id in self.by_word.get(word).cloned().unwrap_or_default() {
            self.step_out(id);
            if let Some(waiter) = self.waiters.get(&id) {
                waiter.bell.notify_one();
            }
        }
    }
}

impl Sink for Line {
    fn message(&self, message: Bytes) {
        let Some(words) = words(&message) else { return self.wake_all() };
        let mut standing = self.0.lock();
        for word in words {
            match word {
                Word::Capability(_) => standing.wake_first(word.to_string()),
                Word::Runner(_) | Word::Hand(_) | Word::Guard(_) => standing.wake_each(&word.to_string()),
            }
        }
    }

    fn lost(&self) {
        self.wake_all();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tidings_broker::Index as _;
    use tidings_broker::memory::MemoryBroker;

    use super::*;

    const CHAT: Word<'_> = Word::Capability("chat");

    async fn places<const N: usize>(lines: &Lines) -> [Place; N] {
        let project: Project = "p".parse().expect("a name");
        let mut places = Vec::new();
        for _ in 0..N {
            places.push(lines.join(&project).await.expect("memory answers"));
        }
        places.try_into().map_err(drop).expect("as many")
    }

    fn lines() -> Lines {
        Lines::new(MemoryBroker::new().inboxes())
    }

    fn is_woken(place: &Place) -> bool {
        place.bell.notified().now_or_never().is_some()
    }

    #[tokio::test]
    async fn those_are_woken_whom_it_concerns() {
        let lines = lines();
        let [mut a, mut b, mut c] = places(&lines).await;
        a.stand(&[CHAT, Word::Runner("a"), Word::Guard("g")]);
        b.stand(&[CHAT, Word::Hand("b")]);
        c.stand(&[Word::Capability("chats"), Word::Guard("g")]);
        let line = a.room.line.clone();
        let said = |message: &'static str| {
            line.message(Bytes::from_static(message.as_bytes()));
            [&a, &b, &c].map(is_woken)
        };
        assert_eq!(said("cchat"), [true, false, false], "who stood longest");
        assert_eq!(said("cchat\nra"), [false, true, false], "who was woken stands no longer");
        assert_eq!(said("cchat\nhb"), [false, false, false]);
        assert_eq!(said("gg\nch"), [false, false, true]);
        assert_eq!(said(""), [true, true, true]);
        a.stand(&[CHAT]);
        line.lost();
        assert!(is_woken(&a));
    }

    #[tokio::test]
    async fn of_one_runners_requests_the_last_is_woken() {
        let lines = lines();
        let [mut left, mut other, mut full, mut back] = places(&lines).await;
        left.stand(&[CHAT, Word::Runner("a")]);
        other.stand(&[CHAT, Word::Runner("b")]);
        back.stand(&[CHAT, Word::Runner("a")]);
        // Another of its requests, which cannot take it.
        full.stand(&[Word::Runner("a"), Word::Hand("a")]);
        let line = left.room.line.clone();
        let said = || {
            line.message(Bytes::from_static(b"cchat"));
            [&left, &other, &full, &back].map(is_woken)
        };
        assert_eq!(said(), [false, false, false, true], "it came back");
        assert_eq!(said(), [true, false, false, false]);
        assert_eq!(said(), [false, true, false, false]);
        assert_eq!(said(), [false; 4]);
    }

    #[tokio::test]
    async fn what_is_not_seen_to_is_passed_on() {
        let lines = lines();
        let [mut a, mut b, mut c, mut d] = places(&lines).await;
        for place in [&mut a, &mut b, &mut c, &mut d] {
            place.stand(&[CHAT]);
        }
        let line = a.room.line.clone();
        line.message(Bytes::from_static(b"cchat"));
        assert!(is_woken(&a) && !is_woken(&b));
        drop(a);
        assert!(is_woken(&b), "the first one went");
        b.stand(&[CHAT]);
        assert!(!is_woken(&c), "it looks");
        b.pass_on(&[Word::Hand("b")]);
        assert!(is_woken(&c), "and cannot");
        c.stand(&[CHAT]);
        c.looked();
        drop(c);
        assert!(!is_woken(&d), "it is seen to");
        line.message(Bytes::from_static(b"cchat"));
        assert!(is_woken(&d) && !is_woken(&b));
        d.stand(&[CHAT]);
        b.stand(&[CHAT]);
        drop(d);
        assert!(is_woken(&b), "its look was cut off");
    }

    #[tokio::test]
    async fn a_project_is_watched_while_somebody_waits() {
        let lines = lines();
        let [a, b] = places(&lines).await;
        assert!(Arc::ptr_eq(&a.room, &b.room));
        drop(a);
        assert_eq!(lines.rooms.lock().len(), 1);
        drop(b);
        assert!(lines.rooms.lock().is_empty());
    }
}
