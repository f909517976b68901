//! All that are there, of all gateways together: the list that is told, and what changed from one to the next.
//!
//! A viewer is one, however many connections it has at however many gateways. The list has the [`LISTED_MAX`] that are
//! there for the longest; every gateway reports its own such, so all make the same list. The others are counted, as are
//! those with whom it would say more than [`LISTED_BYTES_MAX`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use serde::Serialize;
use tidings_broker::presence::MEMBERS_MAX;
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::rfc3339;

use crate::record::{RunnerRecord, ViewerRecord};

/// Viewers, and runners, that a list names at most.
pub const LISTED_MAX: usize = MEMBERS_MAX;

/// Bytes of JSON that a list says at most of viewers, and as many of runners. With the names of gateways it is the bound of
/// what one project has to say at once.
pub const LISTED_BYTES_MAX: usize = 128 * 1024;

/// What one gateway has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Part {
    /// By viewer.
    pub(crate) viewers: Vec<(Arc<str>, ViewerRecord)>,
    /// How many more.
    pub(crate) others: u64,
}

/// Runners by name: since when, in milliseconds since the Unix epoch, and what they say of themselves.
pub(crate) type Runners = BTreeMap<Box<str>, (u64, RunnerRecord)>;

/// All that are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Listing {
    viewers: BTreeMap<Arc<str>, Viewer>,
    others: u64,
    runners: Runners,
    runners_others: u64,
    gateways: BTreeSet<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Viewer {
    is_user: bool,
    since_ms: u64,
    connections: u32,
    transports: BTreeSet<String>,
    gateways: BTreeSet<Arc<str>>,
    told: u64,
}

/// What viewers were told so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Those that are there for the longest, by name.
    pub viewers: Vec<Figure>,
    /// How many more there are.
    pub others: u64,
}

/// What one viewer was told so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// The viewer.
    pub viewer: Arc<str>,
    /// Since when it is there, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Messages that its connections counted ([`crate::Present::told`]); of other gateways, as of some seconds ago.
    pub told: u64,
}

/// How many came and went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) viewers_joined: u64,
    pub(crate) viewers_left: u64,
    pub(crate) runners_joined: u64,
    pub(crate) runners_left: u64,
}

impl Listing {
    /// Of what each gateway has.
    pub(crate) fn of<'p>(
        parts: impl Iterator<Item = (&'p Arc<str>, &'p Part)>,
        runners: &Runners,
        more_runners: u64,
    ) -> Listing {
        let mut all: HashMap<&Arc<str>, Viewer> = HashMap::new();
        let (mut others, mut gateways) = (0, BTreeSet::new());
        for (gateway, part) in parts {
            gateways.insert(Arc::clone(gateway));
            others += part.others;
            for (name, record) in &part.viewers {
                let viewer = all.entry(name).or_insert_with(|| Viewer::new(record));
                viewer.add(gateway, record);
            }
        }
        let mut viewers: Vec<(Arc<str>, Viewer)> = all.into_iter().map(|(name, one)| (Arc::clone(name), one)).collect();
        viewers.sort_unstable_by(|a, b| (a.1.since_ms, &a.0).cmp(&(b.1.since_ms, &b.0)));
        let listed = listed(viewers.iter().map(|(name, one)| json_bytes(&one.told(name))));
        others += (viewers.len() - listed) as u64;
        viewers.truncate(listed);
        let listed = listed_runners(runners);
        let runners_others = more_runners + (runners.len() - listed) as u64;
        let runners = runners.iter().take(listed).map(|(name, one)| (name.clone(), one.clone())).collect();
        Listing { viewers: viewers.into_iter().collect(), others, runners, runners_others, gateways }
    }

    /// What the viewers were told.
    pub(crate) fn figures(&self) -> Figures {
        let figure = |(name, viewer): (&Arc<str>, &Viewer)| Figure {
            viewer: Arc::clone(name),
            since_ms: viewer.since_ms,
            told: viewer.told,
        };
        Figures { viewers: self.viewers.iter().map(figure).collect(), others: self.others }
    }

    /// How many runners there are.
    pub(crate) fn runners(&self) -> u64 {
        self.runners.len() as u64 + self.runners_others
    }

    /// One JSON object with all of it.
    pub(crate) fn json(&self, project: &Project, stale: bool) -> Vec<u8> {
        let mut viewers: Vec<_> = self.viewers.iter().collect();
        viewers.sort_unstable_by_key(|(name, viewer)| (viewer.since_ms, Arc::clone(name)));
        let told = ToldList {
            project: project.as_str(),
            viewers: viewers.into_iter().map(|(name, viewer)| viewer.told(name)).collect(),
            others: self.others,
            runners: self
                .runners
                .iter()
                .map(|(name, (since_ms, record))| told_runner(name, *since_ms, record))
                .collect(),
            runners_others: self.runners_others,
            gateways: &self.gateways,
            stale,
        };
        serde_json::to_vec(&told).expect("it has string keys only")
    }

    /// Who joined and left since the list before, as JSON objects shaped like events: who left first.
    pub(crate) fn changes(&self, before: &Listing, project: &Project, unix_ms: u64) -> (Vec<Vec<u8>>, Tally) {
        let (mut texts, mut tally) = (Vec::new(), Tally::default());
        let mut say = |kind: &str, data: Told<'_>| {
            let event = Event { r#type: kind, time: rfc3339(unix_ms), project: project.as_str(), data };
            texts.push(serde_json::to_vec(&event).expect("it has string keys only"));
        };
        for (name, viewer) in before.viewers.iter().filter(|(name, _)| !self.viewers.contains_key(*name)) {
            say(LEFT, Told::ViewerGone { viewer: name, user: viewer.is_user.then_some(&**name) });
            tally.viewers_left += 1;
        }
        for name in before.runners.keys().filter(|name| !self.runners.contains_key(*name)) {
            say(LEFT, Told::RunnerGone { runner: name });
            tally.runners_left += 1;
        }
        for (name, viewer) in self.viewers.iter().filter(|(name, _)| !before.viewers.contains_key(*name)) {
            say(JOINED, Told::Viewer(viewer.told(name)));
            tally.viewers_joined += 1;
        }
        for (name, (since_ms, record)) in self.runners.iter().filter(|(name, _)| !before.runners.contains_key(*name)) {
            say(JOINED, Told::Runner(told_runner(name, *since_ms, record)));
            tally.runners_joined += 1;
        }
        (texts, tally)
    }
}

