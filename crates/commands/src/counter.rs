//! The runners' side: hands commands out, and knows whose they are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidings_broker::inbox::waking::Word;
use tidings_broker::inbox::{Guarded, Here, Inboxes, LeaseAct, LeaseAnswer, LeaseStep, Leased, Take, guard_of};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::parse_rfc3339;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::line::{Lines, Place};
use crate::metrics::WorkMetrics;
use crate::owners::Owners;
use crate::told::{self, Told};
use crate::{Refusal, unix_ms};

/// Who waits for commands looks again after this time, whatever it is told: a wake-up may be lost, and what it gave back it
/// gets again without a word. Of leases that run out whoever looks after the inbox tells.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The same of who waits for a decision: one without a deadline is told of by nobody.
const LOOK_AT_GUARD_EVERY: Duration = Duration::from_secs(1);

/// Commands of which is remembered what was asked.
const REMEMBERED_MAX: usize = 4_096;

/// Where runners take commands. Cheap to clone.
#[derive(Clone)]
pub struct Counter(Arc<Inner>);

struct Inner {
    inboxes: Arc<dyn Inboxes>,
    lines: Lines,
    owners: Owners,
    remembered: Mutex<Remembered>,
    metrics: WorkMetrics,
}

/// What was asked, by who has it: the oldest leaves first.
#[derive(Default)]
struct Remembered {
    told: HashMap<Lease, Arc<Told>, foldhash::fast::RandomState>,
    order: VecDeque<Lease>,
}

/// One lease of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Where.
    pub project: Project,
    /// Whose.
    pub runner: String,
    /// Whose the runner is.
    pub subject: String,
    /// The command.
    pub id: String,
    /// Its number.
    pub lease: u64,
}

/// A command that is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Its id.
    pub id: String,
    /// The lease.
    pub lease: u64,
    /// What the runner is told, a line of JSON.
    pub json: Bytes,
}

/// What a runner is handed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handed {
    /// In the order in which it should work on them.
    pub commands: Vec<Command>,
    /// What it has now, with these.
    pub in_hand: u32,
    /// It said good-bye, or lapsed, while it waited: nothing is handed to it until it asks anew.
    pub is_gone: bool,
}

/// Why a lease is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoLease {
    /// It is answered: by this event.
    Answered(Guarded),
    /// Something else.
    Refused(Refusal),
}

impl From<NoLease> for Refusal {
    fn from(none: NoLease) -> Refusal {
        match none {
            NoLease::Answered(first) => {
                Refusal::new(ErrorCode::AlreadyAnswered, format!("it was answered at {}", first.position))
            }
            NoLease::Refused(refusal) => refusal,
        }
    }
}

impl Counter {
    /// A counter over the inboxes of `owners`.
    pub fn new(owners: Owners, metrics: WorkMetrics) -> Counter {
        let inboxes = owners.inboxes().clone();
        let lines = Lines::new(inboxes.clone());
        Counter(Arc::new(Inner { inboxes, lines, owners, remembered: Mutex::default(), metrics }))
    }

