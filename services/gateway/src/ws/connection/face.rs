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

    /// When [`Face::on_tick`] is to be called, while the connection is open; asked after each pull. None: not at all.
    fn tick_at(&self) -> Option<Instant> {
        None
    }

    /// The time of [`Face::tick_at`] has come, or that of one of the connection's own clocks.
    fn on_tick(&mut self, _line: &mut Line, _now: Instant) {}

    /// Looks whether the gateway or the rights have sent the viewer away.
    fn look_at_ends(&mut self, line: &mut Line, cx: &mut Context<'_>);

    /// The same, and all else that is answered without events. Called before each pull.
    fn look_around(&mut self, line: &mut Line, cx: &mut Context<'_>);

    /// Takes what is due into [`Line::frames`], about [`super::WRITE_BYTES`] at most. False: there is nothing, and the
    /// connection's wake-up or the context says when to look again.
    fn pull(&mut self, line: &mut Line, cx: &mut Context<'_>) -> bool;

    /// A message beyond what every connection may say. True: it is dropped, and that is all; else the connection is closed.
    fn drops(&mut self) -> bool {
        false
    }

    /// Whether the last pull left nothing: whatever comes up after it wakes the connection, so that it need not look again.
    fn is_exhausted(&self) -> bool {
        false
    }

    /// Answers that the client waits for and that are not ready: with too many of them it is not read any more.
    fn owed(&self) -> usize {
        0
    }

    /// Says good-bye in the way of the protocol: nothing but the close frame is written any more. The viewer is not there
    /// from now on, however long its socket takes for what it has not read yet. Without effect once that was said.
    fn close(&mut self, line: &mut Line, code: CloseCode, retry_after_ms: Option<u64>);
}
