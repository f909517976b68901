//! What a server says of itself (`INFO`) and how it is set (`CONFIG GET`, which accounts often may not).

use std::collections::HashMap;

use super::store::{Node, Trouble};

/// The settings that are looked at.
const SETTINGS: [&str; 8] = [
    "appendfsync",
    "save",
    "client-output-buffer-limit",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "maxmemory-policy",
    "timeout",
    "tcp-keepalive",
];

/// Everything that is known of a server. Pure: what is made of it is in [`super::server`].
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    info: HashMap<String, String>,
    settings: HashMap<String, String>,
}

/// A server that replicates this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) address: String,
    pub(super) is_online: bool,
    /// Seconds since it last said how far it is.
    pub(super) lag_seconds: u64,
}

impl Facts {
    /// Asks a server.
    pub(super) async fn gather(node: &Node) -> Result<Facts, Trouble> {
        let info: String = node.ask(&["INFO"]).await?;
        let mut facts = Facts::read(&info);
        for name in SETTINGS {
            // One by one: a proxy may know some of them only.
            match node.ask::<HashMap<String, String>>(&["CONFIG", "GET", name]).await {
                Ok(settings) => facts.settings.extend(settings),
                Err(Trouble::Refused(_) | Trouble::Unknown(_)) => break,
                Err(_) => {}
            }
        }
        Ok(facts)
    }

    /// What `INFO` says, nothing of the settings.
    pub(super) fn read(info: &str) -> Facts {
        let pairs = info.lines().filter_map(|line| line.trim_end().split_once(':'));
        let info = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Facts { info, settings: HashMap::new() }
    }

    /// With these settings.
    #[cfg(test)]
    pub(super) fn with(mut self, settings: &[(&str, &str)]) -> Facts {
        self.settings.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// A line of `INFO`.
    pub(super) fn info(&self, name: &str) -> Option<&str> {
        self.info.get(name).map(String::as_str)
    }

    /// A line of `INFO` that is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.info(name)?.parse().ok()
    }

    /// A setting; none: it may not be seen, or the server has none of the name.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// A setting that is a number.
    pub(super) fn setting_number(&self, name: &str) -> Option<u64> {
        self.setting(name)?.parse().ok()
    }

    /// Its replicas.
    pub(super) fn replicas(&self) -> Vec<Replica> {
        let line = |index| self.info(&format!("slave{index}"));
        (0..).map_while(line).map(replica).collect()
    }
}

/// Reads `ip=127.0.0.1,port=6380,state=online,offset=14,lag=0`.
fn replica(line: &str) -> Replica {
    let fields: HashMap<&str, &str> = line.split(',').filter_map(|field| field.split_once('=')).collect();
    let field = |name| fields.get(name).copied().unwrap_or_default();
    Replica {
        address: format!("{}:{}", field("ip"), field("port")),
        is_online: field("state") == "online",
        lag_seconds: field("lag").parse().unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_are_read() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=1\r\n\
                    slave1:ip=10.0.0.3,port=6380,state=wait_bgsave,offset=0,lag=0\r\n";
        let facts = Facts::read(info);
        let expected = [("10.0.0.2:6379", true, 1), ("10.0.0.3:6380", false, 0)];
        let replica = |(address, is_online, lag_seconds): (&str, _, _)| Replica {
            address: address.to_owned(),
            is_online,
            lag_seconds,
        };
        assert_eq!(facts.replicas(), expected.map(replica));
        assert_eq!((facts.info("role"), facts.number("connected_slaves")), (Some("master"), Some(2)));
    }
}
