//! Who is there, in memory. `lua/presence.lua` and `lua/runner.lua` do the same in Redis.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tidings_protocol::project::Project;

use super::MemoryBroker;
use crate::presence::{
    Listed, MEMBERS_MAX, Members, Presences, PutRunner, RUNNER_TTL_MAX_MS, RUNNERS_MAX, RUNNERS_TOLD_MAX, RemoveRunner,
    Report, Reported, Roll, Runner, Speaker,
};
use crate::{CallError, ReadError};

/// Projects below which those that hold nobody are not looked for.
const PROJECTS_MIN: usize = 256;

/// What is known of all projects.
#[derive(Debug, Default)]
pub(super) struct PresenceBooks(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    projects: HashMap<Project, Book>,
    /// At so many, those that hold nobody are dropped.
    look_at: usize,
}

#[derive(Debug, Default)]
struct Book {
    gateways: BTreeMap<Arc<str>, Gateway>,
    runners: BTreeMap<String, Present>,
    runners_version: u64,
}

#[derive(Debug)]
struct Gateway {
    from_ms: u64,
    until_ms: u64,
    members: Members,
}

#[derive(Debug)]
struct Present {
    since_ms: u64,
    until_ms: u64,
    subject: String,
    record: Bytes,
}

impl PresenceBooks {
    /// As a restart leaves it.
    pub(super) fn clear(&self) {
        *self.0.lock() = Books::default();
    }
}

impl Books {
    fn of(&mut self, project: &Project, now_ms: u64) -> &mut Book {
        if self.projects.len() >= self.look_at.max(PROJECTS_MIN) {
            self.projects.retain(|_, book| !book.is_forgotten(now_ms));
            self.look_at = self.projects.len() * 2;
        }
        self.projects.entry(project.clone()).or_default()
    }
}

impl Book {
    /// Whether nobody is there, and nobody can know a version of its runners.
    fn is_forgotten(&self, now_ms: u64) -> bool {
        let gateway = self.gateways.values().map(|gateway| gateway.until_ms).max().unwrap_or(0);
        let runner = self.runners.values().map(|runner| runner.until_ms).max().unwrap_or(0);
        let last_ms = gateway.max(runner).max(self.runners_version);
        now_ms.saturating_sub(last_ms) > RUNNER_TTL_MAX_MS
    }

    /// Forgets whose time is over.
    fn sweep(&mut self, now_ms: u64) {
        self.gateways.retain(|_, gateway| (gateway.from_ms..gateway.until_ms).contains(&now_ms));
        let before = self.runners.len();
        self.runners.retain(|_, runner| runner.is_there(now_ms));
        if self.runners.len() < before {
            self.touch(now_ms);
        }
    }

    /// A version that nobody has seen, not even before a loss: it is never behind the clock.
    fn touch(&mut self, now_ms: u64) {
        self.runners_version = now_ms.max(self.runners_version + 1);
    }

    fn report(&mut self, now_ms: u64, report: Report) -> bool {
        self.sweep(now_ms);
        let until_ms = now_ms.saturating_add(report.lease_ms.max(1));
        let kept = self.gateways.get_mut(&report.gateway);
        match (report.members, kept) {
            (Some(_), Some(kept)) if kept.members.version > report.version => return true,
            (Some(members), _) => {
                let members = Members { version: report.version, ..*members };
                self.gateways.insert(report.gateway, Gateway { from_ms: now_ms, until_ms, members });
            }
            (None, Some(kept)) if kept.members.version == report.version => {
                (kept.from_ms, kept.until_ms) = (now_ms, until_ms);
            }
            (None, _) => return true,
        }
        false
    }

    fn roll(&mut self, now_ms: u64, known_runners: u64) -> Roll {
        self.sweep(now_ms);
        let listed = |(name, gateway): (&Arc<str>, &Gateway)| Listed {
            gateway: Arc::clone(name),
            version: gateway.members.version,
        };
        let runner = |(name, runner): (&String, &Present)| Runner {
            name: name.clone(),
            since_ms: runner.since_ms,
            record: runner.record.clone(),
        };
        let news = self.runners_version != known_runners;
        let others = self.runners.len().saturating_sub(RUNNERS_TOLD_MAX) as u64;
        Roll {
            gateways: self.gateways.iter().map(listed).collect(),
            runners_version: self.runners_version,
            runners: news.then(|| self.runners.iter().take(RUNNERS_TOLD_MAX).map(runner).collect()),
            runners_others: if news { others } else { 0 },
        }
    }

