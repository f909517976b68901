//! The command line. Flags that set a configuration value have no defaults here: they are one of the configuration's
//! sources, and the one that wins.

#![expect(clippy::doc_markdown, reason = "the doc comments are what --help prints")]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tidings_runtime::config::Sources;

use crate::{admin, commands, demo, doctor, replay, tail, token};

/// What `tidings --help` says to who comes here first.
const FIRST_STEPS: &str = "\
To begin: run `tidings dev`, open http://127.0.0.1:8000, and run `tidings demo` in a second terminal.
With Redis: `tidings all --redis-url redis://127.0.0.1:6379`, and `tidings doctor` with the same flag.";

/// Watch swarms of AI agents live.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = FIRST_STEPS)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try it out: everything in one process, in memory, for this machine only; no Redis, no configuration
    Dev(DevFlags),
    /// Serve viewers, from Redis: WebSocket, server-sent events, polling, the page
    Gateway(ServiceFlags),
    /// Serve runners: take the events that they post into Redis
    Ingest(ServiceFlags),
    /// Gateway and ingest in one process, on Redis
    All(ServiceFlags),
    /// Play a small swarm into a running server, to see life at once
    Demo(demo::Flags),
    /// Post a recorded run, with its pauses: native NDJSON, SWE-agent trajectories, AG-UI events
    Replay(replay::Flags),
    /// Follow a project: pretty on a terminal, NDJSON in a pipe
    Tail(tail::Flags),
    /// Be a runner: start a program for each command of a project, and tell what it prints
    Commands(commands::Flags),
    /// Make a token with the secret that the services share
    Token {
        #[command(subcommand)]
        action: token::Action,
    },
    /// API keys of a project: make, list, revoke
    Key {
        #[command(subcommand)]
        action: admin::KeyAction,
    },
    /// Settings and members of a project
    Project {
        #[command(subcommand)]
        action: admin::ProjectAction,
    },
    /// Check Redis and the services: what is wrong, and what to do about it
    Doctor(doctor::Flags),
    /// Check the configuration, or show what is in effect
    Config {
        /// What to do
        action: ConfigAction,
        #[command(flatten)]
        flags: ConfigFlags,
    },
}

/// Flags of every service.
#[derive(Debug, Args)]
pub(crate) struct ServiceFlags {
    #[command(flatten)]
    common: CommonFlags,
    /// Where Redis is, as in redis://127.0.0.1:6379 or redis+sentinel://h1,h2,h3/name; rediss: by TLS
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
}

/// Flags of dev mode.
#[derive(Debug, Args)]
pub(crate) struct DevFlags {
    #[command(flatten)]
    common: CommonFlags,
    /// Serve on this port of 127.0.0.1
    #[arg(long, short, conflicts_with = "listen")]
    port: Option<u16>,
}

/// Flags of `tidings config`: those that are the same for every service.
#[derive(Debug, Args)]
pub(crate) struct ConfigFlags {
    /// The configuration, a TOML file; the variable TIDINGS_CONFIG may name it, too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where Redis is, as in redis://127.0.0.1:6379 or redis+sentinel://h1,h2,h3/name; rediss: by TLS
    #[arg(long, value_name = "URL")]
    redis_url: Option<String>,
}

#[derive(Debug, Args)]
struct CommonFlags {
    /// The configuration, a TOML file; the variable TIDINGS_CONFIG may name it, too
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to serve [default: 127.0.0.1:8000; of ingest: 127.0.0.1:8010]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Where /livez, /readyz and /metrics are [default: 127.0.0.1:9464; of ingest: 127.0.0.1:9465]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
}

/// What `tidings config` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConfigAction {
    /// Name every fault, or say that there is none
    Check,
    /// Print every value and where it came from, secrets redacted
    Show,
}

impl ServiceFlags {
    /// These flags as a source, the addresses for this section, beside the process's environment.
    pub(crate) fn sources(&self, section: &'static str) -> Sources {
        let mut sources = self.common.sources(section);
        sources.flags.extend(redis_url(self.redis_url.as_ref()));
        sources
    }
}

impl ConfigFlags {
    /// These flags as a source beside the process's environment.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = sources(self.config.as_ref());
        sources.flags.extend(redis_url(self.redis_url.as_ref()));
        sources
    }
}

impl DevFlags {
    /// These flags as a source beside the process's environment.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = self.common.sources("gateway");
        if let Some(port) = self.port {
            sources.flags.push(("--port", "gateway.listen", format!("127.0.0.1:{port}")));
        }
        sources
    }
}

impl CommonFlags {
    fn sources(&self, section: &'static str) -> Sources {
        let (listen, admin_listen) = match section {
            "ingest" => ("ingest.listen", "ingest.admin_listen"),
            _ => ("gateway.listen", "gateway.admin_listen"),
        };
        let mut sources = sources(self.config.as_ref());
        let flags = [("--listen", listen, &self.listen), ("--admin-listen", admin_listen, &self.admin_listen)];
        for (flag, key, value) in flags {
            sources.flags.extend(value.clone().map(|value| (flag, key, value)));
        }
        sources
    }
}

/// The process's environment, and perhaps a file.
pub(crate) fn sources(file: Option<&PathBuf>) -> Sources {
    Sources { file: file.cloned(), environment: std::env::vars_os().collect(), flags: Vec::new() }
}

fn redis_url(url: Option<&String>) -> Option<(&'static str, &'static str, String)> {
    url.map(|url| ("--redis-url", "redis.url", url.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    /// (flag, key, text) of a command line.
    fn flags(line: &str) -> Vec<(&'static str, &'static str, String)> {
        let cli = Cli::try_parse_from(line.split(' ')).expect("a sound command line");
        let sources = match cli.command {
            Command::Ingest(flags) => flags.sources("ingest"),
            Command::Gateway(flags) | Command::All(flags) => flags.sources("gateway"),
            Command::Config { flags, .. } => flags.sources(),
            Command::Doctor(flags) => flags.sources(),
            Command::Dev(flags) => flags.sources(),
            Command::Demo(_)
            | Command::Replay(_)
            | Command::Tail(_)
            | Command::Commands(_)
            | Command::Token { .. }
            | Command::Key { .. }
            | Command::Project { .. } => panic!("a tool has no configuration"),
        };
        sources.flags
    }

    #[test]
    fn flags_set_the_keys_of_their_service() {
        let set = |flag, key, text: &str| (flag, key, text.to_owned());
        assert_eq!(
            flags("tidings ingest --listen 127.0.0.1:1 --admin-listen 127.0.0.1:2 --redis-url redis://h"),
            [
                set("--listen", "ingest.listen", "127.0.0.1:1"),
                set("--admin-listen", "ingest.admin_listen", "127.0.0.1:2"),
                set("--redis-url", "redis.url", "redis://h"),
            ]
        );
        assert_eq!(flags("tidings gateway --listen a:1"), [set("--listen", "gateway.listen", "a:1")]);
        assert_eq!(flags("tidings dev --port 8123"), [set("--port", "gateway.listen", "127.0.0.1:8123")]);
        assert!(flags("tidings config show").is_empty());
    }
}
