//! A node of the store: our connections to it, and the tasks that keep them.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, Value};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::link::{Commands, Opener};
use super::replicas::Replicas;
use super::script::ScriptCall;
use super::slots::Address;
use super::subscriber::{Feed, Subscriber};
use crate::{CallError, Wait};

/// What is sent to a node.
#[derive(Clone, Copy)]
pub(super) enum Sending<'a> {
    /// A script.
    Script(&'a ScriptCall),
    /// A script, and a wait for replicas right behind it.
    Waiting(&'a ScriptCall, Wait),
    /// A plain command.
    Command(&'a Cmd),
}

/// A node, for as long as it is used. A node that is found again at the same address later is another one of these.
pub(super) struct Node {
    /// Its own for ever.
    pub(super) id: u32,
    /// Where it is; none: wherever the settings lead.
    pub(super) address: Option<Address>,
    pub(super) commands: Arc<Commands>,
    /// Calls that wait for replicas.
    pub(super) replicas: Replicas,
    pub(super) feed: Arc<Feed>,
    /// Whether commands and messages both have their connection.
    pub(super) up: watch::Sender<bool>,
    stop: CancellationToken,
}

/// What it takes to make nodes.
pub(super) struct Nursery {
    pub(super) subscriber: Arc<Subscriber>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Woken when a node comes up or goes down.
    pub(super) changed: Arc<Notify>,
}

impl Nursery {
    /// A node, whose connections are opened in the background from now on.
    pub(super) fn node(&self, id: u32, opener: Opener, address: Option<Address>) -> Arc<Node> {
        let stop = self.stop.child_token();
        let node = Arc::new(Node {
            id,
            address,
            commands: Arc::new(Commands::new(opener.clone())),
            replicas: Replicas::new(opener.clone(), self.tasks.clone(), stop.clone()),
            feed: Feed::new(id, opener),
            up: watch::Sender::new(false),
            stop: stop.clone(),
        });
        let (commands, stopped) = (Arc::clone(&node.commands), stop.clone());
        self.tasks.spawn(async move { commands.run(stopped).await });
        self.tasks.spawn(Arc::clone(&self.subscriber).run(Arc::clone(&node.feed), stop.clone()));
        let (both, changed) = (Arc::clone(&node), Arc::clone(&self.changed));
        self.tasks.spawn(stop.run_until_cancelled_owned(async move { both.watch(&changed).await }));
        node
    }
}

impl Node {
    /// Sends something; `asking`: to a node that gets its slot just now. A script's answer, and how many replicas have it;
    /// 0 where nobody waited for them.
    pub(super) async fn send(&self, sending: Sending<'_>, asking: bool) -> Result<(Value, u64), CallError> {
        let alone = |answer| (answer, 0);
        match sending {
            Sending::Script(call) if asking => self.commands.script(&call.to_asking()).await.map(alone),
            Sending::Script(call) => self.commands.script(call).await.map(alone),
            Sending::Waiting(call, wait) if asking => self.replicas.call(call.to_asking(), wait).await,
            Sending::Waiting(call, wait) => self.replicas.call(call.clone(), wait).await,
            Sending::Command(command) => self.commands.command(command, asking).await.map(alone),
        }
    }

    /// Waits for its connection for commands, not longer than that. False: it did not come.
    pub(super) async fn ready(&self, within: Duration) -> bool {
        let mut up = self.commands.up.subscribe();
        tokio::time::timeout(within, up.wait_for(|up| *up)).await.is_ok_and(|up| up.is_ok())
    }

    /// Why it is not up, if it is not.
    pub(super) fn trouble(&self) -> Option<String> {
        let links = [(&self.commands.up, &self.commands.trouble), (&self.feed.up, &self.feed.trouble)];
        let (_, trouble) = links.into_iter().find(|(up, _)| !*up.borrow())?;
        Some(match &self.address {
            Some(address) => format!("{address}: {}", trouble.get()),
            None => trouble.get(),
        })
    }

    /// Ends its connections. Calls fail from then on.
    pub(super) fn retire(&self) {
        self.stop.cancel();
    }

    async fn watch(&self, changed: &Notify) {
        let (mut commands, mut feed) = (self.commands.up.subscribe(), self.feed.up.subscribe());
        loop {
            let now = *commands.borrow_and_update() && *feed.borrow_and_update();
            if self.up.send_if_modified(|was| std::mem::replace(was, now) != now) {
                changed.notify_one();
            }
            // The senders are in self.
            tokio::select! {
                _ = commands.changed() => {}
                _ = feed.changed() => {}
            }
        }
    }
}
