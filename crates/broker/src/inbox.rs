//! Inboxes: what viewers ask of a project's runners, until it is answered.
//!
//! A *command* waits in its project's inbox until a runner with its capability takes it; it is *leased* to that one runner,
//! who accepts it in time or loses it to another; once *accepted* it stays with its runner while that one is there. It leaves
//! by [`Inboxes::settle`]. That a command is answered once is not kept here but in the log: the first event with its guard
//! wins ([`crate::GuardStep`]). A command whose guard stands is never told to a runner again, whatever else is known of it.
//!
//! An inbox is volatile: a store that lost it is told again by those who asked ([`Inboxes::put`] under the same id). Bodies
//! are bytes here; what they say is the caller's matter.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use crate::{CallError, NothingWhy, ReadError, Sink, Subscription};

/// Largest body of a command, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Capabilities of a runner.
pub const CAPABILITIES_MAX: usize = 32;

/// Runners that a project's inbox knows; more are refused ([`Here::Full`]).
pub const RUNNERS_MAX: usize = 1_000;

/// Sessions (and agents) whose runner a project's inbox knows; the one that was heard of longest ago goes first.
pub const OWNED_MAX: usize = 10_000;

/// Commands that one call takes, and that one call of [`Inboxes::due`] tells.
pub const TAKEN_MAX: usize = 100;

/// Longest name of a command, a runner, a session or whatever else has one here, in bytes.
pub const NAME_BYTES_MAX: usize = 256;

/// Commands may be open in one inbox, whatever they are for, so many times as one capability's ([`Put::open_max`]).
pub const OPEN_IN_ALL: u32 = 4;

/// What a runner gave back it does not get again for so long, in milliseconds: others come first.
pub const REST_MS: u64 = 5_000;

/// An inbox that nobody uses is gone after so long, in milliseconds; not before the last deadline in it.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;

/// How exactly it is known when an inbox was used last, in milliseconds.
pub(crate) const USED_EVERY_MS: u64 = 60_000;

/// Agents that one call forgets of a runner, or of a session.
pub(crate) const AGENTS_FORGOTTEN_MAX: usize = 1_000;

/// Things that became due and that one call looks at before its own matter.
pub(crate) const SWEPT_MAX: usize = 100;

/// Commands of a queue that one call looks at beyond those that it wants.
pub(crate) const LOOKED_AT_MAX: usize = 100;

/// The guard (see [`crate::GuardStep`]) of a command's final answer.
pub fn guard_of(command: &str) -> String {
    format!("c:{command}")
}

