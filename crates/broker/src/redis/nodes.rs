//! The way of every command: to the one node there is, or to the node of a cluster that has the key's slot.
//!
//! A single Redis takes the same way as a cluster with one node for all slots, without the hashing.

use std::sync::Arc;

use ::redis::{Cmd, Value};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cluster::Cluster;
use super::link::Opener;
use super::metrics::{Call, RedisMetrics};
use super::node::{Node, Nursery, Sending};
use super::script::ScriptCall;
use super::settings::{Place, RedisSettings, RedisSettingsError};
use super::slots::slot_of;
use super::subscriber::{Channels, Subscriber};
use crate::{CallError, ReadError, Wait};

/// The only node's id.
const ONLY: u32 = 0;

/// All nodes, and who has what.
pub(super) struct Nodes {
    way: Way,
    pub(super) metrics: RedisMetrics,
    pub(super) subscriber: Arc<Subscriber>,
    /// Whether most primaries can be reached both ways.
    pub(super) up: watch::Sender<bool>,
}

enum Way {
    /// One node has everything.
    One(Arc<Node>),
    /// By slot.
    Cluster(Arc<Cluster>),
}

impl Nodes {
    /// By these settings; connections are opened in the background until `stop`.
    pub(super) fn open(
        settings: &RedisSettings,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Nodes>, RedisSettingsError> {
        let place = settings.checked()?;
        let channels = if matches!(place, Place::Cluster { .. }) { Channels::Sharded } else { Channels::Plain };
        let (subscriber, changed) = (Subscriber::new(channels, ONLY), Arc::new(Notify::new()));
        let nursery = Nursery {
            subscriber: Arc::clone(&subscriber),
            tasks: tasks.clone(),
            stop: stop.clone(),
            changed: Arc::clone(&changed),
        };
        let way = match place {
            Place::Cluster { ref seeds, .. } => {
                let cluster = Cluster::new(seeds.clone(), Opener::leading(settings, place.clone()), nursery);
                tasks.spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&cluster).run()));
                Way::Cluster(cluster)
            }
            place => {
                let opener = Opener::leading(settings, place);
                let of_sentinels = opener.clone();
                let asking = async move { of_sentinels.ask_sentinels().await };
                tasks.spawn(stop.clone().run_until_cancelled_owned(asking));
                Way::One(nursery.node(ONLY, opener, None))
            }
        };
        let nodes =
            Arc::new(Nodes { way, metrics: settings.metrics.clone(), subscriber, up: watch::Sender::new(false) });
        let watching = Arc::clone(&nodes);
        tasks.spawn(stop.clone().run_until_cancelled_owned(async move { watching.watch(&changed).await }));
        Ok(nodes)
    }

    /// Calls a script where its keys are.
    pub(super) async fn script(&self, call: &ScriptCall) -> Result<Value, CallError> {
        let sent = self.send(call.key(), Sending::Script(call));
        self.metrics.call(call.kind(), sent).await.map(|(answer, _)| answer)
    }

    /// The same, and waits behind it until replicas have what it wrote: its answer, and how many of them do.
    pub(super) async fn script_and_wait(&self, call: ScriptCall, wait: Wait) -> Result<(Value, u64), CallError> {
        let kind = call.kind();
        let sent = async {
            match &self.way {
                Way::One(node) => node.replicas.call(call, wait).await,
                Way::Cluster(_) => self.send(call.key(), Sending::Waiting(&call, wait)).await,
            }
        };
        self.metrics.call(kind, sent).await
    }

    /// Sends a plain command to where this key is.
    pub(super) async fn command(&self, key: &str, command: &Cmd) -> Result<Value, CallError> {
        let sent = self.send(key, Sending::Command(command));
        self.metrics.call(Call::Command, sent).await.map(|(answer, _)| answer)
    }

    async fn send(&self, key: &str, sending: Sending<'_>) -> Result<(Value, u64), CallError> {
        match &self.way {
            Way::One(node) => node.send(sending, false).await,
            Way::Cluster(cluster) => cluster.send(slot_of(key.as_bytes()), sending).await,
        }
    }

    /// See [`Log::place`](crate::Log::place).
    pub(super) fn place(&self, key: &str) -> u32 {
        match &self.way {
            Way::One(_) => ONLY,
            Way::Cluster(cluster) => cluster.place(slot_of(key.as_bytes())),
        }
    }

    /// The cluster, if it is one.
    pub(super) fn cluster(&self) -> Option<&Cluster> {
        match &self.way {
            Way::One(_) => None,
            Way::Cluster(cluster) => Some(cluster),
        }
    }

    /// All primaries that are known to have slots.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        match &self.way {
            Way::One(node) => vec![Arc::clone(node)],
            Way::Cluster(cluster) => cluster.primaries(),
        }
    }

    /// Whether every slot has a primary that can be reached both ways.
    #[cfg(test)]
    pub(super) fn reaches_all(&self) -> bool {
        match &self.way {
            Way::One(node) => *node.up.borrow(),
            Way::Cluster(cluster) => cluster.is_well(),
        }
    }

    /// Why there is no primary, or the one named is not up.
    pub(super) fn trouble(&self) -> Option<String> {
        match &self.way {
            Way::One(node) => node.trouble(),
            Way::Cluster(cluster) => cluster.trouble(),
        }
    }

    /// Does something at every primary until it went well at most of them. A cluster goes on serving what the others have
    /// while one of its primaries is gone, and so do we.
    pub(super) async fn at_most_primaries<F>(&self, each: impl Fn(Arc<Node>) -> F) -> Result<(), ReadError>
    where
        F: Future<Output = Result<(), ReadError>> + Send,
    {
        let primaries = self.primaries();
        let all = primaries.len();
        let mut under_way: FuturesUnordered<_> = primaries.into_iter().map(each).collect();
        let (mut good, mut first_error) = (0, None);
        while let Some(outcome) = under_way.next().await {
            match outcome {
                Ok(()) => good += 1,
                Err(error) => drop(first_error.get_or_insert(error)),
            }
            if is_most(good, all) {
                return Ok(());
            }
            if !is_most(good + under_way.len(), all) {
                break;
            }
        }
        let none = || ReadError::Away(self.trouble().unwrap_or_else(|| "no primary is known".into()));
        Err(first_error.unwrap_or_else(none))
    }

    async fn watch(&self, changed: &Notify) {
        loop {
            let primaries = self.primaries();
            let good = primaries.iter().filter(|node| *node.up.borrow()).count();
            let now = is_most(good, primaries.len());
            self.up.send_if_modified(|was| std::mem::replace(was, now) != now);
            if let Way::Cluster(cluster) = &self.way
                && good < primaries.len()
            {
                cluster.look_again();
            }
            changed.notified().await;
        }
    }

    /// An answer of each primary that gives one, or why none does.
    pub(super) async fn ask_all(&self, command: &Cmd) -> Result<Vec<Value>, CallError> {
        let primaries = self.primaries();
        let mut under_way: FuturesUnordered<_> =
            primaries.iter().map(|node| node.send(Sending::Command(command), false).boxed()).collect();
        let (mut answers, mut first_error) = (Vec::new(), None);
        while let Some(outcome) = under_way.next().await {
            match outcome {
                Ok((answer, _)) => answers.push(answer),
                Err(error) => drop(first_error.get_or_insert(error)),
            }
        }
        match first_error.filter(|_| answers.is_empty()) {
            Some(error) => Err(error),
            None => Ok(answers),
        }
    }
}

/// More than half, and one at least.
fn is_most(good: usize, all: usize) -> bool {
    2 * good > all
}
