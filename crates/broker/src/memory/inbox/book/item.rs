//! What lies in an inbox, and its runners.

use bytes::Bytes;

use crate::inbox::waking::Word;
use crate::inbox::{DueItem, ItemKind, Standing, guard_of};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Queue {
    Of(String),
    Bound(String),
}

/// What is counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Counter {
    Of(String),
    Bound,
    /// By the class of their guards.
    Alarms(String),
}

/// Urgent ones (`false`) first, then by when they were put.
pub(super) type Place = (bool, u64);

#[derive(Debug)]
pub(super) struct Item {
    pub(super) asker: String,
    pub(super) kind: ItemKind,
    /// The runner that it is bound to; empty: none.
    pub(super) bound: String,
    pub(super) place: Place,
    pub(super) deadline_ms: u64,
    pub(super) is_past: bool,
    pub(super) lease: u64,
    pub(super) state: State,
    /// Who gave it back, and until when he does not get it again.
    pub(super) rests: Option<(String, u64)>,
    pub(super) body: Bytes,
}

#[derive(Debug)]
pub(super) enum State {
    Waits,
    Leased { runner: String, until_ms: u64 },
    Accepted { runner: String },
}

#[derive(Debug)]
pub(super) struct Runner {
    pub(super) subject: String,
    pub(super) capabilities: Vec<String>,
    pub(super) until_ms: u64,
    /// For so long it is there from its last word on.
    pub(super) ttl_ms: u64,
}

impl Queue {
    /// Who waits for what is in it.
    pub(super) fn word(&self) -> Word<'_> {
        match self {
            Queue::Of(capability) => Word::Capability(capability),
            Queue::Bound(runner) => Word::Runner(runner),
        }
    }
}

impl Item {
    pub(super) fn queue(&self) -> Option<Queue> {
        match &self.kind {
            ItemKind::Command { .. } if !self.bound.is_empty() => Some(Queue::Bound(self.bound.clone())),
            ItemKind::Command { capability, .. } => Some(Queue::Of(capability.clone())),
            ItemKind::Alarm { .. } => None,
        }
    }

    pub(super) fn counter(&self) -> Counter {
        match &self.kind {
            ItemKind::Command { notice: false, .. } if !self.bound.is_empty() => Counter::Bound,
            ItemKind::Command { capability, .. } => Counter::Of(capability.clone()),
            ItemKind::Alarm { guard } => Counter::Alarms(guard.split(':').next().unwrap_or_default().to_owned()),
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        matches!(self.kind, ItemKind::Command { notice: false, .. })
    }

    pub(super) fn is_notice(&self) -> bool {
        matches!(self.kind, ItemKind::Command { notice: true, .. })
    }

    pub(super) fn guard(&self, id: &str) -> String {
        guard_key(&self.kind, id)
    }

    /// Who has it, else whom it is bound to.
    pub(super) fn runner(&self) -> &str {
        match &self.state {
            State::Waits => &self.bound,
            State::Leased { runner, .. } | State::Accepted { runner } => runner,
        }
    }

    pub(super) fn standing(&self, now_ms: u64) -> Standing {
        match &self.state {
            State::Leased { runner, until_ms } if now_ms < *until_ms => Standing::Leased { runner: runner.clone() },
            State::Accepted { runner } => Standing::Accepted { runner: runner.clone() },
            State::Waits | State::Leased { .. } => Standing::Queued,
        }
    }

    pub(super) fn told(&self, id: &str) -> DueItem {
        DueItem {
            id: id.to_owned(),
            alarm: matches!(self.kind, ItemKind::Alarm { .. }),
            asker: self.asker.clone(),
            runner: self.runner().to_owned(),
            body: self.body.clone(),
        }
    }
}

pub(super) fn guard_key(kind: &ItemKind, id: &str) -> String {
    match kind {
        ItemKind::Command { .. } => guard_of(id),
        ItemKind::Alarm { guard } => guard.clone(),
    }
}
