//! The way of whole requests from their events to the log: what is counted, noted and traced on it is the same for every route.

use std::time::Instant;

use tidings_commands::approval;
use tidings_log::writer::{Jumps, Options, Outcome, SubmitError};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::intake::Fault;
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_registry::Effective;

use crate::Inner;
use crate::answer::{self, Rejected};
use crate::commands::approvals::questions;
use crate::commands::decisions;
use crate::facts::Facts;
use crate::metrics::observe;
use crate::traced::Traced;

impl Inner {
    /// Appends redacted events of one request, and says what became of each.
    ///
    /// # Errors
    /// Before anything was appended: an event is not the credential's to publish, they are too heavy to be written together,
    /// over a limit, or the store is away. Behind it: what was asked again could not be said to be decided; to send the same
    /// again is harmless.
    pub(crate) async fn append(
        &self,
        project: &Project,
        grant: &Grant,
        settings: &Effective,
        mut events: Vec<wire::Event>,
    ) -> Result<Result<Vec<Outcome>, SubmitError>, Rejected> {
        for (at, event) in (0..).zip(&events) {
            decisions::of_commands(event).map_or(Ok(()), |fault| Err(fault.at(at)))?;
        }
        if events.iter().any(approval::is_decision) {
            let allowed = self.decisions(project, grant, events).await.into_iter().zip(0..);
            events = allowed.map(|(event, at)| event.map_err(|fault| fault.at(at))).collect::<Result<_, Fault>>()?;
        }
        self.metrics.facts.on_arrival(&events);
        let facts = Facts::of(&events);
        let weight = facts.weight();
        if weight > self.weight_max {
            return Err(too_heavy(self.weight_max, weight).into());
        }
        let options = Options { deadline: tokio::time::Instant::now() + self.deadline, jumps: Jumps::default() };
        let counted = self.count(project, grant, settings, (events.len(), weight)).await?;
        if let Err(rejected) = self.put_alarms(project, &events).await {
            counted.give_back();
            return Err(rejected);
        }
        self.counter.owners().note(project, &events, grant.runner());
        let asked = questions(&events);
        let began = Instant::now();
        let traced = Traced::begin(&self.traces, &events);
        let called = traced.as_ref().map(Traced::called);
        let outcomes = self.writers.submit_timed(project, events, options, called).await;
        observe(&self.metrics.append_seconds, began);
        if let Some(traced) = traced {
            traced.end(&self.traces, outcomes.is_err());
        }
        if outcomes.as_ref().is_err_and(answer::is_untouched) {
            counted.give_back();
        }
        let all: Vec<Option<&Outcome>> = match &outcomes {
            Ok(outcomes) => outcomes.iter().map(Some).collect(),
            Err(failed) => failed.results.iter().map(Option::as_ref).collect(),
        };
        self.tenants.on_appended(project, facts.count(all.iter().copied(), &self.metrics.facts));
        self.tell_decided(project, asked, &all).await?;
        Ok(outcomes)
    }
}

/// The fault of events that would not fit if nothing else waited: to come again would not help.
fn too_heavy(limit: usize, actual: usize) -> Problem {
    let code = ErrorCode::RequestTooLarge;
    let detail = format!("as they are stored, the events take {actual} bytes; at most {limit} can wait to be written");
    Problem::new(code, detail).with(FieldProblem::new(code).limit(limit, actual))
}
