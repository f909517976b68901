//! A modelled Redis: two nodes, each a copy of the log, of which the other may lag behind; failovers, restarts and old
//! primaries that live on. Every entry that any history ever held goes into the archive, so that promises can be judged.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tidings_broker::memory::LogData;
use tidings_broker::{Answer, AppendCall, CallError, NothingWhy, ReadError, RefusalWhy, Sink, Span};
use tidings_protocol::entry::{Body, Entry};
use tidings_protocol::position::{Branch, Position};
use tokio::time::Instant;

use super::archive::Archive;
use super::stats::Stats;
use super::wire::Asked;

/// How far back a restart or a lagging replica may reach, in changes.
const SAVES: usize = 12;

/// One Redis.
pub(crate) struct Node {
    pub(crate) data: LogData,
    pub(crate) replid: String,
    pub(crate) primary: bool,
    pub(crate) up: bool,
    /// Stopped: it answers nothing, and goes on later as if nothing had been.
    pub(crate) frozen: bool,
    skew_ms: i64,
    /// What it held after each of the last changes, oldest first.
    saves: VecDeque<(u64, LogData)>,
}

impl Node {
    pub(crate) fn serves(&self) -> bool {
        self.up && self.primary && !self.frozen
    }
}

/// A gateway's subscription and what travels to it.
pub(crate) struct Ear {
    pub(crate) id: u64,
    pub(crate) gateway: usize,
    /// None: the connection is broken.
    pub(crate) node: Option<usize>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) queue: VecDeque<Bytes>,
}

/// Both nodes, what travels to and from gateways, and the books of the judge.
pub(crate) struct Store {
    pub(crate) nodes: [Node; 2],
    /// The primary that everybody who asks is told of.
    pub(crate) main: usize,
    version: u64,
    /// The change that the replica has come to.
    synced: u64,
    began: Instant,
    drawn: u64,
    pub(crate) archive: Archive,
    pub(crate) ears: Vec<Ear>,
    /// By gateway: the node that it reads from.
    pub(crate) reads_from: Vec<usize>,
    /// Reads on their way.
    pub(crate) asked: Vec<Asked>,
    /// Nothing is held or lost any more.
    pub(crate) calm: bool,
    /// Bytes that a read answers at most.
    pub(crate) page_bytes: usize,
    pub(crate) found: Vec<String>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) stats: Stats,
}

