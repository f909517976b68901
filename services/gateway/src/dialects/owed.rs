//! What a connection of a dialect owes its client about present state: what the client asked for, and what events made due.
//! Pure: told the time.
//!
//! It is told by a state that is true exactly where the client is in its stream, so that no message of state takes back what an
//! event has told.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tidings_dialects::Ask;
use tidings_log::encoding::Due;
use tidings_protocol::position::Position;
use tokio::time::Instant;

use super::asked;

/// How often what events made due is told, at most.
pub(super) const TELL_EVERY: Duration = Duration::from_millis(250);

/// After so long it is told by a state of a moment before, and what that lacks again later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of different things that may be due, each with [`DUE_BYTES`] beside its word: some hundred agents or sessions that
/// change at once.
pub(super) const DUES_BYTES_MAX: usize = 32 * 1024;

/// What a due takes beside its word.
const DUE_BYTES: usize = 64;

/// What is owed.
#[derive(Debug, Default)]
pub(super) struct Owed {
    asked: VecDeque<Ask>,
    /// Since when the client waits.
    asked_since: Option<Instant>,
    /// Each with the position of the newest event that made it due.
    dues: HashMap<Due, Position>,
    dues_bytes: usize,
    /// Of these, what is left of the present turn.
    turn: VecDeque<Due>,
    /// When the last turn began.
    told_at: Option<Instant>,
    /// Since when something is due.
    due_since: Option<Instant>,
}

/// Which state is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None.
    Nothing,
    /// None before this time.
    At(Instant),
    /// One that is true where the client is.
    Exact,
    /// That, or any recent one of before.
    Recent,
}

impl Owed {
    /// The client asks. Each of its asks is answered once.
    pub(super) fn ask(&mut self, ask: Ask, now: Instant) {
        self.asked_since.get_or_insert(now);
        self.asked.push_back(ask);
    }

    /// So many asks of the client wait.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    /// Events made something due. False: so many different things are due that the client had better be told everything.
    pub(super) fn due(&mut self, dues: Vec<(Due, Position)>, now: Instant) -> bool {
        if dues.is_empty() {
            return true;
        }
        self.due_since.get_or_insert(now);
        for (due, position) in dues {
            let bytes = weight(&due);
            if self.dues.insert(due, position).is_none() {
                self.dues_bytes += bytes;
            }
        }
        let fits = self.dues_bytes <= DUES_BYTES_MAX;
        if !fits {
            self.settled();
        }
        fits
    }

    /// Nothing is due any more: everything was told.
    pub(super) fn settled(&mut self) {
        self.dues = HashMap::new();
        self.dues_bytes = 0;
        self.turn.clear();
        self.due_since = None;
    }

    /// Which state is wanted now.
    pub(super) fn wants(&self, now: Instant) -> Wanted {
        let since = |since: Option<Instant>| match since {
            Some(since) if now.duration_since(since) >= PATIENCE => Wanted::Recent,
            _ => Wanted::Exact,
        };
        if !self.asked.is_empty() {
            return since(self.asked_since);
        }
        match self.next_turn_at() {
            _ if self.dues.is_empty() => Wanted::Nothing,
            Some(next) if next > now && self.turn.is_empty() => Wanted::At(next),
            _ => since(self.due_since),
        }
    }

    /// The next thing to be told by the state at this position: what was asked, then what is due, once in a turn. What happened
    /// since stays due. To be called until there is nothing, or there is no room for more: then what is left is wanted at once.
    pub(super) fn next(&mut self, position: Position, now: Instant) -> Option<Ask> {
        if let Some(ask) = self.asked.pop_front() {
            if self.asked.is_empty() {
                self.asked_since = None;
            }
            return Some(ask);
        }
        if self.turn.is_empty() && self.next_turn_at().is_none_or(|next| next <= now) {
            self.begin_turn(now);
        }
        let due = self.turn.pop_front()?;
        if self.dues.get(&due).is_some_and(|newest| newest.n() <= position.n()) {
            self.dues.remove(&due);
            self.dues_bytes = self.dues_bytes.saturating_sub(weight(&due));
        }
        if self.turn.is_empty() {
            self.due_since = (!self.dues.is_empty()).then_some(now);
        }
        Some(asked::ask(&due))
    }

    fn next_turn_at(&self) -> Option<Instant> {
        self.told_at.map(|told| told + TELL_EVERY)
    }

