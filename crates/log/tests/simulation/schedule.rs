//! What may happen, and random schedules of it. A step names what happens and two numbers, read modulo what is there, so
//! that a schedule stays meaningful when steps are taken out.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

macro_rules! ops {
    ($($op:ident $word:literal $weight:literal $rare:literal,)*) => {
        /// What may happen.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Op { $(#[doc = $word] $op,)* }

        /// Each with its word, how often it happens, and whether half of the schedules do without.
        const OPS: &[(Op, &str, u32, bool)] = &[$((Op::$op, $word, $weight, $rare),)*];
    };
}

ops! {
    Request "req" 20 false,
    Produce "prod" 6 true,
    Send "send" 6 false,
    Arrive "arrive" 8 false,
    Reply "reply" 8 false,
    Go "go" 28 false,
    TimeOut "timeout" 6 true,
    Late "late" 4 false,
    Retry "retry" 6 false,
    Refuse "refuse" 1 true,
    Probe "probe" 6 false,
    Crash "crash" 1 true,
    Move "move" 6 false,
    Hear "hear" 18 false,
    Lose "lose" 4 true,
    Serve "serve" 26 false,
    Fail "fail" 2 true,
    CatchUp "catch" 10 false,
    Resubscribe "resub" 3 false,
    GatewayRestart "gwcrash" 1 true,
    View "view" 36 false,
    Disconnect "disc" 2 true,
    Connect "conn" 4 false,
    Replicate "repl" 12 false,
    FailOver "failover" 3 false,
    Restart "restart" 1 true,
    Rejoin "rejoin" 4 false,
    Freeze "freeze" 1 true,
    Thaw "thaw" 4 false,
    Fold "jread" 2 true,
    WriteFold "jwrite" 2 true,
    Janitor "jstep" 4 true,
    Wait "wait" 5 false,
    Long "long" 1 true,
    DeleteSession "delsession" 1 true,
    DeleteProject "delproject" 1 true,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) a: u16,
    pub(crate) b: u16,
}

/// A log that was born, replicated, with viewers on it.
pub(crate) const WARM: &str = "req 0 0; go 0 0; go 0 0; serve 0 0; serve 1 0; serve 0 0; serve 1 0; conn 0 0; conn 1 1; conn 2 0; \
    conn 3 1; conn 4 0; conn 5 1; view 0 3; view 1 3; view 2 3; view 3 3; repl 0 0";

/// What happens much more often in some schedules: deletions that forks take.
const DELETING: &[(Op, usize)] =
    &[(Op::DeleteProject, 8), (Op::DeleteSession, 3), (Op::FailOver, 8), (Op::Rejoin, 12), (Op::Replicate, 8)];

/// The schedule of a seed: each leaves out some of what may happen and stresses some of the rest.
pub(crate) fn random(seed: u64, steps: usize) -> Vec<Step> {
    drawn(seed, steps, &[])
}

/// The same, in which projects are deleted and forks take the deletions.
pub(crate) fn deleting(seed: u64, steps: usize) -> Vec<Step> {
    drawn(seed, steps, DELETING)
}

fn drawn(seed: u64, steps: usize, more: &[(Op, usize)]) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut bag = Vec::new();
    for &(op, _, weight, rare) in OPS {
        let times = [1, 2, 2, 4][rng.random_range(0..4)];
        if !(rare && rng.random_bool(0.5)) {
            bag.extend(std::iter::repeat_n(op, weight as usize * times));
        }
    }
    bag.extend(more.iter().flat_map(|&(op, times)| std::iter::repeat_n(op, times)));
    let warm = rng.random_bool(0.7);
    let count = [steps / 2, steps, steps + steps / 2][rng.random_range(0..3)];
    let mut schedule = if warm { parse(WARM) } else { Vec::new() };
    schedule.extend((0..count).map(|_| Step {
        op: bag[rng.random_range(0..bag.len())],
        a: rng.random_range(0..4_096),
        b: rng.random_range(0..4_096),
    }));
    schedule
}

/// Reads `word a b; word a b; ...`.
pub(crate) fn parse(text: &str) -> Vec<Step> {
    let step = |step: &str| {
        let words: Vec<&str> = step.split_whitespace().collect();
        let number = |index: usize| words[index].parse().expect("a number");
        let known = OPS.iter().find(|op| op.1 == words[0]);
        Step { op: known.unwrap_or_else(|| panic!("{step}")).0, a: number(1), b: number(2) }
    };
    text.split(';').filter(|text| !text.trim().is_empty()).map(step).collect()
}

/// Writes what [`parse`] reads.
pub(crate) fn text(schedule: &[Step]) -> String {
    let word = |op: Op| OPS.iter().find(|known| known.0 == op).expect("all are listed").1;
    let steps: Vec<String> = schedule.iter().map(|step| format!("{} {} {}", word(step.op), step.a, step.b)).collect();
    steps.join("; ")
}