/// Inboxes of projects. Every call is one atomic step on one project, bounded in time as all calls of the store are, and
/// may be made again without harm. Times are the store's clock, in milliseconds since the Unix epoch.
pub trait Inboxes: Send + Sync + 'static {
    /// Puts a command, or an alarm. A known id changes nothing. What is put wakes those who watch.
    fn put(&self, project: Project, item: Put) -> BoxFuture<'_, Result<PutAnswer, CallError>>;

    /// Says that a runner is there, with these capabilities, for `ttl_ms` from now at the least, and takes up to `max`
    /// (0: none; at most [`TAKEN_MAX`]) of what waits for it: urgent ones first, then in the order in which they were put. A
    /// lease that ran out, or whose runner lapsed, waits again, in its old place.
    fn take(&self, project: Project, take: Take) -> BoxFuture<'_, Result<Here, CallError>>;

    /// A runner says that it goes: what it has leased and not accepted waits again; what it accepted is lost, as if it had
    /// lapsed now. False: no runner of this name was there, or it is another subject's.
    fn leave(&self, project: Project, runner: String, subject: String) -> BoxFuture<'_, Result<bool, CallError>>;

    /// What a runner does with what is leased to it. One answer for each, in the order asked. `subject` is whose the runner
    /// must be, or its leases are [`LeaseAnswer::Lost`]; a step that is done keeps the runner there as its last take did.
    fn answer(
        &self,
        project: Project,
        runner: String,
        subject: String,
        steps: Vec<LeaseStep>,
    ) -> BoxFuture<'_, Result<Vec<LeaseAnswer>, CallError>>;

    /// These are answered (their guards stand in the log), or are not wanted any more: they leave. Unknown ids do no harm.
    fn settle(&self, project: Project, ids: Vec<String>) -> BoxFuture<'_, Result<(), CallError>>;

    /// How commands stand, in the order asked.
    fn look(&self, project: Project, ids: Vec<String>) -> BoxFuture<'_, Result<Vec<Standing>, ReadError>>;

    /// The guard of this key, if it stands: the position of its event, and its note.
    fn guard(&self, project: Project, key: String) -> BoxFuture<'_, Result<Option<Guarded>, ReadError>>;

    /// What somebody must act upon, at most [`TAKEN_MAX`] of each: items past their deadline, accepted or bound commands
    /// whose runner lapsed, and runners that lapsed. It is told again until it is settled, put off, or forgotten.
    fn due(&self, project: Project) -> BoxFuture<'_, Result<Due, CallError>>;

    /// What was told of lapsed runners is done: they, the sessions that are named and their agents are forgotten, unless they
    /// came back since. Who still has commands, or sessions that were not named, is told again.
    fn forget(&self, project: Project, lapsed: Vec<Lapsed>) -> BoxFuture<'_, Result<(), CallError>>;

    /// Who published last for these sessions and agents (without a runner: nobody any more, the session is over). Whoever
    /// publishes for an agent does so for its session.
    fn own(&self, project: Project, owned: Vec<Owned>) -> BoxFuture<'_, Result<(), CallError>>;

    /// Projects of an index shard that have an inbox, as [`crate::Index::projects`] has them: entered by their first
    /// [`Inboxes::put`] or [`Inboxes::take`], unordered.
    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>>;

    /// Deletes a project's inbox, whatever it holds. It passes when the store is out of memory, too.
    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>>;

    /// Wakes `sink` (with empty messages) whenever something may wait in the project's inbox, or was settled; confirmed on
    /// return. Wake-ups may be lost or come for nothing: whoever needs to be sure looks again now and then.
    fn watch(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>>;
}

/// What is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Unique in the project; without control characters, at most 128 bytes.
    pub id: String,
    /// Who asks: a known id of another asker is [`PutAnswer::Conflict`].
    pub asker: String,
    /// What kind of item.
    pub kind: ItemKind,
    /// Milliseconds from now after which it is due.
    pub deadline_ms: u64,
    /// Commands that may be open in this inbox for its capability, and [`OPEN_IN_ALL`] times as many for all together. Those
    /// that are bound to runners count as one capability, whatever theirs are; alarms by the class of their guard, which is
    /// what stands before its colon, and beside all others; so do notices, by their capability.
    pub open_max: u32,
    /// Told to the runner, and back when it is due.
    pub body: Bytes,
}

impl Put {
    /// # Errors
    /// Nothing happened: a name is empty, too long or holds control characters, or the body is too large.
    pub(crate) fn sound(&self) -> Result<(), CallError> {
        if self.body.len() > BODY_BYTES_MAX {
            return Err(refusing("the body is too large"));
        }
        let (named, others) = match &self.kind {
            ItemKind::Command { capability, session, agent, .. } => (capability, vec![session, agent]),
            ItemKind::Alarm { guard } => (guard, Vec::new()),
        };
        if self.id.is_empty() || named.is_empty() {
            return Err(refusing("a name is empty"));
        }
        sound(others.into_iter().chain([&self.id, named]))
    }
}

impl Take {
    /// The same within bounds.
    ///
    /// # Errors
    /// Nothing happened: a name is empty, too long or holds control characters, or there are too many capabilities.
    pub(crate) fn sound(self) -> Result<Take, CallError> {
        if self.capabilities.len() > CAPABILITIES_MAX {
            return Err(refusing("too many capabilities"));
        }
        if self.runner.is_empty() || self.capabilities.iter().any(String::is_empty) {
            return Err(refusing("a name is empty"));
        }
        sound(self.capabilities.iter().chain([&self.runner]))?;
        let bounded = |ms: u64| ms.min(KEPT_MS);
        let max = self.max.min(u32::try_from(TAKEN_MAX).unwrap_or(u32::MAX));
        Ok(Take { ttl_ms: bounded(self.ttl_ms), lease_ms: bounded(self.lease_ms), max, ..self })
    }
}

