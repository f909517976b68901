//! Connections: how one is opened, and the supervised one that commands go over.
//!
//! The client library's own reconnecting is not used: it mixes replies up after a resubscription and gives up for good
//! after some retries. Here a connection that fails is dropped and a new one opened, for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue as _, PushInfo,
    PushKind, RedisError, RedisResult, Value, cmd,
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::errors::call_error;
use super::metrics::{Link, RedisMetrics};
use super::script::{self, ScriptCall};
use super::sentinel::Sentinels;
use super::settings::{Certificates, Place, RedisSettings};
use super::slots::Address;
use crate::{CallError, NothingWhy};

/// First and longest pause between two attempts to connect.
const BACKOFF_MS: (u64, u64) = (20, 1_000);

/// What it takes to open a connection.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) place: OpenAt,
    pub(super) tls: Certificates,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) ping_interval: Duration,
    pub(super) metrics: RedisMetrics,
}

/// Where connections lead.
#[derive(Clone)]
pub(super) enum OpenAt {
    /// Always there.
    Node(ConnectionInfo),
    /// To the node that the sentinels name; how to reach it, but for its address.
    Primary(Arc<Sentinels>, ConnectionInfo),
}

impl Opener {
    /// By these settings.
    #[cfg(test)]
    pub(super) fn new(settings: &RedisSettings) -> Result<Opener, super::RedisSettingsError> {
        Ok(Opener::leading(settings, settings.checked()?))
    }

    /// By these settings, from which `place` was read. Of a cluster: to the node that is asked first.
    pub(super) fn leading(settings: &RedisSettings, place: Place) -> Opener {
        let place = match place {
            Place::Node(info) => OpenAt::Node(info),
            Place::Sentinels { nodes, name, primary } => {
                OpenAt::Primary(Arc::new(Sentinels::new(nodes, name)), primary)
            }
            Place::Cluster { first, .. } => OpenAt::Node(first),
        };
        Opener {
            place,
            tls: settings.tls.clone(),
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
            ping_interval: settings.ping_interval,
            metrics: settings.metrics.clone(),
        }
    }

    /// The same way to another node.
    pub(super) fn to(&self, address: &Address) -> Opener {
        let (OpenAt::Node(info) | OpenAt::Primary(_, info)) = &self.place;
        let (host, port) = (address.host.clone(), address.port);
        let at = match info.addr() {
            ConnectionAddr::TcpTls { .. } => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            _ => ConnectionAddr::Tcp(host, port),
        };
        Opener { place: OpenAt::Node(info.clone().set_addr(at)), ..self.clone() }
    }

    /// Where it leads, for logs.
    pub(super) fn leads_to(&self) -> String {
        match &self.place {
            OpenAt::Node(info) => info.addr().to_string(),
            OpenAt::Primary(..) => "the primary".into(),
        }
    }

    /// Keeps the sentinels' word fresh, for ever; at once over where there are none.
    pub(super) async fn ask_sentinels(&self) {
        if let OpenAt::Primary(sentinels, _) = &self.place {
            sentinels.run(self).await;
        }
    }

    /// Returns when the sentinels name another primary than the one that this leads to.
    pub(super) async fn moved(&self, link: &Opened) -> RedisError {
        match (&self.place, &link.address) {
            (OpenAt::Primary(sentinels, _), Some(address)) => sentinels.moved_from(address).await,
            _ => std::future::pending().await,
        }
    }

    /// Opens a connection to a primary. `on_push` runs in the connection's task and must not block.
    pub(super) async fn open(&self, on_push: impl Fn(PushInfo) + Send + Sync + 'static) -> RedisResult<Opened> {
        let (info, address) = match &self.place {
            OpenAt::Node(info) => (info.clone(), None),
            OpenAt::Primary(sentinels, info) => {
                let address = sentinels.primary()?;
                (info.clone().set_addr(address.clone()), Some(address))
            }
        };
        let mut connection = self.connect(info, on_push).await?;
        expect_primary(&mut connection).await?;
        Ok(Opened { connection, address })
    }