    fn begin_turn(&mut self, now: Instant) {
        if self.dues.is_empty() {
            return;
        }
        self.told_at = Some(now);
        let mut turn: Vec<_> = self.dues.iter().map(|(due, newest)| (newest.n(), due.clone())).collect();
        // In the order in which they came up last: an end behind what it ends.
        turn.sort_unstable();
        self.turn = turn.into_iter().map(|(_, due)| due).collect();
    }
}

/// What a due counts, in bytes.
fn weight(due: &Due) -> usize {
    due.len() + DUE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Position {
        format!("1-{n}.abcdefghijkl").parse().expect("a position")
    }

    fn due(word: &str, n: u64) -> Vec<(Due, Position)> {
        vec![(format!("o:{word}").into(), at(n))]
    }

    /// What is told by the state at this position.
    fn told(owed: &mut Owed, by: u64, now: Instant) -> String {
        let asks = std::iter::from_fn(|| owed.next(at(by), now));
        let words = asks.map(|ask| match ask {
            Ask::Other(word) => word,
            other => format!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_due_waits_for_its_turn_and_then_no_longer_than_patience_lasts() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        assert_eq!(owed.wants(start), Wanted::Nothing);
        assert!(owed.due(due("a", 1), start) && owed.due(due("end", 2), start) && owed.due(due("a", 3), start));
        assert_eq!(owed.wants(start), Wanted::Exact);
        assert_eq!(told(&mut owed, 3, start), "end a");
        let soon = start + TELL_EVERY / 2;
        assert!(owed.due(due("b", 4), soon));
        assert_eq!(owed.wants(soon), Wanted::At(start + TELL_EVERY));
        assert_eq!(told(&mut owed, 4, soon), "", "not before its turn");
        let late = soon + PATIENCE;
        assert_eq!(owed.wants(late), Wanted::Recent);
        assert_eq!(told(&mut owed, 3, late), "b", "by a state that lacks its cause");
        assert_eq!(owed.wants(late + TELL_EVERY), Wanted::Exact, "so it stays due");
        assert_eq!(told(&mut owed, 4, late + TELL_EVERY), "b");
        assert_eq!(owed.wants(late + 2 * TELL_EVERY), Wanted::Nothing);
    }

    #[test]
    fn asks_are_answered_one_by_one_and_wait_for_no_turn() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        assert!(owed.due(due("a", 9), start));
        assert_eq!(told(&mut owed, 9, start), "a");
        owed.ask(Ask::Sessions, start);
        owed.ask(Ask::Sessions, start + PATIENCE / 2);
        assert_eq!((owed.asked(), owed.wants(start)), (2, Wanted::Exact));
        assert_eq!(owed.wants(start + PATIENCE), Wanted::Recent);
        assert_eq!(told(&mut owed, 1, start), "Sessions Sessions");
        assert_eq!(owed.wants(start), Wanted::Nothing);
        owed.ask(Ask::Sessions, start + PATIENCE);
        assert_eq!(owed.wants(start + PATIENCE), Wanted::Exact, "the next one waits anew");
    }

    #[test]
    fn a_turn_that_was_left_goes_on_at_once() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        assert!(owed.due([due("a", 1), due("b", 2)].concat(), start));
        assert_eq!(owed.next(at(2), start), Some(Ask::Other("a".into())));
        assert_eq!(owed.wants(start), Wanted::Exact, "b is left");
        // What comes up meanwhile waits for the next turn.
        assert!(owed.due([due("a", 3), due("b", 4)].concat(), start));
        assert_eq!(told(&mut owed, 4, start), "b");
        assert_eq!(owed.wants(start), Wanted::At(start + TELL_EVERY));
        assert_eq!(told(&mut owed, 4, start + TELL_EVERY), "a");
        assert_eq!(owed.wants(start + TELL_EVERY), Wanted::Nothing);
    }

    #[test]
    fn who_is_owed_too_much_is_told_everything() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        let all = |count: usize| -> Vec<_> { (0..count).flat_map(|index| due(&format!("{index:014}"), 1)).collect() };
        let most = DUES_BYTES_MAX / (16 + DUE_BYTES);
        assert!(owed.due(all(most), start) && owed.due(all(most), start), "once each");
        assert!(owed.due(all(most), start + PATIENCE));
        assert_eq!(told(&mut owed, 1, start).split(' ').count(), most);
        assert!(owed.due(all(most), start), "what was told takes no room");
        assert!(!owed.due(all(most + 1), start));
        assert_eq!(owed.wants(start + PATIENCE), Wanted::Nothing);
        let long = "x".repeat(DUES_BYTES_MAX);
        assert!(!owed.due(due(&long, 1), start), "by their bytes");
    }
}
