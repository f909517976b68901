//! What runners do with what they have.

use super::item::State;
use super::{Book, Guards};
use crate::inbox::{LeaseAct, LeaseAnswer, LeaseStep, REST_MS, SWEPT_MAX};
use crate::limits::GUARD_MS_MAX;

impl Book {
    /// Whether it was there.
    pub(in super::super) fn leave(&mut self, now_ms: u64, runner: &str, subject: &str) -> bool {
        self.sweep(now_ms, SWEPT_MAX);
        let Some(known) = self.runners.get_mut(runner) else { return false };
        if known.subject != subject || known.until_ms <= now_ms {
            return false;
        }
        let before = std::mem::replace(&mut known.until_ms, now_ms);
        self.ends.remove(&(before, runner.to_owned()));
        self.lapse(runner);
        true
    }

    pub(in super::super) fn answer(
        &mut self,
        now_ms: u64,
        (runner, subject): (&str, &str),
        steps: &[LeaseStep],
        guards: &Guards<'_>,
    ) -> Vec<LeaseAnswer> {
        self.sweep(now_ms, SWEPT_MAX);
        let is_own = self.runners.get(runner).is_some_and(|known| known.subject == subject);
        let whose = is_own.then_some(runner);
        let answers: Vec<_> = steps.iter().map(|step| self.step(now_ms, whose, step, guards)).collect();
        if answers.iter().any(|answer| matches!(answer, LeaseAnswer::Done { .. })) {
            self.prolong(now_ms, runner);
        }
        answers
    }

    /// Who works is there, for as long as its last take said. Who lapsed comes back by a take.
    fn prolong(&mut self, now_ms: u64, runner: &str) {
        let Some(known) = self.runners.get_mut(runner).filter(|known| now_ms < known.until_ms) else { return };
        let until_ms = known.until_ms.max(now_ms.saturating_add(known.ttl_ms));
        let before = std::mem::replace(&mut known.until_ms, until_ms);
        self.ends.remove(&(before, runner.to_owned()));
        self.ends.insert((until_ms, runner.to_owned()));
    }

    /// `runner`: none, if it is another subject's.
    fn step(&mut self, now_ms: u64, runner: Option<&str>, step: &LeaseStep, guards: &Guards<'_>) -> LeaseAnswer {
        let id = &step.id;
        let Some(item) = self.items.get(id) else { return LeaseAnswer::Gone };
        if guards(&item.guard(id)).is_some() {
            self.drop_item(id);
            return LeaseAnswer::Gone;
        }
        let Some(runner) = runner else { return LeaseAnswer::Lost };
        let (whose, until_ms) = match &item.state {
            State::Waits => return LeaseAnswer::Lost,
            State::Leased { runner, until_ms } => (runner, Some(*until_ms)),
            State::Accepted { runner } => (runner, None),
        };
        if whose != runner || item.lease != step.lease || until_ms.is_some_and(|until_ms| until_ms <= now_ms) {
            return LeaseAnswer::Lost;
        }
        let done =
            LeaseAnswer::Done { asker: item.asker.clone(), deadline_ms: item.deadline_ms, body: item.body.clone() };
        match (step.act, until_ms) {
            (LeaseAct::Accept, _) if item.is_notice() => drop(self.drop_item(id)),
            (LeaseAct::Accept, Some(until_ms)) => {
                self.leases.remove(&(until_ms, id.clone()));
                self.become_state(id, State::Accepted { runner: runner.to_owned() });
            }
            (LeaseAct::Extend(by_ms), Some(until_ms)) => {
                let later = now_ms.saturating_add(by_ms.min(GUARD_MS_MAX));
                self.leases.remove(&(until_ms, id.clone()));
                self.leases.insert((later, id.clone()));
                self.become_state(id, State::Leased { runner: runner.to_owned(), until_ms: later });
            }
            (LeaseAct::Release, _) => {
                self.give_back(id);
                let item = self.items.get_mut(id).expect("it is there");
                item.rests = Some((runner.to_owned(), now_ms + REST_MS));
            }
            (LeaseAct::Accept | LeaseAct::Extend(_), None) | (LeaseAct::Check, _) => {}
        }
        done
    }

    fn become_state(&mut self, id: &str, state: State) {
        self.items.get_mut(id).expect("it is there").state = state;
    }
}
