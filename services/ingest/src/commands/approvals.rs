//! Approvals: the alarms of questions with a deadline, guards of decisions, and `GET .../approvals/{approval}`.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use tidings_broker::inbox::PutAnswer;
use tidings_commands::Refusal;
use tidings_commands::approval::{self, Decision, Question};
use tidings_log::writer::{Options, Outcome};
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::rights::Rights;
use tokio::time::Instant;

use super::params::{self, Params};
use super::{Refusals, WAIT_S_MAX, json};
use crate::Inner;
use crate::admin::{answer, project_of};
use crate::answer::Rejected;
use crate::runners;

/// How an approval stands.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct Approval {
    /// Which.
    approval_id: String,
    /// `open` or `resolved`.
    status: String,
    /// What was decided, once it is.
    decision: Option<serde_json::Value>,
    /// Who decided.
    by: Option<String>,
    /// Why, if he said so; the first few hundred bytes of it.
    reason: Option<String>,
    /// Where the decision stands in the log.
    position: Option<String>,
}

/// Ask how an approval was decided.
///
/// Waits for the decision up to `wait` seconds. It is told for a week, to a runner that was restarted, too. For those with the
/// scope `work` or `publish`. An approval that nobody asked for is open.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/approvals/{approval}",
    operation_id = "showApproval",
    tag = "ingest",
    params(
        ("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
            pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo"),
        ("approval" = String, Path, description = "The `approval_id`.", min_length = 1, max_length = 128),
        ("session" = String, Query, description = "The session that asks.", min_length = 1, max_length = 128),
        ("wait" = Option<u64>, Query, minimum = 0, maximum = 25, description = "Seconds; 0 if absent."),
    ),
    responses((status = 200, description = "How it stands.", body = Approval), Refusals),
)]
pub(crate) async fn show(
    State(inner): State<Arc<Inner>>,
    Extension(grant): Extension<Grant>,
    Path((project, approval)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        let grant = permitted(&inner.rights, &grant, &project, [Scope::Work, Scope::Publish]).await?;
        if !runners::is_sound(&approval, NAME_BYTES_MAX) {
            let detail = format!("expected 1 to {NAME_BYTES_MAX} bytes without control characters");
            return Err(params::invalid("approval", &detail));
        }
        let params = Params::of(query.as_deref(), &["session", "wait"], &[])?;
        let key = approval::guard_key(params.name("session", NAME_BYTES_MAX)?, &approval);
        let wait = Duration::from_secs(params.number("wait", (0, WAIT_S_MAX))?.unwrap_or(0));
        let settings = inner.settings(&project).await.map_err(|away| Rejected::from(&away))?;
        inner.count(&project, &grant, &settings, (1, 0)).await?;
        let waits = (!wait.is_zero()).then(|| inner.waits.enter(super::subject(&inner, &grant)));
        let _waiting = waits.transpose()?;
        let guarded = inner.counter.guarded(&project, &key, Instant::now() + wait, &inner.stop).await?;
        let id = serde_json::Value::from(approval);
        let body = match guarded {
            None => format!("{{\"approval_id\":{id},\"status\":\"open\"}}"),
            Some(guarded) => {
                let Decision { decision, by, reason, .. } = Decision::of_note(&guarded.note);
                let (by, position) = (serde_json::Value::from(by), guarded.position);
                let reason = reason.map(|reason| format!("\"reason\":{},", serde_json::Value::from(reason)));
                let reason = reason.unwrap_or_default();
                format!(
                    "{{\"approval_id\":{id},\"status\":\"resolved\",\"decision\":{decision},\"by\":{by},{reason}\"position\":\"{position}\"}}"
                )
            }
        };
        Ok(json(StatusCode::OK, body.into()))
    };
    answer(&inner, answered.await)
}

/// Whoever has one of two scopes may.
pub(super) async fn permitted(
    rights: &Rights,
    grant: &Grant,
    project: &Project,
    [one, other]: [Scope; 2],
) -> Result<Grant, Rejected> {
    if rights.is_open() || grant.allows(project, one) || grant.allows(project, other) {
        return Ok(grant.clone());
    }
    let refused = match rights.authorize(grant, project, other).await {
        Ok(granted) => return Ok(granted),
        Err(refused) => refused,
    };
    if let Ok(granted) = rights.authorize(grant, project, one).await {
        return Ok(granted);
    }
    Err(Refused::from(refused).into())
}

/// The questions among events, each with its place.
pub(crate) fn questions(events: &[wire::Event]) -> Vec<(usize, Question)> {
    events.iter().enumerate().filter_map(|(at, event)| Some((at, Question::of(event)?))).collect()
}

impl Inner {
    /// Says once more what is decided of what was asked behind its decision: by a runner that was restarted, say. `outcomes`:
    /// of the events that [`questions`] looked at.
    ///
    /// # Errors
    /// Those of the store. To send the events again is harmless, and does what is missing.
    pub(crate) async fn tell_decided(
        &self,
        project: &Project,
        asked: Vec<(usize, Question)>,
        outcomes: &[Option<&Outcome>],
    ) -> Result<(), Rejected> {
        let place = |(at, question): (usize, Question)| match outcomes.get(at).copied().flatten()? {
            Outcome::Appended { position, .. } | Outcome::Duplicate { position: Some(position), .. } => {
                Some((question, *position))
            }
            _ => None,
        };
        let asked: Vec<(Question, Position)> = asked.into_iter().filter_map(place).collect();
        let mut again = Vec::new();
        for (question, position) in asked {
            let guarded = self.counter.inboxes().guard(project.clone(), question.guard_key()).await;
            let before = guarded.map_err(Refusal::from)?.filter(|guarded| guarded.position.n() < position.n());
            again.extend(before.map(|guarded| question.resolved_again(&guarded.note)));
        }
        let written = self.writers.submit(project, again, Options::new()).await;
        written.map(drop).map_err(|error| Refusal::from(error.why).into())
    }

    /// Puts an alarm for each question with a deadline, before the question is appended: one that rings for a question which
    /// nobody hears does no harm.
    pub(crate) async fn put_alarms(&self, project: &Project, events: &[wire::Event]) -> Result<(), Rejected> {
        for alarm in events.iter().filter_map(approval::alarm) {
            let put = self.counter.inboxes().put(project.clone(), alarm).await.map_err(Refusal::from)?;
            if put.answer == PutAnswer::Full {
                tracing::warn!(%project, "an approval will not expire: the inbox is full");
            }
        }
        Ok(())
    }
}
