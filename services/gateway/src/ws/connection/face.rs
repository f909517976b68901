//! What a protocol makes of a connection.

use std::task::Context;

use tidings_protocol::codes::CloseCode;
use tokio::time::Instant;

use super::Line;

/// One side of a connection: what is said and heard on it. Everything about sockets is the connection's.
///
/// Nothing here blocks or waits; what takes time is polled in [`Face::look_around`] and [`Face::pull`], with the
/// connection's own context.
pub(crate) trait Face: Unpin {
    /// The connection is open: what is said first, if anything.
    fn greet(&mut self, line: &mut Line);

    /// A text message that the client may send.
    fn on_text(&mut self, line: &mut Line, text: &str);

    /// A binary message.
    fn on_binary(&mut self, line: &mut Line);

    /// A pong: whatever was written before the ping of this payload has arrived.
    fn on_pong(&mut self, _payload: &[u8]) {}

    /// The client has answered the close frame: all that was written has arrived.
    fn on_farewell_answered(&mut self) {}

    /// About every two seconds while the connection is open.
    fn on_tick(&mut self, line: &mut Line, now: Instant);

    /// Looks whether the gateway or the rights have sent the viewer away.
    fn look_at_ends(&mut self, line: &mut Line, cx: &mut Context<'_>);

    /// The same, and all else that is answered without events. Called before each pull.
    fn look_around(&mut self, line: &mut Line, cx: &mut Context<'_>);

    /// Takes what is due into [`Line::frames`], about [`super::WRITE_BYTES`] at most. False: there is nothing, and the
    /// connection's wake-up or the context says when to look again.
    fn pull(&mut self, line: &mut Line, cx: &mut Context<'_>) -> bool;

    /// Answers that the client waits for and that are not ready: with too many of them it is not read any more.
    fn owed(&self) -> usize {
        0
    }

    /// Says good-bye in the way of the protocol: nothing but the close frame is written any more. The viewer is not there
    /// from now on, however long its socket takes for what it has not read yet. Without effect once that was said.
    fn close(&mut self, line: &mut Line, code: CloseCode, retry_after_ms: Option<u64>);
}
