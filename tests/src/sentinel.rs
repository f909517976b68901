//! Redis as operators run it where it must not stand still: a primary and two replicas, watched by three sentinels, with an
//! account for each kind of client that may do what docs/operations.md says and no more.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates::Papers;
use crate::process::{Process, free_port};
use crate::redis::{Durability, Redis};
use crate::wait::eventually;

/// What the sentinels call the primary.
const NAME: &str = "hive";

/// Passwords of the accounts.
pub(crate) const PASSWORD: &str = "s3cret";

/// Who takes longer is frozen or dead.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The operators' manual, which says what each account may do.
const MANUAL: &str = include_str!("../../docs/operations.md");

/// The rules of an account: the line of the manual that begins with `user NAME`.
///
/// # Panics
/// When the manual has no such line.
pub fn rights(user: &str) -> String {
    let head = format!("user {user} on >PASSWORD ");
    let line = MANUAL.lines().find_map(|line| line.strip_prefix(&head));
    let rules = line.unwrap_or_else(|| panic!("docs/operations.md has no line `{head}...`"));
    format!("{user} on >{PASSWORD} {rules}")
}

/// Three nodes and three sentinels.
#[derive(Debug)]
pub struct Sentinels {
    /// The nodes; the first one begins as the primary.
    pub nodes: Vec<Redis>,
    sentinels: Vec<(u16, Process)>,
    papers: Option<Papers>,
    _folder: TempDir,
}

impl Sentinels {
    /// Starts everything and waits until all know of each other. With papers: by TLS alone.
    pub async fn start(papers: Option<Papers>) -> Sentinels {
        let options = |more: &[&str]| {
            let accounts = ["tidings", "sentinel", "replica"].map(|user| format!("--user {}", rights(user))).join(" ");
            let rest = format!("--masteruser replica --masterauth {PASSWORD} --repl-diskless-sync-delay 0");
            let options = format!("{accounts} {rest} {}", more.join(" "));
            options.split_whitespace().map(str::to_owned).collect::<Vec<String>>()
        };
        let start = async |more: &[&str]| {
            let options = options(more);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            match &papers {
                Some(papers) => Redis::with_tls(papers, &options).await,
                None => Redis::with(Durability::Memory, &options).await,
            }
        };
        let mut nodes = vec![start(&[]).await];
        let primary = nodes[0].port().to_string();
        for _ in 0..2 {
            nodes.push(start(&["--replicaof", "127.0.0.1", &primary]).await);
        }
        let folder = TempDir::new().expect("a temporary folder");
        let sentinels = (0..3).map(|_| sentinel(&folder, &primary, papers.as_ref())).collect();
        let all = Sentinels { nodes, sentinels, papers, _folder: folder };
        for (port, process) in &all.sentinels {
            process.line("watching", |line| line.contains("+monitor master").then_some(())).await;
            let hurry = "info-period 200 publish-period 200 ask-period 200 ping-period 100 tilt-period 1000";
            all.ask(*port, &format!("SENTINEL DEBUG {hurry}")).await;
            eventually("the sentinels know each other and both replicas", || async {
                let facts = all.ask(*port, &format!("SENTINEL MASTER {NAME}")).await;
                let is = |name: &str| facts.contains(&format!("{name}\r\n$1\r\n2\r\n"));
                (is("num-slaves") && is("num-other-sentinels")).then_some(())
            })
            .await;
        }
        all
    }

