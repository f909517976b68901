//! Who is there: what gateways have of a project's viewers, and runners that say so themselves.
//!
//! A gateway *reports* what it has in a project under one lease of its own, however many viewers that are; one that dies
//! stops renewing, and all that it had is gone everywhere at once. A runner is there for as long as it says, and says so
//! again. The *roll* tells which gateways have a running lease, and which runners are there; what a gateway has is read
//! when its version changed.
//!
//! Records are bytes here: what they say is the caller's matter. Nothing of it survives the loss of a store, and who is
//! told so (`lapsed`) reports again.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidings_protocol::project::Project;

use crate::{CallError, NothingWhy, ReadError};

/// Members that one gateway names in a project; it only counts the others.
pub const MEMBERS_MAX: usize = 200;

/// Runners of one project.
pub const RUNNERS_MAX: usize = 1_000;

/// Runners that a roll tells; the others are counted.
pub const RUNNERS_TOLD_MAX: usize = 200;

/// Longest time for which a runner may say that it is there, in milliseconds. A runner whose time ends later than that from
/// now (a clock went back) is gone.
pub const RUNNER_TTL_MAX_MS: u64 = 10 * 60 * 1_000;

/// Who is there. Every call is one atomic step on one project, bounded in time as all calls of the store are. All but
/// [`Presences::put_runner`] may be made again without harm; that one renews.
pub trait Presences: Send + Sync + 'static {
    /// Says what a gateway has in a project, or that nothing changed; renews its lease; and asks who else is there. At
    /// most one call per (gateway, project) may be in flight. Dropped or [`CallError::Unknown`]: it may have happened; the
    /// next report of a higher version puts it right.
    ///
    /// # Panics
    /// If the report names more than [`MEMBERS_MAX`] members.
    fn report(&self, project: Project, report: Report) -> BoxFuture<'_, Result<Reported, CallError>>;

    /// Ends a gateway's lease, and forgets what it had. It passes when the store is out of memory, too.
    fn leave(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<(), CallError>>;

    /// Who is there now. Runners are told if their version is another one than this (0: none is known).
    fn roll(&self, project: Project, known_runners: u64) -> BoxFuture<'_, Result<Roll, ReadError>>;

    /// What a gateway has. None: nothing any more.
    fn members(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<Option<Members>, ReadError>>;

    /// Says that a runner is there, from now on for `ttl_ms` (1 to [`RUNNER_TTL_MAX_MS`]), with this record. It is the
    /// runner of who says so: for as long as it is there nobody else may, but who overrules, whose runner it is then.
    fn put_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
        ttl_ms: u64,
        record: Bytes,
    ) -> BoxFuture<'_, Result<PutRunner, CallError>>;

    /// Says that a runner went, for who may say that it is there. It passes when the store is out of memory, too.
    fn remove_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
    ) -> BoxFuture<'_, Result<RemoveRunner, CallError>>;

    /// Forgets all runners of a project, whosoever they are. It passes when the store is out of memory, too.
    fn forget_runners(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>>;
}

/// A gateway's word on one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The gateway: drawn by each process at its start.
    pub gateway: Arc<str>,
    /// How long this holds if it does not report again, in milliseconds, at least 1.
    pub lease_ms: u64,
    /// Of what it has: grows with every change, and starts at 1.
    pub version: u64,
    /// All that it has. None: the same as it reported last, under this version.
    pub members: Option<Box<Members>>,
    /// The version of the runners that it knows; 0: none.
    pub known_runners: u64,
}

/// What a gateway has in a project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// In reports that of the report, and not looked at.
    pub version: u64,
    /// Names with their records, by name; at most [`MEMBERS_MAX`].
    pub named: Vec<(String, Bytes)>,
    /// How many more there are.
    pub others: u64,
}

/// What a report comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Nothing was renewed: the lease had run out, or another version is kept. Report all that is there, under a higher
    /// version.
    pub lapsed: bool,
    /// Who is there now, the gateway itself included.
    pub roll: Roll,
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roll {
    /// Gateways whose lease runs, by name.
    pub gateways: Vec<Listed>,
    /// Changes whenever a runner comes, goes, or has another record; 0: there was none for long.
    pub runners_version: u64,
    /// The first [`RUNNERS_TOLD_MAX`] of them by name, as the store sorts names; none: their version is the one that the
    /// caller knows.
    pub runners: Option<Vec<Runner>>,
    /// How many more there are; 0 when none are told.
    pub runners_others: u64,
}

/// A gateway on the roll.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub gateway: Arc<str>,
    /// Of what it has.
    pub version: u64,
}

/// A runner that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runner {
    /// Its name.
    pub name: String,
    /// Since when, by the store's clock, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// What it said of itself.
    pub record: Bytes,
}

/// Who says something of a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speaker {
    /// Whose runner it is, if he says that it is there.
    pub subject: String,
    /// Whether he may say it of everybody's.
    pub overrules: bool,
}

/// What became of a runner that says that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutRunner {
    /// It was not there before.
    Joined {
        /// Since now, by the store's clock, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
    /// It was, and is for longer.
    Renewed {
        /// Since when.
        since_ms: u64,
    },
    /// [`RUNNERS_MAX`] others are there.
    Full,
    /// It is there, and somebody else's.
    Anothers,
}

/// What became of a runner of which it is said that it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoveRunner {
    /// It is gone.
    Gone,
    /// It was not there.
    Absent,
    /// It is there, and somebody else's.
    Anothers,
}

/// A store that keeps no presence: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoPresences;

type Answer<T, E> = BoxFuture<'static, Result<T, E>>;

impl NoPresences {
    fn nothing<T: Send + 'static>() -> Answer<T, CallError> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }

    fn away<T: Send + 'static>() -> Answer<T, ReadError> {
        Box::pin(std::future::ready(Err(ReadError::Away("the store keeps no presence".into()))))
    }
}

impl Presences for NoPresences {
    fn report(&self, _: Project, _: Report) -> BoxFuture<'_, Result<Reported, CallError>> {
        NoPresences::nothing()
    }

    fn leave(&self, _: Project, _: Arc<str>) -> BoxFuture<'_, Result<(), CallError>> {
        NoPresences::nothing()
    }

    fn roll(&self, _: Project, _: u64) -> BoxFuture<'_, Result<Roll, ReadError>> {
        NoPresences::away()
    }

    fn members(&self, _: Project, _: Arc<str>) -> BoxFuture<'_, Result<Option<Members>, ReadError>> {
        NoPresences::away()
    }

    fn put_runner(
        &self,
        _: Project,
        _: String,
        _: Speaker,
        _: u64,
        _: Bytes,
    ) -> BoxFuture<'_, Result<PutRunner, CallError>> {
        NoPresences::nothing()
    }

    fn remove_runner(&self, _: Project, _: String, _: Speaker) -> BoxFuture<'_, Result<RemoveRunner, CallError>> {
        NoPresences::nothing()
    }

    fn forget_runners(&self, _: Project) -> BoxFuture<'_, Result<(), CallError>> {
        NoPresences::nothing()
    }
}