/// Whether all of these may be names here.
pub(crate) fn sound<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), CallError> {
    let bad = |name: &String| name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control);
    if names.into_iter().any(bad) { Err(refusing("a name is too long, or holds control characters")) } else { Ok(()) }
}

fn refusing(why: &str) -> CallError {
    CallError::Nothing(NothingWhy::Refusing(why.to_owned()))
}

/// Kinds of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// For a runner.
    Command {
        /// Only for runners with this one, unless it is bound.
        capability: String,
        /// Bound to the runner that owns this session, if that one is there when the command is put; empty: to none.
        session: String,
        /// The same by agent (of the session, if there is one); empty: by the session alone.
        agent: String,
        /// Overtakes what waits and is not urgent.
        urgent: bool,
        /// Nobody waits for an answer: gone once it is accepted, silently gone at its deadline, put although no runner is
        /// there.
        notice: bool,
    },
    /// For nobody: told by [`Inboxes::due`] at its deadline, unless its guard (this key) stands or it was settled.
    Alarm {
        /// The guard.
        guard: String,
    },
}

/// What became of a put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutAnswer {
    /// It waits.
    Queued,
    /// No runner with this capability is there: nothing was put.
    NoRunner,
    /// As many as may are open already: nothing was put.
    Full,
    /// The id is known; nothing was changed.
    Known(Standing),
    /// The id is somebody else's.
    Conflict,
}

/// How a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits for a runner.
    Queued,
    /// A runner has it, and has not accepted it yet.
    Leased {
        /// Which.
        runner: String,
    },
    /// A runner works on it.
    Accepted {
        /// Which.
        runner: String,
    },
    /// Its guard stands: it is answered.
    Answered(Guarded),
    /// Nothing is known of it.
    Unknown,
}

/// A guard that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// Where its event stands.
    pub position: Position,
    /// What its event's writer noted.
    pub note: String,
}

/// A runner that asks for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Its name; without control characters, at most 128 bytes.
    pub runner: String,
    /// Whose it is: while it is there nobody else may take in its name.
    pub subject: String,
    /// What it can do, at most [`CAPABILITIES_MAX`].
    pub capabilities: Vec<String>,
    /// It is there for this long from now, at the least.
    pub ttl_ms: u64,
    /// So many more it wants now.
    pub max: u32,
    /// It has so many leased and accepted at most, with those that it takes. Notices come beside them, to full hands, too.
    pub in_hand_max: u32,
    /// It must accept what it takes within this time.
    pub lease_ms: u64,
}

/// What a runner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Here {
    /// It is there.
    Taken {
        /// Leased to it from now on.
        commands: Vec<Leased>,
        /// What else it has: leased or accepted before.
        in_hand: u32,
    },
    /// It is there, and somebody else's; or it lapsed, and what it had is not forgotten yet.
    Anothers,
    /// [`RUNNERS_MAX`] others are known.
    Full,
}

/// A command that is leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leased {
    /// Its id.
    pub id: String,
    /// Names this lease: grows with each time that the command is handed out; 1 is the first.
    pub lease: u64,
    /// When it must be accepted.
    pub until_ms: u64,
    /// When it is due.
    pub deadline_ms: u64,
    /// Who asked.
    pub asker: String,
    /// What was put.
    pub body: Bytes,
}

/// A step of a runner on one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStep {
    /// Which.
    pub id: String,
    /// The lease that it was taken under.
    pub lease: u64,
    /// What it does.
    pub act: LeaseAct,
}

