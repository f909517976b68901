use super::*;
use crate::encoding::{Encoding, Slot};
use crate::snapshot::Snapshot;
use tidings_protocol::compact::CompactItem;
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::frames::Marks;
use tidings_protocol::gap::Gap;
use tidings_protocol::head::Head;
use tidings_protocol::position::Position;
use tidings_protocol::wire;

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

/// A page of ten events behind `from`.
fn page(name: &str, from: u64) -> Arc<PageHeld> {
    page_counted(name, from, &Tally::default())
}

fn page_counted(name: &str, from: u64, tally: &Tally) -> Arc<PageHeld> {
    let branch: Branch = "aaaaaaaaaaaa".parse().expect("a branch");
    let entry = Entry {
        position: Position::new(1, from + 10, branch),
        prev: if from == 0 { Position::ZERO } else { Position::new(1, from, branch) },
        total_bytes: 0,
        body: Body::Events(vec![wire::Event::default(); 10]),
    };
    let held = Held::new(&project(name), entry, tally);
    Arc::new(PageHeld {
        bytes: held.payload_bytes(),
        end: from + 10,
        entries: vec![held],
        head: Head { branch, last: Position::new(1, 1_000, branch), ..Head::default() },
        trimmed_to: Position::ZERO,
    })
}

fn put(shelves: &mut Shelves, name: &str, from: u64, bytes_max: usize) {
    let page = page(name, from);
    shelves.clock += 1;
    let clock = shelves.clock;
    shelves.bytes += page.bytes;
    let shelf = shelves.projects.entry(project(name)).or_default();
    shelf.bytes += page.bytes;
    shelf.pages.insert(from, (page, clock));
    shelves.evict(bytes_max, &Tally::default());
}

fn at(n: u64) -> LogId {
    LogId { ms: 1, n }
}

#[test]
fn a_page_serves_every_cursor_in_it_and_none_at_its_end() {
    let mut shelves = Shelves::default();
    put(&mut shelves, "p", 10, usize::MAX);
    let mut found = |n| shelves.find(&project("p"), at(n)).is_some();
    assert!(!found(9));
    assert!(found(10) && found(15) && found(19));
    assert!(!found(20), "what follows the last event is on the next page");
}

#[test]
fn the_project_that_holds_most_gives_up_its_oldest_page() {
    let mut shelves = Shelves::default();
    let room = page("greedy", 0).bytes * 4;
    for from in [0, 10, 20] {
        put(&mut shelves, "greedy", from, room);
    }
    put(&mut shelves, "modest", 0, room);
    assert!(shelves.find(&project("greedy"), at(0)).is_some(), "used lately");
    put(&mut shelves, "modest", 10, room);
    assert!(shelves.find(&project("greedy"), at(0)).is_some());
    assert!(shelves.find(&project("greedy"), at(10)).is_none(), "the one that was used longest ago");
    assert!(shelves.find(&project("modest"), at(0)).is_some());
    assert!(shelves.bytes <= room);
}

/// An empty cache over an empty store.
fn cache(bytes_max: usize) -> Arc<Pages> {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
    Pages::new(Arc::new(tidings_broker::memory::MemoryBroker::new()), bytes_max, TaskTracker::new(), metrics)
}

#[tokio::test]
async fn pages_of_another_branch_go() {
    let pages = cache(usize::MAX);
    pages.shelve(&project("p"), at(0), &page("p", 0));
    assert!(pages.shelves.lock().find(&project("p"), at(0)).is_some());
    let mut other = Arc::into_inner(page("p", 10)).expect("its only owner");
    other.head.branch = "bbbbbbbbbbbb".parse().expect("a branch");
    pages.shelve(&project("p"), at(10), &Arc::new(other));
    assert!(pages.shelves.lock().find(&project("p"), at(0)).is_none(), "it may hold what was cut");
    assert!(pages.shelves.lock().find(&project("p"), at(10)).is_some());
    pages.forget(&project("p"));
    assert_eq!(pages.bytes(), 0);
}

/// Its time is another event's: what the store answers does not begin where the wish says.
#[tokio::test]
async fn the_page_of_a_made_up_position_is_for_who_wished_it_alone() {
    let pages = cache(usize::MAX);
    let name = project("p");
    // In time behind the event with the count 20, by its count before that with 10; and the other way round.
    for (wish, from) in [(LogId { ms: 9, n: 5 }, 20), (LogId { ms: 0, n: 35 }, 20)] {
        let ((mine, mut mine_got), (theirs, mut theirs_got)) = (oneshot::channel(), oneshot::channel());
        let after = if wish.n < from { at(7) } else { at(36) };
        pages.shelves.lock().projects.entry(name.clone()).or_default().waiting = vec![(wish, mine), (after, theirs)];
        pages.shelve(&name, wish, &page("p", from));
        assert!(mine_got.try_recv().is_ok(), "it is told so by the page itself");
        assert!(theirs_got.try_recv().is_err(), "another one waits for a page of its own");
        assert!(pages.shelves.lock().find(&name, at(from)).is_none());
        assert_eq!(pages.bytes(), 0);
    }
    // An empty answer to one says nothing about others.
    let mut nothing = Arc::into_inner(page("p", 0)).expect("its only owner");
    (nothing.entries, nothing.end, nothing.bytes) = (vec![], u64::MAX, 0);
    let (theirs, mut theirs_got) = oneshot::channel();
    pages.shelves.lock().projects.entry(name.clone()).or_default().waiting = vec![(at(900), theirs)];
    pages.shelve(&name, LogId { ms: u64::MAX, n: 3 }, &Arc::new(nothing));
    assert!(theirs_got.try_recv().is_err());
}