impl Store {
    pub(crate) fn new(skews: [i64; 2], page_bytes: usize, traced: bool) -> Store {
        let node = |primary, skew_ms| Node {
            data: LogData::default(),
            replid: "r0".to_owned(),
            primary,
            up: true,
            frozen: false,
            skew_ms,
            saves: VecDeque::from([(0, LogData::default())]),
        };
        Store {
            nodes: [node(true, skews[0]), node(false, skews[1])],
            main: 0,
            version: 0,
            synced: 0,
            began: Instant::now(),
            drawn: 0,
            archive: Archive::default(),
            ears: Vec::new(),
            reads_from: Vec::new(),
            asked: Vec::new(),
            calm: false,
            page_bytes,
            found: Vec::new(),
            trace: traced.then(Vec::new),
            stats: Stats::default(),
        }
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(what());
        }
    }

    pub(crate) fn bad(&mut self, what: String) {
        self.say(|| format!("!!! {what}"));
        self.found.push(what);
    }

    /// A number never drawn before.
    pub(crate) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    pub(crate) fn draw_branch(&mut self) -> Branch {
        format!("b{:011}", self.draw()).parse().expect("twelve characters")
    }

    fn now_ms(&self, node: usize) -> u64 {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).expect("not that long");
        (1_000_000 + elapsed).saturating_add_signed(self.nodes[node].skew_ms)
    }

    /// The primary that everybody who asks is told of.
    pub(crate) fn primary(&self) -> &Node {
        &self.nodes[self.main]
    }

    /// One sending arrives at a node.
    pub(crate) fn execute(&mut self, node: usize, call: &AppendCall) -> Result<Answer, CallError> {
        if !self.nodes[node].up {
            return Err(CallError::Unknown("the connection broke".into()));
        }
        if !self.nodes[node].primary {
            return Err(CallError::Nothing(NothingWhy::Refusing("READONLY".into())));
        }
        let now_ms = self.now_ms(node);
        let here = &mut self.nodes[node];
        let replid = here.replid.clone();
        let trimmed_to = trimmed_to(&here.data);
        let (answer, entry) = here.data.append(now_ms, &replid, call)?;
        self.judge_refusals(node, call, &answer);
        if let Some(entry) = entry {
            self.entered(node, &entry, trimmed_to);
        }
        if !matches!(answer, Answer::Refused(_) | Answer::Stale { .. }) {
            self.saved(node);
        }
        self.say(|| {
            let count = call.batch.as_ref().map_or(0, |batch| batch.count);
            format!(
                "    n{node} {}#{} {count} events on {:?}: {}",
                call.writer,
                call.number,
                call.branch,
                brief(&answer)
            )
        });
        Ok(answer)
    }

    /// A refused id really stands where the answer says (promise 3).
    fn judge_refusals(&mut self, node: usize, call: &AppendCall, answer: &Answer) {
        let (Answer::Refused(refusals), Some(batch)) = (answer, &call.batch) else { return };
        for refusal in refusals {
            let RefusalWhy::Duplicate(first) = refusal.why else { continue };
            let Some((_, id)) = batch.ids.iter().find(|(index, _)| *index == refusal.index) else { continue };
            let head = self.nodes[node].data.head("");
            if self.archive.ids.get(&first) != Some(id) || !head.holds(&[first]) {
                self.bad(format!("P3: {id} was refused as standing at {first}"));
            }
        }
    }

    /// A node's log has a new entry: into the archive, and to those who listen there.
    fn entered(&mut self, node: usize, entry: &Entry, trimmed_before: Position) {
        if let Body::Fork(note) = &entry.body {
            self.stats.forks += 1;
            let (closed, survived, kind) = (note.closed, note.survived, note.kind.as_str());
            self.say(|| format!("    n{node} fork {kind}: {closed:?} closed at {survived}, now {}", entry.position));
        }
        let data = &self.nodes[node].data;
        if let Err(why) = self.archive.note(entry, &data.head(""), (trimmed_before, trimmed_to(data))) {
            self.bad(why);
        }
        let message = entry.to_message();
        for ear in self.ears.iter_mut().filter(|ear| ear.node == Some(node)) {
            ear.queue.push_back(message.clone());
        }
    }

    fn saved(&mut self, node: usize) {
        self.version += 1;
        let here = &mut self.nodes[node];
        here.saves.push_back((self.version, here.data.clone()));
        if here.saves.len() > SAVES {
            here.saves.pop_front();
        }
    }

    /// The janitor's script on a node.
    pub(crate) fn checkpoint(&mut self, node: usize, step: &tidings_broker::CheckpointStep) -> bool {
        if !self.nodes[node].serves() {
            return false;
        }
        let now_ms = self.now_ms(node);
        let here = &mut self.nodes[node];
        let replid = here.replid.clone();
        let answer = here.data.checkpoint(now_ms, &replid, step);
        self.saved(node);
        self.say(|| format!("    n{node} checkpoint to {}: {answer:?}", step.to));
        matches!(answer, tidings_broker::CheckpointAnswer::Done { .. })
    }

    /// The replica takes over what the primary had, all but some of the newest changes.
    pub(crate) fn replicate(&mut self, lag: usize) {
        let main = self.main;
        let replica = 1 - main;
        if !self.nodes[main].serves() || self.nodes[replica].primary || !self.nodes[replica].up {
            return;
        }
        let saves = &self.nodes[main].saves;
        let Some((version, data)) = saves.iter().rev().nth(lag.min(saves.len() - 1)).cloned() else { return };
        if version <= self.synced && self.synced != 0 {
            return;
        }
        self.synced = version;
        let replid = self.nodes[main].replid.clone();
        let here = &mut self.nodes[replica];
        (here.data, here.replid) = (data.clone(), replid);
        here.saves = VecDeque::from([(version, data)]);
    }

    /// The replica becomes the primary. The old one dies, or lives on for those who still talk to it.
    pub(crate) fn fail_over(&mut self, dies: bool) {
        let (old, new) = (self.main, 1 - self.main);
        if self.nodes[new].primary || !self.nodes[new].up {
            return;
        }
        self.stats.failovers += 1;
        let replid = format!("r{}", self.draw());
        let lost = self.nodes[old].data.head("").last.n().saturating_sub(self.nodes[new].data.head("").last.n());
        self.stats.lossy_failovers += u64::from(lost > 0);
        let here = &mut self.nodes[new];
        (here.primary, here.replid, here.frozen) = (true, replid, false);
        self.main = new;
        if dies {
            self.nodes[old].up = false;
            self.break_links(old);
        } else {
            self.stats.split_brains += 1;
        }
        self.say(|| {
            format!(
                "    n{new} is the primary, {lost} events are lost, n{old} {}",
                if dies { "is dead" } else { "lives on" }
            )
        });
    }

    /// A primary restarts with what it had so many changes ago; none: with nothing.
    pub(crate) fn restart(&mut self, node: usize, back: Option<usize>) {
        let here = &mut self.nodes[node];
        if !here.up || !here.primary {
            return;
        }
        let kept = back.and_then(|back| here.saves.iter().rev().nth(back.min(here.saves.len() - 1)).cloned());
        let data = kept.map(|(_, data)| data).unwrap_or_default();
        here.data = data.clone();
        here.frozen = false;
        self.version += 1;
        here.saves = VecDeque::from([(self.version, data)]);
        let replid = format!("r{}", self.draw());
        self.nodes[node].replid = replid;
        self.stats.restarts += 1;
        self.break_links(node);
        if node == self.main {
            self.synced = 0;
        }
        self.say(|| format!("    n{node} restarted with {:?}", self_last(back)));
    }

    /// The node that is not the primary comes back as its replica, with a full copy.
    pub(crate) fn rejoin(&mut self) {
        let old = 1 - self.main;
        if self.nodes[old].up && !self.nodes[old].primary {
            return;
        }
        let main = &self.nodes[self.main];
        let (data, replid) = (main.data.clone(), main.replid.clone());
        let here = &mut self.nodes[old];
        (here.up, here.primary, here.frozen) = (true, false, false);
        (here.data, here.replid) = (data.clone(), replid);
        self.version += 1;
        here.saves = VecDeque::from([(self.version, data)]);
        self.synced = self.version;
        // What the primary held until now is older than this.
        let version = self.version;
        if let Some(newest) = self.nodes[self.main].saves.back_mut() {
            newest.0 = version;
        }
        self.break_links(old);
        self.say(|| format!("    n{old} follows"));
    }

    fn break_links(&mut self, node: usize) {
        for ear in self.ears.iter_mut().filter(|ear| ear.node == Some(node)) {
            ear.node = None;
            ear.queue.clear();
        }
    }

    /// A gateway's subscription is made again, at the node that it talks to.
    pub(crate) fn resubscribe(&mut self, gateway: usize) {
        let node = self.reads_from[gateway];
        if !self.nodes[node].up {
            return;
        }
        for ear in self.ears.iter_mut().filter(|ear| ear.gateway == gateway) {
            ear.node = Some(node);
            ear.queue.clear();
            ear.sink.lost();
        }
    }

    /// Whether a gateway may read where it reads from.
    pub(crate) fn readable(&self, gateway: usize) -> Result<usize, ReadError> {
        let node = self.reads_from[gateway];
        if self.nodes[node].serves() { Ok(node) } else { Err(ReadError::Away("no primary there".into())) }
    }
}

/// The position before the oldest entry that a log holds.
fn trimmed_to(data: &LogData) -> Position {
    data.read("", Span::Tail, 1).trimmed_to
}

fn self_last(back: Option<usize>) -> String {
    back.map_or_else(|| "nothing".to_owned(), |back| format!("what it had {back} changes ago"))
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Appended { last, .. } => format!("appended, {last}"),
        Answer::Synced(head) => format!("synced, {}", head.last),
        Answer::Heal(heal) => format!("heal, {} answered {:?}", heal.head.last, heal.answer),
        other => format!("{other:?}"),
    }
}
