//! A Redis of the test's own: started on a free port with its files in a temporary folder, paused, killed, restarted.

use std::collections::BTreeMap;
use std::process::Command;

use fred::prelude::{Builder, Client, ClientLike, Config};
use fred::types::{CustomCommand, InfoKind};
use tempfile::TempDir;

use crate::certificates::Papers;
use crate::process::{Process, free_port};
use crate::wait::{eventually, within};

/// What survives a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing.
    Memory,
    /// Everything that was answered: an append-only file, written and synced before each answer.
    AppendOnlyFile,
}

/// A running `redis-server`.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    durability: Durability,
    options: Vec<String>,
    folder: TempDir,
    process: Process,
}

impl Redis {
    /// Starts one and waits until it answers.
    pub async fn start(durability: Durability) -> Redis {
        Redis::with(durability, &[]).await
    }

    /// Starts one with more options, as on its command line, and waits until it answers.
    pub async fn with(durability: Durability, options: &[&str]) -> Redis {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let process = spawn(port, durability, &options, &folder);
        let redis = Redis { port, durability, options, folder, process };
        redis.answering().await;
        redis
    }

    /// Starts one that is reached by TLS alone, which keeps nothing, with more options; waits until it is ready. Its clients
    /// are of [`Papers::connect`].
    pub async fn with_tls(papers: &Papers, options: &[&str]) -> Redis {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let tls = [
            "--port".into(),
            "0".into(),
            "--tls-port".into(),
            port.to_string(),
            "--tls-replication".into(),
            "yes".into(),
        ];
        let more = options.iter().map(|option| (*option).to_owned());
        let options: Vec<String> = tls.into_iter().chain(papers.options()).chain(more).collect();
        let process = spawn(port, Durability::Memory, &options, &folder);
        let redis = Redis { port, durability: Durability::Memory, options, folder, process };
        redis.answering().await;
        redis
    }

    /// Starts one that follows the Redis at this port, and waits until it has all of it.
    pub async fn replica_of(port: u16) -> Redis {
        let follow = ["--replicaof", "127.0.0.1", &port.to_string(), "--repl-diskless-sync-delay", "0"];
        let replica = Redis::with(Durability::Memory, &follow).await;
        replica.info("the replica follows", |info| info.contains("master_link_status:up").then_some(())).await;
        replica
    }

    /// Makes it a primary with what it has.
    pub async fn promote(&self) {
        let client = self.client().await;
        let command = CustomCommand::new("REPLICAOF", None::<u16>, false);
        let _: String = client.custom(command, vec!["NO", "ONE"]).await.expect("Redis answers");
        let _ = client.quit().await;
    }

    /// Waits until its one replica has taken everything that was written.
    pub async fn replicated(&self) {
        self.info("the replica has it", |info| is_replicated(info).then_some(())).await;
    }

    /// A command of words, whatever it answers.
    pub async fn command<T: fred::types::FromValue>(&self, words: &[&str]) -> T {
        let client = self.client().await;
        let command = CustomCommand::new(words[0].to_owned(), None::<u16>, false);
        let rest: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
        let answer = client.custom(command, rest).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        let _ = client.quit().await;
        answer
    }

    /// Changes a setting of the running server.
    pub async fn configure(&self, name: &str, value: impl std::fmt::Display) {
        let client = self.client().await;
        let command = CustomCommand::new("CONFIG", None::<u16>, false);
        let words = vec!["SET".to_owned(), name.to_owned(), value.to_string()];
        let _: String = client.custom(command, words).await.expect("Redis knows the setting");
        let _ = client.quit().await;
    }

    async fn answering(&self) {
        let ready = |line: &str| line.contains("Ready to accept connections").then_some(());
        self.process.line("ready to accept connections", ready).await;
    }

    /// Where it is, as a URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it is.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Freezes it: connections stay open, nothing is answered.
    pub fn pause(&self) {
        self.process.signal("STOP");
    }

    /// Ends [`Redis::pause`].
    pub fn resume(&self) {
        self.process.signal("CONT");
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, with what survived.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port, self.durability, &self.options, &self.folder);
        self.answering().await;
    }

    /// A client of another make than the services'.
    pub async fn client(&self) -> Client {
        let config = Config::from_url(&self.url()).expect("a sound URL");
        let client = Builder::from_config(config).build().expect("a sound configuration");
        within("a client of Redis", client.init()).await.expect("Redis answers");
        client
    }

    /// How often each command was called so far, also from within scripts.
    pub async fn calls(&self) -> Calls {
        let client = self.client().await;
        let text: String = client.info(Some(InfoKind::CommandStats)).await.expect("Redis answers");
        let _ = client.quit().await;
        let calls = text.lines().filter_map(|line| {
            let (name, stats) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = stats.strip_prefix("calls=")?.split(',').next()?.parse().ok()?;
            Some((name.to_owned(), calls))
        });
        Calls(calls.collect())
    }

    /// Waits until it holds a connection fewer or more, say: until `look` at INFO finds something.
    pub async fn info<T>(&self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let client = self.client().await;
        let (client, look) = (&client, &look);
        let found = eventually(what, || async move {
            let text: String = client.info(None).await.ok()?;
            look(&text)
        })
        .await;
        let _ = client.quit().await;
        found
    }
}

/// Calls of commands.
#[derive(Debug, Clone, Default)]
pub struct Calls(BTreeMap<String, u64>);

impl Calls {
    /// Calls of one command.
    pub fn of(&self, command: &str) -> u64 {
        self.0.get(command).copied().unwrap_or(0)
    }

    /// What was called since.
    pub fn since(&self, earlier: &Calls) -> Calls {
        let more = self.0.iter().map(|(name, calls)| (name.clone(), calls - earlier.of(name)));
        Calls(more.filter(|(_, calls)| *calls > 0).collect())
    }
}

/// By INFO of a primary with one replica: everything was taken by it.
fn is_replicated(info: &str) -> bool {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let offset = field("master_repl_offset:");
    let replica = field("slave0:").and_then(|slave| slave.split(',').find_map(|part| part.strip_prefix("offset=")));
    offset.is_some() && offset == replica
}

fn spawn(port: u16, durability: Durability, options: &[String], folder: &TempDir) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
    command.arg("--dir").arg(folder.path()).args(options);
    match durability {
        Durability::Memory => command.args(["--appendonly", "no"]),
        Durability::AppendOnlyFile => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
    };
    Process::start(format!("redis {port}"), command)
}
