//! The asker's side: a gateway's desk takes commands, puts them into inboxes, and keeps each until its final answer stands.
//!
//! A store that lost an inbox is given its commands again under their ids; one that nobody answers is answered when it is
//! due. What is kept is bounded ([`OPEN_MAX`], [`OPEN_BYTES_MAX`]); when it is full further commands are refused, never
//! dropped. A gateway that is killed leaves its commands in the inbox, where ingests look after them.

mod cancel;
mod decide;
mod keeper;
mod publish;
mod table;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tidings_broker::inbox::{Inboxes, ItemKind, Placed, Put, PutAnswer, Standing};
use tidings_broker::{CallError, NothingWhy};
use tidings_log::writer::{Options, Outcome, Writers};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::intake;
use tidings_protocol::limits::EventLimits;
use tidings_protocol::project::Project;
use tidings_protocol::redact::Counts;
use tidings_protocol::wire;
use tidings_registry::SettingsReader;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use ulid::Ulid;

use crate::asker::Asker;
use crate::command::{Class, Command};
use crate::metrics::DeskMetrics;
use crate::told::Told;
use crate::{NOBODY, Refusal, digest, made, unix_ms};
use table::{Kept, Table};

/// Commands that a desk keeps.
pub const OPEN_MAX: usize = 20_000;

/// Bytes of them.
pub const OPEN_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The part of both that one project may have: others find room beside it.
const PROJECT_SHARE: usize = 8;

/// Notices that may wait in an inbox.
const NOTICES_MAX: u32 = 10_000;

/// How long a notice is of use.
const NOTICE_MS: u64 = 60_000;

/// How often, and after what pause, a call whose outcome is unknown is made again. It is harmless.
const TRIES: u32 = 3;
const TRY_PAUSE: Duration = Duration::from_millis(200);

/// How long a desk that stops waits for decisions and cancellations that have begun.
const FINISH_TIME: Duration = Duration::from_secs(3);

/// Settings of a desk.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// When a command that does not say so is due, in milliseconds from now.
    pub deadline_ms: u64,
    /// Commands that may be open in a project's inbox for one capability.
    pub inbox_max: u32,
    /// The limits of events.
    pub limits: EventLimits,
}

/// Where commands of viewers are taken. Cheap to clone.
#[derive(Clone)]
pub struct Desk(Arc<Inner>);

struct Inner {
    inboxes: Arc<dyn Inboxes>,
    writers: Writers,
    projects: SettingsReader,
    settings: Settings,
    table: Table,
    metrics: DeskMetrics,
    /// Decisions and cancellations: once begun they come to their end, whoever asked is there or not.
    tasks: TaskTracker,
}

/// A command that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Its id: the asker's, or the one that it was given.
    pub id: String,
    /// How it stands.
    pub status: Status,
    /// It is a cancellation, and was of somebody else's command.
    #[serde(skip)]
    pub overruled: Option<Overruled>,
}

/// An administrator cancelled what somebody else asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overruled {
    /// Who had asked; none: it was answered already, and only that it was not he is known.
    pub asker: Option<String>,
    /// Whether it is cancelled by this; false: it was answered before.
    pub stood: bool,
}

/// How a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for a runner.
    Queued,
    /// A runner has it, and has not accepted it yet.
    Leased,
    /// A runner works on it.
    Accepted,
    /// Its final answer stands.
    Answered,
}

impl Status {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Leased => "leased",
            Status::Accepted => "accepted",
            Status::Answered => "answered",
        }
    }

    fn of(standing: &Standing) -> Status {
        match standing {
            Standing::Queued | Standing::Unknown => Status::Queued,
            Standing::Leased { .. } => Status::Leased,
            Standing::Accepted { .. } => Status::Accepted,
            Standing::Answered(_) => Status::Answered,
        }
    }
}

/// A command with what the desk says of it.
struct Ask {
    command: Command,
    told: Told,
    deadline_ms: u64,
    /// Who asks may cancel what others asked.
    is_admin: bool,
}

impl Ask {
    fn item(&self, kind: ItemKind, open_max: u32) -> Put {
        let Ask { command, told, deadline_ms, .. } = self;
        let body = told.body(command.capability(), command.data.as_deref());
        let (id, asker) = (told.id.clone(), told.by.clone());
        Put { id, asker, kind, deadline_ms: *deadline_ms, open_max, body, life: None }
    }

    fn for_runners(&self) -> ItemKind {
        ItemKind::Command {
            capability: self.command.capability().to_owned(),
            session: self.command.session.clone().unwrap_or_default(),
            agent: self.command.agent.clone().unwrap_or_default(),
            urgent: self.command.is_urgent(),
            notice: false,
        }
    }
}