    /// Opens a connection to this node.
    pub(super) async fn connect(
        &self,
        info: ConnectionInfo,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_push_sender(move |info: PushInfo| {
                on_push(info);
                Ok::<(), std::convert::Infallible>(())
            });
        let client = match info.addr() {
            ConnectionAddr::TcpTls { .. } => Client::build_with_tls(info, self.tls.read()?)?,
            _ => Client::open(info)?,
        };
        client.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Asks at every interval whether the connection lives and leads to a primary; returns when it does not, or when the
    /// sentinels name another one.
    pub(super) async fn watch(&self, link: &Opened) -> RedisError {
        let mut connection = link.connection.clone();
        let asked = async {
            loop {
                tokio::time::sleep(self.ping_interval).await;
                // The response timeout bounds this: a frozen server looks like a dead one.
                if let Err(error) = expect_primary(&mut connection).await {
                    return error;
                }
            }
        };
        tokio::select! {
            error = self.moved(link) => error,
            error = asked => error,
        }
    }
}

/// A connection to what was a primary when it was opened.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) connection: MultiplexedConnection,
    /// As the sentinels named it; none: nobody names it.
    address: Option<ConnectionAddr>,
}

/// Why a link is not up, for those who ask.
pub(super) struct Trouble(Mutex<String>);

impl Trouble {
    pub(super) fn new() -> Trouble {
        Trouble(Mutex::new("not connected yet".into()))
    }

    /// True: it is another one than before.
    pub(super) fn set(&self, why: String) -> bool {
        let mut known = self.0.lock();
        std::mem::replace(&mut *known, why) != *known
    }

    pub(super) fn get(&self) -> String {
        self.0.lock().clone()
    }
}

/// Fails unless the node calls itself a primary: after a failover the old one may still answer for a while.
pub(super) async fn expect_primary(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let role: Vec<Value> = cmd("ROLE").query_async(connection).await?;
    match role.first() {
        Some(Value::BulkString(role)) if role.as_slice() == b"master" => Ok(()),
        Some(Value::SimpleString(role)) if role == "master" => Ok(()),
        _ => Err((ErrorKind::Io, "the node is no primary now").into()),
    }
}

