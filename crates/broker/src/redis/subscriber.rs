//! The connection that messages come over: who wants which channel, and the task that keeps it so.
//!
//! One dedicated connection, which nothing else uses. A subscription counts once the server confirmed it. After every
//! reconnect all wanted channels are subscribed and confirmed before sinks hear [`Sink::lost`], so that a reader which
//! then reads the log misses nothing. Messages go from the socket's task straight to the sinks.

use std::convert::Infallible;
use std::sync::Arc;

use ::redis::aio::MultiplexedConnection;
use ::redis::{PushInfo, PushKind, RedisResult, Value};
use bytes::Bytes;
use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::link::{Backoff, Opened, Opener, Trouble, expect_primary};
use crate::{ReadError, Sink, Subscription};

/// Channels in one SUBSCRIBE.
const CHANNELS_PER_COMMAND: usize = 1_000;

/// Routes of all channels, and the supervisor of their connection.
pub(super) struct Subscriber {
    opener: Opener,
    routes: Mutex<Routes>,
    /// Some channel's subscription is not as it is wanted.
    changed: Notify,
    /// Whether all wanted channels are confirmed on a living connection.
    pub(super) up: watch::Sender<bool>,
    pub(super) trouble: Trouble,
}

#[derive(Default)]
struct Routes {
    next: u64,
    linked: bool,
    channels: HashMap<Box<[u8]>, Channel>,
    /// Channels to look at: bounded by the subscriptions made and dropped since the last look.
    dirty: Vec<Box<[u8]>>,
}

#[derive(Default)]
struct Channel {
    sinks: Arc<[(u64, Arc<dyn Sink>)]>,
    /// The server said so, on this connection.
    confirmed: bool,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Subscriber {
    pub(super) fn new(opener: Opener) -> Arc<Subscriber> {
        let up = watch::Sender::new(false);
        let trouble = Trouble::new();
        Arc::new(Subscriber { opener, routes: Mutex::default(), changed: Notify::new(), up, trouble })
    }

    /// Enters a sink for good: it is subscribed on every connection, and nobody waits for that.
    pub(super) fn want(&self, channel: &str, sink: Arc<dyn Sink>) {
        self.routes.lock().enter(channel, sink);
        self.changed.notify_one();
    }

    /// See [`Log::subscribe`](crate::Log::subscribe).
    pub(super) async fn subscribe(
        self: Arc<Subscriber>,
        channel: String,
        sink: Arc<dyn Sink>,
    ) -> Result<Subscription, ReadError> {
        let (subscription, confirmation) = {
            let mut routes = self.routes.lock();
            if !routes.linked {
                return Err(ReadError::Away("no subscriber connection".into()));
            }
            let id = routes.enter(&channel, sink);
            let state = routes.channels.get_mut(channel.as_bytes()).expect("it was entered just now");
            let (confirm, confirmation) = oneshot::channel();
            if state.confirmed {
                // A failed send would mean that the receiver, three lines above, is gone.
                let _ = confirm.send(());
            } else {
                state.waiting.push(confirm);
            }
            let subscriber = Arc::clone(&self);
            // CANCEL SAFETY: made before the wait, so that a dropped future leaves no sink behind.
            (Subscription::new(move || subscriber.leave(&channel, id)), confirmation)
        };
        self.changed.notify_one();
        match confirmation.await {
            Ok(()) => Ok(subscription),
            Err(_) => Err(ReadError::Away("the subscriber connection broke".into())),
        }
    }

    fn leave(&self, channel: &str, id: u64) {
        let mut routes = self.routes.lock();
        let Some(state) = routes.channels.get_mut(channel.as_bytes()) else { return };
        let left = state.sinks.iter().filter(|(other, _)| *other != id).cloned().collect();
        let before = std::mem::replace(&mut state.sinks, left);
        if state.sinks.is_empty() {
            routes.dirty.push(channel.as_bytes().into());
            self.changed.notify_one();
        }
        // ORDER: the sink may go with this, and whatever it owns; not under the lock.
        drop(routes);
        drop(before);
    }

    /// Keeps the connection and its subscriptions until cancelled.
    pub(super) async fn run(self: Arc<Subscriber>, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut backoff = Backoff::new();
            loop {
                match Arc::clone(&self).serve().await {
                    // It had been up: begin with short pauses again.
                    Ok(error) => {
                        warn!(error, "redis subscriber disconnected");
                        self.trouble.set(error);
                        backoff = Backoff::new();
                    }
                    Err(error) => {
                        if self.trouble.set(error.to_string()) {
                            warn!(%error, "redis subscriber cannot connect, will retry");
                        }
                    }
                }
                self.unlink();
                backoff.pause().await;
            }
        })
        .await;
        self.unlink();
    }

    /// One connection's life: `Err` if it never came up, else why it ended.
    async fn serve(self: Arc<Subscriber>) -> RedisResult<String> {
        let broken = Arc::new(Notify::new());
        let (router, on_broken) = (Arc::clone(&self), Arc::clone(&broken));
        let mut link = self
            .opener
            .open(move |info| match info.kind {
                PushKind::Disconnection => on_broken.notify_one(),
                PushKind::Message => router.route(info),
                _ => {}
            })
            .await?;
        let wanted = self.routes.lock().relink();
        self.subscribe_all(&mut link.connection, &wanted).await?;
        self.linked();

        Ok(tokio::select! {
            () = broken.notified() => "closed by the server".to_owned(),
            failed = self.follow(&mut link) => {
                let Err(error) = failed;
                error.to_string()
            }
        })
    }

    /// Brings the server's subscriptions to what is wanted, whenever that changes, and asks now and then whether the
    /// connection lives. One command at a time: the next one is sent when the last is answered.
    async fn follow(&self, link: &mut Opened) -> RedisResult<Infallible> {
        loop {
            let (wanted, unwanted) = self.routes.lock().sort_dirty();
            for chunk in unwanted.chunks(CHANNELS_PER_COMMAND) {
                link.connection.unsubscribe(chunk).await?;
            }
            self.subscribe_all(&mut link.connection, &wanted).await?;
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep(self.opener.ping_interval) => expect_primary(&mut link.connection).await?,
                error = self.opener.moved(link) => return Err(error),
            }
        }
    }

    async fn subscribe_all(&self, connection: &mut MultiplexedConnection, wanted: &[Vec<u8>]) -> RedisResult<()> {
        for chunk in wanted.chunks(CHANNELS_PER_COMMAND) {
            connection.subscribe(chunk).await?;
            self.routes.lock().confirm(chunk);
        }
        Ok(())
    }

    fn linked(&self) {
        let sinks = {
            let mut routes = self.routes.lock();
            routes.linked = true;
            routes.sinks()
        };
        self.up.send_replace(true);
        info!(sinks = sinks.len(), "redis subscriber connected");
        for sink in sinks {
            sink.lost();
        }
    }

    fn unlink(&self) {
        self.up.send_replace(false);
        self.routes.lock().unlink();
    }

    /// Runs in the socket's task, for every message.
    fn route(&self, info: PushInfo) {
        let mut data = info.data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) = (data.next(), data.next()) else {
            return;
        };
        // ORDER: the lock is released before sinks run; they may subscribe or leave.
        let sinks = self.routes.lock().channels.get(channel.as_slice()).map(|state| Arc::clone(&state.sinks));
        let payload = Bytes::from(payload);
        for (_, sink) in sinks.iter().flat_map(|sinks| sinks.iter()) {
            sink.message(payload.clone());
        }
    }
}

