//! A deterministic simulation of everything around a log: a modelled Redis that fails over, restarts and splits in two, a
//! network that drops, delays and repeats, ingests and gateways that die, viewers that come and go. The writer machine, the
//! topics, pages and viewers are the real ones. A seed is a schedule; the same seed is the same run. At the end of each run
//! the promises are judged.
//!
//! `TIDINGS_SIMULATION_SEED=n cargo test -p tidings-log --test simulation one_seed` runs one seed and fails with all that
//! happened in it; with `TIDINGS_SIMULATION_SHRINK` set, a schedule that breaks a promise is made smaller before it is shown.

mod support;

mod simulation {
    pub(crate) mod archive;
    pub(crate) mod ingest;
    pub(crate) mod promises;
    pub(crate) mod rest;
    pub(crate) mod runners;
    mod scenarios;
    pub(crate) mod schedule;
    pub(crate) mod stats;
    pub(crate) mod store;
    pub(crate) mod watcher;
    pub(crate) mod wire;
    pub(crate) mod world;
}

use std::ops::Range;
use std::panic::catch_unwind;

use simulation::schedule::{self, Step};
use simulation::stats::Stats;
use simulation::world::World;

/// Seeds of one test; four tests share the cores.
const SEEDS: u64 = 800;

/// Steps of a schedule, half as many or half as many more.
const STEPS: usize = 100;

/// What a run came to.
struct Run {
    found: Vec<String>,
    trace: Vec<String>,
    stats: Stats,
}

/// Runs a schedule in a world of this seed.
fn run(seed: u64, schedule: &[Step], traced: bool) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(async {
        let mut world = World::new(seed, traced);
        world.run(schedule).await;
        world.settle().await;
        world.judge();
        world.end();
        let mut store = world.store.lock();
        Run {
            found: std::mem::take(&mut store.found),
            trace: store.trace.take().unwrap_or_default(),
            stats: store.stats,
        }
    })
}

