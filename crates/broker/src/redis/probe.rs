//! How the store is: messages that travel through its primaries back to this process, and how full they are.

use std::sync::Arc;
use std::time::Instant;

use ::redis::cmd;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::errors::read_error;
use super::node::Node;
use super::slots::slot_of;
use super::{RedisBroker, reply};
use crate::{MemoryUse, Probe, ReadError, Sink};

/// Names of channels that are tried for one that lies at a certain node of a cluster.
const PROBE_CHANNELS_TRIED: usize = 1_000;

/// Hears one message, on a channel on which there may be others.
struct Echo {
    nonce: String,
    tell: Mutex<Option<oneshot::Sender<()>>>,
}

impl Echo {
    /// What is to be published, who hears it, and the news that it was heard: an error if its connection broke meanwhile.
    fn new() -> (String, Arc<Echo>, oneshot::Receiver<()>) {
        let (tell, heard) = oneshot::channel();
        let nonce = format!("{:016x}", rand::random::<u64>());
        (nonce.clone(), Arc::new(Echo { nonce, tell: Mutex::new(Some(tell)) }), heard)
    }
}

impl Sink for Echo {
    fn message(&self, bytes: Bytes) {
        if bytes == self.nonce.as_bytes()
            && let Some(tell) = self.tell.lock().take()
        {
            // Nobody waits any more: the probe was dropped.
            let _ = tell.send(());
        }
    }

    fn lost(&self) {
        drop(self.tell.lock().take());
    }
}

impl RedisBroker {
    /// A message by this node and back.
    async fn probe_at(&self, node: Arc<Node>) -> Result<(), ReadError> {
        if let Some(why) = node.trouble() {
            return Err(ReadError::Away(why));
        }
        let Some(channel) = self.probe_channel(&node) else { return Ok(()) };
        let (nonce, echo, heard) = Echo::new();
        let metrics = &self.0.nodes.metrics;
        let subscriber = Arc::clone(&self.0.nodes.subscriber);
        let _subscription = subscriber.subscribe(channel.clone(), echo).await?;
        let publish = cmd(self.0.nodes.subscriber.publishes()).arg(&channel).arg(nonce).to_owned();
        let began = Instant::now();
        self.command(&channel, &publish).await.map_err(read_error)?;
        heard.await.map_err(|_| ReadError::Away("the subscriber connection broke".into()))?;
        metrics.on_probed(began);
        Ok(())
    }

    /// A channel of this process at this node; none: it has so few slots that none was found.
    fn probe_channel(&self, node: &Node) -> Option<String> {
        let channel = self.0.keys.probe(&self.0.process);
        let Some(cluster) = self.0.nodes.cluster() else { return Some(channel) };
        let mut numbered = (0..PROBE_CHANNELS_TRIED).map(|n| format!("{channel}:{n}"));
        numbered.find(|channel| cluster.has(node.id, slot_of(channel.as_bytes())))
    }
}

impl Probe for RedisBroker {
    fn probe(&self) -> BoxFuture<'_, Result<(), ReadError>> {
        self.0.nodes.at_most_primaries(|node| self.probe_at(node)).boxed()
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.0.nodes.up.subscribe()
    }

    fn memory(&self) -> BoxFuture<'_, Result<MemoryUse, ReadError>> {
        async move {
            let answers = self.0.nodes.ask_all(cmd("INFO").arg("memory")).await.map_err(read_error)?;
            let all = answers.into_iter().map(reply::memory).collect::<Result<Vec<_>, _>>()?;
            let memory = fullest(all);
            self.0.nodes.metrics.on_memory(&memory);
            Ok(memory)
        }
        .boxed()
    }
}

/// The use of the node that is nearest to its limit: it is the first to refuse.
fn fullest(all: Vec<MemoryUse>) -> MemoryUse {
    // In millionths, so that they can be compared exactly; without a limit none is near it.
    let share = |of: &MemoryUse| of.max_bytes.map(|max| u128::from(of.used_bytes) * 1_000_000 / u128::from(max.max(1)));
    all.into_iter().max_by_key(|of| (share(of), of.used_bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_that_is_nearest_to_its_limit_counts() {
        let of = |used_bytes, max_bytes| MemoryUse { used_bytes, max_bytes };
        let check = |all: &[MemoryUse], expected| assert_eq!(fullest(all.to_vec()), expected);
        check(&[of(900, Some(1_000)), of(5_000, Some(10_000)), of(99_999, None)], of(900, Some(1_000)));
        check(&[of(1, None), of(2, None)], of(2, None));
        check(&[], MemoryUse::default());
    }
}
