//! The requests whose events a machine has: who waits for what, and until when.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::budget::Share;
use super::lane::Request;
use super::machine::{Done, Failure, Machine, Outcome};
use super::{Called, SubmitError};

/// The requests whose events the machine has.
pub(super) struct Waiting {
    requests: HashMap<u64, Open, foldhash::fast::RandomState>,
    next: u64,
    /// No deadline is before this.
    earliest: Option<Instant>,
    /// First sending of the call that was answered last.
    sent_at: Option<Instant>,
}

/// A request that is not answered yet.
struct Open {
    results: Vec<Option<Outcome>>,
    left: usize,
    failure: Option<Failure>,
    deadline: Instant,
    reply: oneshot::Sender<Result<Vec<Outcome>, SubmitError>>,
    called: Option<Arc<Called>>,
    _share: Share,
}

impl Waiting {
    /// A waiting list that gives its first request this key.
    pub(super) fn new(next: u64) -> Waiting {
        Waiting { requests: HashMap::default(), next, earliest: None, sent_at: None }
    }

    /// The key of the next request.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// No deadline is before this.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// A call that was first sent at this time was answered; what is settled next is so by its answer.
    pub(super) fn answered(&mut self, sent_at: Instant) {
        self.sent_at = Some(sent_at);
    }

    /// Hands a request's events to the machine.
    pub(super) fn add(&mut self, request: Request, machine: &mut Machine) {
        let key = self.next;
        self.next += 1;
        let Request { items, deadline, reply, share, called, .. } = request;
        let (results, left) = (vec![None; items.len()], items.len());
        let open = Open { results, left, failure: None, deadline, reply, called, _share: share };
        self.earliest = Some(self.earliest.map_or(deadline, |earliest| earliest.min(deadline)));
        self.requests.insert(key, open);
        for mut item in items {
            for slot in &mut item.slots {
                slot.request = key;
            }
            machine.push(item);
        }
    }

    /// An event came to its end.
    pub(super) fn settle(&mut self, done: Done) {
        // One whose deadline passed has been answered.
        let Some(open) = self.requests.get_mut(&done.slot.request) else { return };
        match done.verdict {
            Ok(outcome) => open.results[done.slot.index as usize] = Some(outcome),
            Err(why) => open.failure = Some(open.failure.map_or(why, |first| worse(first, why))),
        }
        open.left -= 1;
        if open.left == 0
            && let Some(open) = self.requests.remove(&done.slot.request)
        {
            if let (Some(called), Some(sent_at)) = (&open.called, self.sent_at) {
                called.set(sent_at);
            }
            open.answer();
        }
    }

    /// Answers a request with what is known of it.
    pub(super) fn give_up(&mut self, key: u64, why: Failure) {
        if let Some(mut open) = self.requests.remove(&key) {
            open.failure = Some(open.failure.map_or(why, |first| worse(first, why)));
            open.answer();
        }
    }

    /// Requests whose deadline has passed.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<u64> {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return Vec::new();
        }
        let late = self.requests.iter().filter(|(_, open)| open.deadline <= now).map(|(key, _)| *key).collect();
        self.earliest = self.requests.values().map(|open| open.deadline).filter(|deadline| *deadline > now).min();
        late
    }
}

impl Open {
    fn answer(self) {
        let answer = match self.failure {
            Some(why) => Err(SubmitError { why, results: self.results }),
            None => Ok(self.results.into_iter().flatten().collect()),
        };
        // A caller that went away does not take its events back.
        let _ = self.reply.send(answer);
    }
}

/// Of two failures in one request, the one that promises less.
fn worse(first: Failure, second: Failure) -> Failure {
    if first == Failure::OutcomeUnknown { first } else { second }
}
