//! `approval.answer`: the first answer is the decision, and whoever comes later is told what stands.

use tidings_broker::inbox::{ItemKind, PutAnswer, Standing, guard_of};
use tidings_log::writer::Outcome;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::intake;
use tidings_protocol::project::Project;
use tidings_protocol::redact::Counts;

use super::{Ask, Asked, Inner, Status};
use crate::approval::{self, Answer, Decision};
use crate::json::string;
use crate::made::{self, FailedWhy};
use crate::sessions::Sessions;
use crate::{Refusal, digest};

impl Inner {
    /// Decides, if nobody has.
    pub(super) async fn decide(&self, project: &Project, ask: &Ask) -> Result<(Asked, bool), Refusal> {
        let answer = Answer::of(&ask.command)?;
        self.may_be_answered(project, ask.command.session.as_deref().unwrap_or_default(), &answer).await?;
        let id = ask.told.id.clone();
        let known = match self.begin(project, ask).await? {
            Some(Standing::Answered(_)) => return Ok((Asked { id, status: Status::Answered, overruled: None }, true)),
            standing => standing.is_some(),
        };
        let session = ask.command.session.as_deref().unwrap_or_default();
        let mut resolved = answer.resolved(&id, session, &ask.told.by);
        let away = || Refusal::new(ErrorCode::RedisAway, "the store is away: the project's settings cannot be read");
        if let Some(redactor) = self.projects.of(project).await.map_err(|_| away())?.redactor {
            intake::redact(&mut resolved, &redactor, &self.settings.limits, &mut Counts::default())
                .map_err(|fault| Refusal { code: fault.code, detail: fault.detail, errors: fault.errors })?;
            // Its note is told as well.
            approval::guard_decision(&mut resolved);
        }
        let stands = match self.write(project, resolved).await? {
            Outcome::Settled { .. } => {
                let stands = self.decision(project, session, &answer.approval_id).await?;
                Some(stands.unwrap_or_else(|| Decision::of_note("{}")))
            }
            // The event stands already; whether it decided the guard says.
            Outcome::Duplicate { .. } => self.decision(project, session, &answer.approval_id).await?,
            _ => None,
        };
        // What an earlier sending of the same command decided is its own.
        let other = stands.filter(|stands| stands.command != digest(&id));
        let last = match &other {
            None => made::completed(&ask.told, &format!("{{\"decision\":{}}}", answer.decision)),
            Some(Decision { decision, by, .. }) => {
                let more = format!(",\"decision\":{decision},\"decided_by\":{}", string(by));
                made::failed(&ask.told, FailedWhy::AlreadyAnswered, "", &more)
            }
        };
        self.finish(project, ask, last, other.is_some().then_some(FailedWhy::AlreadyAnswered)).await?;
        self.settle(project, vec![approval::alarm_key(session, &answer.approval_id)]).await;
        if other.is_none() {
            self.notify(project, ask.told.clone(), session, ask.command.data.as_deref()).await;
        }
        Ok((Asked { id, status: Status::Answered, overruled: None }, known))
    }

    /// Whether the question is open and the answer one of its options; or it is decided: who comes late is told what stands.
    async fn may_be_answered(&self, project: &Project, session: &str, answer: &Answer) -> Result<(), Refusal> {
        let approval = &answer.approval_id;
        if self.decision(project, session, approval).await?.is_some() {
            return Ok(());
        }
        // Where no fold can be read now, nobody is kept from answering.
        let Some(now) = Sessions::read(&**self.writers.broker(), project, &[session]).await? else { return Ok(()) };
        match now.approval(session, approval) {
            Some(open) => answer.check(open),
            None if self.decision(project, session, approval).await?.is_some() => Ok(()),
            None => {
                let expected = "no approval of this id is open in this session";
                Err(Refusal::of_field(ErrorCode::NotFound, "data.approval_id", expected))
            }
        }
    }

    /// The decision that stands, if one does.
    async fn decision(&self, project: &Project, session: &str, approval: &str) -> Result<Option<Decision>, Refusal> {
        let key = approval::guard_key(session, approval);
        let guarded = self.inboxes.guard(project.clone(), key).await?;
        Ok(guarded.map(|guarded| Decision::of_note(&guarded.note)))
    }

    /// Notes a command that the desk itself answers, so that it is answered although the desk dies; how it stands if it is
    /// known.
    pub(super) async fn begin(&self, project: &Project, ask: &Ask) -> Result<Option<Standing>, Refusal> {
        let guard = guard_of(&ask.told.id);
        match self.put(project, ask.item(ItemKind::Alarm { guard }, self.settings.inbox_max)).await?.answer {
            PutAnswer::Queued => Ok(None),
            PutAnswer::Known(standing) => Ok(Some(standing)),
            refused @ (PutAnswer::NoRunner | PutAnswer::Full | PutAnswer::Conflict | PutAnswer::Deleted) => {
                Err(super::refusal(&refused, ask.command.capability()))
            }
        }
    }

    /// Answers such a command. `why`: it failed so.
    pub(super) async fn finish(
        &self,
        project: &Project,
        ask: &Ask,
        last: tidings_protocol::wire::Event,
        why: Option<FailedWhy>,
    ) -> Result<(), Refusal> {
        let outcome = self.write(project, last).await.map_err(|refusal| Refusal {
            // What was to be done is done; only its answer may come late.
            code: ErrorCode::OutcomeUnknown,
            ..refusal
        })?;
        if super::stands(&outcome) {
            match why {
                Some(why) => self.metrics.on_failed(why),
                None => self.metrics.on_completed(),
            }
        }
        self.settle(project, vec![ask.told.id.clone()]).await;
        Ok(())
    }
}
