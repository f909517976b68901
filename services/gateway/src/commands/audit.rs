//! The audit trail of this service: a line in the log for each command of somebody else that an administrator cancelled, with
//! target `audit`, in the form of those that the ingest writes for changes of a project.

use tidings_commands::Refusal;
use tidings_commands::desk::{Asked, Overruled};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::project::Project;

use crate::limits::Caller;

/// The target of these lines, for filters of the log.
const TARGET: &str = "audit";

/// Somebody cancelled, or tried to, as an administrator. What was his own is no matter of administration.
pub(super) fn cancelled(grant: &Grant, caller: &Caller, project: &Project, of: &str, asked: &Result<Asked, Refusal>) {
    let (outcome, status, told) = match asked {
        Ok(Asked { overruled: None, .. }) => return,
        Ok(Asked { overruled: Some(Overruled { asker, stood }), .. }) => {
            let outcome = if *stood { "done" } else { "refused" };
            let answered = if *stood { "" } else { "; it was answered before" };
            (
                outcome,
                202,
                Some(format!("asked by {}{answered}", asker.as_deref().unwrap_or("somebody else").escape_debug())),
            )
        }
        Err(refusal) => (outcome(refusal.code), refusal.code.http_status(), None),
    };
    tracing::info!(
        target: TARGET,
        action = "command.cancel",
        outcome,
        status,
        project = ?project.as_str(),
        of = ?of,
        told,
        subject = ?grant.subject(),
        key = grant.key_id(),
        client = caller.client().map(|client| tracing::field::display(client.0)),
        "change"
    );
}

fn outcome(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::OutcomeUnknown => "unknown",
        code if code.http_status() < 500 => "refused",
        _ => "failed",
    }
}
