//! One project's presence as one gateway sees it: who is here, what was reported of them, what others reported, what was
//! told. A pure machine; times are milliseconds of a clock that only goes on, and of the Unix epoch where it says so.
//!
//! One call of the store is in flight at a time. What changes meanwhile is reported by the next, [`COALESCE_MS`] later at
//! the earliest, so that a storm of connections costs so many calls a second and no more.
//!
//! After trouble (no answer for half a lease; a store that lost our own lease before its time) others may be missing from
//! the roll only because they had no chance to renew yet. For one lease from then on nobody is taken off; the list is marked stale
//! meanwhile.

mod own;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tidings_broker::ReadError;
use tidings_broker::presence::{Members, Report, Reported, Roll, Runner};
use tidings_protocol::project::Project;

use crate::listing::{Listing, Part, Runners, Tally};
use crate::news::{Said, Topic};
use crate::record::ViewerRecord;
use crate::{Transport, Who};
pub(crate) use own::Count;
use own::Own;

/// Between two calls that tell of changes.
const COALESCE_MS: u64 = 100;

/// A lease is renewed after one part in so many of its time.
const RENEWALS_PER_LEASE: u64 = 3;

/// News that are kept for who has not taken them yet; who is further behind is told all that are there.
const NEWS_MAX: usize = 32;

/// Bytes of news that are kept for them, before they are encoded.
const NEWS_BYTES_MAX: usize = 128 * 1024;

/// One project's presence.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(crate) struct Board {
    project: Project,
    gateway: Arc<str>,
    lease_ms: u64,
    round_ms: u64,
    own: Own,
    /// Who is here is not what was reported last.
    changed: bool,
    /// Of the last report.
    version: u64,
    /// The store may hold something of ours.
    held: bool,
    calling: bool,
    called_ms: Option<u64>,
    /// When what is reported was renewed last.
    renewed_ms: Option<u64>,
    answered_ms: Option<u64>,
    failing: bool,
    doubt_until_ms: u64,
    watchers: usize,
    /// What others have was read since somebody watches.
    known: bool,
    others: BTreeMap<Arc<str>, Other>,
    runners: Runners,
    runners_version: u64,
    /// How many more there are in the store.
    runners_others: u64,
    /// As it was told last.
    listing: Option<Listing>,
    was_stale: bool,
    /// All that are there, as it was last said.
    full: Option<Arc<Said>>,
    news: VecDeque<Arc<Said>>,
    news_bytes: usize,
    /// How many news there were so far.
    said: u64,
}

/// What another gateway has.
#[derive(Debug)]
struct Other {
    version: u64,
    part: Part,
}

/// What to ask of the store.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Report, and learn who else is there.
    Report(Report),
    /// Nobody is here any more.
    Leave,
}

/// What was read of another gateway.
pub(crate) type Read = (Arc<str>, Result<Option<Members>, ReadError>);

/// What a watcher has not been told yet.
#[derive(Debug)]
pub(crate) struct Untold {
    pub(crate) said: Vec<Arc<Said>>,
    /// How many news there were so far.
    pub(crate) at: u64,
    /// It was told all that are there.
    pub(crate) full: bool,
}

impl Board {
    pub(crate) fn new(project: Project, gateway: Arc<str>, settings: &crate::Settings) -> Board {
        let lease_ms = millis(settings.lease);
        Board {
            project,
            gateway,
            lease_ms,
            round_ms: millis(settings.round).min(lease_ms / RENEWALS_PER_LEASE).max(1),
            own: Own::default(),
            changed: false,
            version: 0,
            held: false,
            calling: false,
            called_ms: None,
            renewed_ms: None,
            answered_ms: None,
            failing: false,
            doubt_until_ms: 0,
            watchers: 0,
            known: false,
            others: BTreeMap::new(),
            runners: Runners::new(),
            runners_version: 0,
            runners_others: 0,
            listing: None,
            was_stale: false,
            full: None,
            news: VecDeque::new(),
            news_bytes: 0,
            said: 0,
        }
    }

    /// One more connection. True: of a viewer that had none here.
    pub(crate) fn enter(&mut self, who: &Who, transport: Transport, unix_ms: u64) -> bool {
        self.changed = true;
        self.own.enter(who, transport, unix_ms)
    }

    /// One connection less. True: it was the viewer's last here.
    pub(crate) fn leave(&mut self, viewer: &Arc<str>, transport: Transport) -> bool {
        self.changed = true;
        self.own.leave(viewer, transport)
    }

    /// What counts for a viewer that is here.
    pub(crate) fn count(&self, viewer: &str) -> Count {
        self.own.count(viewer)
    }

    /// Somebody wants to know who is there.
    pub(crate) fn watch(&mut self) {
        self.watchers += 1;
    }

