//! `tidings doctor`: looks at a deployment as its operator would, and says of each thing how it is and what to do.
//!
//! Redis is looked at by another client library (`fred`) than the services use, under the services' own configuration, so
//! that what they wrote is read by somebody else. It is harmless in production: nothing is changed but in a project of its
//! own, which is gone at the end.

mod clock;
mod facts;
mod finding;
mod journey;
mod logs;
mod rights;
mod sentinels;
mod server;
mod services;
mod store;

use std::io;
use std::process::ExitCode;

use clap::Args;
use fred::types::config::Server;
use tidings_runtime::config::{Config, Sources};
use tokio_util::sync::CancellationToken;

use crate::cli::ConfigFlags;
use crate::client::Address;
use crate::client::access::Access;
use crate::terminal::Screen;
use facts::Facts;
use finding::{Finding, Page, Report, Verdict};
use journey::Way;
use rights::Names;
use store::{Door, Node, Place, Trouble};

/// What `tidings doctor --help` says beside.
const HELP: &str = "\
The configuration is that of the services (--config, TIDINGS_...), so run it where they run. Nothing is changed but for
one trial event, which is removed. Exit code 0: ok, perhaps with warnings; 1: a check failed.";

/// What to look at.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Flags {
    #[command(flatten)]
    config: ConfigFlags,
    /// A gateway's admin address, to ask whether it is ready; one flag for each
    #[arg(long, value_name = "URL")]
    gateway: Vec<Address>,
    /// An ingest's admin address, to ask whether it is ready; one flag for each
    #[arg(long, value_name = "URL")]
    ingest: Vec<Address>,
    /// Where an ingest serves: the trial event goes through it, and not straight to Redis
    #[arg(long, value_name = "URL")]
    url: Option<Address>,
    #[command(flatten)]
    access: Access,
    /// Print one JSON object, for machines
    #[arg(long)]
    json: bool,
}

impl Flags {
    /// Where the configuration is.
    pub(crate) fn sources(&self) -> Sources {
        self.config.sources()
    }
}

/// Looks at everything. Fails with the exit code 1 when a check fails.
pub(crate) async fn run(flags: &Flags, config: &Config, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let screen = (!flags.json).then(|| Screen::of(io::stdout(), |name| std::env::var_os(name)));
    let mut report = Report::new(screen);
    let (url, prefix) = (config.redis.url.redacted(), config.redis.prefix.as_str());
    report.title(&format!("Tidings {}: {url}, prefix {prefix}", env!("CARGO_PKG_VERSION")))?;
    let examination = Examination { flags, config, stop };
    examination.store(&mut report).await?;
    for (check, addresses) in [("gateway", &flags.gateway), ("ingest", &flags.ingest)] {
        for address in addresses {
            report.add(services::check(check, address).await)?;
        }
    }
    Ok(match report.finish()? {
        Verdict::Ok | Verdict::Warn => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::FAILURE,
    })
}

struct Examination<'a> {
    flags: &'a Flags,
    config: &'a Config,
    stop: CancellationToken,
}

