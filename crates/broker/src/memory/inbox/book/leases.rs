//! What runners do with what they have.

use super::{Book, Guards, State};
use crate::inbox::{LeaseAct, LeaseAnswer, LeaseStep, REST_MS, SWEPT_MAX};
use crate::limits::GUARD_MS_MAX;

impl Book {
    pub(in super::super) fn leave(&mut self, now_ms: u64, runner: &str, subject: &str) {
        self.sweep(now_ms, SWEPT_MAX);
        let Some(known) = self.runners.get_mut(runner) else { return };
        if known.subject != subject || known.until_ms <= now_ms {
            return;
        }
        let before = std::mem::replace(&mut known.until_ms, now_ms);
        self.ends.remove(&(before, runner.to_owned()));
        self.lapse(runner);
    }

    pub(in super::super) fn answer(
        &mut self,
        now_ms: u64,
        runner: &str,
        steps: &[LeaseStep],
        guards: &Guards<'_>,
    ) -> Vec<LeaseAnswer> {
        self.sweep(now_ms, SWEPT_MAX);
        steps.iter().map(|step| self.step(now_ms, runner, step, guards)).collect()
    }

    fn step(&mut self, now_ms: u64, runner: &str, step: &LeaseStep, guards: &Guards<'_>) -> LeaseAnswer {
        let id = &step.id;
        let Some(item) = self.items.get(id) else { return LeaseAnswer::Gone };
        if guards(&item.guard(id)).is_some() {
            self.drop_item(id);
            return LeaseAnswer::Gone;
        }
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
