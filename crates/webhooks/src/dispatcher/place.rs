//! A courier's place: read from the store once, written by who knows its version, and kept in mind while the store takes no
//! writes, so that what was delivered is not delivered again.
//!
//! What somebody else wrote meanwhile is taken over. What a failover of the store took is put back: the courier knows it.

use std::time::Duration;

use tidings_broker::hooks::{Place, Swapped};
use tidings_broker::{CallError, ReadError};
use tidings_log::hub::TopicHandle;
use tidings_protocol::entry::ForkKind;
use tidings_protocol::position::Position;
use tidings_registry::SETTINGS_FRESH;
use tokio::time::Instant;

use super::courier::Courier;
use super::record::{Record, digest_of};

/// How long a place that moved without a delivery waits until it is written.
const OWED_FOR: Duration = Duration::from_secs(30);

/// Settings that are read after this time were in place after it began: so long they are held, and so long a reading takes.
const SETTLED: Duration = SETTINGS_FRESH.saturating_mul(2);

/// Why a courier does not go on.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The store does not answer, or has no room.
    Away(String),
    /// Somebody else moved the place.
    Moved,
    /// The webhook is gone, or another one: it is another courier's.
    Replaced,
    /// It was told to stop.
    Stopped,
}

impl From<CallError> for Trouble {
    fn from(error: CallError) -> Trouble {
        Trouble::Away(error.to_string())
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Trouble {
        Trouble::Away(error.to_string())
    }
}

/// What a courier knows of its place.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub(super) kept: Option<Kept>,
    /// Somebody else wrote it since.
    pub(super) is_moved: bool,
}

impl Own {
    pub(super) fn version(&self) -> Option<u64> {
        self.kept.as_ref().map(|kept| kept.version)
    }
}

/// A place as it is in the store, or is to be.
#[derive(Debug)]
pub(super) struct Kept {
    version: u64,
    pub(super) record: Record,
    /// The record is ahead of what is written, and is written by then.
    pub(super) owed_by: Option<Instant>,
    /// Events of one delivery. Fewer where the receiver refused one: it may be of one event alone, or its size.
    pub(super) events_max: usize,
}

impl Kept {
    /// The record is to be written before anything is delivered.
    pub(super) fn owe(&mut self) {
        self.owed_by = Some(Instant::now());
    }

    /// The record is to be written in a while.
    pub(super) fn owe_later(&mut self) {
        self.owed_by.get_or_insert_with(|| Instant::now() + OWED_FOR);
    }

    /// It is time to write it.
    pub(super) fn is_due(&self) -> bool {
        self.owed_by.is_some_and(|by| by <= Instant::now())
    }
}

impl Courier {
    /// Brings what it knows up to date: reads the place the first time, and when somebody else wrote it.
    pub(super) async fn place(&self, own: &mut Own, topic: &TopicHandle) -> Result<(), Trouble> {
        match &mut own.kept {
            Some(kept) if own.is_moved => self.again(kept).await?,
            Some(_) => {}
            slot @ None => *slot = Some(self.first(topic).await?),
        }
        own.is_moved = false;
        Ok(())
    }

    /// Its place, made at the log's end if there is none. From now on it is for these settings.
    async fn first(&self, topic: &TopicHandle) -> Result<Kept, Trouble> {
        self.is_wanted().await?;
        let end = topic.view().position();
        let found = self.found().await?;
        if found.is_none() {
            self.is_wanted_still().await?;
        }
        let version = found.as_ref().map_or(0, |place| place.version);
        let read = found.and_then(|place| Record::read(&place.record));
        let is_new = read.is_none();
        let record = read.unwrap_or_else(|| Record::new(end, self.made_of.clone()));
        let mut kept = Kept { version, record, owed_by: None, events_max: self.shared.rhythm.events_max };
        if kept.record.renew(&self.made_of) || is_new {
            self.save(&mut kept).await?;
        }
        Ok(kept)
    }

    /// Its place behind somebody else's write. Whoever wrote for other settings knows later ones, or will be told.
    async fn again(&self, kept: &mut Kept) -> Result<(), Trouble> {
        self.is_wanted().await?;
        let found = self.found().await?;
        let version = found.as_ref().map_or(0, |place| place.version);
        // Versions grow: the store lost what was written, or the project was deleted.
        if version < kept.version {
            self.is_wanted_still().await?;
            if self.is_deleted_behind(kept.record.at).await? {
                return Err(Trouble::Replaced);
            }
            kept.version = version;
            kept.owe();
            return Ok(());
        }
        let read = found.and_then(|place| Record::read(&place.record));
        let own = read.filter(|record| record.made_of == self.made_of);
        (kept.version, kept.record, kept.owed_by) = (version, own.ok_or(Trouble::Replaced)?, None);
        Ok(())
    }

    /// Writes what it knows. What is not written stays owed.
    pub(super) async fn save(&self, kept: &mut Kept) -> Result<(), Trouble> {
        kept.owe();
        let (project, name) = (self.project.clone(), self.name.clone());
        match self.shared.hooks.swap(project, name, kept.version, Some(kept.record.write())).await? {
            Swapped::Done(version) => {
                (kept.version, kept.owed_by) = (version, None);
                Ok(())
            }
            Swapped::Moved => Err(Trouble::Moved),
            Swapped::Full => Err(Trouble::Away("the project has as many places as it may".to_owned())),
        }
    }

    /// Whether the settings, as old as they may be, have this webhook.
    pub(super) async fn is_wanted(&self) -> Result<(), Trouble> {
        let settings = self.shared.settings.numbers_of(&self.project).await;
        let settings = settings.map_err(|_| Trouble::Away("settings cannot be read".to_owned()))?;
        let is_wanted = settings.webhooks.get(&self.name).is_some_and(|hook| digest_of(hook) == self.made_of);
        if is_wanted { Ok(()) } else { Err(Trouble::Replaced) }
    }

    /// The same by settings that are read from now on. Without its place: so it looks when the project was deleted a moment ago,
    /// whose settings may be known from before.
    async fn is_wanted_still(&self) -> Result<(), Trouble> {
        tokio::time::sleep(SETTLED).await;
        self.is_wanted().await
    }

    async fn found(&self) -> Result<Option<Place>, Trouble> {
        Ok(self.shared.hooks.places(self.project.clone()).await?.remove(&self.name))
    }

    async fn is_deleted_behind(&self, at: Position) -> Result<bool, Trouble> {
        let head = self.shared.broker.heads(vec![self.project.clone()]).await.pop();
        let head = head.unwrap_or_else(|| Err(ReadError::Away("no answer".to_owned())))?;
        let deletes = head.forks.iter().any(|fork| fork.kind == ForkKind::Deleted && fork.from.n() > at.n());
        Ok(deletes || head.is_deleted(at))
    }
}
