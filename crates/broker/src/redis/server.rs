//! A Redis server of a test's own: started on a free port in a temporary folder, gone with the value.

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
            let free = TcpListener::bind("127.0.0.1:0").expect("a loopback socket");
            let port = free.local_addr().expect("a bound socket has an address").port();
            drop(free);
            if let Some(child) = spawn(port, &folder, &args) {
                return RedisServer { child, port, folder, args };
            }
        }
        panic!("redis-server did not start");
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

/// A server that is ready, or none if it ended first.
fn spawn(port: u16, folder: &TempDir, args: &[String]) -> Option<Child> {
    let program = std::env::var(PROGRAM_ENV).unwrap_or_else(|_| "redis-server".into());
    let mut child = Command::new(program)
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--enable-debug-command", "yes", "--logfile", "", "--loglevel", "notice"])
        .args(args)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.contains("Ready to accept connections") {
            // What it says later is read too, so that the pipe never fills.
            std::thread::spawn(move || lines.for_each(drop));
            return Some(child);
        }
    }
    let _ = child.kill();
    child.wait().expect("a child can be waited for");
    None
}