/// Growing pauses with jitter, so that a fleet does not come back in step.
pub(super) struct Backoff(u64);

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff(BACKOFF_MS.0)
    }

    pub(super) async fn pause(&mut self) {
        let pause_ms = rand::random_range(self.0 / 2..=self.0);
        self.0 = (self.0 * 2).min(BACKOFF_MS.1);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// The connection that commands go over.
pub(super) struct Commands {
    pub(super) opener: Opener,
    current: RwLock<Option<Arc<Live>>>,
    /// Whether there is one.
    pub(super) up: watch::Sender<bool>,
    pub(super) trouble: Trouble,
    kind: Link,
    /// There was one before.
    was_up: AtomicBool,
}

/// One connection's life.
struct Live {
    link: Opened,
    broken: Arc<Notify>,
}

impl Commands {
    pub(super) fn new(opener: Opener) -> Commands {
        Commands::of(Link::Commands, opener)
    }

    /// One that is for calls which wait for replicas.
    pub(super) fn waiting(opener: Opener) -> Commands {
        Commands::of(Link::Replicas, opener)
    }

    fn of(kind: Link, opener: Opener) -> Commands {
        Commands {
            opener,
            current: RwLock::new(None),
            up: watch::Sender::new(false),
            trouble: Trouble::new(),
            kind,
            was_up: AtomicBool::new(false),
        }
    }

    /// Keeps a connection until cancelled.
    pub(super) async fn run(&self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut backoff = Backoff::new();
            loop {
                match self.open().await {
                    Ok(live) => {
                        backoff = Backoff::new();
                        self.serve(live).await;
                    }
                    Err(error) => {
                        if self.trouble.set(error.to_string()) {
                            warn!(%error, node = self.opener.leads_to(), "redis is away, will retry");
                        }
                    }
                }
                backoff.pause().await;
            }
        })
        .await;
        *self.current.write() = None;
        self.up.send_replace(false);
    }

    async fn open(&self) -> RedisResult<Live> {
        let broken = Arc::new(Notify::new());
        let on_broken = Arc::clone(&broken);
        let on_push = move |info: PushInfo| {
            if info.kind == PushKind::Disconnection {
                on_broken.notify_one();
            }
        };
        let mut link = self.opener.open(on_push).await?;
        for script in script::all() {
            script.load().query_async::<Value>(&mut link.connection).await?;
        }
        Ok(Live { link, broken })
    }

    async fn serve(&self, live: Live) {
        if self.was_up.swap(true, Ordering::Relaxed) {
            self.opener.metrics.on_reconnected(self.kind);
        }
        let live = Arc::new(live);
        *self.current.write() = Some(Arc::clone(&live));
        self.up.send_replace(true);
        info!(node = self.opener.leads_to(), "redis commands connected");
        let error = tokio::select! {
            () = live.broken.notified() => "the connection was closed".to_owned(),
            error = self.opener.watch(&live.link) => error.to_string(),
        };
        warn!(error, node = self.opener.leads_to(), "redis commands disconnected");
        self.trouble.set(error);
        *self.current.write() = None;
        self.up.send_replace(false);
    }

    /// The connection, while it is up.
    pub(super) fn current(&self) -> Result<MultiplexedConnection, CallError> {
        let current = self.current.read();
        current.as_ref().map(|live| live.link.connection.clone()).ok_or(CallError::Nothing(NothingWhy::Away))
    }

    /// Calls a script, with its source if the server does not know it.
    pub(super) async fn script(&self, call: &ScriptCall) -> Result<Value, CallError> {
        let mut connection = self.current()?;
        let answer = match send(&mut connection, &call.by_hash(), call.is_asking()).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                send(&mut connection, &call.by_source(), call.is_asking()).await
            }
            answer => answer,
        };
        answer.map_err(|error| call_error(&error))
    }

    /// Sends a plain command; `asking`: to a node that gets its key's slot just now.
    pub(super) async fn command(&self, command: &Cmd, asking: bool) -> Result<Value, CallError> {
        send(&mut self.current()?, command, asking).await.map_err(|error| call_error(&error))
    }

    /// This node's incarnation, if it answers that this key is elsewhere and, behind that, still is a primary.
    pub(super) async fn gave_up(&self, key: &str) -> Option<String> {
        let mut connection = self.current().ok()?;
        let mut both = ::redis::pipe();
        both.cmd("EXISTS").arg(key).cmd("INFO").arg("replication");
        let mut answers = connection.send_packed_commands(&both, 0, 2).await.ok()?.into_iter();
        let elsewhere = answers.next()?.extract_error().err()?;
        if !matches!(elsewhere.code(), Some("MOVED" | "ASK")) {
            return None;
        }
        primary_incarnation(&String::from_redis_value(answers.next()?.extract_error().ok()?).ok()?)
    }
}

/// The incarnation of a node that says this of its replication; none: it is no primary.
pub(super) fn primary_incarnation(info: &str) -> Option<String> {
    let fact = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_end);
    (fact("role:")? == "master").then(|| fact("master_replid:").map(str::to_owned))?
}

/// Sends one command, behind ASKING in the same pipeline where that is needed.
async fn send(connection: &mut MultiplexedConnection, command: &Cmd, asking: bool) -> RedisResult<Value> {
    if !asking {
        return connection.send_packed_command(command).await.and_then(Value::extract_error);
    }
    let mut both = ::redis::pipe();
    both.cmd("ASKING").add_command(command.clone());
    let answers = connection.send_packed_commands(&both, 0, 2).await?;
    answers.into_iter().nth(1).unwrap_or(Value::Nil).extract_error()
}
