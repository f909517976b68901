//! The viewers of this gateway in one project: one for each id, however many connections it has.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::listing::{LISTED_MAX, Part};
use crate::record::ViewerRecord;
use crate::{Transport, Who};

/// The viewers of this gateway.
#[derive(Debug, Default)]
pub(super) struct Own {
    viewers: HashMap<Arc<str>, Mine>,
    /// Who is here for the longest comes first.
    order: BTreeSet<(u64, Arc<str>)>,
    /// Messages that all of them were told.
    told: Arc<AtomicU64>,
    /// The same when they were reported last.
    told_reported: u64,
}

/// Counts what one viewer of a board is told.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    own: Arc<AtomicU64>,
    all: Arc<AtomicU64>,
}

impl Count {
    pub(crate) fn add(&self, messages: u64) {
        self.own.fetch_add(messages, Ordering::Relaxed);
        self.all.fetch_add(messages, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Mine {
    is_user: bool,
    since_ms: u64,
    /// By transport.
    connections: [u32; Transport::ALL.len()],
    told: Arc<AtomicU64>,
}

impl Own {
    /// One more connection. True: of a viewer that had none.
    pub(super) fn enter(&mut self, who: &Who, transport: Transport, unix_ms: u64) -> bool {
        let mine = self.viewers.entry(Arc::clone(&who.viewer));
        let mine = mine.or_insert_with(|| Mine::new(who, unix_ms));
        mine.connections[transport as usize] += 1;
        self.order.insert((mine.since_ms, Arc::clone(&who.viewer)))
    }

    /// One connection less. True: it was the viewer's last.
    pub(super) fn leave(&mut self, viewer: &Arc<str>, transport: Transport) -> bool {
        let Some(mine) = self.viewers.get_mut(viewer) else { return false };
        let count = &mut mine.connections[transport as usize];
        *count = count.saturating_sub(1);
        if mine.connections.iter().any(|count| *count > 0) {
            return false;
        }
        self.order.remove(&(mine.since_ms, Arc::clone(viewer)));
        self.viewers.remove(viewer);
        true
    }

    /// What counts for this viewer; for one that is not here, nothing that is reported.
    pub(super) fn count(&self, viewer: &str) -> Count {
        let own = self.viewers.get(viewer).map(|mine| Arc::clone(&mine.told)).unwrap_or_default();
        Count { own, all: Arc::clone(&self.told) }
    }

    /// Whether somebody was told something since this was asked last.
    pub(super) fn take_told(&mut self) -> bool {
        let now = self.told.load(Ordering::Relaxed);
        std::mem::replace(&mut self.told_reported, now) != now
    }

    pub(super) fn is_empty(&self) -> bool {
        self.viewers.is_empty()
    }

    /// What is told of them.
    pub(super) fn part(&self) -> Part {
        let listed = self.order.iter().take(LISTED_MAX).filter_map(|(_, name)| {
            let mine = self.viewers.get(name)?;
            Some((Arc::clone(name), mine.record()))
        });
        let viewers: Vec<_> = listed.collect();
        let others = (self.viewers.len() - viewers.len()) as u64;
        Part { viewers, others }
    }
}

impl Mine {
    fn new(who: &Who, since_ms: u64) -> Mine {
        Mine { is_user: who.is_user, since_ms, connections: [0; Transport::ALL.len()], told: Arc::default() }
    }

    fn record(&self) -> ViewerRecord {
        let used = Transport::ALL.into_iter().filter(|transport| self.connections[*transport as usize] > 0);
        ViewerRecord {
            user: self.is_user,
            since: self.since_ms,
            connections: self.connections.iter().fold(0, |sum: u32, count| sum.saturating_add(*count)),
            transports: used.map(|transport| transport.as_str().to_owned()).collect(),
            told: self.told.load(Ordering::Relaxed),
        }
    }
}
