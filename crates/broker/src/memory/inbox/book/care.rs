//! How things stand, what is due, and what leaves.

use super::item::{Queue, Runner, State};
use super::{Book, Guards};
use crate::inbox::waking::Word;
use crate::inbox::{Due, DueItem, Found, Lapsed, Owned, SWEPT_MAX, Standing, TAKEN_MAX, guard_of};

impl Book {
    pub(in super::super) fn settle(&mut self, ids: &[String]) {
        for id in ids {
            let Some(item) = self.items.get(id) else { continue };
            let guard = item.guard(id);
            self.drop_item(id);
            self.words.push(Word::Guard(&guard).to_string());
        }
    }

    pub(in super::super) fn look(&mut self, now_ms: u64, ids: &[String], guards: &Guards<'_>) -> Vec<Standing> {
        self.sweep(now_ms, SWEPT_MAX);
        let mut stand = |id: &String| {
            let key = self.items.get(id).map_or_else(|| guard_of(id), |item| item.guard(id));
            if let Some(guarded) = guards(&key) {
                self.drop_item(id);
                return Standing::Answered(guarded);
            }
            self.items.get(id).map_or(Standing::Unknown, |item| item.standing(now_ms))
        };
        ids.iter().map(&mut stand).collect()
    }

    pub(in super::super) fn find(&mut self, now_ms: u64, id: &str, guards: &Guards<'_>) -> Option<Found> {
        self.sweep(now_ms, SWEPT_MAX);
        let item = self.items.get(id)?;
        if guards(&item.guard(id)).is_some() {
            self.drop_item(id);
            return None;
        }
        Some(Found { standing: item.standing(now_ms), asker: item.asker.clone(), body: item.body.clone() })
    }

    pub(in super::super) fn due(&mut self, now_ms: u64, guards: &Guards<'_>) -> Due {
        self.sweep(now_ms, 10 * SWEPT_MAX);
        let mut due = Due::default();
        let past: Vec<String> = self.past.iter().take(TAKEN_MAX).map(|(_, id)| id.clone()).collect();
        let mut has_more = past.len() == TAKEN_MAX;
        for id in past {
            self.tell(&id, guards, &mut due.expired);
        }
        let lapsed: Vec<_> = self.lapsed.iter().take(TAKEN_MAX).cloned().collect();
        has_more |= lapsed.len() == TAKEN_MAX;
        let mut sessions_max = TAKEN_MAX;
        for (until_ms, runner) in lapsed {
            let bound = self.queues.get(&Queue::Bound(runner.clone()));
            let bound: Vec<String> = bound.iter().flat_map(|waiting| waiting.values().cloned()).collect();
            for id in self.hand(&runner).into_iter().chain(bound) {
                let item = &self.items[&id];
                if due.lost.len() == TAKEN_MAX {
                    has_more = true;
                    break;
                }
                if !item.is_past && (!item.bound.is_empty() || matches!(item.state, State::Accepted { .. })) {
                    self.tell(&id, guards, &mut due.lost);
                }
            }
            let sessions = self.owned.sessions(&runner, sessions_max);
            sessions_max -= sessions.len();
            due.lapsed.push(Lapsed { runner, until_ms, sessions });
        }
        due.open = self.items.len() as u64;
        due.waiting = self.queues.values().map(|waiting| waiting.len() as u64).sum();
        due.runners = self.ends.range((now_ms + 1, String::new())..).count() as u64;
        let heads = [self.deadlines.first(), self.leases.first(), self.ends.first()];
        let next = heads.into_iter().flatten().map(|(at_ms, _)| at_ms.saturating_sub(now_ms)).min();
        let is_kept = !self.items.is_empty() || !self.lapsed.is_empty();
        due.next_ms = if has_more || sessions_max == 0 { Some(0) } else { next.or(is_kept.then_some(1_000)) };
        due
    }

    /// Tells of an item, unless it is answered.
    fn tell(&mut self, id: &str, guards: &Guards<'_>, told: &mut Vec<DueItem>) {
        let item = &self.items[id];
        if guards(&item.guard(id)).is_some() {
            self.drop_item(id);
        } else {
            told.push(item.told(id));
        }
    }

    pub(in super::super) fn forget(&mut self, now_ms: u64, lapsed: &[Lapsed]) {
        for Lapsed { runner, until_ms, sessions } in lapsed {
            let same = |known: &Runner| known.until_ms == *until_ms && *until_ms <= now_ms;
            if !self.runners.get(runner).is_some_and(same) {
                continue;
            }
            self.owned.forget(runner, sessions);
            if !self.has_something(runner) {
                self.runners.remove(runner);
                self.ends.remove(&(*until_ms, runner.clone()));
                self.lapsed.remove(&(*until_ms, runner.clone()));
            }
        }
    }

    pub(in super::super) fn own(&mut self, now_ms: u64, owned: Vec<Owned>) {
        for Owned { session, agent, runner, weak } in owned {
            let claims = |runner: &String| {
                !weak || (self.is_there(runner, now_ms) && self.owned.is_free(&session, &agent, runner))
            };
            match runner {
                Some(runner) if !claims(&runner) => {}
                Some(runner) => {
                    if !session.is_empty() && !agent.is_empty() {
                        self.owned.set(session.clone(), String::new(), runner.clone());
                    }
                    self.owned.set(session, agent, runner);
                }
                None if agent.is_empty() => self.owned.end(&session),
                None => self.owned.remove(&(session, agent)),
            }
        }
    }
}
