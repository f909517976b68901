//! A Redis server of a test's own: started on a free port in a temporary folder, gone with the value.

#[cfg(test)]
pub(crate) mod cluster;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use ::redis::aio::MultiplexedConnection;
use ::redis::{Client, RedisResult, Value, cmd};
use tempfile::TempDir;

/// The program; a test may be pointed at another one, such as `valkey-server`.
const PROGRAM_ENV: &str = "TIDINGS_TEST_REDIS_SERVER";

/// Ports tried before giving up: another process may take a free one first.
const ATTEMPTS: usize = 20;

/// Stands for the port in arguments and in a sentinel's configuration.
const PORT: &str = "{port}";

/// A sentinel's configuration, which it writes too.
const SENTINEL_FILE: &str = "sentinel.conf";

/// What the account that services have at Redis may do, and no more (docs/operations.md). The tests with sentinels run with it.
pub const RIGHTS: &str = "~tidings:* &tidings:* -@all +select +role +info +time +eval +evalsha +script|load +subscribe \
    +unsubscribe +publish +wait +sadd +smembers +get +set +del +unlink +exists +pexpire +hget +hset +hmget +hgetall +hexists +hkeys +hlen +hdel \
    +hincrby +hrandfield +hscan +copy +wait +srem +zadd +zrem +zrange +zlexcount +xadd +xtrim +xrange +xrevrange +xgroup|create +xgroup|destroy";

/// What it may do beside that in a cluster.
pub const CLUSTER_RIGHTS: &str = "+asking +cluster|info +cluster|slots +ssubscribe +sunsubscribe +spublish";

/// What their account at sentinels may do.
pub const SENTINEL_RIGHTS: &str =
    "resetchannels &+switch-master -@all +subscribe +sentinel|master +sentinel|get-master-addr-by-name";

/// What sentinels' account at Redis may do, and one replica's at its primary.
pub const SENTINELS_RIGHTS: &str = "allchannels -@all +multi +slaveof +ping +exec +subscribe +config|rewrite +role \
    +publish +info +client|setname +client|kill +script|kill +psync +replconf";

/// The account of services.
pub const USER: (&str, &str) = ("tidings", "s3cret");

/// A running server.
pub struct RedisServer {
    child: Child,
    port: u16,
    folder: TempDir,
    args: Vec<String>,
}

impl RedisServer {
    /// Starts one that keeps nothing over a restart.
    ///
    /// # Panics
    /// If there is no `redis-server`, or it does not start.
    pub fn start() -> RedisServer {
        RedisServer::start_with(&["--appendonly", "no"])
    }

    /// Starts one that keeps everything over a restart.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn start_durable() -> RedisServer {
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts one with these arguments too.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn start_with(args: &[&str]) -> RedisServer {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        for _ in 0..ATTEMPTS {
            let port = free_port();
            if let Some(child) = spawn(port, &folder, &args) {
                return RedisServer { child, port, folder, args };
            }
        }
        panic!("redis-server did not start");
    }

    /// Starts a sentinel with this configuration, in which `{port}` stands for its port.
    ///
    /// # Panics
    /// As [`RedisServer::start`].
    pub fn sentinel(config: &str) -> RedisServer {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let config =
                format!("port {PORT}\nbind 127.0.0.1\nlogfile \"\"\n{config}\n").replace(PORT, &port.to_string());
            std::fs::write(folder.path().join(SENTINEL_FILE), config).expect("the folder is ours");
            if let Some(child) = spawn(port, &folder, &[]) {
                return RedisServer { child, port, folder, args: Vec::new() };
            }
        }
        panic!("redis-server --sentinel did not start");
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, as a crash does.
    ///
    /// # Panics
    /// If the process cannot be waited for.
    pub fn kill(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        self.child.wait().expect("a child can be waited for");
    }

    /// Freezes it: connections stay open, nothing is answered.
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Ends [`RedisServer::freeze`].
    ///
    /// # Panics
    /// If it cannot be signalled.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "kill {signal}");
    }

    /// Starts it again, in the same folder and on the same port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.port, &self.folder, &self.args).expect("the server starts again");
    }

    /// A connection for commands that the contract has not.
    ///
    /// # Panics
    /// If the server cannot be reached.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).expect("a url");
        client.get_multiplexed_async_connection().await.expect("the server answers")
    }

    /// Runs one command: its words, separated by blanks.
    pub(crate) async fn command(&self, words: &str) -> RedisResult<Value> {
        let mut words = words.split(' ');
        let mut command = cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut self.connection().await).await
    }

    /// Changes the server's replication id, as a promotion does.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn change_replication_id(&self) {
        self.command("DEBUG CHANGE-REPL-ID").await.expect("debug commands are enabled");
    }

    /// Cuts all subscriber connections.
    ///
    /// # Panics
    /// If the server refuses.
    pub async fn cut_subscribers(&self) {
        self.command("CLIENT KILL TYPE pubsub").await.expect("clients can be killed");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
    free.local_addr().expect("a bound socket has an address").port()
}

/// A server that is ready, or none if it ended first.
fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Option<Child> {
    let program = std::env::var(PROGRAM_ENV).unwrap_or_else(|_| "redis-server".into());
    let mut command = Command::new(program);
    if folder.path().join(SENTINEL_FILE).exists() {
        command.args([SENTINEL_FILE, "--sentinel"]);
    } else {
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--enable-debug-command", "yes", "--logfile", "", "--loglevel", "notice"])
            .args(args.iter().map(|arg| arg.replace(PORT, &port.to_string())));
    }
    let mut child = command
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.contains("Ready to accept connections") || line.contains("Sentinel ID is") {
            // What it says later is read too, so that the pipe never fills.
            std::thread::spawn(move || lines.for_each(drop));
            return Some(child);
        }
    }
    let _ = child.kill();
    child.wait().expect("a child can be waited for");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_these_rights() {
        let manual = include_str!("../../../../docs/operations.md");
        let plain =
            |text: &str| text.split_whitespace().filter(|word| *word != "resetchannels").collect::<Vec<_>>().join(" ");
        for (user, rights) in [("tidings", RIGHTS), ("tidings-at-sentinels", SENTINEL_RIGHTS)] {
            let head = format!("user {user} on >PASSWORD ");
            let line = manual.lines().find_map(|line| line.strip_prefix(&head)).expect("a line for it");
            assert_eq!(plain(line), plain(rights), "{user}");
        }
        assert!(manual.lines().any(|line| line == CLUSTER_RIGHTS), "a line for clusters");
    }
}
