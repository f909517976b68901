//! Traps for one call: it is held on its way, or its answer is lost.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::resp::{Call, Front, front};
use crate::wait::within;

/// What happens to the call that is caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits in the proxy, and with it what comes behind it on its connection, until it is released. Its client may
    /// be gone by then.
    Held,
    /// Redis gets it and answers; the answer is dropped, and all command links of the proxy are cut.
    Unanswered,
}

/// How far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Nobody sent such a call yet.
    Set,
    /// It is held.
    Caught(Bytes),
    /// It goes on to Redis.
    Released,
    /// Redis has answered.
    Answered(Bytes),
}

pub(super) struct Inner {
    wants: Box<dyn Fn(&Call) -> bool + Send + Sync>,
    pub(super) fate: Fate,
    stage: watch::Sender<Stage>,
}

/// Traps that are set.
#[derive(Default)]
pub(super) struct Traps(Mutex<Vec<Arc<Inner>>>);

/// A trap for the first call of a kind. When it is dropped, what it holds goes on.
pub struct Trap(Arc<Inner>);

impl Traps {
    /// Sets one.
    pub(super) fn set(&self, fate: Fate, wants: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Trap {
        let inner = Arc::new(Inner { wants: Box::new(wants), fate, stage: watch::Sender::new(Stage::Set) });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(inner.clone());
        Trap(inner)
    }

    /// The trap that this call walks into; it catches no other.
    pub(super) fn catch(&self, call: &Call) -> Option<Arc<Inner>> {
        let mut traps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        traps.retain(|trap| *trap.stage.borrow() == Stage::Set);
        let index = traps.iter().position(|trap| (trap.wants)(call))?;
        let trap = traps.remove(index);
        let caught = if trap.fate == Fate::Held { Stage::Caught(call.bytes.clone()) } else { Stage::Released };
        trap.stage.send_replace(caught);
        Some(trap)
    }
}

impl Inner {
    /// Waits until the call may go on.
    pub(super) async fn released(&self) {
        // Its sender is ours.
        let _ = self.stage.subscribe().wait_for(|stage| !matches!(stage, Stage::Caught(_))).await;
    }

    /// Redis has answered.
    pub(super) fn answered(&self, answer: Bytes) {
        self.stage.send_replace(Stage::Answered(answer));
    }

    /// Waits until it has.
    pub(super) async fn answer(&self) -> Bytes {
        let mut stages = self.stage.subscribe();
        let stage = stages.wait_for(|stage| matches!(stage, Stage::Answered(_))).await.expect("the sender is ours");
        match &*stage {
            Stage::Answered(answer) => answer.clone(),
            Stage::Set | Stage::Caught(_) | Stage::Released => unreachable!("it was waited for"),
        }
    }
}

impl Trap {
    /// Waits until the call is held, and returns it.
    pub async fn caught(&self) -> Held<'_> {
        let mut stages = self.0.stage.subscribe();
        let caught = within("the call comes", stages.wait_for(|stage| *stage != Stage::Set)).await;
        let stage = caught.expect("the sender is ours").clone();
        let Stage::Caught(call) = stage else { panic!("it was let go: {stage:?}") };
        Held { trap: self, call }
    }

    /// Waits until Redis has answered the call, and returns the answer as it was sent.
    pub async fn answered(&self) -> String {
        let answer = within("Redis answers the call", self.0.answer()).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.0.stage.send_if_modified(|stage| {
            let waits = matches!(stage, Stage::Set | Stage::Caught(_));
            if waits {
                *stage = Stage::Released;
            }
            waits
        });
    }
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trap").field("fate", &self.0.fate).field("stage", &*self.0.stage.borrow()).finish()
    }
}

/// A call that is held.
#[derive(Debug)]
pub struct Held<'a> {
    trap: &'a Trap,
    call: Bytes,
}

impl Held<'_> {
    /// Lets it go on over its own connection, and returns what Redis answers.
    pub async fn release(self) -> String {
        self.trap.0.stage.send_replace(Stage::Released);
        self.trap.answered().await
    }

    /// Brings the same bytes to the Redis at this port, as an address that moves with the primary would, and returns
    /// what is answered. The call itself stays where it is.
    pub async fn deliver_to(&self, port: u16) -> String {
        within("Redis answers what was delivered", async {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await.expect("Redis listens");
            socket.write_all(&self.call).await.expect("it takes the call");
            let mut answer = BytesMut::new();
            while !matches!(front(&answer), Front::Frame(_)) {
                assert_ne!(socket.read_buf(&mut answer).await.expect("it answers"), 0, "it hung up: {answer:?}");
            }
            String::from_utf8_lossy(&answer).into_owned()
        })
        .await
    }
}
