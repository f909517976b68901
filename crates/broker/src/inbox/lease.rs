//! How a runner takes commands, and what it does with them.

use bytes::Bytes;

use super::{CAPABILITIES_MAX, KEPT_MS, TAKEN_MAX, refusing, sound};
use crate::CallError;

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
    /// A further look of a request that stands already: it brings nobody back who is gone meanwhile ([`Here::Gone`]). Nobody
    /// may be there any more to hear it.
    pub goes_on: bool,
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
    /// [`super::RUNNERS_MAX`] others are known.
    Full,
    /// It looks further ([`Take::goes_on`]), and said good-bye or lapsed meanwhile, or is somebody else's now.
    Gone,
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
    /// It does not want it: it waits again, for others for [`super::REST_MS`].
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
