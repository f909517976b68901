//! The scenarios that must hold (docs/log.md), as far as one log without limits of memory reaches them, each in many worlds:
//! with clocks that are behind, short pages, small rings, and writers that remember everything, little or nothing.

use super::stats::Stats;
use crate::holds;

/// A log that was born and replicated; all viewers have seen it.
const START: &str = "req 0 0; go 0 0; go 0 0; catch 0 0; catch 1 0; conn 0 0; conn 1 1; conn 2 0; conn 3 1; conn 4 0; \
    conn 5 1; catch 0 4095; catch 1 4095; repl 0 0";
/// Everybody who is connected sees it.
const SEEN: &str = "catch 0 4095; catch 1 4095";
/// The primary dies with what the replica lacks, and comes back as a replica.
const LOSE: &str = "failover 1 0; rejoin 0 0";

/// Runs the steps in many worlds.
fn everywhere(steps: &[&str]) -> Stats {
    let text = steps.join("; ");
    let mut sum = Stats::default();
    for seed in 0..36 {
        sum += holds(seed, &text);
    }
    sum
}

#[test]
fn scenario_1_the_last_event_is_lost_and_no_append_follows() {
    let stats = everywhere(&[START, "req 0 8; go 0 0", SEEN, LOSE]);
    assert!(stats.put_back >= 18 && stats.failover_gaps >= 36, "{stats:?}");
}

#[test]
fn scenario_1_with_the_ingest_dead_all_get_the_gap() {
    let stats = everywhere(&[START, "req 0 8; go 0 0", SEEN, "crash 0 0", LOSE]);
    assert!(stats.gone == 36 && stats.put_back == 0, "{stats:?}");
}

#[test]
fn scenario_1_a_birth_is_lost() {
    everywhere(&["req 0 0; go 0 0; go 0 0; catch 0 0; conn 0 0; catch 0 4095", LOSE]);
    everywhere(&["req 0 0; go 0 0; go 0 0; catch 0 0; conn 0 0; catch 0 4095; crash 0 0", LOSE]);
}

#[test]
fn scenario_2_a_reply_is_swallowed_and_the_retry_goes_elsewhere() {
    let stats =
        everywhere(&[START, "req 0 1; send 0 0; arrive 0 0", SEEN, LOSE, "retry 0 1; go 1 0; go 1 0; go 0 0; go 0 0"]);
    assert_eq!(stats.told_again, 0, "{stats:?}");
    everywhere(&[START, "req 0 0; send 0 0; arrive 0 0", SEEN, LOSE, "timeout 0 0; go 0 0; go 0 0"]);
    everywhere(&[START, "req 0 0; send 0 0; arrive 0 0; timeout 0 0; repl 0 0", SEEN, "failover 0 0; rejoin 0 0"]);
}

#[test]
fn scenario_3_a_call_that_was_held_appends_nothing_twice() {
    let held = "req 0 0; send 0 0; timeout 0 0; go 0 0; req 0 0; go 0 0";
    everywhere(&[START, held, "late 0 1", SEEN]);
    everywhere(&[START, held, "crash 0 0; req 0 0; go 0 0; go 0 0; late 0 1", SEEN]);
    everywhere(&[START, held, LOSE, "late 0 1"]);
}

#[test]
fn scenario_3_unknown_then_refused_by_one_history_and_found_in_another() {
    let unknown = "req 1 0; go 1 0; go 1 0; req 1 0; send 1 0; arrive 1 0; timeout 1 0; repl 0 0; restart 1 2";
    everywhere(&[START, unknown, "go 1 0; failover 0 0"]);
    everywhere(&[START, unknown, "go 1 0; go 1 0; failover 1 0"]);
}

#[test]
fn scenario_4_healing_in_both_orders_and_a_second_failover_amid_it() {
    let both = "req 0 0; go 0 0; req 1 8; go 1 0; go 1 0; req 0 16; go 0 0; req 1 0; go 1 0";
    everywhere(&[
        START,
        both,
        SEEN,
        LOSE,
        "move 0 0; move 1 0; probe 0 0; go 0 0; go 0 0",
        SEEN,
        "probe 1 0; go 1 0; go 1 0",
    ]);
    everywhere(&[
        START,
        both,
        SEEN,
        LOSE,
        "move 0 0; move 1 0; probe 1 0; go 1 0; go 1 0",
        SEEN,
        "probe 0 0; go 0 0; go 0 0",
    ]);
    let amid = "move 0 0; move 1 0; repl 0 0; probe 1 0; go 1 0; go 1 0";
    let stats = everywhere(&[START, both, SEEN, LOSE, amid, SEEN, LOSE, "move 0 0; probe 0 0; go 0 0", LOSE]);
    assert!(stats.put_back > 36, "{stats:?}");
}

