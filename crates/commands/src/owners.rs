//! Which runner publishes for which session and agent: learnt from what passes, so that commands find their runner.
//!
//! Nobody waits for it: what is noted goes through a bounded queue, and what does not fit is noted the next time. A session's
//! runner is noted when it changes, and else now and then; events without a runner cost a look at their envelope.
//!
//! Who publishes in his own name holds the session. Weaker is what says less of who holds it: an answer to a command, which
//! any runner of the capability may give, and an event that names no runner, and stands in its credential's name. They
//! take what nobody holds.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;
use parking_lot::Mutex;
use tidings_broker::inbox::{Inboxes, Owned};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{OWN_PREFIX, digest};

/// How long the same is not noted again.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Sessions and agents that are remembered here. When it is full it begins anew: the price is some notes that say nothing new.
const REMEMBERED_MAX: usize = 50_000;

/// Notes that may wait.
const QUEUE: usize = 4_096;

/// Notes that are taken at once.
const BATCH: usize = 512;

/// Where an envelope ends.
const DATA: &[u8] = b",\"data\":";

/// Where it names its runner.
const RUNNER: &[u8] = b",\"runner\":";

/// For how long it is known that a session ended: what comes late tells nothing of who works for it.
const ENDED_KEPT: Duration = Duration::from_mins(10);

/// The types that begin a session, one that ended, too.
const BEGINS: [&str; 1] = ["session.started"];

/// The types that end a session.
const ENDS: [&str; 3] = ["session.completed", "session.failed", "session.cancelled"];

/// The session that stands for a runner itself: what is bound to it goes to that runner.
pub(crate) fn session_of_runner(runner: &str) -> String {
    format!("{OWN_PREFIX}r:{}", digest(runner))
}

/// By project, session and agent.
type Remembered = HashMap<(Project, String, String), Noted, foldhash::fast::RandomState>;

/// What was noted.
struct Noted {
    runner: String,
    weak: bool,
    at: Instant,
}

impl Noted {
    /// Whether it need not be noted that this runner publishes: it was a moment ago, or somebody's stronger word was.
    fn covers(&self, runner: &str, weak: bool, now: Instant) -> bool {
        now - self.at < AGAIN_AFTER && (weak || (!self.weak && self.runner == runner))
    }
}

/// Sessions that ended, and when: by project, so that the many others are found out without a copy of their name.
#[derive(Default)]
struct Ended {
    by_project: HashMap<Project, HashMap<String, Instant, foldhash::fast::RandomState>, foldhash::fast::RandomState>,
    count: usize,
}

impl Ended {
    /// When it is full it begins anew, as what is remembered does.
    fn insert(&mut self, project: &Project, session: &str) {
        if self.count >= REMEMBERED_MAX {
            *self = Ended::default();
        }
        let sessions = self.by_project.entry(project.clone()).or_default();
        if sessions.insert(session.to_owned(), Instant::now()).is_none() {
            self.count += 1;
        }
    }

    fn remove(&mut self, project: &Project, session: &str) {
        if self.by_project.get_mut(project).is_some_and(|sessions| sessions.remove(session).is_some()) {
            self.count -= 1;
        }
    }

    /// Whether a session ended a while ago, and not longer.
    fn has(&mut self, project: &Project, session: &str) -> bool {
        let since = self.by_project.get(project).and_then(|sessions| sessions.get(session));
        let Some(since) = since else { return false };
        let has = since.elapsed() < ENDED_KEPT;
        if !has {
            self.remove(project, session);
        }
        has
    }
}

/// Who publishes for what. Cheap to clone.
#[derive(Clone)]
pub struct Owners(Arc<Inner>);

struct Inner {
    inboxes: Arc<dyn Inboxes>,
    remembered: Mutex<Remembered>,
    ended: Mutex<Ended>,
    queue: mpsc::Sender<(Project, Owned)>,
}

/// What waits to be written; for [`Notes::run`].
pub struct Notes {
    inboxes: Arc<dyn Inboxes>,
    queue: mpsc::Receiver<(Project, Owned)>,
}

