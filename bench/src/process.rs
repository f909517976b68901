//! Server processes: started on core 0, measured by /proc, killed when dropped.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A running peer.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Whether it is Tidings (paths and frames differ).
    pub is_tidings: bool,
}

/// Clock ticks per second of /proc figures.
const TICKS: f64 = 100.0;

/// Keeps this process on one core.
pub fn pin_self(core: usize) {
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("taskset").args(["-pc", &core.to_string(), &pid]).stdout(Stdio::null()).status();
}

impl Server {
    /// Starts a peer on core 0 and waits until it accepts.
    pub async fn start(peer: &str, tidings: &Path) -> anyhow::Result<Server> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let admin = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let is_tidings = peer == "tidings";
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        if is_tidings {
            command.arg(tidings).args(["dev", "--listen", &address, "--admin-listen", &format!("127.0.0.1:{admin}")]);
            command.env("TIDINGS_TELEMETRY__LOG_FILTER", "warn");
        } else {
            command.arg(std::env::current_exe()?).args(["--serve", &format!("{peer}@{address}")]);
        }
        let child = command.stdout(Stdio::null()).kill_on_drop(true).spawn().context("cannot start the server")?;
        for _ in 0..200 {
            if TcpStream::connect(&address).await.is_ok() {
                return Ok(Server { child, address, is_tidings });
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        anyhow::bail!("{peer} does not listen")
    }

    /// Seconds of user and system time so far.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id().unwrap_or(0))).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / TICKS
    }

    /// Resident megabytes.
    pub fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap_or(0))).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("");
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    }
}
