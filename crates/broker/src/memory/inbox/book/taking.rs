//! How a runner gets what waits.

use std::collections::BTreeSet;

use super::item::{Queue, Runner, State};
use super::{Book, Guards};
use crate::inbox::{Here, LOOKED_AT_MAX, Leased, RUNNERS_MAX, SWEPT_MAX, Take};

impl Book {
    pub(in super::super) fn take(&mut self, now_ms: u64, take: Take, guards: &Guards<'_>) -> Here {
        self.entered = true;
        self.sweep(now_ms, SWEPT_MAX);
        let runner = take.runner;
        let is_his = |known: &Runner| known.subject == take.subject && now_ms < known.until_ms;
        if take.goes_on && !self.runners.get(&runner).is_some_and(is_his) {
            return Here::Gone;
        }
        let mut until_ms = now_ms.saturating_add(take.ttl_ms);
        match self.runners.get(&runner) {
            // Somebody else's things are not his who comes next.
            Some(known)
                if known.subject != take.subject && (now_ms < known.until_ms || self.has_something(&runner)) =>
            {
                return Here::Anothers;
            }
            Some(known) if known.subject != take.subject => {}
            Some(known) => until_ms = until_ms.max(known.until_ms),
            None if self.runners.len() >= RUNNERS_MAX => return Here::Full,
            None => {}
        }
        let now_there =
            Runner { subject: take.subject, capabilities: take.capabilities.clone(), until_ms, ttl_ms: take.ttl_ms };
        if let Some(before) = self.runners.insert(runner.clone(), now_there) {
            self.ends.remove(&(before.until_ms, runner.clone()));
            self.lapsed.remove(&(before.until_ms, runner.clone()));
        }
        self.ends.insert((until_ms, runner.clone()));

        let in_hand = self.hand(&runner).len();
        let wanted = take.max as usize;
        let mut room = wanted.min((take.in_hand_max as usize).saturating_sub(in_hand));
        let mut commands = Vec::new();
        for id in self.candidates(&runner, take.capabilities, wanted, room) {
            if commands.len() == wanted {
                break;
            }
            let item = &self.items[&id];
            let is_notice = item.is_notice();
            if room == 0 && !is_notice {
                continue;
            }
            let rests = item.rests.as_ref().is_some_and(|(whose, until_ms)| *whose == runner && now_ms < *until_ms);
            if item.deadline_ms <= now_ms || rests {
                continue;
            }
            if guards(&item.guard(&id)).is_some() {
                self.drop_item(&id);
                continue;
            }
            commands.push(self.lease(&runner, id, now_ms.saturating_add(take.lease_ms)));
            room -= usize::from(!is_notice);
        }
        Here::Taken { commands, in_hand: u32::try_from(in_hand).unwrap_or(u32::MAX) }
    }

    /// What may be leased to a runner, in order; some more than wanted, since not all may turn out to be for it. Notices come
    /// to full hands, too, so what is bound to it is looked at in any case.
    fn candidates(&self, runner: &str, capabilities: Vec<String>, wanted: usize, room: usize) -> Vec<String> {
        if wanted == 0 {
            return Vec::new();
        }
        let queues: BTreeSet<Queue> = capabilities.into_iter().map(Queue::Of).filter(|_| room > 0).collect();
        let bound = self.queues.get(&Queue::Bound(runner.to_owned())).map(|waiting| (waiting, wanted));
        let open = queues.iter().filter_map(|queue| self.queues.get(queue)).map(|waiting| (waiting, room));
        let heads = bound.into_iter().chain(open);
        let mut heads: Vec<_> = heads.flat_map(|(waiting, most)| waiting.iter().take(most + LOOKED_AT_MAX)).collect();
        heads.sort_unstable();
        heads.into_iter().map(|(_, id)| id.clone()).collect()
    }

    fn lease(&mut self, runner: &str, id: String, until_ms: u64) -> Leased {
        let item = self.items.get_mut(&id).expect("what waits is there");
        item.lease += 1;
        item.state = State::Leased { runner: runner.to_owned(), until_ms };
        item.rests = None;
        let leased = Leased {
            id: id.clone(),
            lease: item.lease,
            until_ms,
            deadline_ms: item.deadline_ms,
            asker: item.asker.clone(),
            body: item.body.clone(),
        };
        let (queue, place) = (item.queue(), item.place);
        self.leave_queue(queue.as_ref(), place);
        self.hands.insert((runner.to_owned(), id.clone()));
        self.leases.insert((until_ms, id));
        leased
    }
}
