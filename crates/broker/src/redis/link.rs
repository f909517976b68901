//! Connections: how one is opened, and the supervised one that commands go over.
//!
//! The client library's own reconnecting is not used: it mixes replies up after a resubscription and gives up for good
//! after some retries. Here a connection that fails is dropped and a new one opened, for ever.

use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{AsyncConnectionConfig, Client, ConnectionInfo, PushInfo, PushKind, RedisError, RedisResult, Value, cmd};
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::errors::call_error;
use super::script::{self, ScriptCall};
use crate::{CallError, NothingWhy};

/// First and longest pause between two attempts to connect.
const BACKOFF_MS: (u64, u64) = (20, 1_000);

/// What it takes to open a connection.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) info: ConnectionInfo,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) ping_interval: Duration,
}

impl Opener {
    /// Opens a connection. `on_push` runs in the connection's task and must not block.
    pub(super) async fn open(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
            .set_push_sender(move |info: PushInfo| {
                on_push(info);
                Ok::<(), std::convert::Infallible>(())
            });
        Client::open(self.info.clone())?.get_multiplexed_async_connection_with_config(&config).await
    }

    /// Asks at every interval whether the connection lives; returns when it does not.
    pub(super) async fn watch(&self, connection: &mut MultiplexedConnection) -> RedisError {
        loop {
            tokio::time::sleep(self.ping_interval).await;
            // The response timeout bounds this: a frozen server looks like a dead one.
            if let Err(error) = ping(connection).await {
                return error;
            }
        }
    }
}

pub(super) async fn ping(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    cmd("PING").query_async::<Value>(connection).await.map(drop)
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
    opener: Opener,
    current: RwLock<Option<Arc<Live>>>,
    /// Whether there is one.
    pub(super) up: watch::Sender<bool>,
}

/// One connection's life.
struct Live {
    connection: MultiplexedConnection,
    broken: Arc<Notify>,
}

impl Commands {
    pub(super) fn new(opener: Opener) -> Commands {
        Commands { opener, current: RwLock::new(None), up: watch::Sender::new(false) }
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
                    Err(error) => warn!(%error, "redis is away, will retry"),
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
        let mut connection = self.opener.open(on_push).await?;
        for script in script::all() {
            script.load().query_async::<Value>(&mut connection).await?;
        }
        Ok(Live { connection, broken })
    }

    async fn serve(&self, live: Live) {
        let live = Arc::new(live);
        *self.current.write() = Some(Arc::clone(&live));
        self.up.send_replace(true);
        info!("redis commands connected");
        let mut connection = live.connection.clone();
        tokio::select! {
            () = live.broken.notified() => warn!("redis closed the connection"),
            error = self.opener.watch(&mut connection) => warn!(%error, "redis does not answer"),
        }
        *self.current.write() = None;
        self.up.send_replace(false);
    }

    fn current(&self) -> Result<MultiplexedConnection, CallError> {
        let current = self.current.read();
        current.as_ref().map(|live| live.connection.clone()).ok_or(CallError::Nothing(NothingWhy::Away))
    }

    /// Calls a script, with its source if the server does not know it.
    pub(super) async fn script(&self, call: &ScriptCall) -> Result<Value, CallError> {
        let mut connection = self.current()?;
        match connection.send_packed_command(&call.by_hash()).await.and_then(Value::extract_error) {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                let again = connection.send_packed_command(&call.by_source()).await;
                again.and_then(Value::extract_error).map_err(|error| call_error(&error))
            }
            answer => answer.map_err(|error| call_error(&error)),
        }
    }

    /// Sends a plain command.
    pub(super) async fn command(&self, command: &::redis::Cmd) -> Result<Value, CallError> {
        let answer = self.current()?.send_packed_command(command).await;
        answer.and_then(Value::extract_error).map_err(|error| call_error(&error))
    }
}
