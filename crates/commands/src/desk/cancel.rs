//! `command.cancel`: a final answer that the asker himself gives.

use tidings_broker::inbox::{ItemKind, Put, PutAnswer, Standing};
use tidings_log::writer::Outcome;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::project::Project;

use super::{Ask, Asked, Inner, Status};
use crate::command::check_name;
use crate::json::{Members, string};
use crate::made::{self, FailedWhy};
use crate::owners::session_of_runner;
use crate::told::Told;
use crate::{NOBODY, OWN_PREFIX, Refusal};

impl Inner {
    /// Cancels, if nobody has answered.
    pub(super) async fn cancel(&self, project: &Project, ask: &Ask) -> Result<(Asked, bool), Refusal> {
        let target = target(ask)?;
        let id = ask.told.id.clone();
        let standing = self.standing_of_own(project, &target, &ask.told.by).await?;
        let known = match self.begin(project, ask).await? {
            Some(Standing::Answered(_)) => return Ok((Asked { id, status: Status::Answered }, true)),
            standing => standing.is_some(),
        };
        // Its answers go where those of this command go: the asker is the same.
        let kept = self.table.get(project, &target).map(|kept| kept.told);
        let told = kept.unwrap_or_else(|| Told { id: target.clone(), kind: String::new(), ..ask.told.clone() });
        let more = format!(",\"cancelled_by\":{}", string(&id));
        let outcome = self.write(project, made::failed(&told, FailedWhy::Cancelled, "", &more)).await?;
        let late = matches!(outcome, Outcome::Settled { .. });
        self.table.forget(project, &target);
        self.settle(project, vec![target.clone()]).await;
        let last = if late {
            made::failed(&ask.told, FailedWhy::AlreadyAnswered, "", "")
        } else {
            self.metrics.on_failed(FailedWhy::Cancelled);
            made::completed(&ask.told, &format!("{{\"command_id\":{}}}", string(&target)))
        };
        self.finish(project, ask, last, late.then_some(FailedWhy::AlreadyAnswered)).await?;
        if let (false, Standing::Leased { runner } | Standing::Accepted { runner }) = (late, standing) {
            let session = session_of_runner(&runner);
            self.notify(project, ask.told.clone(), &session, ask.command.data.as_deref()).await;
        }
        Ok((Asked { id, status: Status::Answered }, known))
    }

    /// How a command of this asker stands.
    async fn standing_of_own(&self, project: &Project, target: &str, by: &str) -> Result<Standing, Refusal> {
        // A put that cannot come about: it says whose the id is, and changes nothing.
        let put = Put {
            id: target.to_owned(),
            asker: by.to_owned(),
            kind: ItemKind::Command {
                capability: NOBODY.to_owned(),
                session: String::new(),
                agent: String::new(),
                urgent: false,
                notice: false,
            },
            deadline_ms: 1_000,
            open_max: 0,
            body: "{}".into(),
        };
        match self.put(project, put).await? {
            PutAnswer::Known(standing) => Ok(standing),
            PutAnswer::Conflict => Err(Refusal::new(ErrorCode::Forbidden, "the command is somebody else's")),
            PutAnswer::Queued | PutAnswer::NoRunner | PutAnswer::Full => match self.table.get(project, target) {
                // The store lost it a moment ago.
                Some(kept) if kept.told.by == by => Ok(Standing::Unknown),
                _ => Err(Refusal::new(ErrorCode::CommandGone, "the command is over, or never was")),
            },
        }
    }
}

/// The command that is to be cancelled.
fn target(ask: &Ask) -> Result<String, Refusal> {
    let field = "data.command_id";
    let missing = || Refusal::of_field(ErrorCode::MissingField, field, "a cancellation needs it");
    let data = ask.command.data.as_deref().and_then(Members::of).ok_or_else(missing)?;
    let target = data.text("command_id").ok_or_else(missing)?;
    check_name(field, Some(&target), NAME_BYTES_MAX)?;
    if target.starts_with(OWN_PREFIX) || target == ask.told.id {
        return Err(Refusal::of_field(ErrorCode::InvalidField, field, "it cannot be cancelled"));
    }
    Ok(target)
}