    /// What services are told.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.sentinels.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        let scheme = if self.papers.is_some() { "rediss" } else { "redis" };
        format!("{scheme}+sentinel://tidings:{PASSWORD}@{}/{NAME}", hosts.join(","))
    }

    /// The services' settings beside the URL.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("TIDINGS_REDIS__SENTINEL_USERNAME", "tidings".into()),
            ("TIDINGS_REDIS__SENTINEL_PASSWORD", PASSWORD.into()),
        ];
        settings.extend(self.papers.iter().flat_map(Papers::settings));
        settings
    }

    /// Index of the node that most sentinels name.
    pub async fn primary(&self) -> usize {
        eventually("most sentinels name one node", || async {
            let mut votes = vec![0; self.nodes.len()];
            for (port, _) in &self.sentinels {
                let said = self.ask(*port, &format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}")).await;
                if let Some(named) =
                    self.nodes.iter().position(|node| said.contains(&format!("\r\n{}\r\n", node.port())))
                {
                    votes[named] += 1;
                }
            }
            votes.iter().position(|votes| *votes * 2 > self.sentinels.len())
        })
        .await
    }

    /// Waits until most sentinels name another node than this, and returns it.
    pub async fn moved_from(&self, former: usize) -> usize {
        eventually("the sentinels name another primary", || async {
            let now = self.primary().await;
            (now != former).then_some(now)
        })
        .await
    }

    /// A planned failover, as soon as there is a replica that is good enough.
    pub async fn fail_over(&self) {
        eventually("a sentinel moves the primary", || async {
            let said = self.ask(self.sentinels[0].0, &format!("SENTINEL FAILOVER {NAME}")).await;
            said.starts_with("+OK").then_some(())
        })
        .await;
    }

    /// Nothing that is written to this node from now on reaches another.
    pub async fn cut_replication(&self, node: usize) {
        self.shut_out(node, "replica").await;
    }

    /// The sentinels do not reach this node any more; everybody else does.
    pub async fn cut_off_sentinels(&self, node: usize) {
        self.shut_out(node, "sentinel").await;
    }

    async fn shut_out(&self, node: usize, user: &str) {
        let port = self.nodes[node].port();
        let off = self.ask(port, &format!("ACL SETUSER {user} -@all")).await;
        let cut = self.ask(port, &format!("CLIENT KILL USER {user}")).await;
        assert!(off.starts_with("+OK") && cut.starts_with(':') && !cut.starts_with(":0"), "{off}{cut}");
    }

    /// What a node calls itself: `master` or `slave`.
    pub async fn role(&self, node: usize) -> String {
        let said = self.ask(self.nodes[node].port(), "ROLE").await;
        said.lines().nth(2).unwrap_or_default().to_owned()
    }

    /// The raw answer of a node or sentinel; empty: it is frozen or dead.
    async fn ask(&self, port: u16, words: &str) -> String {
        ask(port, self.papers.as_ref(), words).await
    }
}

/// The raw answer of a server; empty: it is frozen or dead.
pub(crate) async fn ask(port: u16, papers: Option<&Papers>, words: &str) -> String {
    let asked = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        match papers {
            Some(papers) => converse(papers.connect(stream).await?, words).await,
            None => converse(stream, words).await,
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, asked).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// Says something, and hears what is said before the answer to a ping.
async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, words: &str) -> std::io::Result<String> {
    const END: &[u8] = b"+PONG\r\n";
    stream.write_all(format!("{words}\r\nPING\r\n").as_bytes()).await?;
    let mut heard = Vec::new();
    while !heard.ends_with(END) {
        if stream.read_buf(&mut heard).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    heard.truncate(heard.len() - END.len());
    String::from_utf8(heard).map_err(std::io::Error::other)
}

fn sentinel(folder: &TempDir, primary: &str, papers: Option<&Papers>) -> (u16, Process) {
    let port = free_port();
    let mut config = format!(
        "bind 127.0.0.1\ndir {}\nuser {}\nsentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
         sentinel auth-user {NAME} sentinel\nsentinel auth-pass {NAME} {PASSWORD}\n\
         sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 5000\n",
        folder.path().display(),
        rights("tidings-at-sentinels").replace("tidings-at-sentinels", "tidings"),
    );
    match papers {
        Some(papers) => {
            let _ = write!(config, "port 0\ntls-port {port}\ntls-replication yes\n");
            papers.options().chunks(2).for_each(|pair| {
                let _ = writeln!(config, "{} {}", pair[0].trim_start_matches("--"), pair[1]);
            });
        }
        None => {
            let _ = writeln!(config, "port {port}");
        }
    }
    let file = folder.path().join(format!("{port}.conf"));
    std::fs::write(&file, config).expect("the folder is ours");
    let mut command = Command::new("redis-server");
    command.arg(file).arg("--sentinel");
    (port, Process::start(format!("sentinel {port}"), command))
}