impl Examination<'_> {
    /// Everything about Redis, as far as it can be reached.
    async fn store(&self, report: &mut Report) -> anyhow::Result<()> {
        let settings = self.config.redis.settings();
        let door = Door::new(&settings)?;
        let Some(nodes) = self.nodes(&door, report).await? else { return Ok(()) };
        let is_primary = self.servers(&door, &nodes, report).await?;
        if is_primary && !self.stop.is_cancelled() {
            let found = logs::check(&nodes, &settings.prefix).await;
            report.add(found.unwrap_or_else(|trouble| unanswered("logs", &trouble)))?;
        }
        // What is tried on a node that is no primary would say nothing more than that.
        if is_primary && !self.stop.is_cancelled() {
            self.journey(&door, &nodes, report).await?;
        }
        for node in nodes {
            node.close().await;
        }
        Ok(())
    }

    /// Connections to where the configuration leads; none: it leads nowhere, which has been told.
    async fn nodes(&self, door: &Door, report: &mut Report) -> anyhow::Result<Option<Vec<Node>>> {
        let servers = match &door.place {
            Place::Node(server) => vec![server.clone()],
            Place::Sentinels(hosts, name) => {
                let (primary, finding) = sentinels::ask(door, hosts, name, self.config).await;
                report.add(finding)?;
                let Some(primary) = primary else { return Ok(None) };
                vec![primary]
            }
            Place::Cluster(hosts) => match primaries(door, hosts).await {
                Ok(servers) => servers,
                Err((server, trouble)) => {
                    report.add(unreachable(&server, &trouble))?;
                    return Ok(None);
                }
            },
        };
        let mut nodes = Vec::new();
        for server in &servers {
            match door.node(server).await {
                Ok(node) => nodes.push(node),
                Err(trouble) => report.add(unreachable(server, &trouble))?,
            }
        }
        if nodes.len() < servers.len() {
            return Ok(None);
        }
        let addresses: Vec<&str> = nodes.iter().map(|node| node.address.as_str()).collect();
        let tls = if self.config.redis.settings().is_tls() { ", by TLS" } else { "" };
        report.add(Finding::ok("connection", format!("{}{tls}", addresses.join(", "))))?;
        Ok(Some(nodes))
    }

    /// Everything about each node; what holds for all of them is told once. Whether all are primaries.
    async fn servers(&self, door: &Door, nodes: &[Node], report: &mut Report) -> anyhow::Result<bool> {
        let mut are_primaries = true;
        let mut found: Vec<(Finding, Vec<&str>)> = Vec::new();
        for node in nodes {
            let (is_primary, findings) = self.server(door, node).await;
            are_primaries &= is_primary;
            for finding in findings {
                if let Some((_, addresses)) = found.iter_mut().find(|(known, _)| *known == finding) {
                    addresses.push(&node.address);
                    continue;
                }
                // Beside what other nodes have to say to the same check.
                let last = found.iter().rposition(|(known, _)| known.check == finding.check);
                found.insert(last.map_or(found.len(), |index| index + 1), (finding, vec![&node.address]));
            }
        }
        for (mut finding, addresses) in found {
            finding.node = (addresses.len() < nodes.len()).then(|| addresses.join(", "));
            report.add(finding)?;
        }
        Ok(are_primaries)
    }

    /// Everything about one node, and whether it is a primary.
    async fn server(&self, door: &Door, node: &Node) -> (bool, Vec<Finding>) {
        let mut is_primary = true;
        let mut findings = match Facts::gather(node).await {
            Ok(facts) => {
                is_primary = facts.info("role").is_none_or(|role| role == "master");
                server::checks(&facts, self.config)
            }
            Err(trouble) => vec![unanswered("server", &trouble)],
        };
        match clock::checks(node).await {
            Ok(more) => findings.extend(more),
            Err(trouble) => findings.push(unanswered("clock", &trouble)),
        }
        let settings = self.config.redis.settings();
        let names = Names {
            prefix: &settings.prefix,
            project: &journey::random_project(),
            database: door.database(),
            is_cluster: matches!(door.place, Place::Cluster(_)),
        };
        findings.push(match door.node(node.server()).await {
            Ok(ear) => {
                let finding = rights::check(node, &ear, &names, door.user()).await;
                ear.close().await;
                finding
            }
            Err(trouble) => unreachable(node.server(), &trouble),
        });
        (is_primary, findings)
    }

    async fn journey(&self, door: &Door, nodes: &[Node], report: &mut Report) -> anyhow::Result<()> {
        let project = match &self.flags.url {
            Some(_) => journey::PROJECT.to_owned(),
            None => journey::random_project(),
        };
        let is_sharded = matches!(door.place, Place::Cluster(_));
        let key = format!("{}:{{{project}}}:meta", self.config.redis.settings().prefix);
        let node = owner(nodes, &key).await;
        let ear = match door.node(node.server()).await {
            Ok(ear) => ear,
            Err(trouble) => return report.add(unreachable(node.server(), &trouble)),
        };
        let way = Way { node, ear: &ear, config: self.config, is_sharded };
        let findings = match &self.flags.url {
            Some(address) => journey::through(&way, address, &self.flags.access).await,
            None => journey::directly(&way, &project).await,
        };
        ear.close().await;
        findings.into_iter().try_for_each(|finding| report.add(finding))
    }
}

/// The primaries of a cluster, as the first of its nodes that answers names them.
async fn primaries(door: &Door, hosts: &[Server]) -> Result<Vec<Server>, (Server, Trouble)> {
    let mut last = None;
    for host in hosts {
        let asked = async {
            let node = door.node(host).await?;
            let ranges: Vec<Vec<fred::types::Value>> = node.ask(&["CLUSTER", "SLOTS"]).await?;
            node.close().await;
            Ok(ranges)
        };
        match asked.await {
            Ok(ranges) => {
                let primary = |mut range: Vec<fred::types::Value>| {
                    (range.len() > 2).then(|| range.swap_remove(2)).and_then(|node| {
                        let fields = node.into_array();
                        let (name, port) = (fields.first()?.as_string()?, fields.get(1)?.as_u64()?);
                        Some(Server::new(name, u16::try_from(port).ok()?))
                    })
                };
                let mut servers: Vec<Server> = ranges.into_iter().filter_map(primary).collect();
                servers.sort_by_key(ToString::to_string);
                servers.dedup();
                return Ok(servers);
            }
            Err(trouble) => last = Some((host.clone(), trouble)),
        }
    }
    Err(last.expect("a cluster has at least one host"))
}

/// The node that has this key.
async fn owner<'a>(nodes: &'a [Node], key: &str) -> &'a Node {
    for node in nodes {
        match node.ask::<Option<String>>(&["HGET", key, "format"]).await {
            Err(Trouble::Other(text)) if text.starts_with("MOVED") => {}
            _ => return node,
        }
    }
    nodes.first().expect("there is a node")
}

fn unreachable(server: &Server, trouble: &Trouble) -> Finding {
    let found = format!("{}:{}: {trouble}", server.host, server.port);
    let text = trouble.to_string();
    let (advice, docs) = if text.starts_with("NOAUTH") || text.starts_with("WRONGPASS") {
        ("check the account in redis.url", Page::ACCOUNTS)
    } else if text.contains("certificate") || text.contains("Certificate") {
        ("check redis.tls_ca_file, redis.tls_cert_file and redis.tls_key_file", Page::TLS)
    } else {
        ("check that Redis runs, redis.url (rediss:// is by TLS), and the network between", Page::CONFIGURATION)
    };
    Finding::fail("connection", found, advice, docs)
}

fn unanswered(check: &'static str, trouble: &Trouble) -> Finding {
    let advice = match trouble {
        Trouble::Refused(_) => "give the account the rights that services need",
        Trouble::Unknown(_) | Trouble::Other(_) => "look into the log of Redis",
    };
    Finding::fail(check, trouble.to_string(), advice, Page::ACCOUNTS)
}
