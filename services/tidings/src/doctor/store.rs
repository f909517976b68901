//! Connections to Redis by `fred`, to where the services' configuration leads.
//!
//! Its own support for sentinels is not used: it asks them for more than docs/operations.md grants, and hides what each of
//! them says, which is what is looked at here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fred::interfaces::PubsubInterface as _;
use fred::prelude::{Builder, Client, ClientLike as _, Config, ServerConfig};
use fred::types::config::{Server, TlsConfig, TlsConnector};
use fred::types::{CustomCommand, FromValue, RespVersion};
use percent_encoding::percent_decode_str;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tidings_broker::redis::{Account, Certificates, RedisSettings};

/// Where Redis listens unless told otherwise.
const PORT: u16 = 6_379;

/// Where sentinels listen unless told otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// Messages that may wait to be looked at.
const MESSAGES_MAX: usize = 256;

/// Where the configuration leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// One address.
    Node(Server),
    /// Sentinels, and the name by which they know the primary.
    Sentinels(Vec<Server>, String),
    /// Some nodes of a cluster.
    Cluster(Vec<Server>),
}

/// What it takes to connect.
pub(super) struct Door {
    pub(super) place: Place,
    account: Account,
    sentinel: Account,
    database: String,
    tls: Option<TlsConfig>,
    connect_timeout: Duration,
    response_timeout: Duration,
}

/// A connection to one node.
pub(super) struct Node {
    server: Server,
    pub(super) address: String,
    pub(super) client: Client,
}

/// Why a command has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The account may not.
    Refused(String),
    /// The server has no such command.
    Unknown(String),
    /// Whatever else.
    Other(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Trouble::Refused(text) | Trouble::Unknown(text) | Trouble::Other(text)) = self;
        f.write_str(text)
    }
}

impl From<fred::error::Error> for Trouble {
    fn from(error: fred::error::Error) -> Trouble {
        // A failure of the system comes as its debug text: `Os { code: 111, .., message: "Connection refused" }`.
        let message = error.details().split_once("message: \"").and_then(|(_, rest)| rest.split_once('"'));
        let text = message.map_or_else(|| error.details().to_owned(), |(message, _)| message.to_lowercase());
        if text.starts_with("NOPERM") {
            Trouble::Refused(text)
        } else if text.to_lowercase().contains("unknown command") || text.contains("unknown subcommand") {
            Trouble::Unknown(text)
        } else {
            Trouble::Other(text)
        }
    }
}

impl Door {
    /// Reads the certificates, connects to nothing.
    ///
    /// # Errors
    /// When a file of certificates cannot be read. The URL was checked with the configuration.
    pub(super) fn new(settings: &RedisSettings) -> anyhow::Result<Door> {
        let (place, account, database) = read_url(&settings.url).context("redis.url is of a form unknown here")?;
        Ok(Door {
            place,
            account,
            sentinel: settings.sentinel.clone(),
            database,
            tls: if settings.is_tls() { Some(tls(&settings.tls)?) } else { None },
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
        })
    }

    /// Who we are to Redis.
    pub(super) fn user(&self) -> &str {
        self.account.username.as_deref().unwrap_or("default")
    }

    /// The database in use.
    pub(super) fn database(&self) -> &str {
        if self.database.is_empty() { "0" } else { &self.database }
    }

    /// Connects to a node of Redis.
    pub(super) async fn node(&self, server: &Server) -> Result<Node, Trouble> {
        let node = self.connect(server, &self.account).await?;
        if self.database() != "0" {
            node.ask::<()>(&["SELECT", self.database()]).await?;
        }
        Ok(node)
    }

    /// Connects to a sentinel.
    pub(super) async fn sentinel(&self, server: &Server) -> Result<Node, Trouble> {
        self.connect(server, &self.sentinel).await
    }

    async fn connect(&self, server: &Server, account: &Account) -> Result<Node, Trouble> {
        let config = Config {
            server: ServerConfig::Centralized { server: server.clone() },
            username: account.username.clone(),
            password: account.password.clone(),
            // HELLO needs no right; what version 2 would begin with, PING, needs one that services do not have.
            version: RespVersion::RESP3,
            tls: self.tls.clone(),
            ..Config::default()
        };
        let mut builder = Builder::from_config(config);
        builder.with_connection_config(|connection| {
            connection.connection_timeout = self.connect_timeout;
            connection.internal_command_timeout = self.response_timeout;
            connection.max_command_attempts = 1;
        });
        builder.with_performance_config(|performance| {
            performance.default_command_timeout = self.response_timeout;
            performance.broadcast_channel_capacity = MESSAGES_MAX;
        });
        let client = builder.build()?;
        let limit = self.connect_timeout + self.response_timeout;
        match tokio::time::timeout(limit, client.init()).await {
            Ok(begun) => drop(begun?),
            Err(_) => return Err(Trouble::Other("no answer in time".into())),
        }
        Ok(Node { server: server.clone(), address: format!("{}:{}", server.host, server.port), client })
    }
}

