//! States that were folded lately, so that a step reads only what is new. Bounded in bytes; the longest unused goes first.

use std::collections::HashMap;

use tidings_protocol::fold::State;
use tidings_protocol::project::Project;

/// What an entry weighs beside its state, about.
const ENTRY_BYTES: usize = 1_024;

#[derive(Debug)]
pub(super) struct Cache {
    states: HashMap<Project, Cached, foldhash::fast::RandomState>,
    bytes: usize,
    bytes_max: usize,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Cached {
    state: State,
    bytes: usize,
    used: u64,
}

impl Cache {
    pub(super) fn new(bytes_max: usize) -> Cache {
        Cache { states: HashMap::default(), bytes: 0, bytes_max, clock: 0 }
    }

    /// Takes a project's state out. What becomes of it is the caller's to say.
    pub(super) fn take(&mut self, project: &Project) -> Option<State> {
        let cached = self.states.remove(project)?;
        self.bytes -= cached.bytes;
        Some(cached.state)
    }

    /// Keeps a state, if it is not too large to share the cache with others.
    pub(super) fn put(&mut self, project: &Project, state: State) {
        self.take(project);
        let bytes = state.weight_bytes() + ENTRY_BYTES;
        self.clock += 1;
        self.bytes += bytes;
        self.states.insert(project.clone(), Cached { state, bytes, used: self.clock });
        while self.bytes > self.bytes_max {
            let oldest = self.states.iter().min_by_key(|(_, cached)| cached.used).map(|(project, _)| project.clone());
            self.take(&oldest.expect("something weighs the bytes"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_protocol::fold::StateLimits;

    #[test]
    fn the_longest_unused_goes_first() {
        let name = |name: &str| name.parse::<Project>().expect("a name");
        let mut cache = Cache::new(2 * ENTRY_BYTES);
        let state = || State::new(StateLimits::default());
        cache.put(&name("a"), state());
        cache.put(&name("b"), state());
        let a = cache.take(&name("a")).expect("it fits");
        cache.put(&name("a"), a);
        cache.put(&name("c"), state());
        assert!(cache.take(&name("b")).is_none());
        assert!(cache.take(&name("a")).is_some() && cache.take(&name("c")).is_some());
        assert_eq!(cache.bytes, 0);
    }
}