impl Owners {
    /// Nobody is known yet. The notes must be written by [`Notes::run`].
    pub fn new(inboxes: Arc<dyn Inboxes>) -> (Owners, Notes) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let inner =
            Inner { inboxes: inboxes.clone(), remembered: Mutex::default(), ended: Mutex::default(), queue: sender };
        (Owners(Arc::new(inner)), Notes { inboxes, queue: receiver })
    }

    /// Notes who publishes these events. Those of `default_runner` named none. Never waits.
    pub fn note(&self, project: &Project, events: &[wire::Event], default_runner: Option<&str>) {
        self.learn(project, events, |_, runner| default_runner == Some(runner));
    }

    /// Notes who answers a command with these events. It takes over what it begins for everybody to see; what else it
    /// answers for may be another runner's. Never waits.
    pub fn note_answers(&self, project: &Project, events: &[wire::Event]) {
        self.learn(project, events, |event, _| !(BEGINS.contains(&event.r#type.as_str()) && event.to.is_empty()));
    }

    fn learn(&self, project: &Project, events: &[wire::Event], is_weak: impl Fn(&wire::Event, &str) -> bool) {
        let over = self.over(project, events);
        let mut seen: HashMap<(&str, &str), bool, foldhash::fast::RandomState> = HashMap::default();
        // The last one of each tells.
        for (at, event) in events.iter().enumerate().rev() {
            if (event.session.is_empty() && event.agent.is_empty()) || event.session.starts_with(OWN_PREFIX) {
                continue;
            }
            if over.get(event.session.as_str()).is_some_and(|until| at < *until) {
                continue;
            }
            let name = (event.session.as_str(), event.agent.as_str());
            let weak_before = seen.get(&name).copied();
            if weak_before == Some(false) {
                continue;
            }
            let Some(runner) = runner_of(event) else { continue };
            let weak = is_weak(event, &runner);
            if weak && weak_before.is_some() {
                continue;
            }
            seen.insert(name, weak);
            self.owns(project, name, &runner, weak);
        }
    }

    /// Up to which of these events sessions are over: what they say up to there tells nothing of who works for them. Ends are
    /// noted.
    fn over<'a>(&self, project: &Project, events: &'a [wire::Event]) -> HashMap<&'a str, usize> {
        let mut over = HashMap::new();
        let mut ended = self.0.ended.lock();
        for (at, event) in events.iter().enumerate().filter(|(_, event)| !event.session.is_empty()) {
            // What one viewer alone is told neither ends nor begins a session.
            let kind = if event.to.is_empty() { event.r#type.as_str() } else { "" };
            let session = event.session.as_str();
            if ENDS.contains(&kind) {
                ended.insert(project, session);
                over.insert(session, at + 1);
                self.ended(project, session);
            } else if BEGINS.contains(&kind) {
                ended.remove(project, session);
            } else if ended.has(project, session) {
                over.insert(session, at + 1);
            }
        }
        over
    }

    /// Notes that a runner is there, to be told something itself.
    pub(crate) fn note_runner(&self, project: &Project, runner: &str) {
        self.owns(project, (&session_of_runner(runner), ""), runner, false);
    }

    fn owns(&self, project: &Project, (session, agent): (&str, &str), runner: &str, weak: bool) {
        let key = (project.clone(), session.to_owned(), agent.to_owned());
        let now = Instant::now();
        {
            let mut remembered = self.0.remembered.lock();
            if remembered.get(&key).is_some_and(|noted| noted.covers(runner, weak, now)) {
                return;
            }
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(key.clone(), Noted { runner: runner.to_owned(), weak, at: now });
        }
        let (_, session, agent) = key;
        self.queue(project, Owned { session, agent, runner: Some(runner.to_owned()), weak });
    }

    fn ended(&self, project: &Project, session: &str) {
        self.0.remembered.lock().remove(&(project.clone(), session.to_owned(), String::new()));
        self.queue(project, Owned { session: session.to_owned(), agent: String::new(), runner: None, weak: false });
    }

    fn queue(&self, project: &Project, owned: Owned) {
        if self.0.queue.try_send((project.clone(), owned)).is_err() {
            // It is noted the next time.
            self.0.remembered.lock().clear();
        }
    }

    /// Where it is noted.
    pub(crate) fn inboxes(&self) -> &Arc<dyn Inboxes> {
        &self.0.inboxes
    }
}

impl Notes {
    /// Writes what is noted until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let received = self.queue.recv_many(&mut batch, BATCH);
            if stop.run_until_cancelled(received).await.is_none_or(|count| count == 0) {
                return;
            }
            let mut by_project: HashMap<Project, Vec<Owned>, foldhash::fast::RandomState> = HashMap::default();
            for (project, owned) in batch.drain(..) {
                by_project.entry(project).or_default().push(owned);
            }
            for (project, owned) in by_project {
                if let Err(error) = self.inboxes.own(project.clone(), owned).await {
                    tracing::debug!(%project, %error, "who publishes was not noted");
                }
            }
        }
    }
}

