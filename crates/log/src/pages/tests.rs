use super::*;
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::wire;

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

/// A page of ten events behind `from`.
fn page(name: &str, from: u64) -> Arc<PageHeld> {
    let branch: Branch = "aaaaaaaaaaaa".parse().expect("a branch");
    let entry = Entry {
        position: Position::new(1, from + 10, branch),
        prev: if from == 0 { Position::ZERO } else { Position::new(1, from, branch) },
        total_bytes: 0,
        body: Body::Events(vec![wire::Event::default(); 10]),
    };
    let held = Held::new(&project(name), entry);
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
    shelves.evict(bytes_max);
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

#[tokio::test]
async fn pages_of_another_branch_go() {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("an empty registry");
    let broker = Arc::new(tidings_broker::memory::MemoryBroker::new());
    let pages = Pages::new(broker, usize::MAX, TaskTracker::new(), metrics);
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