impl Desk {
    /// A desk over these inboxes, which writes to logs by `writers`; they are its own: [`Desk::drain`] drains them.
    /// [`Desk::run`] must run beside it.
    pub fn new(
        inboxes: Arc<dyn Inboxes>,
        writers: Writers,
        projects: SettingsReader,
        settings: Settings,
        metrics: DeskMetrics,
    ) -> Desk {
        let table = Table::new(metrics.open.clone());
        Desk(Arc::new(Inner { inboxes, writers, projects, settings, table, metrics, tasks: TaskTracker::new() }))
    }

    /// Takes a command of who asks: he has the right to, and is within his rate. Asked again under its id it is the same
    /// command, and the answer says how it stands. Its final answer comes as an event.
    ///
    /// Dropped before it is ready, the command may be taken or not; a decision or a cancellation that has begun is brought to
    /// its end.
    ///
    /// # Errors
    /// What is wrong with it; `no_runner`, `inbox_full`, `command_conflict` and `busy`: nothing was put. `outcome_unknown`: it
    /// may be put.
    pub async fn ask(&self, project: &Project, asker: &Asker, command: Command) -> Result<Asked, Refusal> {
        let class = Class::of(&command.kind);
        let asked = self.0.ask(project, asker, command, class).await;
        match &asked {
            Ok((_, known)) => self.0.metrics.on_taken(class, *known),
            Err(refusal) => self.0.metrics.on_refused(class, refusal.code),
        }
        asked.map(|(asked, _)| asked)
    }

    /// Looks after what was taken until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let watching = self.0.writers.clone();
        let keeping = keeper::keep(self.0.clone(), stop.clone());
        futures_util::future::join(watching.watch(stop), keeping).await;
    }

    /// Refuses what comes from now on, and resolves when everything that is written has been answered.
    pub async fn drain(&self) {
        self.0.tasks.close();
        // What is not at its end by then is answered by the alarm that it put.
        let _ = tokio::time::timeout(FINISH_TIME, self.0.tasks.wait()).await;
        self.0.writers.drain().await;
    }

    /// Commands that are kept.
    pub fn open(&self) -> usize {
        self.0.table.len()
    }
}

impl Inner {
    /// With whether it was known.
    async fn ask(
        self: &Arc<Self>,
        project: &Project,
        asker: &Asker,
        command: Command,
        class: Class,
    ) -> Result<(Asked, bool), Refusal> {
        command.check()?;
        let id = command.id.clone().unwrap_or_else(|| Ulid::new().to_string());
        let everyone = self.answers_are_for_everyone(project).await?;
        let asker = Asker { reply_to: asker.reply_to.clone().filter(|_| !everyone), ..asker.clone() };
        let told = Told::of(&command, &id, &asker, unix_ms());
        let deadline_ms = command.deadline_ms.unwrap_or(self.settings.deadline_ms);
        let ask = Ask { command, told, deadline_ms, is_admin: asker.is_admin };
        match class {
            Class::Approval => {
                let (this, project) = (self.clone(), project.clone());
                self.bring_to_its_end(async move { this.decide(&project, &ask).await }).await
            }
            Class::Cancel => {
                let (this, project) = (self.clone(), project.clone());
                self.bring_to_its_end(async move { this.cancel(&project, &ask).await }).await
            }
            _ => self.hand_on(project, ask).await,
        }
    }

