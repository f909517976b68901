//! The connections that messages come over: one to each node, and the tasks that keep on each what is wanted of it.
//!
//! A dedicated connection, which nothing else uses. A subscription counts once the server confirmed it. What was
//! confirmed once and then lost its connection or its node is subscribed and confirmed again before its sinks hear
//! [`Sink::lost`], so that a reader which then reads the log misses nothing. Messages go from the socket's task straight
//! to the sinks.
//!
//! In a cluster channels are shard channels, each at the node that has its slot. A server that gives a slot up ends their
//! subscriptions by itself. The client library takes such a notice for the answer of whatever was asked last, so that a
//! connection on which something was being asked at that moment is given up.

mod routes;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::redis::aio::MultiplexedConnection;
use ::redis::{ErrorKind, PushInfo, PushKind, RedisError, RedisResult, Value, cmd};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::link::{Backoff, Opened, Opener, Trouble, expect_primary};
use super::metrics::Link;
use crate::{ReadError, Sink, Subscription};
use routes::Routes;

/// Channels in one SUBSCRIBE, or in one pipeline of SSUBSCRIBEs.
const CHANNELS_PER_COMMAND: usize = 1_000;

/// Errors that say that a shard channel is elsewhere, or nowhere for now.
const ELSEWHERE: [&str; 4] = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"];

/// What kind of channels are subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Channels {
    /// `SUBSCRIBE`, many at once.
    Plain,
    /// `SSUBSCRIBE`, one at a time: those of one command must lie in one slot.
    Sharded,
}

/// Routes of all channels, and the supervisor of their connections.
pub(super) struct Subscriber {
    channels: Channels,
    routes: Mutex<Routes>,
    /// A channel is not where it was thought to be.
    strayed: Notify,
}

/// One node's connection for messages.
pub(super) struct Feed {
    node: u32,
    opener: Opener,
    /// Some channel's subscription is not as it is wanted here.
    changed: Arc<Notify>,
    /// Whether all channels wanted here are confirmed on a living connection.
    pub(super) up: watch::Sender<bool>,
    pub(super) trouble: Trouble,
    /// There was a connection before.
    was_up: AtomicBool,
    /// Something was asked that is not answered yet.
    is_asking: AtomicBool,
    /// A notice came while something was being asked: answers may be mixed up.
    is_mixed_up: AtomicBool,
}

impl Feed {
    pub(super) fn new(node: u32, opener: Opener) -> Arc<Feed> {
        Arc::new(Feed {
            node,
            opener,
            changed: Arc::new(Notify::new()),
            up: watch::Sender::new(false),
            trouble: Trouble::new(),
            was_up: AtomicBool::new(false),
            is_asking: AtomicBool::new(false),
            is_mixed_up: AtomicBool::new(false),
        })
    }

    /// Waits for an answer and what is made of it, and fails if it may be another one's, or was outdated meanwhile.
    async fn asked<T>(&self, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
        self.is_asking.store(true, Ordering::SeqCst);
        let answer = answer.await;
        self.is_asking.store(false, Ordering::SeqCst);
        if self.is_mixed_up.load(Ordering::SeqCst) {
            return Err((ErrorKind::Io, "a slot was given up while something was asked").into());
        }
        answer
    }
}

impl Subscriber {
    /// Of this kind of channels, all at this node until told otherwise.
    pub(super) fn new(channels: Channels, node: u32) -> Arc<Subscriber> {
        Arc::new(Subscriber { channels, routes: Mutex::new(Routes::at(node)), strayed: Notify::new() })
    }