impl Node {
    /// Where it is.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The answer to a command.
    pub(super) async fn ask<T: FromValue>(&self, words: &[&str]) -> Result<T, Trouble> {
        let (name, arguments) = words.split_first().expect("a command has a name");
        let command = CustomCommand::new((*name).to_owned(), None::<u16>, false);
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        Ok(self.client.custom(command, arguments).await?)
    }

    /// Subscribes or unsubscribes, and waits until the server has done it: the client takes it for done once it is written,
    /// but what is asked behind it on the same connection is answered behind it.
    ///
    /// A refusal is the error of what is asked behind it, or is dropped by the client if it comes first. So nothing else may
    /// use the connection, and success is not certain.
    pub(super) async fn push(&self, words: &[&str]) -> Result<(), Trouble> {
        let channel = words.get(1).copied().unwrap_or_default();
        match words.first().copied().unwrap_or_default() {
            "SUBSCRIBE" => self.client.subscribe(channel).await?,
            "UNSUBSCRIBE" => self.client.unsubscribe(channel).await?,
            "SSUBSCRIBE" => self.client.ssubscribe(channel).await?,
            "SUNSUBSCRIBE" => self.client.sunsubscribe(channel).await?,
            other => return Err(Trouble::Unknown(other.to_owned())),
        }
        self.ask::<(u64, u64)>(&["TIME"]).await.map(drop)
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        // It ends with the process in any case.
        let _ = self.client.quit().await;
    }
}

/// Place, account and database of a URL of the configuration.
fn read_url(url: &str) -> Option<(Place, Account, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let (account, places) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (name, password) = account.split_once(':').unwrap_or((account, ""));
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?;
        (!text.is_empty()).then(|| text.into_owned())
    };
    let account = Account { username: decoded(name), password: decoded(password) };
    let (hosts, path) = places.split_once('/').unwrap_or((places, ""));
    let servers = |port| hosts.split(',').map(|host| server(host, port)).collect::<Option<Vec<_>>>();
    let (place, database) = match scheme.split_once('+').map(|(_, kind)| kind) {
        None => (Place::Node(server(hosts, PORT)?), path),
        Some("sentinel") => {
            let (name, database) = path.split_once('/').unwrap_or((path, ""));
            (Place::Sentinels(servers(SENTINEL_PORT)?, name.to_owned()), database)
        }
        Some("cluster") => (Place::Cluster(servers(PORT)?), ""),
        Some(_) => return None,
    };
    Some((place, account, database.to_owned()))
}

fn server(host: &str, port: u16) -> Option<Server> {
    let (name, behind) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let port = match behind.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None => port,
    };
    Some(Server::new(name, port))
}

fn tls(certificates: &Certificates) -> anyhow::Result<TlsConfig> {
    let mut roots = RootCertStore::empty();
    match &certificates.authorities {
        Some(file) => {
            for authority in CertificateDer::pem_file_iter(file)? {
                roots.add(authority?)?;
            }
        }
        // As the services do: what cannot be read among the system's is passed over.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let config = match &certificates.own {
        Some((chain, key)) => {
            let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConfig::from(TlsConnector::from(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_the_configuration_are_read() {
        let check = |url: &str, place: Place, account: (Option<&str>, Option<&str>), database: &str| {
            let (found, Account { username, password }, at) = read_url(url).expect(url);
            assert_eq!((found, at.as_str()), (place, database), "{url}");
            assert_eq!((username.as_deref(), password.as_deref()), account, "{url}");
        };
        let node = |host: &str, port| Place::Node(Server::new(host, port));
        check("redis://h", node("h", 6_379), (None, None), "");
        check("redis://u:s3%2Fcret:@p@h:1/3", node("h", 1), (Some("u"), Some("s3/cret:@p")), "3");
        check("rediss://:p@[::1]:7", node("::1", 7), (None, Some("p")), "");
        let sentinels = vec![Server::new("a", 26_379), Server::new("::1", 5), Server::new("b", 6)];
        let place = Place::Sentinels(sentinels, "hive".into());
        check("redis+sentinel://u:p@a,[::1]:5,b:6/hive/2", place, (Some("u"), Some("p")), "2");
        let nodes = Place::Cluster(vec![Server::new("a", 1), Server::new("b", 6_379)]);
        check("rediss+cluster://a:1,b", nodes, (None, None), "");
        assert!(read_url("redis+other://h").is_none());
    }
}