impl Viewer {
    fn new(record: &ViewerRecord) -> Viewer {
        Viewer {
            is_user: record.user,
            since_ms: record.since,
            connections: 0,
            transports: BTreeSet::new(),
            gateways: BTreeSet::new(),
            told: 0,
        }
    }

    fn add(&mut self, gateway: &Arc<str>, record: &ViewerRecord) {
        self.since_ms = self.since_ms.min(record.since);
        self.connections = self.connections.saturating_add(record.connections);
        self.transports.extend(record.transports.iter().cloned());
        self.gateways.insert(Arc::clone(gateway));
        self.told = self.told.saturating_add(record.told);
    }

    fn told<'v>(&'v self, name: &'v str) -> ToldViewer<'v> {
        ToldViewer {
            viewer: name,
            user: self.is_user.then_some(name),
            since: rfc3339(self.since_ms),
            connections: self.connections,
            transports: &self.transports,
            gateways: &self.gateways,
        }
    }
}

/// How many of those that take so many bytes each are listed, the first ones.
fn listed(bytes: impl Iterator<Item = usize>) -> usize {
    let sums = bytes.scan(0, |sum, bytes| {
        *sum += bytes + ",".len();
        Some(*sum)
    });
    sums.take(LISTED_MAX).take_while(|sum| *sum <= LISTED_BYTES_MAX).count()
}

fn listed_runners(runners: &Runners) -> usize {
    listed(runners.iter().map(|(name, (since_ms, record))| json_bytes(&told_runner(name, *since_ms, record))))
}

fn json_bytes(told: &impl Serialize) -> usize {
    struct Counted(usize);
    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    serde_json::to_writer(&mut counted, told).expect("it has string keys only, and nothing is written");
    counted.0
}

fn told_runner<'r>(name: &'r str, since_ms: u64, record: &'r RunnerRecord) -> ToldRunner<'r> {
    ToldRunner { runner: name, since: rfc3339(since_ms), record }
}

const JOINED: &str = "presence.joined";
const LEFT: &str = "presence.left";

#[derive(Serialize)]
struct ToldList<'l> {
    project: &'l str,
    viewers: Vec<ToldViewer<'l>>,
    others: u64,
    runners: Vec<ToldRunner<'l>>,
    runners_others: u64,
    #[serde(serialize_with = "names")]
    gateways: &'l BTreeSet<Arc<str>>,
    stale: bool,
}

#[derive(Serialize)]
struct ToldViewer<'l> {
    viewer: &'l str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'l str>,
    since: String,
    connections: u32,
    transports: &'l BTreeSet<String>,
    #[serde(serialize_with = "names")]
    gateways: &'l BTreeSet<Arc<str>>,
}

#[derive(Serialize)]
struct ToldRunner<'l> {
    runner: &'l str,
    since: String,
    #[serde(flatten)]
    record: &'l RunnerRecord,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told<'l> {
    Viewer(ToldViewer<'l>),
    ViewerGone {
        viewer: &'l str,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'l str>,
    },
    Runner(ToldRunner<'l>),
    RunnerGone {
        runner: &'l str,
    },
}

#[derive(Serialize)]
struct Event<'l> {
    r#type: &'l str,
    time: String,
    project: &'l str,
    data: Told<'l>,
}

fn names<S: serde::Serializer>(names: &BTreeSet<Arc<str>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(|name| &**name))
}

#[cfg(test)]
mod tests;