/// What a runner does with a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseAct {
    /// It works on it. A notice leaves.
    Accept,
    /// It needs so many milliseconds more, from now, to accept it.
    Extend(u64),
    /// It does not want it: it waits again, for others for [`REST_MS`].
    Release,
    /// It only asks whether the lease is its own.
    Check,
}

/// What became of such a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// Done; again is harmless.
    Done {
        /// Who asked.
        asker: String,
        /// When it is due.
        deadline_ms: u64,
        /// What was put.
        body: Bytes,
    },
    /// The lease is not this runner's any more, or never was; or the runner is another subject's.
    Lost,
    /// It is answered, or gone.
    Gone,
}

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// Past their deadline, commands and alarms.
    pub expired: Vec<DueItem>,
    /// Their runner lapsed: accepted by it, or bound to it.
    pub lost: Vec<DueItem>,
    /// Runners that lapsed.
    pub lapsed: Vec<Lapsed>,
    /// Commands and alarms that are open, those above included.
    pub open: u64,
    /// Of them, commands that wait for a runner.
    pub waiting: u64,
    /// Runners that are there.
    pub runners: u64,
    /// Milliseconds until something more may be due; none: nothing is kept.
    pub next_ms: Option<u64>,
}

/// An item that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueItem {
    /// Its id.
    pub id: String,
    /// Whether it is an alarm.
    pub alarm: bool,
    /// Who asked.
    pub asker: String,
    /// The runner that had it; empty: none.
    pub runner: String,
    /// What was put.
    pub body: Bytes,
}

/// A runner that lapsed: it did not say again that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lapsed {
    /// Which.
    pub runner: String,
    /// When its time ran out: who comes back has another one.
    pub until_ms: u64,
    /// Sessions that it owned; of all runners of one call, the first [`TAKEN_MAX`].
    pub sessions: Vec<String>,
}

/// Who publishes for a session, or for an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The session; empty: the agent stands for itself.
    pub session: String,
    /// The agent; empty: the session.
    pub agent: String,
    /// The runner. None: the session is over, and all of it is forgotten.
    pub runner: Option<String>,
}

/// A store that keeps no inboxes: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoInboxes;

type Answered<T, E> = BoxFuture<'static, Result<T, E>>;

impl NoInboxes {
    fn nothing<T: Send + 'static>() -> Answered<T, CallError> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }

    fn away<T: Send + 'static>() -> Answered<T, ReadError> {
        Box::pin(std::future::ready(Err(ReadError::Away("the store keeps no inboxes".into()))))
    }
}

impl Inboxes for NoInboxes {
    fn put(&self, _: Project, _: Put) -> BoxFuture<'_, Result<PutAnswer, CallError>> {
        NoInboxes::nothing()
    }

    fn take(&self, _: Project, _: Take) -> BoxFuture<'_, Result<Here, CallError>> {
        NoInboxes::nothing()
    }

    fn leave(&self, _: Project, _: String, _: String) -> BoxFuture<'_, Result<bool, CallError>> {
        NoInboxes::nothing()
    }

    fn answer(
        &self,
        _: Project,
        _: String,
        _: String,
        _: Vec<LeaseStep>,
    ) -> BoxFuture<'_, Result<Vec<LeaseAnswer>, CallError>> {
        NoInboxes::nothing()
    }

    fn settle(&self, _: Project, _: Vec<String>) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn look(&self, _: Project, _: Vec<String>) -> BoxFuture<'_, Result<Vec<Standing>, ReadError>> {
        NoInboxes::away()
    }

    fn guard(&self, _: Project, _: String) -> BoxFuture<'_, Result<Option<Guarded>, ReadError>> {
        NoInboxes::away()
    }

    fn due(&self, _: Project) -> BoxFuture<'_, Result<Due, CallError>> {
        NoInboxes::nothing()
    }

    fn forget(&self, _: Project, _: Vec<Lapsed>) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn own(&self, _: Project, _: Vec<Owned>) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn projects(&self, _: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        NoInboxes::away()
    }

    fn clear(&self, _: Project) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn watch(&self, _: Project, _: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        NoInboxes::away()
    }
}