#[test]
fn scenario_5_the_old_primary_restarts_and_both_sides_write() {
    let split =
        "failover 0 2; req 0 0; go 0 0; req 1 0; go 1 0; go 1 0; restart 0 1; req 0 8; go 0 0; go 0 0; jread 0 0";
    everywhere(&[START, split, "req 1 8; go 1 0", SEEN, "rejoin 0 0; jwrite 0 1"]);
    let long = "failover 0 2; req 0 0; go 0 0; req 1 0; go 1 0; go 1 0";
    everywhere(&[
        START,
        long,
        SEEN,
        "wait 5 0; wait 5 0; wait 5 0; wait 5 0; probe 0 0; probe 1 0; req 0 8; go 0 0; rejoin 0 0",
    ]);
}

#[test]
fn scenario_5_what_was_deleted_just_before_a_fork_stays_deleted() {
    everywhere(&[START, "delsession 0 0; go 0 0", LOSE]);
    everywhere(&[START, "req 1 0; go 1 0; go 1 0; delproject 0 0; go 0 0", LOSE, "probe 1 0; go 1 0"]);
}

#[test]
fn scenario_5_what_was_acknowledged_before_a_lost_deletion_is_done_again_lives() {
    let deleted = "req 1 0; go 1 0; go 1 0; repl 0 0; delproject 0 0; go 0 0";
    let since = "move 0 0; move 1 0; req 1 1; go 1 0; go 1 0; go 1 0";
    let again = "probe 0 0; go 0 0; go 0 0; go 0 0";
    let stats = everywhere(&[START, deleted, LOSE, since, SEEN, again, SEEN]);
    assert!(stats.deleted_again >= 18, "{stats:?}");
    // Folded, and trimmed, before it is done again; retried behind it; and lost a second time.
    everywhere(&[START, deleted, LOSE, since, "jstep 1 20; conn 6 0", SEEN, again, "conn 6 1; jstep 1 20; jstep 1 0"]);
    everywhere(&[START, deleted, LOSE, since, "jstep 1 0; req 1 8; go 1 0; jstep 1 0", again, SEEN]);
    everywhere(&[START, deleted, LOSE, since, "repl 0 0", again, SEEN, LOSE, since, again]);
    everywhere(&[START, deleted, LOSE, since, "crash 1 0", again, SEEN]);
}

#[test]
fn scenario_8_a_producers_batches_are_swapped_over_two_ingests() {
    let flip = "failover 1 15; rejoin 0 0";
    everywhere(&[START, flip, "prod 1 0; prod 0 0; go 0 0; go 0 0; go 0 0; go 1 0; go 1 0"]);
    everywhere(&[
        START,
        "prod 0 0; send 0 0; arrive 0 0",
        SEEN,
        "retry 0 1; reply 0 0",
        flip,
        "go 1 0; go 1 0; go 1 0; probe 0 0; go 0 0",
    ]);
}

#[test]
fn scenario_10_positions_of_many_forks_ago_and_trimmed_across_forks() {
    let fork = "restart 0 0; probe 0 0; req 1 8; go 1 0; go 1 0; go 1 0";
    everywhere(&[START, "req 0 0; go 0 0; disc 0 0", &[fork; 6].join("; "), "conn 0 0"]);
    everywhere(&[START, "disc 0 0", &[fork; 34].join("; "), "conn 0 0"]);
    let trimmed =
        "probe 0 0; go 0 0; go 0 0; req 1 10; go 1 0; go 1 0; req 1 10; go 1 0; req 1 10; go 1 0; jstep 1 0; conn 0 1";
    let stats = everywhere(&[START, "req 0 2; go 0 0", SEEN, "disc 0 0", LOSE, "move 0 0; move 1 0", trimmed]);
    assert!(stats.trimmed_gaps > 0, "{stats:?}");
}