    /// What publishes on such a channel.
    pub(super) fn publishes(&self) -> &'static str {
        match self.channels {
            Channels::Plain => "PUBLISH",
            Channels::Sharded => "SPUBLISH",
        }
    }

    /// See [`Log::subscribe`](crate::Log::subscribe).
    pub(super) async fn subscribe(
        self: Arc<Subscriber>,
        channel: String,
        sink: Arc<dyn Sink>,
    ) -> Result<Subscription, ReadError> {
        let (subscription, confirmation) = {
            let mut routes = self.routes.lock();
            if !routes.is_linked(&channel) {
                return Err(ReadError::Away("no subscriber connection".into()));
            }
            let (confirm, confirmation) = oneshot::channel();
            let id = routes.enter(&channel, sink);
            routes.await_confirmation(&channel, confirm);
            let subscriber = Arc::clone(&self);
            // CANCEL SAFETY: made before the wait, so that a dropped future leaves no sink behind.
            (Subscription::new(move || subscriber.leave(&channel, id)), confirmation)
        };
        match confirmation.await {
            Ok(()) => Ok(subscription),
            Err(_) => Err(ReadError::Away("the subscriber connection broke".into())),
        }
    }

    fn leave(&self, channel: &str, id: u64) {
        let before = self.routes.lock().leave(channel, id);
        // ORDER: the sink may go with this, and whatever it owns; not under the lock.
        drop(before);
    }

    /// Slots are where this table says: channels follow.
    pub(super) fn rehome(&self, table: &Arc<Vec<u32>>) {
        self.routes.lock().rehome(Arc::clone(table));
    }

    /// A node is not used any more.
    pub(super) fn forget(&self, node: u32) {
        self.routes.lock().forget(node);
    }

    #[cfg(test)]
    pub(super) fn unsettled(&self) -> String {
        self.routes.lock().unsettled()
    }

    /// Whether every channel is confirmed where it belongs.
    pub(super) fn is_settled(&self) -> bool {
        self.routes.lock().is_settled()
    }

    /// Returns when a channel was found not to be where it was thought to be.
    pub(super) async fn strayed(&self) {
        self.strayed.notified().await;
    }

    /// Keeps a node's connection and its subscriptions until cancelled.
    pub(super) async fn run(self: Arc<Subscriber>, feed: Arc<Feed>, stop: CancellationToken) {
        self.routes.lock().add_feed(feed.node, Arc::clone(&feed.changed));
        stop.run_until_cancelled(async {
            let mut backoff = Backoff::new();
            loop {
                match self.serve(&feed).await {
                    // It had been up: begin with short pauses again.
                    Ok(error) => {
                        warn!(error, node = feed.opener.leads_to(), "redis subscriber disconnected");
                        feed.trouble.set(error);
                        backoff = Backoff::new();
                    }
                    Err(error) => {
                        if feed.trouble.set(error.to_string()) {
                            warn!(%error, node = feed.opener.leads_to(), "redis subscriber cannot connect, will retry");
                        }
                    }
                }
                self.unlink(&feed);
                backoff.pause().await;
            }
        })
        .await;
        self.unlink(&feed);
    }

    /// One connection's life: `Err` if it never came up, else why it ended.
    async fn serve(self: &Arc<Subscriber>, feed: &Arc<Feed>) -> RedisResult<String> {
        let broken = Arc::new(Notify::new());
        let (router, of, on_broken) = (Arc::clone(self), Arc::clone(feed), Arc::clone(&broken));
        feed.is_mixed_up.store(false, Ordering::SeqCst);
        let mut link = feed
            .opener
            .open(move |info| match info.kind {
                PushKind::Disconnection => on_broken.notify_one(),
                PushKind::Message | PushKind::SMessage => router.route(info),
                PushKind::SUnsubscribe => router.unsubscribed(&of, &info),
                _ => {}
            })
            .await?;
        let wanted = self.routes.lock().relink(feed.node);
        self.subscribe_all(feed, &mut link.connection, &wanted).await?;
        self.routes.lock().link(feed.node);
        feed.up.send_replace(true);
        if feed.was_up.swap(true, Ordering::Relaxed) {
            feed.opener.metrics.on_reconnected(Link::Messages);
        }
        info!(channels = wanted.len(), node = feed.opener.leads_to(), "redis subscriber connected");

        Ok(tokio::select! {
            () = broken.notified() => "closed by the server".to_owned(),
            failed = self.follow(feed, &mut link) => {
                let Err(error) = failed;
                error.to_string()
            }
        })
    }

    /// Brings the server's subscriptions to what is wanted, whenever that changes, and asks now and then whether the
    /// connection lives. One command at a time: the next one is sent when the last is answered.
    async fn follow(&self, feed: &Feed, link: &mut Opened) -> RedisResult<Infallible> {
        loop {
            let (wanted, unwanted) = self.routes.lock().sort_dirty(feed.node);
            for chunk in unwanted.chunks(CHANNELS_PER_COMMAND) {
                self.unsubscribe(feed, &mut link.connection, chunk).await?;
            }
            self.subscribe_all(feed, &mut link.connection, &wanted).await?;
            tokio::select! {
                () = feed.changed.notified() => {}
                () = tokio::time::sleep(feed.opener.ping_interval) => {
                    feed.asked(expect_primary(&mut link.connection)).await?;
                }
                error = feed.opener.moved(link) => return Err(error),
            }
        }
    }

    async fn subscribe_all(
        &self,
        feed: &Feed,
        connection: &mut MultiplexedConnection,
        wanted: &[Vec<u8>],
    ) -> RedisResult<()> {
        for chunk in wanted.chunks(CHANNELS_PER_COMMAND) {
            // ORDER: confirmed before the answer counts as taken: a notice in between would go unseen.
            let confirming = async {
                let confirmed = match self.channels {
                    Channels::Plain => {
                        connection.subscribe(chunk).await?;
                        chunk.to_vec()
                    }
                    Channels::Sharded => self.subscribe_sharded(connection, chunk).await?,
                };
                Ok(self.routes.lock().confirm(feed.node, &confirmed))
            };
            let missed = feed.asked(confirming).await?;
            // ORDER: not under the lock; sinks may subscribe or leave.
            for sink in missed {
                sink.lost();
            }
        }
        Ok(())
    }

    /// Those of these channels that the node has taken. The others are elsewhere: the map is read again, and then they
    /// are wanted anew, there.
    async fn subscribe_sharded(
        &self,
        connection: &mut MultiplexedConnection,
        chunk: &[Vec<u8>],
    ) -> RedisResult<Vec<Vec<u8>>> {
        let mut each = ::redis::pipe();
        for channel in chunk {
            each.add_command(cmd("SSUBSCRIBE").arg(channel).clone());
        }
        let answers = connection.send_packed_commands(&each, 0, chunk.len()).await?;
        let mut confirmed = Vec::with_capacity(chunk.len());
        for (channel, answer) in chunk.iter().zip(answers) {
            match answer.extract_error() {
                Ok(_) => confirmed.push(channel.clone()),
                Err(error) if is_elsewhere(&error) => self.strayed.notify_one(),
                Err(error) => return Err(error),
            }
        }
        Ok(confirmed)
    }

    async fn unsubscribe(
        &self,
        feed: &Feed,
        connection: &mut MultiplexedConnection,
        chunk: &[Vec<u8>],
    ) -> RedisResult<()> {
        if self.channels == Channels::Plain {
            return feed.asked(connection.unsubscribe(chunk)).await;
        }
        let mut each = ::redis::pipe();
        for channel in chunk {
            each.add_command(cmd("SUNSUBSCRIBE").arg(channel).clone());
        }
        self.routes.lock().expect_ends(feed.node, chunk);
        let answers = feed.asked(connection.send_packed_commands(&each, 0, chunk.len())).await?;
        for answer in answers {
            match answer.extract_error() {
                Err(error) if !is_elsewhere(&error) => return Err(error),
                // Where the slot is not, nothing is subscribed to.
                _ => {}
            }
        }
        self.routes.lock().expect_no_end(feed.node);
        Ok(())
    }

    fn unlink(&self, feed: &Feed) {
        feed.up.send_replace(false);
        self.routes.lock().unlink(feed.node);
    }

    /// Runs in the socket's task, for every message.
    fn route(&self, info: PushInfo) {
        let mut data = info.data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) = (data.next(), data.next()) else {
            return;
        };
        // ORDER: the lock is released before sinks run; they may subscribe or leave.
        let sinks = self.routes.lock().sinks(&channel);
        let payload = Bytes::from(payload);
        for (_, sink) in sinks.iter().flat_map(|sinks| sinks.iter()) {
            sink.message(payload.clone());
        }
    }

    /// Runs in the socket's task: a subscription ended, by our wish or because the server gave up the slot.
    fn unsubscribed(&self, feed: &Feed, info: &PushInfo) {
        let Some(Value::BulkString(channel)) = info.data.first() else { return };
        if self.routes.lock().ended(feed.node, channel) {
            return;
        }
        self.strayed.notify_one();
        if feed.is_asking.load(Ordering::SeqCst) {
            feed.is_mixed_up.store(true, Ordering::SeqCst);
        }
    }
}

fn is_elsewhere(error: &RedisError) -> bool {
    error.code().is_some_and(|code| ELSEWHERE.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::redis::RedisSettings;
    use crate::redis::server::RedisServer;

    #[tokio::test]
    async fn a_silent_server_is_noticed() {
        let server = RedisServer::start();
        let timeout = Duration::from_millis(300);
        let settings = RedisSettings {
            connect_timeout: timeout,
            response_timeout: timeout,
            ping_interval: timeout / 10,
            ..RedisSettings::new(server.url())
        };
        let opener = Opener::new(&settings).expect("good settings");
        let (subscriber, feed) = (Subscriber::new(Channels::Plain, 0), Feed::new(0, opener));
        let (mut up, stop) = (feed.up.subscribe(), CancellationToken::new());
        let task = tokio::spawn(Arc::clone(&subscriber).run(Arc::clone(&feed), stop.clone()));
        let mut until = async |wanted| {
            let wait = up.wait_for(|up| *up == wanted);
            let _ = tokio::time::timeout(Duration::from_mins(1), wait).await.expect("in time").expect("it lives");
        };
        until(true).await;
        server.freeze();
        until(false).await;
        server.thaw();
        until(true).await;
        stop.cancel();
        task.await.expect("it ended");
    }
}
