//! The stores that the suite runs on.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use tidings_protocol::project::Project;

use crate::Broker;
use crate::clock::ManualClock;
use crate::inbox::Inboxes;
use crate::memory::MemoryBroker;
use crate::presence::Presences;
use crate::quota::Quotas;
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings};
use crate::registry::Registry;

/// Where the suite's clocks begin.
pub(super) const START_MS: u64 = 1_763_630_000_000;

/// A store, and what happens to stores.
pub trait Subject: Send + Sync {
    /// The store.
    fn broker(&self) -> Arc<dyn Broker>;

    /// Its shared limits.
    fn quotas(&self) -> Arc<dyn Quotas> {
        self.broker().quotas()
    }

    /// Who is there.
    fn presences(&self) -> Arc<dyn Presences> {
        self.broker().presences()
    }

    /// What waits for runners.
    fn inboxes(&self) -> Arc<dyn Inboxes> {
        self.broker().inboxes()
    }

    /// Its keys, members and settings.
    fn registry(&self) -> Arc<dyn Registry> {
        self.broker().registry()
    }

    /// Its clock.
    fn clock(&self) -> &ManualClock;

    /// Changes the incarnation; nothing is lost.
    fn change_incarnation(&mut self) -> BoxFuture<'_, ()>;

    /// Lets a log look as if a service of another format had written it.
    fn set_format(&mut self, project: &Project, format: u32) -> BoxFuture<'_, ()>;

    /// Cuts the connections that messages come over.
    fn cut(&mut self) -> BoxFuture<'_, ()>;

    /// Ends the store and opens it again, under a new incarnation. True: it kept its logs.
    fn reopen(&mut self) -> BoxFuture<'_, bool>;
}

/// The memory store.
pub struct MemorySubject {
    broker: MemoryBroker,
    clock: ManualClock,
}

impl MemorySubject {
    /// An empty one.
    #[allow(clippy::new_without_default, reason = "a subject is made to be used up by one case")]
    pub fn new() -> MemorySubject {
        let clock = ManualClock::at(START_MS);
        MemorySubject { broker: MemoryBroker::with_clock(clock.clone()), clock }
    }
}

impl Subject for MemorySubject {
    fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.broker.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn change_incarnation(&mut self) -> BoxFuture<'_, ()> {
        self.broker.set_incarnation(&format!("{:032x}", rand::random::<u128>()));
        ready(()).boxed()
    }

    fn set_format(&mut self, project: &Project, format: u32) -> BoxFuture<'_, ()> {
        let mut data = self.broker.copy(project);
        data.set_format(format);
        self.broker.restore(project, data);
        ready(()).boxed()
    }

    fn cut(&mut self) -> BoxFuture<'_, ()> {
        self.broker.interrupt();
        ready(()).boxed()
    }

    fn reopen(&mut self) -> BoxFuture<'_, bool> {
        self.broker.reopen();
        ready(false).boxed()
    }
}

/// Redis, on a server of its own.
pub struct RedisSubject {
    server: RedisServer,
    broker: RedisBroker,
    clock: ManualClock,
}

impl RedisSubject {
    /// Starts a server and connects.
    ///
    /// # Panics
    /// If the server does not start.
    pub async fn start() -> RedisSubject {
        let (server, clock) = (RedisServer::start_durable(), ManualClock::at(START_MS));
        let settings = RedisSettings { clock: Some(clock.clone()), ..RedisSettings::new(server.url()) };
        let broker = RedisBroker::connect(&settings).expect("the settings are good");
        until_connected(&broker, true).await;
        RedisSubject { server, broker, clock }
    }
}

pub(super) async fn until_connected(broker: &RedisBroker, wanted: bool) {
    use crate::Probe as _;
    let _ = broker.connected().wait_for(|connected| *connected == wanted).await.expect("the broker lives");
}

impl Subject for RedisSubject {
    fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.broker.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn change_incarnation(&mut self) -> BoxFuture<'_, ()> {
        self.server.change_replication_id().boxed()
    }

    fn set_format(&mut self, project: &Project, format: u32) -> BoxFuture<'_, ()> {
        let command = format!("HSET tidings:{{{project}}}:meta format {format}");
        async move { drop(self.server.command(&command).await.expect("the hash takes it")) }.boxed()
    }

    fn cut(&mut self) -> BoxFuture<'_, ()> {
        self.server.cut_subscribers().boxed()
    }

    fn reopen(&mut self) -> BoxFuture<'_, bool> {
        async move {
            self.server.kill();
            until_connected(&self.broker, false).await;
            self.server.restart();
            until_connected(&self.broker, true).await;
            true
        }
        .boxed()
    }
}
