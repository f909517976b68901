//! Who wants which channel, at which node it belongs, and where it is confirmed. Plain data under the subscriber's lock.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use tokio::sync::{Notify, oneshot};

use super::super::slots::slot_of;
use crate::Sink;

/// The sinks of a channel, each with its number.
pub(super) type Sinks = Arc<[(u64, Arc<dyn Sink>)]>;

pub(super) struct Routes {
    next: u64,
    homes: Homes,
    feeds: HashMap<u32, FeedState>,
    channels: HashMap<Box<[u8]>, Channel>,
}

/// Where channels belong.
enum Homes {
    /// All at one node.
    One(u32),
    /// By slot.
    Table(Arc<Vec<u32>>),
}

/// A node's connection, as far as channels are concerned.
struct FeedState {
    linked: bool,
    /// Channels to look at: bounded by the subscriptions made and dropped since the last look, and by what moved.
    dirty: Vec<Box<[u8]>>,
    /// There is something in it.
    changed: Arc<Notify>,
    /// Whose end was asked for, while that is not answered.
    ending: HashSet<Box<[u8]>>,
}

#[derive(Default)]
struct Channel {
    slot: u16,
    sinks: Sinks,
    /// The node whose server said so, on its present connection.
    confirmed: Option<u32>,
    /// It was confirmed before, and messages may have passed by since.
    missed: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Homes {
    fn of(&self, slot: u16) -> u32 {
        match self {
            Homes::One(node) => *node,
            Homes::Table(table) => table[usize::from(slot)],
        }
    }
}

impl FeedState {
    fn look_at(&mut self, name: &[u8]) {
        self.dirty.push(name.into());
        self.changed.notify_one();
    }
}

impl Channel {
    /// Its present confirmation is worth nothing any more.
    fn unconfirm(&mut self) {
        self.missed |= self.confirmed.take().is_some();
    }
}

impl Routes {
    /// All channels belong to this node until a table says otherwise.
    pub(super) fn at(node: u32) -> Routes {
        Routes { next: 0, homes: Homes::One(node), feeds: HashMap::default(), channels: HashMap::default() }
    }

    pub(super) fn add_feed(&mut self, node: u32, changed: Arc<Notify>) {
        let state = FeedState { linked: false, dirty: Vec::new(), changed, ending: HashSet::default() };
        self.feeds.insert(node, state);
    }

    /// Whether the node of a channel has its connection.
    pub(super) fn is_linked(&self, channel: &str) -> bool {
        let slot = self.slot(channel.as_bytes());
        self.feeds.get(&self.homes.of(slot)).is_some_and(|feed| feed.linked)
    }

    /// One node has all channels: nobody asks for their slots.
    fn slot(&self, name: &[u8]) -> u16 {
        match self.homes {
            Homes::One(_) => 0,
            Homes::Table(_) => slot_of(name),
        }
    }

    pub(super) fn enter(&mut self, channel: &str, sink: Arc<dyn Sink>) -> u64 {
        self.next += 1;
        let (id, name, slot) = (self.next, channel.as_bytes(), self.slot(channel.as_bytes()));
        let state = self.channels.entry(name.into()).or_default();
        state.slot = slot;
        state.sinks = state.sinks.iter().cloned().chain([(id, sink)]).collect();
        if state.confirmed.is_none()
            && let Some(feed) = self.feeds.get_mut(&self.homes.of(slot))
        {
            feed.look_at(name);
        }
        id
    }

    /// Tells `confirm` when the server has confirmed a channel that was entered.
    pub(super) fn await_confirmation(&mut self, channel: &str, confirm: oneshot::Sender<()>) {
        let Some(state) = self.channels.get_mut(channel.as_bytes()) else { return };
        if state.confirmed.is_some() {
            // Who no longer waits has dropped its subscription too.
            let _ = confirm.send(());
        } else {
            state.waiting.push(confirm);
        }
    }

    /// Takes a sink out; the list in which it was.
    pub(super) fn leave(&mut self, channel: &str, id: u64) -> Sinks {
        let Some(state) = self.channels.get_mut(channel.as_bytes()) else { return Sinks::default() };
        let left = state.sinks.iter().filter(|(other, _)| *other != id).cloned().collect();
        let before = std::mem::replace(&mut state.sinks, left);
        if state.sinks.is_empty() {
            let at = state.confirmed.unwrap_or_else(|| self.homes.of(state.slot));
            match self.feeds.get_mut(&at) {
                Some(feed) => feed.look_at(channel.as_bytes()),
                None => drop(self.channels.remove(channel.as_bytes())),
            }
        }
        before
    }

    /// All channels that belong to a node, for a new connection to it.
    pub(super) fn relink(&mut self, node: u32) -> Vec<Vec<u8>> {
        if let Some(feed) = self.feeds.get_mut(&node) {
            feed.dirty.clear();
            feed.ending.clear();
        }
        let mut wanted = Vec::new();
        self.channels.retain(|name, state| {
            if state.confirmed == Some(node) {
                state.unconfirm();
            }
            let is_here = self.homes.of(state.slot) == node;
            if is_here && !state.sinks.is_empty() {
                wanted.push(name.to_vec());
            }
            !(is_here && state.sinks.is_empty())
        });
        wanted
    }

