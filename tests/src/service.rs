//! One process of the `tidings` binary.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use crate::http;
use crate::process::{Process, free_port};
use crate::wait::eventually;

/// Which subcommand runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `tidings gateway`.
    Gateway,
    /// `tidings ingest`.
    Ingest,
    /// `tidings all`: both, on a Redis.
    All,
    /// `tidings dev`: both, in memory.
    Dev,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Gateway => "gateway",
            Role::Ingest => "ingest",
            Role::All => "all",
            Role::Dev => "dev",
        }
    }
}

/// A setting given by environment: (variable, value).
pub type Setting = (&'static str, String);

/// What a service is started with; the same again after a kill.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The subcommand.
    pub role: Role,
    /// Its Redis, but for `dev`.
    pub redis_url: Option<String>,
    /// Settings beside addresses.
    pub settings: Vec<Setting>,
    /// Another build's binary.
    binary: Option<PathBuf>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Launch {
    /// A service on two free ports.
    pub fn new(role: Role, redis_url: Option<String>, settings: Vec<Setting>) -> Launch {
        let local = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        Launch { role, redis_url, settings, binary: None, address: local(), admin: local() }
    }

    /// The same by another build's binary.
    pub fn of(self, binary: PathBuf) -> Launch {
        Launch { binary: Some(binary), ..self }
    }

    /// The same by the binary under test.
    pub fn of_this_build(self) -> Launch {
        Launch { binary: None, ..self }
    }

    /// Starts it and waits until it says that it is ready.
    pub async fn start(&self) -> Service {
        let service = self.start_unready();
        service.ready().await;
        service
    }

    /// Starts it.
    pub fn start_unready(&self) -> Service {
        let mut command = self.binary.clone().map_or_else(command, command_of);
        command.arg(self.role.word());
        command.args(["--listen", &self.address.to_string(), "--admin-listen", &self.admin.to_string()]);
        if let Some(url) = &self.redis_url {
            command.args(["--redis-url", url]);
        }
        command.env("TIDINGS_TELEMETRY__LOG_FILTER", "info").env("TIDINGS_TELEMETRY__LOG_FORMAT", "text");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        let process = Process::start(format!("{} {}", self.role.word(), self.address), command);
        Service { launch: self.clone(), process }
    }
}

/// A running service.
#[derive(Debug)]
pub struct Service {
    launch: Launch,
    /// Its process.
    pub process: Process,
}

impl Service {
    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.launch.address
    }

    /// Where `/readyz` and `/metrics` are.
    pub fn admin(&self) -> SocketAddr {
        self.launch.admin
    }

    /// What it was started with.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Waits until `/readyz` says yes.
    pub async fn ready(&self) {
        self.readiness(true).await;
    }

    /// Waits until `/readyz` says so.
    pub async fn readiness(&self, ready: bool) {
        let name = format!("{}: ready {ready}\n{}", self.process.name(), self.process.output());
        eventually(&name, || async {
            let answer = http::get(self.admin(), "/readyz").await.ok()?;
            (answer.status == if ready { 200 } else { 503 }).then_some(())
        })
        .await;
    }

    /// The value of a metric, summed over its labels; 0 when it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let text = http::get(self.admin(), "/metrics").await.expect("the admin port answers").text();
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let value = if rest.starts_with('{') { rest.rsplit_once('}')?.1 } else { rest };
            value.starts_with(' ').then(|| value.trim().parse::<f64>().ok())?
        });
        samples.sum()
    }

    /// Kills it (SIGKILL) and starts it again at the same addresses.
    pub async fn kill_and_restart(&mut self) {
        self.process.kill();
        *self = self.launch.start().await;
    }
}

/// A command line of the binary under test, without any of this environment's own settings.
pub fn command() -> Command {
    command_of(binary())
}

fn command_of(binary: PathBuf) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDINGS_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary that was built beside this test.
///
/// # Panics
/// When it is not there, saying how to build it.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    // target/debug/deps/<test> lies beside target/debug/tidings.
    let found = test.ancestors().skip(1).map(|folder| folder.join("tidings")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        let test = test.display();
        panic!(
            "no `tidings` binary beside {test}: `cargo test --workspace` builds it, or `cargo build -p tidings` first"
        )
    })
}
