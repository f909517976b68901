//! What a test runs on: `Cluster::on_redis().gateways(3).ingests(2).start().await`, or `Cluster::dev().start().await`.

use std::fmt::Display;

use crate::certificates::Papers;
use crate::proxy::{Link, Proxy};
use crate::redis::{Durability, Redis};
use crate::runner::{Ledger, Runner};
use crate::sentinel::Sentinels;
use crate::service::{Launch, Role, Service, Setting};
use crate::viewer::{Directory, Viewers};

/// The project that tests use when one is enough.
pub const PROJECT: &str = "hive";

/// What will be started.
#[derive(Debug)]
pub struct Plan {
    durability: Option<Durability>,
    gateways: usize,
    ingests: usize,
    proxied: bool,
    replicated: bool,
    is_watched: bool,
    papers: Option<Papers>,
    redis_options: Vec<&'static str>,
    elsewhere: Option<String>,
    settings: Vec<Setting>,
}

/// Running services and what they stand on.
#[derive(Debug)]
pub struct Cluster {
    /// Its gateways; in dev mode the one process.
    pub gateways: Vec<Service>,
    /// Its ingests; none in dev mode, where the gateway is one.
    pub ingests: Vec<Service>,
    /// The links to Redis of each gateway, then of each ingest, where they were asked for.
    pub links: Vec<Proxy>,
    /// Its Redis, unless it is in dev mode.
    pub redis: Option<Redis>,
    /// What follows its Redis, and the link by which it does, where that was asked for.
    pub replica: Option<(Redis, Proxy)>,
    /// Its Redis with what watches it, where that was asked for.
    pub sentinels: Option<Sentinels>,
    /// Where viewers go.
    pub viewers_go: Directory,
    /// Where runners go.
    pub runners_go: Directory,
    /// What was acknowledged in [`PROJECT`].
    pub ledger: Ledger,
}

impl Cluster {
    /// Services of their own on a Redis that keeps nothing.
    pub fn on_redis() -> Plan {
        Plan {
            durability: Some(Durability::Memory),
            gateways: 1,
            ingests: 1,
            proxied: false,
            replicated: false,
            is_watched: false,
            papers: None,
            redis_options: Vec::new(),
            elsewhere: None,
            settings: Vec::new(),
        }
    }

    /// One process with a log in memory.
    pub fn dev() -> Plan {
        Plan { durability: None, ..Cluster::on_redis() }
    }

    /// The Redis.
    ///
    /// # Panics
    /// In dev mode.
    pub fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("this cluster has a Redis")
    }

    /// The sentinels and the nodes that they watch.
    ///
    /// # Panics
    /// Unless there are any.
    pub fn sentinels(&mut self) -> &mut Sentinels {
        self.sentinels.as_mut().expect("this cluster has sentinels")
    }

    /// What is written to the Redis from now on does not reach its replica.
    ///
    /// # Panics
    /// Unless there is a replica.
    pub fn cut_replication(&self) {
        self.replica.as_ref().expect("this cluster has a replica").1.commands(Link::Cut);
    }

    /// The replica takes over, with what it has. The Redis before it is still there: kill it first, or let it go on.
    ///
    /// # Panics
    /// Unless there is a replica.
    pub async fn fail_over(&mut self) {
        let (replica, link) = self.replica.take().expect("this cluster has a replica");
        link.commands(Link::Cut);
        replica.promote().await;
        self.links.iter().for_each(|link| link.leads_to(replica.port()));
        self.redis = Some(replica);
    }

    /// From now on a second Redis follows the present one.
    pub async fn follow(&mut self) {
        let replica = follower(self.redis()).await;
        self.replica = Some(replica);
    }

    /// Waits until the replica has everything that was written.
    ///
    /// # Panics
    /// Unless there is a replica.
    pub async fn replicated(&mut self) {
        assert!(self.replica.is_some(), "this cluster has a replica");
        self.redis().replicated().await;
    }

    /// The link of an ingest to its Redis.
    pub fn ingest_link(&self, index: usize) -> &Proxy {
        &self.links[self.gateways.len() + index]
    }

    /// A runner of [`PROJECT`] that enters what is acknowledged into the cluster's ledger.
    pub fn runner(&self, name: &str) -> Runner {
        Runner::new(name, PROJECT, self.runners_go.clone(), self.ledger.clone())
    }

    /// Viewers that go to any of its gateways.
    pub fn viewers(&self) -> Viewers {
        Viewers::new(self.viewers_go.clone())
    }
}

