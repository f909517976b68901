//! What a project's settings say about its events, applied before anything of them is stored or published.

use std::sync::Arc;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::intake::{self, Fault};
use tidings_protocol::project::Project;
use tidings_protocol::redact::Counts;
use tidings_protocol::wire;
use tidings_registry::Effective;

use crate::Inner;
use crate::answer::Rejected;

/// What was redacted. Labels are the names of the built-in rules, and `own` for all others.
#[derive(Debug, Clone)]
pub(crate) struct Finds(Vec<IntCounter>);

impl Finds {
    /// Registers the family in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<Finds, prometheus::Error> {
        let opts = Opts::new("tidings_ingest_redactions_total", "Secrets that were found and hidden, by rule.");
        let family = IntCounterVec::new(opts, &["rule"])?;
        registry.register(Box::new(family.clone()))?;
        Ok(Finds(Counts::default().iter().map(|(rule, _)| family.with_label_values(&[rule])).collect()))
    }

    fn count(&self, counts: &Counts) {
        for (counter, (_, finds)) in self.0.iter().zip(counts.iter()) {
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
    pub(crate) async fn settings(&self, project: &Project) -> Result<Arc<Effective>, SettingsAway> {
        self.settings.of(project).await.map_err(|_| SettingsAway)
    }

    /// Hides what the settings say, in all that is stored of an event.
    ///
    /// # Errors
    /// What stands in the place of secrets finds no room in the event.
    pub(crate) fn redact(&self, settings: &Effective, event: &mut wire::Event) -> Result<(), Fault> {
        let Some(redactor) = &settings.redactor else { return Ok(()) };
        let mut counts = Counts::default();
        let redacted = intake::redact(event, redactor, &self.limits, &mut counts);
        if counts.total() > 0 {
            self.finds.count(&counts);
        }
        redacted
    }
}
