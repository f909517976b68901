//! `command.cancel`: a final answer that the asker himself gives, or an administrator of the project.

use tidings_broker::inbox::{Standing, guard_of};
use tidings_log::writer::Outcome;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::project::Project;

use super::{Ask, Asked, Inner, Overruled, Status};
use crate::command::check_name;
use crate::json::{Members, string};
use crate::made::{self, FailedWhy};
use crate::owners::session_of_runner;
use crate::told::Told;
use crate::{OWN_PREFIX, Refusal};

/// A command that is to be cancelled.
struct Target {
    told: Told,
    standing: Standing,
    is_own: bool,
}

impl Inner {
    /// Cancels, if nobody has answered.
    pub(super) async fn cancel(&self, project: &Project, ask: &Ask) -> Result<(Asked, bool), Refusal> {
        let target = target(ask)?;
        let id = ask.told.id.clone();
        let Target { told, standing, is_own } = self.target(project, &target, ask).await?;
        let known = self.begin(project, ask).await?;
        let asker = Some(told.by.clone()).filter(|by| *by != ask.told.by);
        let overruled = |stood| (!is_own).then(|| Overruled { asker: asker.clone(), stood });
        if let Some(Standing::Answered(_)) = known {
            return Ok((Asked { id, status: Status::Answered, overruled: overruled(false) }, true));
        }
        let late = matches!(standing, Standing::Answered(_)) || {
            let more = format!(",\"cancelled_by\":{}", string(&ask.told.by));
            let outcome = self.write(project, made::failed(&told, FailedWhy::Cancelled, "", &more)).await?;
            matches!(outcome, Outcome::Settled { .. })
        };
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
        Ok((Asked { id, status: Status::Answered, overruled: overruled(!late) }, known.is_some()))
    }

    /// The command, if who asks may cancel it. Of one that is answered, or that the store lost, no more may be known than its
    /// id.
    async fn target(&self, project: &Project, target: &str, ask: &Ask) -> Result<Target, Refusal> {
        let may = |is_own: bool| {
            let somebody_elses = || Refusal::new(ErrorCode::Forbidden, "the command is somebody else's");
            (is_own || ask.is_admin).then_some(()).ok_or_else(somebody_elses)
        };
        let gone = || Refusal::new(ErrorCode::CommandGone, "the command is over, or never was");
        if let Some(open) = self.inboxes.find(project.clone(), target.to_owned()).await? {
            let is_own = open.asker == ask.told.by;
            may(is_own)?;
            let told = Told::read(&open.body).ok_or_else(gone)?;
            let everyone = self.answers_are_for_everyone(project).await?;
            let told = Told { reply_to: told.reply_to.filter(|_| !everyone), ..told };
            return Ok(Target { told, standing: open.standing, is_own });
        }
        let kept = self.table.get(project, target).map(|kept| kept.told);
        if let Some(first) = self.inboxes.guard(project.clone(), guard_of(target)).await? {
            let is_own = made::is_of(&first.note, &ask.told.by);
            may(is_own)?;
            let unknown = || Told { id: target.to_owned(), kind: String::new(), ..ask.told.clone() };
            return Ok(Target { told: kept.unwrap_or_else(unknown), standing: Standing::Answered(first), is_own });
        }
        // The store lost it a moment ago.
        let told = kept.filter(|told| may(told.by == ask.told.by).is_ok()).ok_or_else(gone)?;
        let is_own = told.by == ask.told.by;
        Ok(Target { told, standing: Standing::Unknown, is_own })
    }
}

/// The id of the command that is to be cancelled.
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