    /// Does something of several steps, to the last one although the caller goes away between them.
    async fn bring_to_its_end<T: Send + 'static>(
        &self,
        doing: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let lost = |_| Refusal::new(ErrorCode::OutcomeUnknown, "the service stops; to ask again is harmless");
        self.tasks.spawn(doing).await.map_err(lost)?
    }

    /// Puts a command for runners, and keeps it.
    async fn hand_on(&self, project: &Project, ask: Ask) -> Result<(Asked, bool), Refusal> {
        let put = ask.item(ask.for_runners(), self.settings.inbox_max);
        let id = put.id.clone();
        let Some(place) = self.table.reserve(project, put.body.len()) else {
            return Err(Refusal::new(ErrorCode::Busy, "too many commands are open here"));
        };
        if let Some(text) = ask.command.text().filter(|_| ask.command.is_chat()) {
            self.say(project, &ask, &put, &text).await?;
        }
        let due_at = Instant::now() + Duration::from_millis(ask.deadline_ms);
        let Placed { answer, life } = self.put(project, put.clone()).await.map_err(|error| {
            let mut refusal = Refusal::from(error);
            refusal.detail = format!("{}; its id is {id}", refusal.detail);
            refusal
        })?;
        let standing = match answer {
            PutAnswer::Queued => None,
            PutAnswer::Known(standing) => Some(standing),
            refused => return Err(refusal(&refused, ask.command.capability())),
        };
        let status = standing.as_ref().map_or(Status::Queued, Status::of);
        if status != Status::Answered {
            place.keep(Kept { put: Put { life: Some(life), ..put }, told: ask.told, due_at });
        }
        Ok((Asked { id, status, overruled: None }, standing.is_some()))
    }

    /// Writes down what a person says before a runner hears it, so that no answer stands before it. Not if it is clear already
    /// that nobody will hear it.
    async fn say(&self, project: &Project, ask: &Ask, put: &Put, text: &str) -> Result<(), Refusal> {
        match self.put(project, Put { open_max: 0, ..put.clone() }).await?.answer {
            refused @ (PutAnswer::NoRunner | PutAnswer::Conflict | PutAnswer::Deleted) => {
                return Err(refusal(&refused, ask.command.capability()));
            }
            // It was written down before it was put.
            PutAnswer::Known(_) => return Ok(()),
            PutAnswer::Queued | PutAnswer::Full => {}
        }
        let mut said = made::said(&ask.told, text);
        let away = || Refusal::new(ErrorCode::RedisAway, "the store is away: the project's settings cannot be read");
        if let Some(redactor) = self.projects.of(project).await.map_err(|_| away())?.redactor {
            intake::redact(&mut said, &redactor, &self.settings.limits, &mut Counts::default())
                .map_err(|fault| Refusal { code: fault.code, detail: fault.detail, errors: fault.errors })?;
        }
        self.write(project, said).await.map(drop)
    }

    /// Puts an item; again when it is not known whether it was. An id that was another asker's until it was answered is his.
    async fn put(&self, project: &Project, put: Put) -> Result<Placed, CallError> {
        let mut tries = 1;
        loop {
            match self.inboxes.put(project.clone(), put.clone()).await {
                Err(CallError::Unknown(_) | CallError::Nothing(NothingWhy::Refusing(_))) if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(TRY_PAUSE).await;
                }
                Ok(Placed { answer: PutAnswer::Known(Standing::Answered(first)), life })
                    if !made::is_of(&first.note, &put.asker) =>
                {
                    return Ok(Placed { answer: PutAnswer::Conflict, life });
                }
                placed => return placed,
            }
        }
    }

    /// Appends one event.
    async fn write(&self, project: &Project, event: wire::Event) -> Result<Outcome, Refusal> {
        let outcomes = self.writers.submit(project, vec![event], Options::new()).await;
        let mut outcomes = outcomes.map_err(|error| Refusal::from(error.why))?;
        outcomes.pop().ok_or_else(|| Refusal::new(ErrorCode::Internal, "an event has no outcome"))
    }

    /// Settles what is answered. When that fails, the guard says so all the same.
    async fn settle(&self, project: &Project, ids: Vec<String>) {
        if let Err(error) = self.inboxes.settle(project.clone(), ids).await {
            tracing::debug!(%project, %error, "a command was not settled");
        }
    }

    /// Tells the runner that holds a session something, if it is there.
    async fn notify(&self, project: &Project, told: Told, session: &str, data: Option<&str>) {
        let told = Told { id: format!("{}n:{}", crate::OWN_PREFIX, digest(&told.id)), notice: true, ..told };
        let put = Put {
            id: told.id.clone(),
            asker: told.by.clone(),
            kind: ItemKind::Command {
                capability: NOBODY.to_owned(),
                session: session.to_owned(),
                agent: String::new(),
                urgent: true,
                notice: true,
            },
            deadline_ms: NOTICE_MS,
            open_max: NOTICES_MAX,
            body: told.body(NOBODY, data),
            life: None,
        };
        if let Err(error) = self.put(project, put).await {
            tracing::debug!(%project, %error, "a runner was not told");
        }
    }

    /// Whether all viewers of the project get the answers.
    async fn answers_are_for_everyone(&self, project: &Project) -> Result<bool, Refusal> {
        let settings = self.projects.numbers_of(project).await;
        let away = |_| Refusal::new(ErrorCode::RedisAway, "the store is away: the project's settings cannot be read");
        settings.map(|settings| crate::answers_are_for_everyone(&settings)).map_err(away)
    }
}

/// Why nothing was put.
fn refusal(answer: &PutAnswer, capability: &str) -> Refusal {
    match answer {
        PutAnswer::NoRunner => {
            Refusal::new(ErrorCode::NoRunner, format!("no runner with the capability `{capability}` is there"))
        }
        PutAnswer::Full => Refusal::new(ErrorCode::InboxFull, "as many commands are open in the project as may be"),
        PutAnswer::Conflict => Refusal::new(ErrorCode::CommandConflict, "the id is another asker's command"),
        PutAnswer::Deleted => Refusal::new(ErrorCode::CommandGone, "the project was deleted"),
        PutAnswer::Queued | PutAnswer::Known(_) => Refusal::new(ErrorCode::Internal, "it was put"),
    }
}

/// Whether this answer is the one that stands.
fn stands(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Appended { .. })
}