#[tokio::test]
async fn shelves_that_hold_nothing_are_not_kept() {
    let pages = cache(0);
    let name = project("p");
    pages.shelve(&name, at(0), &page("p", 0));
    assert!(pages.shelves.lock().projects.is_empty(), "the page found no room");
    let pages = cache(usize::MAX);
    pages.shelve(&name, at(0), &page("p", 0));
    pages.forget(&name);
    assert!(pages.shelves.lock().projects.is_empty(), "its pages were dropped");
    let asked = pages.clone().after(name.clone(), LogId::ZERO).await;
    assert!(asked.entries.is_empty());
    pages.tasks.close();
    pages.tasks.wait().await;
    assert!(pages.shelves.lock().projects.is_empty(), "nobody waits any more");
    pages.shelves.lock().projects.entry(name.clone()).or_default().reading = true;
    pages.forget(&name);
    assert!(pages.shelves.lock().projects.contains_key(&name), "somebody waits for what is being read");
}

/// As many bytes for each event as a page takes by itself.
struct Doubling(u16);

impl Encoding for Doubling {
    fn slot(&self) -> Slot {
        Slot::Dialect(self.0)
    }

    fn event(&self, _: &Project, _: Position, _: &wire::Event, _: Marks<'_>, out: &mut Vec<u8>) {
        out.resize(out.len() + page("p", 0).bytes / 10, 0);
    }

    fn gap(&self, _: &Project, _: &Gap, _: &mut Vec<u8>) {}
    fn snapshot(&self, _: &Project, _: &Snapshot, _: &mut Vec<u8>) {}
    fn compacted(&self, _: &Project, _: Position, _: &[CompactItem<'_>], _: &mut Vec<u8>) {}
    fn at(&self, _: &Project, _: Position, _: &mut Vec<u8>) {}
}

#[tokio::test]
async fn what_was_made_of_pages_counts_and_makes_them_give_way() {
    let room = page("p", 0).bytes * 11 / 2;
    let pages = cache(room);
    for from in [0, 10, 20, 30] {
        pages.shelve(&project("p"), at(from), &page_counted("p", from, &pages.encodings));
    }
    let here = || [0, 10, 20, 30].map(|from| pages.shelves.lock().find(&project("p"), at(from)).is_some());
    assert_eq!(here(), [true; 4]);
    // In two dialects each page that is read takes three times what it took.
    for number in [1, 2] {
        for from in [10, 20] {
            let page = pages.shelves.lock().find(&project("p"), at(from)).expect("it is there");
            page.entries[0].frames(&Doubling(number));
        }
    }
    assert!(pages.bytes() > room, "{} of {room}", pages.bytes());
    pages.trim();
    assert!(pages.bytes() <= room, "{} of {room}", pages.bytes());
    assert_eq!(here(), [false, false, true, false], "those that were used longest ago have gone");
}

#[test]
fn a_page_tells_a_position_that_never_was_from_one_that_was_trimmed_or_is_newer() {
    let branch: Branch = "aaaaaaaaaaaa".parse().expect("a branch");
    let stands = |ms, n| Position::new(ms, n, branch);
    // Ten events with the counts 11 to 20 and the time 1, behind 10.
    let mut page = Arc::into_inner(page("p", 10)).expect("its only owner");
    page.head.last = stands(1, 20);
    assert_eq!(page.meet(stands(1, 10)), Meet::Follows);
    assert_eq!(page.meet(stands(1, 15)), Meet::Follows, "inside an entry");
    assert_eq!(page.meet(stands(1, 20)), Meet::Nothing, "the head");
    assert_eq!(page.meet(stands(1, 21)), Meet::Nothing, "given by one who knew more");
    for never in [stands(2, 10), stands(0, 15), stands(2, 20), stands(1, 9)] {
        assert_eq!(page.meet(never), Meet::NeverWas, "{never}");
    }
    let other = Position::new(1, 15, "bbbbbbbbbbbb".parse().expect("a branch"));
    assert_eq!(page.meet(other), Meet::NeverWas);
    page.trimmed_to = stands(1, 10);
    assert_eq!(page.meet(stands(1, 9)), Meet::Trimmed(stands(1, 10)));
    page.head.last = stands(1, 30);
    assert_eq!(page.meet(stands(0, 25)), Meet::NeverWas, "a page that ends before the cursor that it was read for");
    page.entries.clear();
    page.head.last = stands(1, 20);
    assert_eq!(page.meet(stands(9, 12)), Meet::NeverWas, "nothing follows, though it lies below the head");
    assert_eq!(page.meet(stands(1, 20)), Meet::Nothing);
    assert_eq!(page.meet(stands(1, 21)), Meet::Nothing);
    assert_eq!(page.meet(stands(1, 9)), Meet::Trimmed(stands(1, 10)));
}
