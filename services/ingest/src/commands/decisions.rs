//! What a credential may say of commands and approvals beside the routes that are for that: nothing of commands, and decisions
//! in its own name.

use tidings_commands::approval;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::intake::Fault;
use tidings_protocol::problem::FieldProblem;
use tidings_protocol::project::Project;
use tidings_protocol::{vocabulary, wire};

use super::approvals::permitted;
use crate::Inner;

/// The fault of an event that tells of a command, where it is published like any other: whoever may publish could answer for
/// runners.
pub(crate) fn of_commands(event: &wire::Event) -> Option<Fault> {
    if !vocabulary::is_of_commands(&event.r#type) {
        return None;
    }
    let expected = "what becomes of a command is posted for it, under its lease";
    Some(fault(ErrorCode::Reserved, "type", expected))
}

impl Inner {
    /// Signs decisions with the credential's subject, and guards them. Who neither may decide (`approve`) nor works on
    /// commands (`work`) is refused them, each by itself; other events pass. Where nobody shows a credential, a decision
    /// stays as it is.
    pub(crate) async fn decisions(
        &self,
        project: &Project,
        grant: &Grant,
        events: Vec<wire::Event>,
    ) -> Vec<Result<wire::Event, Fault>> {
        let may = permitted(&self.rights, grant, project, [Scope::Approve, Scope::Work]).await;
        let refused = may.err().map(|rejected| rejected.code().unwrap_or(ErrorCode::Forbidden));
        let open = self.rights.is_open();
        let decide = |mut event: wire::Event| {
            if !approval::is_decision(&event) {
                return Ok(event);
            }
            if let Some(code) = refused {
                return Err(fault(code, "type", "to decide takes the scope `approve`, or `work`"));
            }
            if !open {
                approval::sign(&mut event, grant.subject());
            }
            approval::guard_decision(&mut event);
            Ok(event)
        };
        events.into_iter().map(decide).collect()
    }
}

fn fault(code: ErrorCode, field: &'static str, expected: &'static str) -> Fault {
    let errors = vec![FieldProblem::new(code).field(field).expected(expected)];
    Fault { errors, ..Fault::new(code, format!("`{field}`: {expected}")) }
}