    /// Says that a runner is there, and hands it what waits; waits for something until `until`, or `stop`. That it is there is
    /// said by the first look alone, so that a request which its runner has left behind keeps nobody there.
    ///
    /// Dropped before it is ready, commands may be leased that nobody is told of: they are handed out again when their lease
    /// runs out.
    ///
    /// # Errors
    /// `runner_taken`, `busy` where too many runners are there, and those of the store.
    pub async fn take(
        &self,
        project: &Project,
        mut take: Take,
        until: Instant,
        stop: &CancellationToken,
    ) -> Result<Handed, Refusal> {
        let waits = take.max > 0 && Instant::now() < until;
        let mut place = if waits { Some(self.0.lines.join(project).await?) } else { None };
        let mut is_full = false;
        loop {
            if let Some(place) = &mut place {
                place.stand(&wants(&take, is_full));
            }
            let here = self.0.inboxes.take(project.clone(), take.clone()).await?;
            let (commands, in_hand) = match here {
                Here::Taken { commands, in_hand } => {
                    // Only who may be there under this name is told what is for that runner.
                    self.0.owners.note_runner(project, &take.runner);
                    (commands, in_hand)
                }
                Here::Anothers => {
                    let detail = "a runner of this name is there by another credential";
                    return Err(Refusal::new(ErrorCode::RunnerTaken, detail));
                }
                Here::Full => return Err(Refusal::new(ErrorCode::Busy, "as many runners are there as may be")),
                Here::Gone => return Ok(Handed { is_gone: true, ..Handed::default() }),
            };
            take.goes_on = true;
            let was_full = std::mem::replace(&mut is_full, in_hand >= take.in_hand_max);
            if let Some(place) = &mut place {
                if is_full { place.pass_on(&wants(&take, is_full)) } else { place.looked() }
            }
            let now = Instant::now();
            let over = !commands.is_empty() || now >= until || stop.is_cancelled();
            let Some(place) = place.as_ref().filter(|_| !over) else {
                return Ok(self.handed(project, &take, commands, in_hand).await);
            };
            if is_full != was_full {
                // It stood in line for other things than it can do now: what came meanwhile was told to nobody, or to others.
                continue;
            }
            place.woken(until.min(now + LOOK_EVERY), stop).await;
        }
    }

    /// What was leased, as it is told. A notice leaves with being told: nobody waits for an answer.
    async fn handed(&self, project: &Project, take: &Take, leased: Vec<Leased>, in_hand: u32) -> Handed {
        let mut commands = Vec::with_capacity(leased.len());
        let mut notices = Vec::new();
        let now_ms = unix_ms();
        for leased in leased {
            let mut json = Vec::with_capacity(leased.body.len() + 128);
            told::write(&leased, now_ms, &mut json);
            let Leased { id, lease, body, .. } = leased;
            if let Some(told) = Told::read(&body) {
                if told.notice {
                    notices.push(LeaseStep { id: id.clone(), lease, act: LeaseAct::Accept });
                } else {
                    let asked_ms = parse_rfc3339(&told.asked).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(now_ms);
                    self.0.metrics.waited.observe(Duration::from_millis(now_ms.saturating_sub(asked_ms)).as_secs_f64());
                    let (project, id) = (project.clone(), id.clone());
                    let (runner, subject) = (take.runner.clone(), take.subject.clone());
                    self.remember(Lease { project, runner, subject, id, lease }, Arc::new(told));
                }
            }
            commands.push(Command { id, lease, json: json.into() });
        }
        let kept = u32::try_from(commands.len() - notices.len()).unwrap_or(u32::MAX);
        if !notices.is_empty() {
            // Not accepted it would be told again, which does no harm.
            let (runner, subject) = (take.runner.clone(), take.subject.clone());
            if let Err(error) = self.0.inboxes.answer(project.clone(), runner, subject, notices).await {
                tracing::debug!(%project, %error, "notices were not settled");
            }
        }
        Handed { commands, in_hand: in_hand.saturating_add(kept), is_gone: false }
    }

    /// What was asked with the command of this lease. It may have been lost meanwhile: [`Counter::step`] says so.
    ///
    /// # Errors
    /// As of [`Counter::step`].
    pub async fn told(&self, lease: &Lease) -> Result<Arc<Told>, NoLease> {
        if let Some(told) = self.0.remembered.lock().told.get(lease) {
            return Ok(told.clone());
        }
        self.step(lease, LeaseAct::Check).await
    }

