//! What a connection asks of runners, and what it is told of that at once.

use std::task::{Context, Poll};

use tidings_commands::command::Command;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::frames::ServerFrame;
use tidings_protocol::project::Project;

use super::{Line, Native};
use crate::commands::Said;

impl Native {
    /// Asks; what becomes of it is told when it is known.
    pub(super) fn command(&mut self, line: &mut Line, project: Project, command: Command, reference: Option<String>) {
        if self.asking.is_full() {
            let message = "too many commands of this connection are on their way";
            return self.say_no(line, ErrorCode::Busy, message, reference.as_deref());
        }
        self.asking.ask(line.registered.held.grant(), project, command, reference);
    }

    /// Tells of commands that were taken, or refused.
    pub(super) fn look_at_commands(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        while let Poll::Ready(Said { project, asked, reference }) = self.asking.poll_said(cx) {
            let reference = reference.as_deref();
            match asked {
                Ok(asked) => {
                    let (project, id, status) = (project.as_str(), asked.id.as_str(), asked.status.as_str());
                    self.reply(line, &ServerFrame::Command { project, id, status, reference });
                }
                // That nobody is there to be asked is no fault of the client's.
                Err(refusal) => self.say_no(line, refusal.code, &refusal.detail, reference),
            }
        }
    }
}
