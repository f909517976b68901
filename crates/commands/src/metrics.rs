//! What is counted of commands. Handles are resolved once, so that every series is there from the start.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tidings_protocol::codes::ErrorCode;

use crate::command::Class;
use crate::made::FailedWhy;

/// Seconds until a runner has a command: at once, or when one is there again.
const WAITS: [f64; 11] = [0.002, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 600.0];

/// What became of a command that was asked, where it was not refused.
const TAKEN: &str = "taken";

/// A command that was asked again.
const KNOWN: &str = "known";

/// Refusals that have a series of their own.
const REFUSED: [ErrorCode; 6] = [
    ErrorCode::Busy,
    ErrorCode::CommandConflict,
    ErrorCode::InboxFull,
    ErrorCode::NoRunner,
    ErrorCode::OutcomeUnknown,
    ErrorCode::RedisAway,
];

/// All other refusals.
const OTHER: &str = "other";

/// The code of an answer that says that all is well.
const COMPLETED: &str = "completed";

/// The code of a runner's own failure.
const FAILED: &str = "failed";

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let made = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(made.clone())).map(|()| made)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let made = IntGauge::new(name, help)?;
    registry.register(Box::new(made.clone())).map(|()| made)
}

/// Final answers by their code.
#[derive(Debug, Clone)]
struct Answers {
    completed: IntCounter,
    failed: IntCounter,
    own: [IntCounter; FailedWhy::ALL.len()],
}

impl Answers {
    fn new(family: &IntCounterVec) -> Answers {
        let of = |code: &str| family.with_label_values(&[code]);
        Answers { completed: of(COMPLETED), failed: of(FAILED), own: FailedWhy::ALL.map(|why| of(why.as_str())) }
    }
}

/// Counters of a gateway's desk. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DeskMetrics {
    asked: IntCounterVec,
    answers: Answers,
    /// Commands that are kept until their final answer.
    pub open: IntGauge,
    /// Commands that were put again, since the store had lost them.
    pub put_again: IntCounter,
}

impl DeskMetrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<DeskMetrics, prometheus::Error> {
        let asked = counters(
            registry,
            "tidings_gateway_commands_asked_total",
            "Commands asked, by class of type and what became of them.",
            &["type", "result"],
        )?;
        let refused = REFUSED.iter().map(|code| code.as_str());
        for result in refused.chain([TAKEN, KNOWN, OTHER]) {
            for class in Class::ALL {
                asked.with_label_values(&[class.as_str(), result]);
            }
        }
        let answered = "Final answers that gateways gave, by code.";
        let answered = counters(registry, "tidings_gateway_commands_answered_total", answered, &["code"])?;
        let put_again = "Commands put again, since the store had lost them.";
        let put_again = IntCounter::new("tidings_gateway_commands_put_again_total", put_again)?;
        registry.register(Box::new(put_again.clone()))?;
        let open = "Commands kept until their final answer stands.";
        Ok(DeskMetrics {
            asked,
            answers: Answers::new(&answered),
            open: gauge(registry, "tidings_gateway_commands_open", open)?,
            put_again,
        })
    }

    pub(crate) fn on_taken(&self, class: Class, known: bool) {
        self.asked.with_label_values(&[class.as_str(), if known { KNOWN } else { TAKEN }]).inc();
    }

    pub(crate) fn on_refused(&self, class: Class, code: ErrorCode) {
        let result = if REFUSED.contains(&code) { code.as_str() } else { OTHER };
        self.asked.with_label_values(&[class.as_str(), result]).inc();
    }

    pub(crate) fn on_completed(&self) {
        self.answers.completed.inc();
    }

    pub(crate) fn on_failed(&self, why: FailedWhy) {
        self.answers.own[why as usize].inc();
    }
}

/// Counters of an ingest's side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkMetrics {
    answers: Answers,
    /// From asking to handing out.
    pub(crate) waited: Histogram,
    /// Commands and alarms that are open in the inboxes that this ingest looks after.
    pub(crate) open: IntGauge,
    /// Of them, commands that wait for a runner.
    pub(crate) waiting: IntGauge,
    /// Runners that are there.
    pub(crate) runners: IntGauge,
    /// Approvals that expired.
    pub(crate) expired: IntCounter,
    /// Sessions whose runner lapsed.
    pub(crate) sessions_lost: IntCounter,
}

impl WorkMetrics {
    /// Registers the family in `registry`.
    ///
    /// # Errors
    /// When the registry has it already.
    pub fn register(registry: &Registry) -> Result<WorkMetrics, prometheus::Error> {
        let answered = "Final answers that came by ingests, by code.";
        let answered = counters(registry, "tidings_ingest_commands_answered_total", answered, &["code"])?;
        let waited = Histogram::with_opts(
            HistogramOpts::new("tidings_ingest_commands_wait_seconds", "From asking to handing out to a runner.")
                .buckets(WAITS.to_vec()),
        )?;
        registry.register(Box::new(waited.clone()))?;
        let counter = |name: &str, help: &str| {
            let made = IntCounter::new(name, help)?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let open = "Commands and alarms open in the inboxes that this ingest looks after.";
        Ok(WorkMetrics {
            answers: Answers::new(&answered),
            waited,
            open: gauge(registry, "tidings_ingest_commands_open", open)?,
            waiting: gauge(registry, "tidings_ingest_commands_waiting", "Of them, commands that wait for a runner.")?,
            runners: gauge(registry, "tidings_ingest_commands_runners", "Runners that are there for commands.")?,
            expired: counter("tidings_ingest_approvals_expired_total", "Approvals that nobody answered in time.")?,
            sessions_lost: counter("tidings_ingest_sessions_runner_lost_total", "Sessions whose runner lapsed.")?,
        })
    }

    /// A runner's final answer stands.
    pub fn on_answered(&self, kind: &str) {
        let counter = if kind == "command.completed" { &self.answers.completed } else { &self.answers.failed };
        counter.inc();
    }

    pub(crate) fn on_failed(&self, why: FailedWhy) {
        self.answers.own[why as usize].inc();
    }
}
