//! Events of viewers: what somebody who may says to all, in a protocol that has a word for it.

use tidings_protocol::codes::ErrorCode;
use tidings_protocol::intake::{self, Fault, Intake};
use tidings_protocol::project::Project;
use tidings_protocol::redact::Counts;
use tidings_protocol::wire;
use ulid::Ulid;

use super::{Desk, Inner};
use crate::{Refusal, unix_ms};

impl Desk {
    /// Appends one event, in a runner's form: checked and redacted as events of runners are. Whether the caller may is the
    /// caller's matter. When it returns, the event stands in the project's log.
    ///
    /// # Errors
    /// Those of an event that is not valid; the store is away, full, or did not answer (`outcome_unknown`).
    pub async fn publish(&self, project: &Project, event: &[u8]) -> Result<(), Refusal> {
        let this = &self.0;
        let mut event = this.read(event)?;
        let away = || Refusal::new(ErrorCode::RedisAway, "the store is away: the project's settings cannot be read");
        if let Some(redactor) = this.projects.of(project).await.map_err(|_| away())?.redactor {
            intake::redact(&mut event, &redactor, &this.settings.limits, &mut Counts::default()).map_err(refusal)?;
        }
        this.write(project, event).await.map(drop)
    }
}

impl Inner {
    fn read(&self, event: &[u8]) -> Result<wire::Event, Refusal> {
        let mut next_id = || Ulid::new().to_string();
        let mut intake = Intake {
            limits: &self.settings.limits,
            received_ms: unix_ms(),
            next_id: &mut next_id,
            default_runner: None,
            default_traceparent: None,
            idempotency_key: None,
        };
        intake::parse_line(event, 0, &mut intake).map_err(refusal)
    }
}

fn refusal(fault: Fault) -> Refusal {
    Refusal { code: fault.code, detail: fault.detail, errors: fault.errors }
}
