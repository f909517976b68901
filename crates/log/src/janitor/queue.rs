//! What is to be done, a project's turn after another's. Holds each piece of work once, so it is bounded by the projects.

use std::collections::{HashSet, VecDeque};

use tidings_protocol::project::Project;

use super::plan::Work;

/// Two lines in which projects wait: one that is behind for ever gets its turn, and no more.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// What frees memory when it is short.
    urgent: Line,
    due: Line,
    /// Whose turn it was.
    urgent_was_last: bool,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(Project, Work)>,
    known: HashSet<(Project, Work), foldhash::fast::RandomState>,
}

impl Line {
    fn push(&mut self, project: Project, work: Work) {
        if self.known.insert((project.clone(), work)) {
            self.waiting.push_back((project, work));
        }
    }

    fn pop(&mut self) -> Option<(Project, Work)> {
        let next = self.waiting.pop_front()?;
        self.known.remove(&next);
        Some(next)
    }
}

/// Work that was taken from the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) project: Project,
    pub(super) work: Work,
    urgent: bool,
}

impl Queue {
    /// Puts work at the end of the line, unless it waits already.
    pub(super) fn push(&mut self, project: Project, work: Work) {
        self.due.push(project, work);
    }

    /// The same, in the line that gets every second turn.
    pub(super) fn push_urgent(&mut self, project: Project, work: Work) {
        self.urgent.push(project, work);
    }

    /// Puts work back where it came from, behind the others there.
    pub(super) fn again(&mut self, turn: Turn, work: Work) {
        if turn.urgent { self.urgent.push(turn.project, work) } else { self.due.push(turn.project, work) }
    }

    /// The next turn.
    pub(super) fn pop(&mut self) -> Option<Turn> {
        let urgent = if self.urgent_was_last { self.due.waiting.is_empty() } else { !self.urgent.waiting.is_empty() };
        self.urgent_was_last = urgent;
        let (project, work) = if urgent { self.urgent.pop() } else { self.due.pop() }?;
        Some(Turn { project, work, urgent })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.urgent.waiting.is_empty() && self.due.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_take_turns_and_urgent_ones_every_second() {
        let name = |name: &str| name.parse::<Project>().expect("a name");
        let mut queue = Queue::default();
        for project in ["a", "b", "a"] {
            queue.push(name(project), Work::Step);
        }
        queue.push_urgent(name("u"), Work::Step);
        let mut turns = Vec::new();
        for _ in 0..8 {
            let turn = queue.pop().expect("all of them go on");
            turns.push(turn.project.to_string());
            queue.again(turn.clone(), turn.work);
        }
        assert_eq!(turns, ["u", "a", "u", "b", "u", "a", "u", "b"]);
        let mut left = Vec::new();
        while let Some(turn) = queue.pop() {
            left.push(turn.project.to_string());
        }
        assert_eq!((left.join(" "), queue.is_empty()), ("u a b".to_owned(), true));
    }
}
