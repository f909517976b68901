//! The probe: a message that travels through Redis back to this process.

use std::sync::Arc;

use bytes::Bytes;
use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::Sink;

/// Who waits for which nonce. It is the sink of the probe channel.
#[derive(Default)]
pub(super) struct Probes(Mutex<HashMap<u64, oneshot::Sender<()>>>);

/// One wait; dropping it ends it.
pub(super) struct ProbeWait {
    probes: Arc<Probes>,
    /// What is to be published.
    pub(super) nonce: u64,
    heard: oneshot::Receiver<()>,
}

impl Probes {
    pub(super) fn begin(self: &Arc<Probes>) -> ProbeWait {
        let (tell, heard) = oneshot::channel();
        let nonce = rand::random();
        self.0.lock().insert(nonce, tell);
        ProbeWait { probes: Arc::clone(self), nonce, heard }
    }
}

impl ProbeWait {
    /// True: it came back. False: the subscriber connection was replaced meanwhile.
    pub(super) async fn heard(mut self) -> bool {
        (&mut self.heard).await.is_ok()
    }
}

impl Drop for ProbeWait {
    fn drop(&mut self) {
        self.probes.0.lock().remove(&self.nonce);
    }
}

impl Sink for Probes {
    fn message(&self, bytes: Bytes) {
        let nonce = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        if let Some(tell) = nonce.and_then(|nonce: u64| self.0.lock().remove(&nonce)) {
            // Nobody waits any more: the wait was dropped.
            let _ = tell.send(());
        }
    }

    fn lost(&self) {
        self.0.lock().clear();
    }
}
