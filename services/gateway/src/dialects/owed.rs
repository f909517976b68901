//! What a connection of a dialect owes its client about present state: what the client asked for, and what events made due.
//! Pure: told the time.

use std::collections::VecDeque;
use std::time::Duration;

use tidings_dialects::Ask;
use tidings_log::encoding::Due;
use tidings_protocol::position::Position;
use tokio::time::Instant;

/// How often what events made due is told, at most.
pub(super) const TELL_EVERY: Duration = Duration::from_millis(250);

/// After so long what is due is told by a state that lacks its newest cause, and again later.
const PATIENCE: Duration = Duration::from_secs(1);

/// Different things that may be due.
const DUES_MAX: usize = 64;

/// What is owed.
#[derive(Debug)]
pub(super) struct Owed {
    asked: VecDeque<Ask>,
    /// What the client had been told when it asked last, and since when it waits.
    asked_at: Option<(Position, Instant)>,
    /// Each with the position of the newest event that made it due.
    dues: Vec<(Due, Position)>,
    /// When it was told the last time.
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
    /// One that knows what is before this position, or for none, any recent one.
    Since(Option<Position>),
}

impl Owed {
    pub(super) fn new() -> Owed {
        Owed { asked: VecDeque::new(), asked_at: None, dues: Vec::new(), told_at: None, due_since: None }
    }

    /// The client asks. Each of its asks is answered once, by a state that knows what it had been told by then.
    pub(super) fn ask(&mut self, ask: Ask, told: Position, now: Instant) {
        let since = self.asked_at.map_or(now, |(_, since)| since);
        self.asked_at = Some((told, since));
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
            match self.dues.iter_mut().find(|(known, _)| *known == due) {
                Some((_, newest)) => *newest = position,
                None => self.dues.push((due, position)),
            }
        }
        let fits = self.dues.len() <= DUES_MAX;
        if !fits {
            self.settled();
        }
        fits
    }

    /// Nothing is due any more: everything was told.
    pub(super) fn settled(&mut self) {
        self.dues.clear();
        self.due_since = None;
    }

    /// Which state is wanted now.
    pub(super) fn wants(&self, now: Instant) -> Wanted {
        if let Some((told, since)) = self.asked_at {
            let waits = now.duration_since(since) < PATIENCE;
            return Wanted::Since(waits.then_some(told));
        }
        let Some(newest) = self.dues.iter().map(|(_, position)| *position).max_by_key(Position::n) else {
            return Wanted::Nothing;
        };
        match self.told_at.map(|told| told + TELL_EVERY) {
            Some(next) if next > now => Wanted::At(next),
            _ if self.due_since.is_some_and(|since| now.duration_since(since) >= PATIENCE) => Wanted::Since(None),
            _ => Wanted::Since(Some(newest)),
        }
    }

    /// What is told by the state at this position: all that was asked, and what is due. What happened since stays due.
    pub(super) fn take(&mut self, position: Position, now: Instant) -> (VecDeque<Ask>, Vec<Due>) {
        let tells_dues = self.told_at.is_none_or(|told| told + TELL_EVERY <= now);
        let asked = std::mem::take(&mut self.asked);
        self.asked_at = None;
        if !tells_dues || self.dues.is_empty() {
            return (asked, Vec::new());
        }
        self.told_at = Some(now);
        // In the order in which they came up last: an end behind what it ends.
        self.dues.sort_by_key(|(_, newest)| newest.n());
        let dues = self.dues.iter().map(|(due, _)| due.clone()).collect();
        self.dues.retain(|(_, newest)| newest.n() > position.n());
        self.due_since = (!self.dues.is_empty()).then_some(now);
        (asked, dues)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u64) -> Position {
        format!("1-{n}.abcdefghijkl").parse().expect("a position")
    }

    fn due(word: &str, n: u64) -> Vec<(Due, Position)> {
        vec![(word.into(), at(n))]
    }

    fn told(owed: &mut Owed, by: u64, now: Instant) -> String {
        owed.take(at(by), now).1.join(" ")
    }

    #[test]
    fn what_is_due_waits_for_its_turn_and_then_no_longer_than_patience_lasts() {
        let (mut owed, start) = (Owed::new(), Instant::now());
        assert_eq!(owed.wants(start), Wanted::Nothing);
        assert!(owed.due(due("a", 1), start) && owed.due(due("end", 2), start) && owed.due(due("a", 3), start));
        assert_eq!(owed.wants(start), Wanted::Since(Some(at(3))));
        assert_eq!(told(&mut owed, 3, start), "end a");
        let soon = start + TELL_EVERY / 2;
        assert!(owed.due(due("b", 4), soon));
        assert_eq!(owed.wants(soon), Wanted::At(start + TELL_EVERY));
        assert_eq!(told(&mut owed, 4, soon), "", "not before its turn");
        let late = soon + PATIENCE;
        assert_eq!(owed.wants(late), Wanted::Since(None));
        assert_eq!(told(&mut owed, 3, late), "b", "by a state that lacks its cause");
        assert_eq!(owed.wants(late + TELL_EVERY), Wanted::Since(Some(at(4))), "so it stays due");
        assert_eq!(told(&mut owed, 4, late + TELL_EVERY), "b");
        assert_eq!(owed.wants(late + 2 * TELL_EVERY), Wanted::Nothing);
    }

    #[test]
    fn asks_are_answered_one_by_one_and_wait_for_no_turn() {
        let (mut owed, start) = (Owed::new(), Instant::now());
        assert!(owed.due(due("a", 9), start));
        owed.take(at(9), start);
        owed.ask(Ask::Sessions, at(8), start);
        owed.ask(Ask::Sessions, at(9), start + PATIENCE / 2);
        assert_eq!((owed.asked(), owed.wants(start)), (2, Wanted::Since(Some(at(9)))), "it knows what was told");
        assert_eq!(owed.wants(start + PATIENCE), Wanted::Since(None));
        assert_eq!(owed.take(at(1), start).0.len(), 2);
        assert_eq!(owed.wants(start), Wanted::Nothing);
    }

    #[test]
    fn who_is_owed_too_much_is_told_everything() {
        let (mut owed, start) = (Owed::new(), Instant::now());
        let all = |count: usize| (0..count).flat_map(|index| due(&index.to_string(), 1)).collect();
        assert!(owed.due(all(DUES_MAX), start));
        assert!(!owed.due(all(DUES_MAX + 1), start));
        assert_eq!(owed.wants(start), Wanted::Nothing);
    }
}