    /// The connection is there, with what was wanted of it.
    pub(super) fn link(&mut self, node: u32) {
        if let Some(feed) = self.feeds.get_mut(&node) {
            feed.linked = true;
        }
    }

    /// The connection is gone. Those who wait for a confirmation on it get none any more.
    pub(super) fn unlink(&mut self, node: u32) {
        if let Some(feed) = self.feeds.get_mut(&node) {
            feed.linked = false;
        }
        for state in self.channels.values_mut() {
            if state.confirmed == Some(node) {
                state.unconfirm();
            }
            if self.homes.of(state.slot) == node {
                state.waiting.clear();
            }
        }
    }

    /// The node is not used any more.
    pub(super) fn forget(&mut self, node: u32) {
        self.unlink(node);
        self.feeds.remove(&node);
    }

    /// Slots are where this table says. Whatever is not confirmed where it belongs is looked at there.
    pub(super) fn rehome(&mut self, table: Arc<Vec<u32>>) {
        if matches!(self.homes, Homes::One(_)) {
            // Only before anything was connected to.
            self.channels.iter_mut().for_each(|(name, state)| state.slot = slot_of(name));
        }
        self.homes = Homes::Table(table);
        for (name, state) in &mut self.channels {
            let home = self.homes.of(state.slot);
            if state.confirmed == Some(home) {
                continue;
            }
            state.unconfirm();
            if let Some(feed) = self.feeds.get_mut(&home)
                && feed.linked
            {
                feed.look_at(name);
            }
        }
    }

    /// What to subscribe and what to unsubscribe at a node.
    pub(super) fn sort_dirty(&mut self, node: u32) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        let dirty = self.feeds.get_mut(&node).map(|feed| std::mem::take(&mut feed.dirty));
        for name in dirty.into_iter().flatten() {
            let Some(state) = self.channels.get_mut(&name) else { continue };
            let is_here = self.homes.of(state.slot) == node;
            match (state.sinks.is_empty(), state.confirmed) {
                (false, None) if is_here => wanted.push(name.into_vec()),
                (true, confirmed) => {
                    // Whoever comes from here on finds no channel, and makes it dirty again.
                    self.channels.remove(&name);
                    if confirmed == Some(node) {
                        unwanted.push(name.into_vec());
                    }
                }
                (false, _) => {}
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        (wanted, unwanted)
    }

    /// A node confirmed these channels. Sinks that may have missed messages on the way here.
    pub(super) fn confirm(&mut self, node: u32, names: &[Vec<u8>]) -> Vec<Arc<dyn Sink>> {
        let mut missed = Vec::new();
        for name in names {
            let Some(state) = self.channels.get_mut(name.as_slice()) else { continue };
            if self.homes.of(state.slot) != node {
                // It moved on meanwhile.
                continue;
            }
            state.confirmed = Some(node);
            for waiting in state.waiting.drain(..) {
                // Who no longer waits has dropped its subscription too.
                let _ = waiting.send(());
            }
            if std::mem::take(&mut state.missed) {
                missed.extend(state.sinks.iter().map(|(_, sink)| Arc::clone(sink)));
            }
        }
        missed
    }

    /// The end of these subscriptions is asked for.
    pub(super) fn expect_ends(&mut self, node: u32, names: &[Vec<u8>]) {
        if let Some(feed) = self.feeds.get_mut(&node) {
            feed.ending = names.iter().map(|name| name.as_slice().into()).collect();
        }
    }

    /// What was asked for is answered.
    pub(super) fn expect_no_end(&mut self, node: u32) {
        if let Some(feed) = self.feeds.get_mut(&node) {
            feed.ending.clear();
        }
    }

    /// A node ended a subscription. True: that was asked for. Else the channel is elsewhere now, or nowhere.
    pub(super) fn ended(&mut self, node: u32, name: &[u8]) -> bool {
        let Some(feed) = self.feeds.get_mut(&node) else { return false };
        if feed.ending.remove(name) {
            return true;
        }
        if let Some(state) = self.channels.get_mut(name).filter(|state| state.confirmed == Some(node)) {
            state.unconfirm();
        }
        false
    }

    /// Whether every channel that somebody listens to is confirmed.
    pub(super) fn is_settled(&self) -> bool {
        self.channels.values().all(|state| state.confirmed.is_some() || state.sinks.is_empty())
    }

    #[cfg(test)]
    pub(super) fn unsettled(&self) -> String {
        let open = self.channels.iter().filter(|(_, state)| state.confirmed.is_none() && !state.sinks.is_empty());
        let named = open.map(|(name, state)| {
            let home = self.homes.of(state.slot);
            let feed = self.feeds.get(&home).map(|feed| (feed.linked, feed.dirty.len()));
            format!("{} slot {} home {home} {feed:?}", String::from_utf8_lossy(name), state.slot)
        });
        named.take(5).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn sinks(&self, channel: &[u8]) -> Option<Sinks> {
        self.channels.get(channel).map(|state| Arc::clone(&state.sinks))
    }
}
