use super::*;
use tidings_protocol::head::Fork;
use tidings_protocol::position::Branch;

fn branch(name: char) -> Branch {
    name.to_string().repeat(12).parse().expect("a branch")
}

fn at(n: u64, name: char) -> Position {
    Position::new(1_000 + n, n, branch(name))
}

/// Branch `a` survived up to 5, its fork entry is 6 on `b`; the head is 9 on `b`.
fn forked_head(kind: ForkKind) -> Head {
    Head {
        branch: branch('b'),
        last: at(9, 'b'),
        forks: vec![Fork { closed: branch('a'), survived: at(5, 'a'), kind, from: at(6, 'b') }],
        ..Head::default()
    }
}

fn note(kind: ForkKind) -> ForkNote {
    ForkNote { closed: branch('a'), survived: at(5, 'a'), kind }
}

#[test]
fn a_cursor_above_what_survived_goes_on_after_it_and_is_told_of_the_failover() {
    let head = forked_head(ForkKind::Failover);
    let mut cursor = Cursor::new(at(8, 'a'), SnapshotWish::AfterGap);
    assert_eq!(cursor.relocate(&head), Relocated::Here);
    assert_eq!(cursor.at(), at(5, 'a'));
    let gap = cursor.cross(at(6, 'b'), &note(ForkKind::Failover)).expect("a gap");
    assert_eq!((gap.cause, gap.certain, gap.after, gap.position), (GapCause::Failover, false, at(8, 'a'), at(6, 'b')));
    assert!(cursor.wants_snapshot());
}

#[test]
fn a_healed_event_is_told_once_but_again_behind_a_fresh_snapshot() {
    let head = forked_head(ForkKind::Failover);
    let mut cursor = Cursor::new(at(8, 'a'), SnapshotWish::AfterGap);
    cursor.relocate(&head);
    cursor.cross(at(6, 'b'), &note(ForkKind::Failover));
    let healed = |n: u64| wire::Event { was: vec![at(n, 'a').to_string()], ..Default::default() };
    let heard = Heard::default();
    assert_eq!(cursor.judge(at(7, 'b'), &healed(7), &heard), Verdict::Skip);
    assert_eq!(cursor.judge(at(7, 'b'), &healed(9), &heard), Verdict::Tell { was: None, seen: false });
    cursor.snapshot_told(at(6, 'b'));
    assert_eq!(cursor.judge(at(7, 'b'), &healed(7), &heard), Verdict::Tell { was: None, seen: true });
}

#[test]
fn a_retried_event_whose_first_append_was_cut_is_known_by_its_id() {
    let head = forked_head(ForkKind::Failover);
    let mut cursor = Cursor::new(at(8, 'a'), SnapshotWish::No);
    cursor.relocate(&head);
    cursor.cross(at(6, 'b'), &note(ForkKind::Failover));
    let mut heard = Heard::default();
    heard.note("x", at(7, 'a'));
    heard.cut(at(5, 'a'));
    let event = wire::Event { id: "x".into(), id_from_runner: true, ..Default::default() };
    assert_eq!(cursor.judge(at(7, 'b'), &event, &heard), Verdict::Skip);
    let newcomer = Cursor::new(at(6, 'b'), SnapshotWish::No);
    assert_eq!(newcomer.judge(at(7, 'b'), &event, &heard), Verdict::Tell { was: Some(at(7, 'a')), seen: false });
}

#[test]
fn a_trimmed_stretch_is_counted_exactly_without_the_forks_in_it() {
    let mut head = forked_head(ForkKind::Moved);
    head.last = at(20, 'b');
    let mut cursor = Cursor::new(at(2, 'a'), SnapshotWish::No);
    let gaps = cursor.trimmed(&head, at(10, 'b'));
    assert_eq!(gaps.len(), 1);
    assert_eq!((gaps[0].lost, gaps[0].certain, gaps[0].position), (Some(7), true, at(10, 'b')));
    assert_eq!(gaps[0].before.n(), 11, "the upper bound is exclusive");
}

