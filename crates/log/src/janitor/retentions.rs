//! What each project's log keeps, asked when a step is due.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tidings_broker::Retention;
use tidings_protocol::project::Project;

/// Says what the log of a project keeps. A [`Retention`] says the same of all.
pub trait Retentions: Send + Sync {
    /// What the project's log keeps now. What is beyond it is removed for good: who cannot find out says what was so last,
    /// and does not guess less. Answers soon, since the janitor waits for it. Dropped, it leaves nothing behind.
    fn of<'a>(&'a self, project: &'a Project) -> BoxFuture<'a, Retention>;
}

impl Retentions for Retention {
    fn of<'a>(&'a self, _: &'a Project) -> BoxFuture<'a, Retention> {
        ready(*self).boxed()
    }
}
