//! The two ways in which a message is wrapped.

use serde_json::Value;

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// `{"type": .., "data": ..}`, a WebSocket message each.
    Native,
    /// `42["type", data]`: an event of Socket.IO in a message of Engine.IO.
    SocketIo,
}

impl Wrapping {
    /// One message.
    pub(super) fn frame(self, kind: &str, data: &Value) -> String {
        let kind = Value::from(kind);
        match self {
            Wrapping::Native => format!("{{\"type\":{kind},\"data\":{data}}}"),
            Wrapping::SocketIo => format!("42[{kind},{data}]"),
        }
    }
}

/// Where the messages of an event go.
pub(super) struct Frames<'a> {
    pub(super) wrapping: Wrapping,
    pub(super) out: &'a mut Vec<String>,
}

impl Frames<'_> {
    pub(super) fn push(&mut self, kind: &str, data: &Value) {
        self.out.push(self.wrapping.frame(kind, data));
    }
}