/// Whoever comes from the start of a log whose oldest forks meta has forgotten is told no count: the forks would be in it.
#[test]
fn a_trimmed_stretch_with_forks_that_are_forgotten_is_not_counted() {
    let mut head = forked_head(ForkKind::Failover);
    let fork = head.forks[0];
    let lost = |head: &Head, from: Position| {
        let gaps = Cursor::new(from, SnapshotWish::No).trimmed(head, at(8, 'b'));
        gaps.last().expect("a gap").lost
    };
    assert_eq!(lost(&head, Position::ZERO), Some(7));
    let old = Fork { closed: branch('z'), survived: at(0, 'z'), kind: ForkKind::Failover, from: at(0, 'a') };
    head.forks = [vec![old; FORKS_MAX - 1], vec![fork]].concat();
    assert_eq!(lost(&head, Position::ZERO), None);
    assert_eq!(lost(&head, at(2, 'a')), Some(5));
}

#[test]
fn of_two_gaps_at_one_jump_only_the_last_moves_the_position() {
    let head = forked_head(ForkKind::Failover);
    let mut cursor = Cursor::new(at(2, 'a'), SnapshotWish::No);
    let gaps = cursor.trimmed(&head, at(8, 'b'));
    let told: Vec<_> = gaps.iter().map(|gap| (gap.cause, gap.position, gap.certain)).collect();
    assert_eq!(told, [(GapCause::Failover, at(2, 'a'), false), (GapCause::Trimmed, at(8, 'b'), false)]);
}

#[test]
fn a_stretch_that_contains_a_deletion_is_deleted() {
    let head = forked_head(ForkKind::Deleted);
    let mut cursor = Cursor::new(at(2, 'a'), SnapshotWish::No);
    let gaps = cursor.trimmed(&head, at(8, 'b'));
    assert_eq!(gaps.iter().map(|gap| gap.cause).collect::<Vec<_>>(), [GapCause::Deleted]);
}

/// The store went back to before the fork at which `b` began, and forked again: 3 of `a` are left, then comes `c`.
#[test]
fn a_fork_that_was_lost_too_takes_the_reader_back_to_what_it_knows() {
    let mut cursor = Cursor::new(at(8, 'a'), SnapshotWish::No);
    cursor.relocate(&forked_head(ForkKind::Failover));
    cursor.cross(at(6, 'b'), &note(ForkKind::Failover));
    cursor.advance(at(9, 'b'));
    let fork = Fork { closed: branch('a'), survived: at(3, 'a'), kind: ForkKind::Failover, from: at(4, 'c') };
    let head = Head { branch: branch('c'), last: at(6, 'c'), forks: vec![fork], ..Head::default() };
    assert_eq!(cursor.relocate(&head), Relocated::Unknown);
    assert!(cursor.go_back(&head));
    assert_eq!((cursor.at(), cursor.relocate(&head)), (at(3, 'a'), Relocated::Here));
    assert!(!cursor.go_back(&head), "its place is known");
    cursor.cross(at(4, 'c'), &ForkNote { closed: branch('a'), survived: at(3, 'a'), kind: ForkKind::Failover });
    let healed = |was: Position| wire::Event { was: vec![was.to_string()], ..Default::default() };
    for (was, verdict) in [(at(7, 'a'), Verdict::Skip), (at(9, 'b'), Verdict::Skip)] {
        assert_eq!(cursor.judge(at(5, 'c'), &healed(was), &Heard::default()), verdict, "{was}");
    }
    let news = cursor.judge(at(6, 'c'), &healed(at(10, 'b')), &Heard::default());
    assert_eq!(news, Verdict::Tell { was: None, seen: false });
    assert!(!Cursor::new(at(3, 'z'), SnapshotWish::No).go_back(&head), "it has been nowhere that is known");
}

#[test]
fn an_unknown_branch_is_a_reset_to_the_head() {
    let head = forked_head(ForkKind::Failover);
    let mut cursor = Cursor::new(at(3, 'z'), SnapshotWish::No);
    assert_eq!(cursor.relocate(&head), Relocated::Unknown);
    let gap = cursor.reset(&head);
    assert_eq!((gap.cause, gap.position, cursor.at()), (GapCause::LogReset, at(9, 'b'), at(9, 'b')));
    assert_eq!(Cursor::new(at(10, 'b'), SnapshotWish::No).relocate(&head), Relocated::Ahead);
}