    /// And does not any more. What others have is forgotten with the last: it would grow old unseen.
    pub(crate) fn unwatch(&mut self) {
        self.watchers -= 1;
        if self.watchers == 0 {
            self.known = false;
            self.others.clear();
            self.runners.clear();
            (self.runners_version, self.runners_others) = (0, 0);
            (self.listing, self.full) = (None, None);
            (self.news, self.news_bytes) = (VecDeque::new(), 0);
        }
    }

    /// Whether nobody is here, and the store has nothing of ours: it can be forgotten.
    pub(crate) fn is_idle(&self) -> bool {
        self.own.is_empty() && self.watchers == 0 && !self.held && !self.calling
    }

    /// Whether the store may hold something of ours.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// Whether what was told is as the store has it, and is kept so.
    pub(crate) fn is_current(&self) -> bool {
        self.listing.is_some() && !self.failing
    }

    /// When to call the store; none: not before something happens.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        if self.calling || (self.own.is_empty() && !self.held) {
            return None;
        }
        let news = self.changed || (self.watchers > 0 && !self.known);
        let wait_ms = match (self.failing, news) {
            (true, _) => self.round_ms,
            (false, true) => COALESCE_MS,
            (false, false) if self.watchers > 0 => self.round_ms,
            (false, false) => self.lease_ms / RENEWALS_PER_LEASE,
        };
        Some(self.called_ms.map_or(0, |called_ms| called_ms + wait_ms))
    }

    /// Begins a call, which must be answered by [`Board::left`], [`Board::failed`] or [`Board::learned`].
    pub(crate) fn begin(&mut self, now_ms: u64) -> Call {
        self.calling = true;
        self.called_ms = Some(now_ms);
        if self.own.is_empty() {
            return Call::Leave;
        }
        // What they are told makes no call of its own.
        let told = self.own.take_told();
        let members = (std::mem::take(&mut self.changed) || told).then(|| {
            self.version += 1;
            let Part { viewers, others } = self.own.part();
            let named = viewers.iter().map(|(name, record)| {
                let record = serde_json::to_vec(record).expect("a record has string keys only");
                (name.to_string(), Bytes::from(record))
            });
            Box::new(Members { version: self.version, named: named.collect(), others })
        });
        self.held = true;
        Call::Report(Report {
            gateway: Arc::clone(&self.gateway),
            lease_ms: self.lease_ms,
            version: self.version,
            members,
            known_runners: self.runners_version,
        })
    }

    /// The store has nothing of ours any more.
    pub(crate) fn left(&mut self, now_ms: u64) {
        (self.calling, self.held, self.failing) = (false, false, false);
        (self.renewed_ms, self.answered_ms) = (None, Some(now_ms));
        // Who comes next is reported in full.
        self.changed = true;
    }

    /// The store did not answer, or what it did is unknown.
    pub(crate) fn failed(&mut self) {
        (self.calling, self.failing) = (false, true);
        self.changed = true;
    }

    /// The report was answered: whom to read, before [`Board::learned`].
    pub(crate) fn reported(&mut self, now_ms: u64, reported: &Reported) -> Vec<Arc<str>> {
        let began_ms = self.called_ms.unwrap_or(now_ms);
        if reported.lapsed {
            self.changed = true;
            let lost = self.renewed_ms.is_some_and(|renewed_ms| began_ms < renewed_ms + self.lease_ms);
            if lost {
                self.doubt(now_ms);
            }
            self.renewed_ms = None;
        } else {
            self.renewed_ms = Some(began_ms);
        }
        if self.answered_ms.is_some_and(|answered_ms| now_ms.saturating_sub(answered_ms) >= self.lease_ms / 2) {
            self.doubt(now_ms);
        }
        self.answered_ms = Some(now_ms);
        if self.watchers == 0 {
            return Vec::new();
        }
        let news = reported.roll.gateways.iter().filter(|listed| {
            let known = self.others.get(&listed.gateway).map(|other| other.version);
            listed.gateway != self.gateway && known != Some(listed.version)
        });
        news.map(|listed| Arc::clone(&listed.gateway)).collect()
    }

    /// What the answer said, and what was read of those whom [`Board::reported`] named.
    pub(crate) fn learned(&mut self, now_ms: u64, roll: Roll, reads: Vec<Read>) {
        self.calling = false;
        self.failing = reads.iter().any(|(_, read)| read.is_err());
        if self.watchers == 0 {
            return;
        }
        let doubtful = self.is_doubtful(now_ms);
        if !doubtful {
            self.others.retain(|name, _| roll.gateways.iter().any(|listed| listed.gateway == *name));
        }
        for (gateway, read) in reads {
            match read {
                Ok(Some(members)) => drop(self.others.insert(gateway, Other::new(members))),
                Ok(None) if !doubtful => drop(self.others.remove(&gateway)),
                Ok(None) | Err(_) => {}
            }
        }
        if let Some(runners) = roll.runners {
            if !doubtful {
                self.runners.clear();
            }
            self.runners.extend(runners.into_iter().map(read_runner));
            self.runners_others = roll.runners_others;
            // While there is doubt all of them are asked for each time: who is missing at its end went.
            self.runners_version = if doubtful { 0 } else { roll.runners_version };
        }
        self.known = true;
    }

    /// Puts into news what changed since the last time.
    pub(crate) fn tell(&mut self, now_ms: u64, unix_ms: u64) -> Tally {
        if self.watchers == 0 || !(self.known || self.failing) {
            return Tally::default();
        }
        let own = self.own.part();
        let own = (!self.own.is_empty()).then_some((&self.gateway, &own));
        let parts = own.into_iter().chain(self.others.iter().map(|(name, other)| (name, &other.part)));
        let listing = Listing::of(parts, &self.runners, self.runners_others);
        let stale = self.is_stale(now_ms);
        let turned = std::mem::replace(&mut self.was_stale, stale) != stale;
        let before = self.listing.replace(listing);
        let listing = self.listing.as_ref().expect("it was put there");
        if turned || before.as_ref() != Some(listing) {
            self.full = None;
        }
        let (changes, tally) =
            before.as_ref().map(|before| listing.changes(before, &self.project, unix_ms)).unwrap_or_default();
        if turned || before.is_none() {
            let full = self.full();
            self.say(full);
        } else if !changes.is_empty() {
            self.say(Arc::new(Said::new(Topic::Changes, changes)));
        }
        tally
    }

    /// What a watcher that was told so many news (none: nothing yet) has not been told; or all that are there, if it wants
    /// that or is too far behind.
    pub(crate) fn untold(&mut self, told: Option<u64>, full: bool) -> Untold {
        let (at, kept) = (self.said, self.news.len() as u64);
        if self.listing.is_none() {
            return Untold { said: Vec::new(), at, full: false };
        }
        match told.map(|told| at - told) {
            Some(behind) if !full && behind <= kept => {
                let from = usize::try_from(kept - behind).unwrap_or(usize::MAX);
                let said: Vec<_> = self.news.iter().skip(from).cloned().collect();
                let full = said.iter().any(|said| said.topic() == Topic::Full);
                Untold { said, at, full }
            }
            _ => Untold { said: vec![self.full()], at, full: true },
        }
    }

    /// How many news there were so far.
    pub(crate) fn said(&self) -> u64 {
        self.said
    }

    /// How many runners there are, as told last.
    pub(crate) fn runners(&self) -> u64 {
        self.listing.as_ref().map_or(0, Listing::runners)
    }

    /// What is here; none if nobody is.
    pub(crate) fn own(&self) -> Option<Part> {
        (!self.own.is_empty()).then(|| self.own.part())
    }

    /// All that are there, as told last; none: nothing was, or nobody watches.
    pub(crate) fn last_told(&mut self) -> Option<Arc<Said>> {
        self.listing.is_some().then(|| self.full())
    }

    fn full(&mut self) -> Arc<Said> {
        let (project, stale) = (&self.project, self.was_stale);
        let json = || self.listing.as_ref().map_or_else(Vec::new, |listing| listing.json(project, stale));
        Arc::clone(self.full.get_or_insert_with(|| Arc::new(Said::new(Topic::Full, vec![json()]))))
    }

    fn say(&mut self, said: Arc<Said>) {
        self.news_bytes += said.bytes();
        self.news.push_back(said);
        self.said += 1;
        // What is too large by itself is not kept either: whoever has not heard it is told all that are there.
        while self.news.len() > NEWS_MAX || self.news_bytes > NEWS_BYTES_MAX {
            let Some(oldest) = self.news.pop_front() else { break };
            self.news_bytes -= oldest.bytes();
        }
    }

    fn doubt(&mut self, now_ms: u64) {
        self.doubt_until_ms = now_ms + self.lease_ms;
    }

    fn is_doubtful(&self, now_ms: u64) -> bool {
        now_ms < self.doubt_until_ms
    }

    fn is_stale(&self, now_ms: u64) -> bool {
        self.failing || self.is_doubtful(now_ms)
    }
}

impl Other {
    fn new(members: Members) -> Other {
        Other { version: members.version, part: part_of(members) }
    }
}

/// What a gateway reported. Records that cannot be read are counted.
pub(crate) fn part_of(members: Members) -> Part {
    let named = members.named.len() as u64;
    let read = |(name, record): (String, Bytes)| {
        let record = serde_json::from_slice::<ViewerRecord>(&record).ok()?;
        Some((Arc::from(name), record))
    };
    let viewers: Vec<_> = members.named.into_iter().filter_map(read).collect();
    Part { others: members.others.saturating_add(named - viewers.len() as u64), viewers }
}

/// A runner whose record cannot be read is there all the same.
pub(crate) fn read_runner(runner: Runner) -> (Box<str>, (u64, crate::RunnerRecord)) {
    let record = serde_json::from_slice(&runner.record).unwrap_or_default();
    (runner.name.into(), (runner.since_ms, record))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
