//! Server processes: started on core 0, measured by /proc, killed when dropped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A server to measure.
#[derive(Clone)]
pub struct Peer {
    /// What it is called in the results.
    pub name: String,
    /// A binary of Tidings; none: a peer of this crate, by its name.
    pub tidings: Option<PathBuf>,
}

/// A running peer.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Whether it is Tidings (paths and frames differ).
    pub is_tidings: bool,
}

/// Time that threads of a server have run, by thread.
pub struct Ran(HashMap<String, u64>);

/// Keeps this process on one core.
pub fn pin_self(core: usize) {
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("taskset").args(["-pc", &core.to_string(), &pid]).stdout(Stdio::null()).status();
}

impl Server {
    /// Starts a peer on core 0 and waits until it accepts.
    pub async fn start(peer: &Peer) -> anyhow::Result<Server> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let admin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        if let Some(tidings) = &peer.tidings {
            command.arg(tidings).args(["dev", "--listen", &address, "--admin-listen", &format!("127.0.0.1:{admin}")]);
            command.env("TIDINGS_TELEMETRY__LOG_FILTER", "warn");
        } else {
            command.arg(std::env::current_exe()?).args(["--serve", &format!("{}@{address}", peer.name)]);
        }
        let child = command.stdout(Stdio::null()).kill_on_drop(true).spawn().context("cannot start the server")?;
        for _ in 0..200 {
            if TcpStream::connect(&address).await.is_ok() {
                return Ok(Server { child, address, is_tidings: peer.tidings.is_some() });
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        anyhow::bail!("{} does not listen", peer.name)
    }

    fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.child.id().unwrap_or(0).to_string())
    }

    /// What its threads have run so far, in user and system mode; what other processes take is not in it.
    pub fn ran(&self) -> Ran {
        let threads = std::fs::read_dir(self.proc().join("task")).into_iter().flatten().flatten();
        let ran = |thread: std::fs::DirEntry| {
            let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let nanos = text.split_whitespace().next()?.parse().ok()?;
            Some((thread.file_name().to_string_lossy().into_owned(), nanos))
        };
        Ran(threads.filter_map(ran).collect())
    }

    /// Resident megabytes.
    pub fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(self.proc().join("status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}

impl Ran {
    /// Seconds since an earlier look. What a thread ran that ended meanwhile is not in it: none that serves does.
    pub fn seconds_since(&self, earlier: &Ran) -> f64 {
        let since =
            |(thread, nanos): (&String, &u64)| nanos.saturating_sub(earlier.0.get(thread).copied().unwrap_or(0));
        self.0.iter().map(since).sum::<u64>() as f64 / 1e9
    }
}
