//! Requests that stay open to wait: for commands, or for a decision. So many of one credential at this ingest.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidings_broker::inbox::RUNNERS_MAX;
use tidings_protocol::codes::ErrorCode;

use crate::answer::Rejected;

/// Requests of one credential that wait at one ingest: as many as runners may be in a project, so that a fleet may share a key.
pub(crate) const WAITS_MAX: usize = RUNNERS_MAX;

/// Who waits. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<HashMap<String, usize>>>);

/// One that waits, until it is dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    waits: Arc<Mutex<HashMap<String, usize>>>,
    subject: String,
}

impl Waits {
    /// Counts one more of this subject.
    ///
    /// # Errors
    /// `rate_limited`: as many wait as may.
    pub(crate) fn enter(&self, subject: String) -> Result<Waiting, Rejected> {
        let mut waits = self.0.lock();
        let count = waits.get(&subject).copied().unwrap_or_default();
        if count >= WAITS_MAX {
            let detail = format!("{WAITS_MAX} requests of this credential wait here already");
            return Err(Rejected::new(ErrorCode::RateLimited, detail));
        }
        waits.insert(subject.clone(), count + 1);
        Ok(Waiting { waits: self.0.clone(), subject })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waits = self.waits.lock();
        let Some(count) = waits.get_mut(&self.subject) else { return };
        *count -= 1;
        if *count == 0 {
            waits.remove(&self.subject);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_one_credential_wait() {
        let waits = Waits::default();
        let mut all: Vec<Waiting> = (0..WAITS_MAX).map(|_| waits.enter("key:1".into()).expect("room")).collect();
        let refused = waits.enter("key:1".into()).expect_err("one too many");
        assert_eq!(refused.code(), Some(ErrorCode::RateLimited));
        let other = waits.enter("key:2".into()).expect("others have room of their own");
        all.pop();
        all.push(waits.enter("key:1".into()).expect("one went"));
        drop((all, other));
        assert!(waits.0.lock().is_empty());
    }
}
