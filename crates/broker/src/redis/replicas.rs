//! Calls whose answers wait for replicas (docs/log.md L11), on a connection of their own.
//!
//! `WAIT` asks for the newest write of its own connection, so it stands right behind its call there; and it holds up
//! everything behind it, so no other call goes that way. One call and its wait are under way at a time: a replica that is
//! gone then keeps the others waiting here, where they can give up, and the connection is free in between to be asked
//! whether it lives.

use std::sync::Arc;

use ::redis::Value;
use tokio::sync::Mutex;

use super::link::Commands;
use super::script::ScriptCall;
use crate::{CallError, Wait};

/// The connection, and whose turn it is.
pub(super) struct Replicas {
    commands: Arc<Commands>,
    turn: Mutex<()>,
}

impl Replicas {
    pub(super) fn new(commands: Arc<Commands>) -> Replicas {
        Replicas { commands, turn: Mutex::new(()) }
    }

    /// Calls a script and waits behind it: its answer, and how many replicas have what this connection wrote.
    pub(super) async fn call(&self, script: &ScriptCall, wait: Wait) -> Result<(Value, u64), CallError> {
        let _turn = self.turn.lock().await;
        self.commands.script_and_wait(script, wait).await
    }
}