impl Plan {
    /// So many gateways.
    pub fn gateways(self, gateways: usize) -> Plan {
        Plan { gateways, ..self }
    }

    /// So many ingests.
    pub fn ingests(self, ingests: usize) -> Plan {
        Plan { ingests, ..self }
    }

    /// A Redis that comes back with everything that it answered.
    pub fn durable(self) -> Plan {
        Plan { durability: Some(Durability::AppendOnlyFile), ..self }
    }

    /// Each service reaches Redis through a proxy of its own.
    pub fn links_can_be_cut(self) -> Plan {
        Plan { proxied: true, ..self }
    }

    /// A second Redis follows the first; see [`Cluster::fail_over`].
    pub fn replicated(self) -> Plan {
        Plan { proxied: true, replicated: true, ..self }
    }

    /// More options of the Redis, as on its command line.
    pub fn redis_options(self, redis_options: &[&'static str]) -> Plan {
        Plan { redis_options: redis_options.to_vec(), ..self }
    }

    /// On a Redis that the test has started itself.
    pub fn on(self, url: String) -> Plan {
        Plan { elsewhere: Some(url), ..self }
    }

    /// Three nodes of Redis instead of one, and three sentinels.
    pub fn sentinels(self) -> Plan {
        Plan { is_watched: true, ..self }
    }

    /// The same, by TLS alone.
    pub fn sentinels_by_tls(self, papers: Papers) -> Plan {
        Plan { is_watched: true, papers: Some(papers), ..self }
    }

    /// A setting of all services, by its variable.
    pub fn set(mut self, variable: &'static str, value: impl Display) -> Plan {
        self.settings.push((variable, value.to_string()));
        self
    }

    /// Starts everything and waits until it is ready.
    pub async fn start(mut self) -> Cluster {
        let Some(durability) = self.durability else { return self.start_dev().await };
        if let Some(url) = self.elsewhere.take() {
            return self.serve(|| url.clone()).await;
        }
        if self.is_watched {
            let sentinels = Sentinels::start(self.papers.take()).await;
            self.settings.extend(sentinels.settings());
            let url = sentinels.url();
            let cluster = self.serve(|| url.clone()).await;
            return Cluster { sentinels: Some(sentinels), ..cluster };
        }
        let redis = Redis::with(durability, &self.redis_options).await;
        let replica = if self.replicated { Some(follower(&redis).await) } else { None };
        let mut links = Vec::new();
        if self.proxied {
            for _ in 0..self.gateways + self.ingests {
                links.push(Proxy::start(redis.port()).await);
            }
        }
        let mut urls: Vec<String> = links.iter().rev().map(Proxy::url).collect();
        let cluster = self.serve(|| urls.pop().unwrap_or_else(|| redis.url())).await;
        Cluster { links, redis: Some(redis), replica, ..cluster }
    }

    /// Starts the services, each with the next URL, gateways first.
    async fn serve(self, mut url: impl FnMut() -> String) -> Cluster {
        let roles = [vec![Role::Gateway; self.gateways], vec![Role::Ingest; self.ingests]].concat();
        let launches: Vec<Launch> =
            roles.into_iter().map(|role| Launch::new(role, Some(url()), self.settings.clone())).collect();
        let mut gateways = futures_util::future::join_all(launches.iter().map(Launch::start)).await;
        let ingests = gateways.split_off(self.gateways);
        let addresses = |services: &[Service]| Directory::new(services.iter().map(Service::address).collect());
        Cluster {
            viewers_go: addresses(&gateways),
            runners_go: addresses(&ingests),
            gateways,
            ingests,
            links: Vec::new(),
            redis: None,
            replica: None,
            sentinels: None,
            ledger: Ledger::default(),
        }
    }

    async fn start_dev(self) -> Cluster {
        let dev = Launch::new(Role::Dev, None, self.settings).start().await;
        let addresses = Directory::new(vec![dev.address()]);
        Cluster {
            viewers_go: addresses.clone(),
            runners_go: addresses,
            gateways: vec![dev],
            ingests: Vec::new(),
            links: Vec::new(),
            redis: None,
            replica: None,
            sentinels: None,
            ledger: Ledger::default(),
        }
    }
}

async fn follower(redis: &Redis) -> (Redis, Proxy) {
    let link = Proxy::start(redis.port()).await;
    (Redis::replica_of(link.port()).await, link)
}
