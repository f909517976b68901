//! Who published last for sessions and agents: so many of them, the one that was heard of longest ago goes first.

use std::collections::{BTreeMap, BTreeSet};

use crate::inbox::{AGENTS_FORGOTTEN_MAX, OWNED_MAX};

/// Who published last for sessions and agents.
#[derive(Debug, Default)]
pub(super) struct Owners {
    by_name: BTreeMap<(String, String), (String, u64)>,
    by_age: BTreeMap<u64, (String, String)>,
    by_runner: BTreeSet<(String, String, String)>,
    heard: u64,
}

impl Owners {
    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The runner of an agent, else of its session.
    pub(super) fn of(&self, session: &str, agent: &str) -> Option<String> {
        let of = |session: &str, agent: &str| self.by_name.get(&(session.to_owned(), agent.to_owned()));
        let agents = of(session, agent).filter(|_| !agent.is_empty());
        let owner = agents.or_else(|| of(session, "").filter(|_| !session.is_empty()));
        owner.map(|(runner, _)| runner.clone())
    }

    /// Whether neither a session nor its agent is another runner's.
    pub(super) fn is_free(&self, session: &str, agent: &str, runner: &str) -> bool {
        let of = |agent: &str| self.by_name.get(&(session.to_owned(), agent.to_owned()));
        [of(agent), of("")].into_iter().flatten().all(|(owner, _)| owner == runner)
    }

    pub(super) fn set(&mut self, session: String, agent: String, runner: String) {
        if session.is_empty() && agent.is_empty() {
            return;
        }
        let name = (session, agent);
        self.remove(&name);
        self.heard += 1;
        self.by_age.insert(self.heard, name.clone());
        self.by_runner.insert((runner.clone(), name.0.clone(), name.1.clone()));
        self.by_name.insert(name, (runner, self.heard));
        if self.by_name.len() > OWNED_MAX {
            let oldest = self.by_age.first_key_value().map(|(_, name)| name.clone());
            if let Some(name) = &oldest {
                self.remove(name);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &(String, String)) {
        if let Some((runner, heard)) = self.by_name.remove(name) {
            self.by_age.remove(&heard);
            self.by_runner.remove(&(runner, name.0.clone(), name.1.clone()));
        }
    }

    /// A session is over.
    pub(super) fn end(&mut self, session: &str) {
        if session.is_empty() {
            return;
        }
        let from = (session.to_owned(), String::new());
        let names = self.by_name.range(from..).map(|(name, _)| name).take_while(|name| name.0 == session);
        let names: Vec<_> = names.take(AGENTS_FORGOTTEN_MAX).cloned().collect();
        for name in &names {
            self.remove(name);
        }
    }

    fn all_of(&self, runner: &str) -> impl Iterator<Item = &(String, String, String)> {
        let from = (runner.to_owned(), String::new(), String::new());
        self.by_runner.range(from..).take_while(move |owned| owned.0 == runner)
    }

    /// Whether nothing is a runner's.
    pub(super) fn has_nothing_of(&self, runner: &str) -> bool {
        self.all_of(runner).next().is_none()
    }

    /// A runner's first sessions by name.
    pub(super) fn sessions(&self, runner: &str, max: usize) -> Vec<String> {
        let whole = self.all_of(runner).filter(|owned| owned.2.is_empty());
        whole.take(max).map(|owned| owned.1.clone()).collect()
    }

    /// A runner's agents, and these sessions of it, are nobody's any more.
    pub(super) fn forget(&mut self, runner: &str, sessions: &[String]) {
        let (whole, agents): (Vec<_>, Vec<_>) = self.all_of(runner).partition(|owned| owned.2.is_empty());
        let whole = whole.into_iter().filter(|owned| sessions.contains(&owned.1));
        let gone = whole.chain(agents.into_iter().take(AGENTS_FORGOTTEN_MAX));
        let gone: Vec<_> = gone.map(|owned| (owned.1.clone(), owned.2.clone())).collect();
        for name in &gone {
            self.remove(name);
        }
    }
}
