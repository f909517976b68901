//! Where viewers' commands go. The seam between dialects and the command plane.

use futures_util::future::BoxFuture;
use tidings_dialects::Command;
use tidings_protocol::grant::Grant;
use tidings_protocol::project::Project;

use crate::limits::Caller;

/// Takes commands for runners.
pub(crate) trait Desk: Send + Sync + 'static {
    /// Asks the runners of a project, if this grant may and `caller` is within his rate. What they answer comes as events; here it is said that the command
    /// is on its way, under which id.
    ///
    /// CANCEL SAFETY: dropped before it is ready, the command may be on its way or not.
    fn ask(
        &self,
        project: &Project,
        grant: &Grant,
        caller: &Caller,
        command: &Command,
    ) -> BoxFuture<'static, Result<String, Refusal>>;
}

/// Why a command is not on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Stable code.
    pub code: &'static str,
    /// For people.
    pub message: String,
}