/// The runner that an envelope names. Quotes inside its strings are escaped, so what is found is the member.
fn runner_of(event: &wire::Event) -> Option<Cow<'_, str>> {
    let envelope = &event.json[..memmem::find(&event.json, DATA).unwrap_or(event.json.len())];
    let value = std::str::from_utf8(&envelope[memmem::find(envelope, RUNNER)? + RUNNER.len()..]).ok()?;
    let mut texts = serde_json::Deserializer::from_str(value).into_iter::<String>();
    let inside = value.strip_prefix('"')?;
    let end = inside.find(['"', '\\'])?;
    match inside.as_bytes()[end] {
        b'"' => Some(Cow::Borrowed(&inside[..end])),
        _ => texts.next()?.ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, session: &str, json: &str) -> wire::Event {
        wire::Event {
            r#type: kind.into(),
            session: session.into(),
            json: json.to_owned().into(),
            ..wire::Event::default()
        }
    }

    #[test]
    fn the_envelope_names_the_runner_and_data_does_not() {
        let runner = |json| runner_of(&event("log", "s", json)).map(Cow::into_owned);
        assert_eq!(runner(r#"{"type":"log","runner":"r-1","key":"k","data":{}}"#).as_deref(), Some("r-1"));
        assert_eq!(runner(r#"{"type":"log","runner":"r\"1","received":"t"}"#).as_deref(), Some("r\"1"));
        assert_eq!(runner(r#"{"type":"log","id":",\"runner\":\"x\"","data":{"a":1,"runner":"y"}}"#), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_new_is_noted() {
        let broker = tidings_broker::memory::MemoryBroker::new();
        let (owners, mut notes) = Owners::new(tidings_broker::Index::inboxes(&broker));
        let demo: Project = "demo".parse().expect("a name");
        let log = |runner| event("log", "s", &format!("{{\"type\":\"log\",\"runner\":\"{runner}\",\"data\":{{}}}}"));
        let mut noted = |events: &[wire::Event]| {
            owners.note(&demo, events, Some("key"));
            std::iter::from_fn(|| notes.queue.try_recv().ok()).map(|(_, owned)| owned.runner).collect::<Vec<_>>()
        };
        let (one, two) = (Some("r1".to_owned()), Some("r2".to_owned()));
        assert_eq!(noted(&[log("r2"), log("r1")]), vec![one.clone()], "the last one tells");
        assert_eq!(noted(&[log("r1")]), []);
        assert_eq!(noted(&[log("r2")]), [two]);
        assert_eq!(noted(&[event("log", "s", r#"{"type":"log","data":{"runner":"r1"}}"#)]), []);
        tokio::time::advance(AGAIN_AFTER).await;
        assert_eq!(noted(&[event("session.completed", "s", "{}")]), [None]);
        assert_eq!(noted(&[log("r1")]), [], "what comes late");
        let again = event("session.started", "s", r#"{"type":"session.started","runner":"r1","data":{}}"#);
        assert_eq!(noted(&[again]), [one]);
        let late = |runner: &'static str| wire::Event { agent: "a".into(), ..log(runner) };
        assert_eq!(noted(&[late("r1"), event("session.failed", "s", "{}"), late("r1")]), [None], "the end tells");
        tokio::time::advance(ENDED_KEPT).await;
        assert_eq!(noted(&[log("r2")]), [Some("r2".to_owned())], "it is forgotten that it ended");
        let own = event("log", "tidings:r:x", r#"{"type":"log","runner":"eve"}"#);
        assert_eq!(noted(&[own]), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_and_a_credentials_name_are_weak() {
        let broker = tidings_broker::memory::MemoryBroker::new();
        let (owners, mut notes) = Owners::new(tidings_broker::Index::inboxes(&broker));
        let demo: Project = "demo".parse().expect("a name");
        let by = |kind: &str, runner: &str| {
            event(kind, "s", &format!("{{\"type\":\"{kind}\",\"runner\":\"{runner}\",\"data\":{{}}}}"))
        };
        let mut noted = || {
            let queued = std::iter::from_fn(|| notes.queue.try_recv().ok());
            queued.map(|(_, owned)| (owned.runner.unwrap_or_default(), owned.weak)).collect::<Vec<_>>()
        };
        let (weak, strong) = (|runner: &str| (runner.to_owned(), true), |runner: &str| (runner.to_owned(), false));
        owners.note_answers(&demo, &[by("log", "r1"), by("agent.status", "r1")]);
        assert_eq!(noted(), [weak("r1")]);
        owners.note_answers(&demo, &[by("log", "r2")]);
        assert_eq!(noted(), [], "somebody claims it already");
        owners.note(&demo, &[by("log", "r1"), by("log", "key")], Some("key"));
        assert_eq!(noted(), [strong("r1")], "its own word is stronger, wherever it stands");
        owners.note(&demo, &[by("log", "key")], Some("key"));
        owners.note_answers(&demo, &[by("log", "r2")]);
        assert_eq!(noted(), [], "it is r1's");
        owners.note_answers(&demo, &[by("session.started", "r2"), by("command.completed", "r2")]);
        assert_eq!(noted(), [strong("r2")], "it is begun anew");
        let to_one = |kind: &str| wire::Event { to: "alice".into(), ..by(kind, "r3") };
        owners.note_answers(&demo, &[to_one("session.completed"), to_one("session.started")]);
        assert_eq!(noted(), [], "nobody else hears of it");
        tokio::time::advance(AGAIN_AFTER).await;
        owners.note(&demo, &[by("log", "key")], Some("key"));
        assert_eq!(noted(), [weak("key")]);
    }
}