    fn put_runner(&mut self, now_ms: u64, name: String, by: Speaker, ttl_ms: u64, record: Bytes) -> PutRunner {
        let until_ms = now_ms + ttl_ms.clamp(1, RUNNER_TTL_MAX_MS);
        let before = self.runners.get(&name).filter(|runner| runner.is_there(now_ms));
        let Some(before) = before else {
            if !self.runners.contains_key(&name) && self.runners.len() >= RUNNERS_MAX {
                self.sweep(now_ms);
                if self.runners.len() >= RUNNERS_MAX {
                    return PutRunner::Full;
                }
            }
            self.touch(now_ms);
            self.runners.insert(name, Present { since_ms: now_ms, until_ms, subject: by.subject, record });
            return PutRunner::Joined { since_ms: now_ms };
        };
        if !before.is_of(&by) {
            return PutRunner::Anothers;
        }
        let (since_ms, same) = (before.since_ms, before.record == record);
        if !same {
            self.touch(now_ms);
        }
        self.runners.insert(name, Present { since_ms, until_ms, subject: by.subject, record });
        PutRunner::Renewed { since_ms }
    }

    fn remove_runner(&mut self, now_ms: u64, name: &str, by: &Speaker) -> RemoveRunner {
        let Some(found) = self.runners.get(name) else { return RemoveRunner::Absent };
        let was_there = found.is_there(now_ms);
        if was_there && !found.is_of(by) {
            return RemoveRunner::Anothers;
        }
        self.runners.remove(name);
        self.touch(now_ms);
        if was_there { RemoveRunner::Gone } else { RemoveRunner::Absent }
    }
}

impl Present {
    /// Whether he may say something of it.
    fn is_of(&self, by: &Speaker) -> bool {
        by.overrules || self.subject == by.subject
    }

    fn is_there(&self, now_ms: u64) -> bool {
        now_ms < self.until_ms && self.until_ms <= now_ms.saturating_add(RUNNER_TTL_MAX_MS)
    }
}

impl Presences for MemoryBroker {
    fn report(&self, project: Project, report: Report) -> BoxFuture<'_, Result<Reported, CallError>> {
        let named = report.members.as_ref().map_or(0, |members| members.named.len());
        assert!(named <= MEMBERS_MAX, "a report names at most {MEMBERS_MAX} members");
        async move {
            let now_ms = self.0.clock.now_ms();
            let mut books = self.0.presence.0.lock();
            let (book, known_runners) = (books.of(&project, now_ms), report.known_runners);
            let lapsed = book.report(now_ms, report);
            Ok(Reported { lapsed, roll: book.roll(now_ms, known_runners) })
        }
        .boxed()
    }

    fn leave(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            if let Some(book) = self.0.presence.0.lock().projects.get_mut(&project) {
                book.gateways.remove(&gateway);
            }
            Ok(())
        }
        .boxed()
    }

    fn roll(&self, project: Project, known_runners: u64) -> BoxFuture<'_, Result<Roll, ReadError>> {
        async move {
            let now_ms = self.0.clock.now_ms();
            let mut books = self.0.presence.0.lock();
            // Asking for a project where nobody is must not cost memory.
            let book = books.projects.get_mut(&project);
            let nobody = || Book::default().roll(now_ms, known_runners);
            Ok(book.map_or_else(nobody, |book| book.roll(now_ms, known_runners)))
        }
        .boxed()
    }

    fn members(&self, project: Project, gateway: Arc<str>) -> BoxFuture<'_, Result<Option<Members>, ReadError>> {
        async move {
            let books = self.0.presence.0.lock();
            let gateway = books.projects.get(&project).and_then(|book| book.gateways.get(&gateway));
            Ok(gateway.map(|gateway| gateway.members.clone()))
        }
        .boxed()
    }

    fn put_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
        ttl_ms: u64,
        record: Bytes,
    ) -> BoxFuture<'_, Result<PutRunner, CallError>> {
        async move {
            let now_ms = self.0.clock.now_ms();
            let mut books = self.0.presence.0.lock();
            Ok(books.of(&project, now_ms).put_runner(now_ms, name, by, ttl_ms, record))
        }
        .boxed()
    }

    fn remove_runner(
        &self,
        project: Project,
        name: String,
        by: Speaker,
    ) -> BoxFuture<'_, Result<RemoveRunner, CallError>> {
        async move {
            let now_ms = self.0.clock.now_ms();
            let mut books = self.0.presence.0.lock();
            let book = books.projects.get_mut(&project);
            Ok(book.map_or(RemoveRunner::Absent, |book| book.remove_runner(now_ms, &name, &by)))
        }
        .boxed()
    }

    fn forget_runners(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            if let Some(book) = self.0.presence.0.lock().projects.get_mut(&project) {
                book.runners.clear();
                book.runners_version = 0;
            }
            Ok(())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[tokio::test]
    async fn projects_where_nobody_is_are_forgotten() {
        let clock = ManualClock::at(1_000_000_000);
        let broker = MemoryBroker::with_clock(clock.clone());
        for number in 0..10 * PROJECTS_MIN {
            let project: Project = format!("p{number}").parse().expect("a name");
            let by = Speaker { subject: "s".into(), overrules: false };
            broker.put_runner(project, "r".into(), by, 1, Bytes::new()).await.expect("memory answers");
            clock.set(clock.now_ms() + RUNNER_TTL_MAX_MS / 8);
        }
        assert!(broker.0.presence.0.lock().projects.len() < 2 * PROJECTS_MIN);
    }
}
