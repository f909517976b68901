//! Which projects are due, by what rounds have seen of them. Pure: the time is passed in.

use std::collections::HashMap;
use std::time::Duration;

use tidings_protocol::head::Head;
use tidings_protocol::project::Project;
use tokio::time::Instant;

use super::activity::STEP_EVENTS;

/// A checkpoint that is behind is rolled forward after this time, however few events there are.
const STEP_AFTER: Duration = Duration::from_secs(10);

/// A quiet project is trimmed by age this often.
const TRIM_EVERY: Duration = Duration::from_mins(5);

/// Idle writers and producers are looked for this often.
const SWEEP_EVERY: Duration = Duration::from_hours(1);

/// A project whose step failed is left alone for so long.
const FAILED_PAUSE: Duration = Duration::from_secs(30);

/// What a project needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// Fold and trim.
    Step,
    /// Trim without a fold, which failed lately.
    Trim,
    /// Forget idle writers and producers.
    Sweep,
}

/// What is known of the projects of our shards.
#[derive(Debug, Default)]
pub(super) struct Plan(Known);

/// By project.
pub(super) type Known = HashMap<Project, Seen, foldhash::fast::RandomState>;

#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    behind_since: Option<Instant>,
    stepped: Instant,
    swept: Instant,
    /// Not before this, because the last step failed.
    pause_until: Option<Instant>,
    /// It failed because there is no fold: its log is trimmed meanwhile.
    unfoldable: bool,
}

impl Seen {
    fn new(now: Instant, swept: Instant) -> Seen {
        Seen { behind_since: None, stepped: now, swept, pause_until: None, unfoldable: false }
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.pause_until.is_some_and(|until| now < until)
    }
}

/// Events that the checkpoint lacks.
pub(super) fn behind(head: &Head) -> u64 {
    head.last.n().saturating_sub(head.checkpoint.n())
}

impl Plan {
    /// What a project needs now. `seen` collects what is kept for the next round.
    pub(super) fn look(&self, project: &Project, head: &Head, now: Instant, seen: &mut Known) -> Vec<Work> {
        // Spread over time by name, so that a restart does not sweep everything at once.
        let spread = || SWEEP_EVERY.mul_f64(f64::from(tidings_broker::index::shard_of(project)) / 64.0);
        let known = self.0.get(project).copied();
        let mut known = known.unwrap_or_else(|| Seen::new(now, now.checked_sub(spread()).unwrap_or(now)));
        let behind = behind(head);
        let since = (behind > 0).then(|| known.behind_since.unwrap_or(now));
        known.behind_since = since;
        let due = behind >= STEP_EVENTS
            || since.is_some_and(|since| now - since >= STEP_AFTER)
            || (!head.checkpoint.is_zero() && now - known.stepped >= TRIM_EVERY);
        let mut work = Vec::new();
        match known.is_paused(now) {
            false if due => work.push(Work::Step),
            true if known.unfoldable => work.push(Work::Trim),
            _ => {}
        }
        if now - known.swept >= SWEEP_EVERY {
            known.swept = now;
            work.push(Work::Sweep);
        }
        seen.insert(project.clone(), known);
        work
    }

    /// What a project needs in which much was appended.
    pub(super) fn work_now(&self, project: &Project, now: Instant) -> Work {
        let without_fold = self.0.get(project).is_some_and(|seen| seen.unfoldable && seen.is_paused(now));
        if without_fold { Work::Trim } else { Work::Step }
    }

    /// Forgets projects that the round did not see.
    pub(super) fn keep(&mut self, seen: Known) {
        self.0 = seen;
    }

    /// A checkpoint reached the head.
    pub(super) fn stepped(&mut self, project: &Project, now: Instant) {
        if let Some(seen) = self.0.get_mut(project) {
            *seen = Seen::new(now, seen.swept);
        }
    }

    /// A step failed; because there is no fold, or for another reason.
    pub(super) fn failed(&mut self, project: &Project, now: Instant, unfoldable: bool) {
        let seen = self.0.entry(project.clone()).or_insert_with(|| Seen::new(now, now));
        (seen.pause_until, seen.unfoldable) = (Some(now + FAILED_PAUSE), unfoldable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_protocol::position::{Branch, Position};

    fn head(last: u64, checkpoint: u64) -> Head {
        let branch: Branch = "aaaaaaaaaaaa".parse().expect("12 characters");
        let at = |n| if n == 0 { Position::ZERO } else { Position::new(1, n, branch) };
        Head { branch, last: at(last), checkpoint: at(checkpoint), ..Head::default() }
    }

    struct Rig {
        plan: Plan,
        project: Project,
        now: Instant,
    }

    impl Rig {
        fn look(&mut self, after: Duration, last: u64, checkpoint: u64) -> Vec<Work> {
            self.now += after;
            let mut seen = Known::default();
            let work = self.plan.look(&self.project, &head(last, checkpoint), self.now, &mut seen);
            self.plan.keep(seen);
            work
        }
    }

    fn rig() -> Rig {
        Rig { plan: Plan::default(), project: "demo".parse().expect("a name"), now: Instant::now() }
    }

    #[test]
    fn a_checkpoint_is_due_after_many_events_or_some_time() {
        let mut rig = rig();
        assert_eq!(rig.look(Duration::ZERO, 999, 0), []);
        assert_eq!(rig.look(Duration::from_secs(9), 999, 0), []);
        assert_eq!(rig.look(Duration::from_secs(1), 999, 0), [Work::Step]);
        assert_eq!(rig.look(Duration::ZERO, 1_999, 999), [Work::Step]);
        rig.plan.stepped(&rig.project.clone(), rig.now);
        assert_eq!(rig.look(Duration::from_secs(5), 2_000, 1_999), []);
    }

    #[test]
    fn a_quiet_project_is_trimmed_and_swept_now_and_then() {
        let mut rig = rig();
        assert_eq!(rig.look(Duration::ZERO, 5, 5), []);
        assert_eq!(rig.look(TRIM_EVERY, 5, 5), [Work::Step]);
        rig.plan.stepped(&rig.project.clone(), rig.now);
        assert_eq!(rig.look(Duration::from_secs(1), 5, 5), []);
        assert_eq!(rig.look(SWEEP_EVERY, 5, 5), [Work::Step, Work::Sweep]);
        rig.plan.stepped(&rig.project.clone(), rig.now);
        assert_eq!(rig.look(Duration::from_secs(1), 5, 5), []);
    }

    #[test]
    fn a_step_that_failed_is_not_tried_at_once() {
        let mut rig = rig();
        assert_eq!(rig.look(Duration::ZERO, 1_000, 0), [Work::Step]);
        rig.plan.failed(&rig.project.clone(), rig.now, false);
        assert_eq!(rig.look(Duration::from_secs(5), 1_000, 0), []);
        assert_eq!(rig.look(FAILED_PAUSE, 1_000, 0), [Work::Step]);
    }

    #[test]
    fn a_log_without_a_fold_is_trimmed_until_it_is_tried_again() {
        let mut rig = rig();
        assert_eq!(rig.look(Duration::ZERO, 1_000, 0), [Work::Step]);
        rig.plan.failed(&rig.project.clone(), rig.now, true);
        assert_eq!(rig.look(Duration::from_secs(5), 1_000, 0), [Work::Trim]);
        assert_eq!(rig.plan.work_now(&rig.project, rig.now), Work::Trim);
        assert_eq!(rig.look(FAILED_PAUSE, 1_000, 0), [Work::Step]);
        assert_eq!(rig.plan.work_now(&rig.project, rig.now), Work::Step);
    }
}
