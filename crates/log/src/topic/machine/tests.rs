use super::*;
use tidings_protocol::entry::ForkKind;
use tidings_protocol::head::Fork;
use tidings_protocol::position::Branch;
use tidings_protocol::wire;

fn branch(name: char) -> Branch {
    name.to_string().repeat(12).parse().expect("a branch")
}

fn at(n: u64) -> Position {
    if n == 0 { Position::ZERO } else { Position::new(1_000 + n, n, branch('a')) }
}

/// Entries of one event each, with the running counts of the range.
fn entries(range: std::ops::RangeInclusive<u64>) -> Vec<Entry> {
    let entry = |n| Entry {
        position: at(n),
        prev: at(n - 1),
        total_bytes: n,
        body: Body::Events(vec![wire::Event::default()]),
    };
    range.map(entry).collect()
}

fn head(last: u64) -> Head {
    Head { branch: branch('a'), last: at(last), total_bytes: last, ..Head::default() }
}

fn page(entries: Vec<Entry>, head: Head) -> Page {
    Page { entries, head, trimmed_to: Position::ZERO }
}

fn machine() -> Machine {
    Machine::new("p".parse().expect("a name"), 1 << 20)
}

/// A topic that knows the log up to here.
fn started_at(last: u64) -> Machine {
    let mut machine = machine();
    machine.read_begun();
    assert_eq!(machine.page(Span::Tail, page(entries(1..=last), head(last))), Todo::Nothing);
    machine
}

#[test]
fn l12_catching_up_goes_on_until_the_head_that_was_read() {
    let mut machine = started_at(2);
    assert_eq!(machine.heard(entries(9..=9).remove(0)), Todo::Read(Span::After(at(2).id)));
    machine.read_begun();
    assert_eq!(machine.page(Span::After(at(2).id), page(entries(3..=5), head(9))), Todo::Read(Span::After(at(5).id)));
    assert_eq!((machine.position(), machine.head().last), (at(5), at(9)), "an entry does not take the head back");
    machine.read_begun();
    assert_eq!(machine.page(Span::After(at(5).id), page(entries(6..=9), head(9))), Todo::Nothing);
    assert_eq!(machine.position(), at(9));
    assert_eq!(machine.heard(entries(10..=10).remove(0)), Todo::Nothing);
    assert_eq!(machine.head().last, at(10), "what is heard moves the head");
}

#[test]
fn l12_what_no_longer_links_up_is_read_from_the_tail() {
    let mut machine = started_at(2);
    assert_eq!(machine.page(Span::After(at(2).id), page(entries(7..=9), head(9))), Todo::Read(Span::Tail));
    assert_eq!(machine.page(Span::After(at(2).id), page(vec![], head(9))), Todo::Read(Span::Tail), "all was trimmed");
    assert_eq!(machine.page(Span::Tail, page(entries(7..=9), head(9))), Todo::Nothing);
    assert_eq!((machine.position(), machine.ring().base()), (at(9), at(6)));
}

/// Readers that are ahead of the topic wait for a read; one that says only that a fork is due tells them nothing yet.
#[test]
fn l9_a_read_counts_once_its_head_has_been_taken_over() {
    let mut machine = started_at(5);
    let older = Head { incarnation: "new".into(), opened_under: "old".into(), ..head(3) };
    machine.read_begun();
    let (begun, _) = machine.reads();
    assert!(matches!(machine.page(Span::After(at(5).id), page(vec![], older)), Todo::SyncThenRead(_)));
    assert!(machine.reads().1 < begun);
    let from = Position::new(2_000, 4, branch('b'));
    let fork = Fork { closed: branch('a'), survived: at(3), kind: ForkKind::Failover, from };
    let forked = Head { branch: branch('b'), last: from, forks: vec![fork], ..Head::default() };
    machine.read_begun();
    machine.page(Span::After(at(5).id), page(vec![], forked));
    assert_eq!(machine.reads().1, begun + 1);
}

#[test]
fn an_unborn_log_is_known_to_be_so() {
    let mut machine = machine();
    machine.read_begun();
    assert_eq!(machine.page(Span::Tail, page(vec![], Head::default())), Todo::Nothing);
    assert_eq!(machine.reads(), (1, 1));
    assert!(machine.is_started() && !machine.head().is_born());
    let mut lost = started_at(3);
    assert_eq!(lost.page(Span::After(at(3).id), page(vec![], Head::default())), Todo::SyncThenRead(Span::Tail));
}

#[test]
fn shrinking_gives_back_all_but_the_newest() {
    let mut machine = started_at(50);
    let before = machine.bytes();
    machine.shrink(0, 0);
    assert_eq!(machine.ring().from(0).count(), 1);
    assert!(machine.bytes() < before / 10);
    assert_eq!(machine.heard(entries(51..=51).remove(0)), Todo::Nothing, "the chain goes on");
}

/// An entry that deletes a session of its own.
fn burial(n: u64) -> Entry {
    let event = tidings_protocol::gap::deletion(Some(&format!("s{n}")), "d", 0);
    Entry { body: Body::Events(vec![event]), ..entries(n..=n).remove(0) }
}

/// Only the store knows which of them cover what was trimmed since.
#[test]
fn l19_the_tombstones_of_a_topic_that_only_hears_are_bounded() {
    let mut machine = started_at(1);
    let mut heard = (2..).map(|n| (n, machine.heard(burial(n))));
    let (n, todo) = heard.find(|(_, todo)| *todo != Todo::Nothing).expect("it reads at last");
    drop(heard);
    assert_eq!((n, todo), (TOMBSTONES_MAX as u64 + 2, Todo::Read(Span::After(at(n).id))));
    assert!(machine.head().buries(at(2), &wire::Event { session: "s2".into(), ..wire::Event::default() }));
    machine.read_begun();
    let last = Tombstone { session: format!("s{n}"), position: at(n), was: Vec::new() };
    let read = Head { tombstones: vec![last.clone()], ..head(n) };
    assert_eq!(machine.page(Span::After(at(n).id), page(vec![], read.clone())), Todo::Nothing);
    assert_eq!(machine.head().tombstones, [last]);
    assert_eq!(machine.heard(burial(n + 1)), Todo::Nothing);
    // A check of a quiet topic brings them, too.
    assert_eq!(machine.checked(&Head { tombstones: Vec::new(), ..head(n + 1) }), Todo::Nothing);
    assert!(machine.head().tombstones.is_empty());
}