/// Takes steps out while something of the same rule is still broken.
fn shrunk(seed: u64, mut schedule: Vec<Step>, rule: &str) -> Vec<Step> {
    let fails = |steps: &[Step]| run(seed, steps, false).found.iter().any(|found| found.starts_with(rule));
    let mut size = schedule.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < schedule.len() {
            let mut less = schedule.clone();
            less.drain(at..(at + size).min(schedule.len()));
            if fails(&less) {
                schedule = less;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    schedule
}

/// A run that broke a promise, as small as it gets, with all that happened in it.
fn report(seed: u64, schedule: Vec<Step>, found: &[String]) -> String {
    let rule: String = found[0].chars().take(2).collect();
    let small =
        if std::env::var_os("TIDINGS_SIMULATION_SHRINK").is_some() { shrunk(seed, schedule, &rule) } else { schedule };
    let traced = run(seed, &small, true);
    format!("seed {seed}: {found:#?}\n{}\n{}", schedule::text(&small), traced.trace.join("\n"))
}

/// Runs a schedule that must hold.
fn check(seed: u64, schedule: Vec<Step>) -> Stats {
    let run = run(seed, &schedule, false);
    assert!(run.found.is_empty(), "{}", report(seed, schedule, &run.found));
    run.stats
}

/// Runs these seeds' schedules.
fn seeds(seeds: Range<u64>, draw: fn(u64, usize) -> Vec<Step>) -> Stats {
    let mut sum = Stats::default();
    let mut broken = Vec::new();
    for seed in seeds {
        let schedule = draw(seed, STEPS);
        let Ok(run) = catch_unwind(|| run(seed, &schedule, false)) else { panic!("seed {seed} panicked") };
        if !run.found.is_empty() {
            broken.push((seed, run.found));
        }
        sum += run.stats;
    }
    if let Some((seed, found)) = broken.first() {
        let seeds: Vec<u64> = broken.iter().map(|(seed, _)| *seed).collect();
        panic!("seeds {seeds:?}\n{}", report(*seed, draw(*seed, STEPS), found));
    }
    sum
}

/// A quarter of the seeds; together they are worth something, each for itself.
fn quarter(part: u64) {
    let stats = seeds(part * SEEDS..(part + 1) * SEEDS, schedule::random);
    let worth = [
        ("acknowledged", stats.acknowledged, 8_000),
        ("duplicates", stats.duplicates, 20),
        ("failovers", stats.failovers, 400),
        ("lossy failovers", stats.lossy_failovers, 150),
        ("old primaries that lived on", stats.split_brains, 150),
        ("restarts", stats.restarts, 60),
        ("forks", stats.forks, 400),
        ("crashes", stats.crashes, 60),
        ("unanswered", stats.unanswered, 50),
        ("late", stats.late, 40),
        ("put back", stats.put_back, 400),
        ("owed", stats.owed, 10),
        ("messages lost", stats.messages_lost, 80),
        ("told", stats.told, 30_000),
        ("told with `was`", stats.told_with_was, 1_500),
        ("told though seen", stats.told_seen, 1),
        ("told again", stats.told_again, 3),
        ("gaps: failover", stats.failover_gaps, 1_500),
        ("gaps: trimmed", stats.trimmed_gaps, 20),
        ("gaps that count exactly", stats.exact_gaps, 4),
        ("gaps: log_reset", stats.resets, 60),
        ("gaps: deleted", stats.deleted_gaps, 200),
        ("snapshots", stats.snapshots, 2_000),
        ("compacted", stats.compacted, 300),
        ("merged", stats.merged, 200),
        ("checkpoints", stats.checkpoints, 80),
        ("reconnects", stats.reconnects, 1_000),
        ("gone", stats.gone, 400),
    ];
    for (what, times, least) in worth {
        assert!(times >= least, "{what}: {times} times, which is too seldom to be worth anything: {stats:#?}");
    }
}

#[test]
fn the_promises_hold_over_the_first_quarter() {
    quarter(0);
}

#[test]
fn the_promises_hold_over_the_second_quarter() {
    quarter(1);
}

#[test]
fn the_promises_hold_over_the_third_quarter() {
    quarter(2);
}

#[test]
fn the_promises_hold_over_the_last_quarter() {
    quarter(3);
}

#[test]
fn the_promises_hold_where_forks_take_deletions() {
    let stats = seeds(0..SEEDS, schedule::deleting);
    let worth = [
        ("acknowledged", stats.acknowledged, 5_000),
        ("lossy failovers", stats.lossy_failovers, 300),
        ("put back", stats.put_back, 800),
        ("deleted again", stats.deleted_again, 70),
        ("gaps: deleted", stats.deleted_gaps, 2_000),
    ];
    for (what, times, least) in worth {
        assert!(times >= least, "{what}: {times} times: {stats:#?}");
    }
}

/// Reads a schedule that must hold, in the world of this seed.
fn holds(seed: u64, text: &str) -> Stats {
    check(seed, schedule::parse(text))
}

/// Its ids are ingest's own, so only who heard the first one knows the second.
#[test]
fn an_unanswered_event_without_a_runners_id_is_told_once_over_a_fork() {
    holds(
        2180,
        "req 0 0; go 0 0; go 0 0; serve 0 0; conn 2 0; req 3852 1894; send 2726 2863; arrive 448 162; timeout 3166 2999; \
         req 3845 3513; go 897 3227; go 1343 3781; hear 1972 1343; view 793 873; restart 3904 4065",
    );
}

/// A branch was cut to nothing in one history and lives on in the next.
#[test]
fn what_was_read_on_a_branch_is_not_told_again_when_the_branch_comes_back() {
    holds(
        1678,
        "req 0 0; go 0 0; go 0 0; serve 0 0; conn 4 0; req 4056 3709; go 1480 529; req 2398 1311; repl 4072 4040; \
         go 1368 1007; req 2703 2616; req 880 2304; restart 213 3666; go 568 356; req 1365 751; go 2581 3547; \
         req 285 2270; view 2272 2213; go 3448 963; go 4047 3552; resub 2080 4091; serve 2384 1719; \
         failover 1886 1685; view 2307 925",
    );
}

/// It had been told something from a page when the fork came; its snapshot did not tell of that.
#[test]
fn who_waits_for_its_first_snapshot_is_told_of_a_fork() {
    holds(
        4150,
        "req 0 0; go 0 0; go 0 0; repl 0 0; serve 1795 3005; req 1247 2173; conn 1420 2811; failover 3984 3876; go 3051 \
         2555; go 4031 782; req 1109 1633; go 3831 3425; hear 4033 2303; view 3632 2625; serve 19 2260; view 1210 148",
    );
}

/// The fold was being loaded meanwhile.
#[test]
fn a_deleted_project_is_not_shown_by_a_snapshot() {
    holds(
        1001,
        "serve 0 0; serve 1 0; conn 1829 939; delproject 1490 3413; prod 504 1965; view 513 1797; go 2550 1119; \
         go 1734 2640; go 700 1131; repl 1287 3808; delproject 1684 1864; hear 903 2816; req 2161 471; serve 1689 498",
    );
}

/// The checkpoint that was read is older than what was trimmed since; the newest one holds it all.
#[test]
fn a_snapshot_is_whole_though_the_log_is_trimmed_while_it_is_loaded() {
    holds(
        2065,
        "req 0 0; go 0 0; go 0 0; req 3985 2395; req 3018 266; req 3466 34; prod 2943 2128; req 2910 143; \
         req 214 2209; catch 799 1936; go 3081 235; req 2693 1015; go 499 3492; conn 27 2909; go 912 1067; \
         catch 2781 2383; req 3228 3297; go 3100 1257; jstep 1816 4009",
    );
}

#[test]
fn one_seed() {
    let Ok(seed) = std::env::var("TIDINGS_SIMULATION_SEED") else { return };
    let seed = seed.parse().expect("a number");
    let run = run(seed, &schedule::random(seed, STEPS), true);
    panic!("{}\n{:#?}\n{:#?}", run.trace.join("\n"), run.stats, run.found);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..40 {
        let schedule = schedule::random(seed, STEPS);
        let (one, other) = (run(seed, &schedule, true), run(seed, &schedule, true));
        let differs = one.trace.iter().zip(&other.trace).position(|(one, other)| one != other);
        let at = differs.map(|at| (&one.trace[at], &other.trace[at]));
        assert!(differs.is_none() && one.trace.len() == other.trace.len(), "seed {seed}: {at:?}");
    }
}
