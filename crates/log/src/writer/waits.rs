//! How many replicas a project's acknowledgements wait for, asked with each request.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tidings_broker::Wait;
use tidings_protocol::project::Project;

/// Says what acknowledgements wait for (docs/log.md L11). An [`Option<Wait>`] says the same for all projects.
pub trait Waits: Send + Sync {
    /// What those of the project wait for from now on; `None`: nothing. Answers soon, since the request waits for it.
    /// Dropped, it leaves nothing behind.
    fn of<'a>(&'a self, project: &'a Project) -> BoxFuture<'a, Option<Wait>>;
}

impl Waits for Option<Wait> {
    fn of<'a>(&'a self, _: &'a Project) -> BoxFuture<'a, Option<Wait>> {
        ready(*self).boxed()
    }
}