    /// Does something with a lease.
    ///
    /// # Errors
    /// It is answered, `lease_lost`, `command_gone`, and those of the store.
    pub async fn step(&self, lease: &Lease, act: LeaseAct) -> Result<Arc<Told>, NoLease> {
        let Lease { project, runner, subject, id, lease: number } = lease;
        let step = LeaseStep { id: id.clone(), lease: *number, act };
        let answer = self.0.inboxes.answer(project.clone(), runner.clone(), subject.clone(), vec![step]).await;
        let answer = answer.map_err(|error| NoLease::Refused(error.into()))?.pop().unwrap_or(LeaseAnswer::Gone);
        let refused = |code, detail: &str| Err(NoLease::Refused(Refusal::new(code, detail)));
        match answer {
            LeaseAnswer::Done { body, .. } => match Told::read(&body) {
                Some(told) => {
                    let told = Arc::new(told);
                    if matches!(act, LeaseAct::Release) {
                        self.0.remembered.lock().told.remove(lease);
                    } else {
                        self.remember(lease.clone(), told.clone());
                    }
                    Ok(told)
                }
                None => refused(ErrorCode::Internal, "the command cannot be read"),
            },
            LeaseAnswer::Lost => refused(ErrorCode::LeaseLost, "the lease is over: the command was handed on"),
            LeaseAnswer::Gone => match self.answer_of(lease).await.map_err(NoLease::Refused)? {
                Some(first) => Err(NoLease::Answered(first)),
                None => refused(ErrorCode::CommandGone, "the command is not known any more"),
            },
        }
    }

    /// The final answer to the command of this lease, if it stands.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn answer_of(&self, lease: &Lease) -> Result<Option<Guarded>, Refusal> {
        Ok(self.0.inboxes.guard(lease.project.clone(), guard_of(&lease.id)).await?)
    }

    /// Final answers of these stand. When this fails, their guards say so all the same.
    pub async fn settle(&self, project: &Project, ids: Vec<String>) {
        if let Err(error) = self.0.inboxes.settle(project.clone(), ids).await {
            tracing::debug!(%project, %error, "a command was not settled");
        }
    }

    /// A runner goes; whether it was there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn leave(&self, project: &Project, runner: &str, subject: &str) -> Result<bool, Refusal> {
        Ok(self.0.inboxes.leave(project.clone(), runner.to_owned(), subject.to_owned()).await?)
    }

    /// Waits until the guard stands, at most until `until` or `stop`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn guarded(
        &self,
        project: &Project,
        key: &str,
        until: Instant,
        stop: &CancellationToken,
    ) -> Result<Option<Guarded>, Refusal> {
        let mut place: Option<Place> = None;
        loop {
            if let Some(place) = &mut place {
                place.stand(&[Word::Guard(key)]);
            }
            let guarded = self.0.inboxes.guard(project.clone(), key.to_owned()).await?;
            let now = Instant::now();
            if guarded.is_some() || now >= until || stop.is_cancelled() {
                return Ok(guarded);
            }
            match &place {
                // It was decided already, as often as not.
                None => place = Some(self.0.lines.join(project).await?),
                Some(place) => place.woken(until.min(now + LOOK_AT_GUARD_EVERY), stop).await,
            }
        }
    }

    /// What it counts.
    pub fn metrics(&self) -> &WorkMetrics {
        &self.0.metrics
    }

    /// Who publishes for what.
    pub fn owners(&self) -> &Owners {
        &self.0.owners
    }

    /// The inboxes.
    pub fn inboxes(&self) -> &Arc<dyn Inboxes> {
        &self.0.inboxes
    }

    fn remember(&self, lease: Lease, told: Arc<Told>) {
        let mut remembered = self.0.remembered.lock();
        if remembered.told.insert(lease.clone(), told).is_none() {
            remembered.order.push_back(lease);
        }
        while remembered.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = remembered.order.pop_front() {
                remembered.told.remove(&oldest);
            }
        }
    }
}

/// What concerns a runner that waits; with full hands it can take nothing but what is for it alone.
fn wants(take: &Take, is_full: bool) -> Vec<Word<'_>> {
    let (own, hand) = (Word::Runner(&take.runner), Word::Hand(&take.runner));
    if is_full {
        return vec![own, hand];
    }
    take.capabilities.iter().map(|name| Word::Capability(name)).chain([own]).collect()
}
