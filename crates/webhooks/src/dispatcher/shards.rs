//! The index's shards that are this process's, and which projects they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use tidings_broker::hooks::{Entered, Hooks};

/// Shards that the store is asked for at once.
const AT_ONCE: usize = 16;

/// The projects of each shard that was ours when it was read.
#[derive(Debug, Default)]
pub(super) struct Shards(BTreeMap<u16, Vec<Entered>>);

impl Shards {
    /// Reads the index of the shards that are held. What the store does not answer stays as it was. Dropped before it is
    /// ready, all does.
    pub(super) async fn round(&mut self, hooks: &Arc<dyn Hooks>, ours: &[u16]) {
        let reads: Vec<_> =
            ours.iter().map(|shard| hooks.projects(*shard).map(|read| (*shard, read)).boxed()).collect();
        let reads: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
        self.0.retain(|shard, _| ours.contains(shard));
        self.0.extend(reads.into_iter().filter_map(|(shard, read)| Some((shard, read.ok()?))));
    }

    /// All projects of them.
    pub(super) fn projects(&self) -> impl Iterator<Item = &Entered> {
        self.0.values().flatten()
    }
}
