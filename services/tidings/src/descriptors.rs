//! How many files and sockets a service may have open.
//!
//! Systems start processes with few (1,024) and let them take more. A service takes all that it may, before its
//! configuration is read: how many connections it lets in follows from it.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process may have open now, and what it might have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// Before it was raised; none: no limit.
    before: Option<u64>,
    /// Now; none: no limit.
    now: Option<u64>,
    refused: Option<Errno>,
}

/// Raises the soft limit to the hard one. Where that is refused the process goes on with what it has.
pub(crate) fn raise() -> Descriptors {
    let Rlimit { current: before, maximum } = getrlimit(Resource::Nofile);
    let refused = match before {
        Some(_) if before != maximum => setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).err(),
        _ => None,
    };
    Descriptors { before, now: getrlimit(Resource::Nofile).current, refused }
}

impl Descriptors {
    /// Says so in the log.
    pub(crate) fn log(self) {
        let told = |limit: Option<u64>| limit.map_or("unlimited".to_owned(), |limit| limit.to_string());
        let (before, now) = (told(self.before), told(self.now));
        match self.refused {
            None => tracing::info!(now, before, "descriptors"),
            Some(error) => tracing::warn!(%error, now, "the limit of descriptors cannot be raised"),
        }
    }
}
