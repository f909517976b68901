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

mod due;
mod item;
mod lease;
mod nowhere;
pub mod waking;

use futures_util::future::BoxFuture;
use tidings_protocol::project::Project;

use crate::{CallError, NothingWhy, ReadError, Sink, Subscription};

pub use due::{Due, DueItem, Lapsed, Owned};
pub use item::{Found, Guarded, ItemKind, Placed, Put, PutAnswer, Standing};
pub use lease::{Here, LeaseAct, LeaseAnswer, LeaseStep, Leased, Take};
pub(crate) use nowhere::NoInboxes;

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
    /// Puts a command, or an alarm. A known id changes nothing. A command that is put wakes who waits for its kind.
    fn put(&self, project: Project, item: Put) -> BoxFuture<'_, Result<Placed, CallError>>;

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

    /// An item that is open, with who asked for it and what was put. None: nothing of this id is open.
    fn find(&self, project: Project, id: String) -> BoxFuture<'_, Result<Option<Found>, ReadError>>;

    /// The guard of this key, if it stands: the position of its event, and its note.
    fn guard(&self, project: Project, key: String) -> BoxFuture<'_, Result<Option<Guarded>, ReadError>>;

    /// What somebody must act upon, at most [`TAKEN_MAX`] of each: items past their deadline, accepted or bound commands
    /// whose runner lapsed, and runners that lapsed. It is told again until it is settled, put off, or forgotten.
    fn due(&self, project: Project) -> BoxFuture<'_, Result<Due, CallError>>;

    /// What was told of lapsed runners is done: they, the sessions that are named and their agents are forgotten, unless they
    /// came back since. Who still has commands, or sessions that were not named, is told again.
    fn forget(&self, project: Project, lapsed: Vec<Lapsed>) -> BoxFuture<'_, Result<(), CallError>>;

    /// Who published last for these sessions and agents (without a runner: nobody any more, the session is over). Whoever
    /// publishes for an agent does so for its session. Weak claims alone make no inbox.
    fn own(&self, project: Project, owned: Vec<Owned>) -> BoxFuture<'_, Result<(), CallError>>;

    /// Projects of an index shard that have an inbox, as [`crate::Index::projects`] has them: entered by their first
    /// [`Inboxes::put`] or [`Inboxes::take`], unordered.
    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>>;

    /// Empties a project's inbox, whatever it holds, and begins another life of the project: what was put before is not put
    /// again ([`Put::life`]). That is remembered for [`KEPT_MS`]. Who waits is woken. It passes when the store is out of
    /// memory, too.
    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>>;

    /// Wakes `sink` whenever something may wait in the project's inbox, or was settled, with messages that say for whom
    /// ([`waking::words`]); confirmed on return. Wake-ups may be lost or come for nothing: whoever needs to be sure looks
    /// again now and then.
    fn watch(&self, project: Project, sink: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>>;
}

/// Whether all of these may be names here.
pub(crate) fn sound<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), CallError> {
    let bad = |name: &String| name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control);
    if names.into_iter().any(bad) { Err(refusing("a name is too long, or holds control characters")) } else { Ok(()) }
}

fn refusing(why: &str) -> CallError {
    CallError::Nothing(NothingWhy::Refusing(why.to_owned()))
}
