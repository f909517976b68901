//! What a project's settings say about its events, applied before anything of them is stored or published.
//!
//! To look for secrets takes some microseconds for each KiB of text (`examples/redaction_speed.rs` of the protocol). A
//! worker that serves requests is not held for longer than [`INLINE_BYTES_MAX`] take: more than that is looked through on
//! threads for such work, as many at a time as there are processors, first come, first served.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::intake::{self, Fault};
use tidings_protocol::limits::EventLimits;
use tidings_protocol::project::Project;
use tidings_protocol::redact::Counts;
use tidings_protocol::redact::Redactor;
use tidings_protocol::wire;
use tidings_registry::Effective;
use tokio::sync::Semaphore;

use crate::Inner;
use crate::answer::Rejected;

/// Bytes of events that are looked through at once, by who serves the request.
const INLINE_BYTES_MAX: usize = 32 * 1024;

/// What was redacted, and whose turn it is to look through much. Labels are the names of the built-in rules, and `own` for
/// all others.
#[derive(Debug, Clone)]
pub(crate) struct Finds {
    counters: Arc<[IntCounter]>,
    turns: Arc<Semaphore>,
}

impl Finds {
    /// Registers the family in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Finds, prometheus::Error> {
        let opts = Opts::new("tidings_ingest_redactions_total", "Secrets that were found and hidden, by rule.");
        let family = IntCounterVec::new(opts, &["rule"])?;
        registry.register(Box::new(family.clone()))?;
        let counters = Counts::default().iter().map(|(rule, _)| family.with_label_values(&[rule])).collect();
        let turns = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Finds { counters, turns: Arc::new(Semaphore::new(turns)) })
    }

    fn count(&self, counts: &Counts) {
        for (counter, (_, finds)) in self.counters.iter().zip(counts.iter()) {
            counter.inc_by(finds);
        }
    }
}

/// The settings of a project cannot be read, and were not before: what must be hidden is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SettingsAway;

impl From<&SettingsAway> for Rejected {
    fn from(_: &SettingsAway) -> Rejected {
        Rejected::new(
            ErrorCode::RedisAway,
            "the store is away: the project's settings cannot be read; nothing was taken",
        )
    }
}

impl Inner {
    /// What is set for a project, a few seconds old at most.
    pub(crate) async fn settings(&self, project: &Project) -> Result<Effective, SettingsAway> {
        self.settings.of(project).await.map_err(|_| SettingsAway)
    }

    /// Hides what the settings say, in all that is stored of these events: each as it is to be stored, or why there is no
    /// room in it for what stands in the place of secrets, in their order.
    ///
    /// Dropped before it is ready, some may have been counted that nobody stores.
    pub(crate) async fn redact(
        &self,
        settings: &Effective,
        events: Vec<wire::Event>,
    ) -> Vec<Result<wire::Event, Fault>> {
        let Some(redactor) = settings.redactor.clone() else { return events.into_iter().map(Ok).collect() };
        let work = Work { redactor, limits: self.limits, finds: self.finds.clone() };
        let bytes: usize = events.iter().map(|event| event.json.len()).sum();
        if bytes <= INLINE_BYTES_MAX {
            return work.done(events);
        }
        let turn = Arc::clone(&self.finds.turns).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work.done(events)
        });
        done.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }
}

/// What it takes to redact events.
struct Work {
    redactor: Arc<Redactor>,
    limits: EventLimits,
    finds: Finds,
}

impl Work {
    fn done(&self, events: Vec<wire::Event>) -> Vec<Result<wire::Event, Fault>> {
        events.into_iter().map(|event| self.redacted(event)).collect()
    }

    fn redacted(&self, mut event: wire::Event) -> Result<wire::Event, Fault> {
        let mut counts = Counts::default();
        let redacted = intake::redact(&mut event, &self.redactor, &self.limits, &mut counts);
        if counts.total() > 0 {
            self.finds.count(&counts);
        }
        redacted.map(|()| event)
    }
}
