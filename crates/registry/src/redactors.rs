//! Redactors, made once for all projects with the same rules and kept while there is room for them.
//!
//! Bounded in bytes; the longest unused goes first, and is made again when somebody needs it. Making one costs
//! milliseconds of a processor: it is done off the workers that serve requests, one at a time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_protocol::redact::{Redactor, RuleFault};
use tidings_protocol::settings::Redaction;

/// Bytes of redactors that are kept.
pub(crate) const REDACTORS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is wrong with rules, each with its place.
pub(crate) type Faults = Vec<(usize, RuleFault)>;

/// Redactors by their rules.
pub(crate) struct Redactors {
    bytes_max: usize,
    kept: Mutex<Kept>,
    /// Whoever makes one has it.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    made: HashMap<Redaction, Made>,
    bytes: usize,
    /// Counts uses.
    clock: u64,
}

struct Made {
    redactor: Arc<Redactor>,
    bytes: usize,
    used: u64,
}

impl Redactors {
    /// None yet; of at most so many bytes together, but for the newest, which is kept whatever it takes.
    pub(crate) fn new(bytes_max: usize) -> Redactors {
        Redactors { bytes_max, kept: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// The redactor of these rules; `None`: nothing is to be hidden.
    pub(crate) async fn of(&self, redaction: &Redaction) -> Result<Option<Arc<Redactor>>, Faults> {
        if redaction.is_idle() {
            return Ok(None);
        }
        if let Some(known) = self.kept.lock().find(redaction) {
            return Ok(Some(known));
        }
        let _turn = self.turn.lock().await;
        if let Some(known) = self.kept.lock().find(redaction) {
            return Ok(Some(known));
        }
        let rules = redaction.clone();
        let made = tokio::task::spawn_blocking(move || rules.redactor()).await;
        let made = made.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))?;
        let made = made.map(Arc::new);
        if let Some(made) = &made {
            self.kept.lock().put(redaction.clone(), made.clone(), self.bytes_max);
        }
        Ok(made)
    }
}

impl Kept {
    fn find(&mut self, redaction: &Redaction) -> Option<Arc<Redactor>> {
        self.clock += 1;
        let made = self.made.get_mut(redaction)?;
        made.used = self.clock;
        Some(made.redactor.clone())
    }

    fn put(&mut self, redaction: Redaction, redactor: Arc<Redactor>, bytes_max: usize) {
        // The rules stand here a second time.
        let bytes = redactor.memory_bytes() + size_of::<Made>() + size_of::<Redaction>();
        while self.bytes + bytes > bytes_max {
            let oldest = self.made.iter().min_by_key(|(_, made)| made.used).map(|(rules, _)| rules.clone());
            let Some(gone) = oldest.and_then(|oldest| self.made.remove(&oldest)) else { break };
            self.bytes -= gone.bytes;
        }
        self.bytes += bytes;
        self.made.insert(redaction, Made { redactor, bytes, used: self.clock });
    }
}

#[cfg(test)]
mod tests {
    use tidings_protocol::redact::OwnRule;

    use super::*;

    fn rules(pattern: &str) -> Redaction {
        let rule = OwnRule { name: "own-rule".into(), pattern: pattern.into() };
        Redaction { builtin: None, rules: Some(vec![rule]) }
    }

    async fn of(redactors: &Redactors, pattern: &str) -> Arc<Redactor> {
        redactors.of(&rules(pattern)).await.expect("good rules").expect("there are some")
    }

    #[tokio::test]
    async fn the_longest_unused_goes_when_bytes_are_short() {
        let weight = Redactors::new(usize::MAX);
        let _ = of(&weight, "a[0-9]{40}").await;
        let bytes = weight.kept.lock().bytes;
        assert!(bytes > 1_024, "{bytes}: an automaton weighs something");
        let redactors = Redactors::new(2 * bytes + bytes / 2);
        let (a, b) = (of(&redactors, "a[0-9]{40}").await, of(&redactors, "b[0-9]{40}").await);
        assert!(Arc::ptr_eq(&a, &of(&redactors, "a[0-9]{40}").await), "it is made once");
        let _ = of(&redactors, "c[0-9]{40}").await;
        assert!(redactors.kept.lock().bytes <= redactors.bytes_max);
        assert!(Arc::ptr_eq(&a, &of(&redactors, "a[0-9]{40}").await));
        assert!(!Arc::ptr_eq(&b, &of(&redactors, "b[0-9]{40}").await), "it went, and is made again");
        assert_eq!(redactors.kept.lock().made.len(), 2);
    }

    #[tokio::test]
    async fn what_is_larger_than_all_room_is_used_all_the_same() {
        let redactors = Redactors::new(1);
        let large = of(&redactors, "[a-z]{100}").await;
        let other = of(&redactors, "[0-9]{100}").await;
        assert!(!Arc::ptr_eq(&large, &other));
        assert_eq!(redactors.kept.lock().made.len(), 1);
    }

    #[tokio::test]
    async fn nothing_to_hide_needs_no_redactor_and_faulty_rules_give_none() {
        let redactors = Redactors::new(1 << 20);
        for idle in [Redaction::default(), Redaction { builtin: Some(false), rules: Some(Vec::new()) }] {
            assert!(redactors.of(&idle).await.expect("nothing is wrong").is_none());
        }
        assert!(redactors.of(&rules("(")).await.is_err());
    }
}