impl Routes {
    fn enter(&mut self, channel: &str, sink: Arc<dyn Sink>) -> u64 {
        self.next += 1;
        let id = self.next;
        let state = self.channels.entry(channel.as_bytes().into()).or_default();
        state.sinks = state.sinks.iter().cloned().chain([(id, sink)]).collect();
        if !state.confirmed {
            self.dirty.push(channel.as_bytes().into());
        }
        id
    }

    /// All wanted channels, for a new connection.
    fn relink(&mut self) -> Vec<Vec<u8>> {
        self.dirty.clear();
        self.channels.retain(|_, state| {
            state.confirmed = false;
            !state.sinks.is_empty()
        });
        self.channels.keys().map(|name| name.to_vec()).collect()
    }

    /// What to subscribe and what to unsubscribe.
    fn sort_dirty(&mut self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for name in std::mem::take(&mut self.dirty) {
            let Some(state) = self.channels.get_mut(&name) else { continue };
            match (state.sinks.is_empty(), state.confirmed) {
                (false, false) => wanted.push(name.into_vec()),
                (true, confirmed) => {
                    // Whoever comes from here on finds no channel, and makes it dirty again.
                    self.channels.remove(&name);
                    if confirmed {
                        unwanted.push(name.into_vec());
                    }
                }
                (false, true) => {}
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        (wanted, unwanted)
    }

    fn confirm(&mut self, names: &[Vec<u8>]) {
        for name in names {
            if let Some(state) = self.channels.get_mut(name.as_slice()) {
                state.confirmed = true;
                for waiting in state.waiting.drain(..) {
                    // Who no longer waits has dropped its subscription too.
                    let _ = waiting.send(());
                }
            }
        }
    }

    /// Those who wait for a confirmation get none any more.
    fn unlink(&mut self) {
        self.linked = false;
        for state in self.channels.values_mut() {
            state.confirmed = false;
            state.waiting.clear();
        }
    }

    fn sinks(&self) -> Vec<Arc<dyn Sink>> {
        self.channels.values().flat_map(|state| state.sinks.iter().map(|(_, sink)| Arc::clone(sink))).collect()
    }
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
        let subscriber = Subscriber::new(opener);
        let (mut up, stop) = (subscriber.up.subscribe(), CancellationToken::new());
        let task = tokio::spawn(Arc::clone(&subscriber).run(stop.clone()));
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
