//! The section `[redis]` as the broker takes it, and what cannot go together in it.

use tidings_broker::redis::{Account, Certificates, RedisSettings};

use super::sections::RedisConfig;

impl RedisConfig {
    /// As the broker takes them.
    pub fn settings(&self) -> RedisSettings {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        RedisSettings {
            sentinel: Account {
                username: given(&self.sentinel_username),
                password: given(self.sentinel_password.expose()),
            },
            tls: Certificates {
                authorities: self.tls_ca_file.clone(),
                own: self.tls_cert_file.clone().zip(self.tls_key_file.clone()),
            },
            prefix: self.prefix.as_str().to_owned(),
            response_timeout: self.response_timeout,
            connect_timeout: self.connect_timeout,
            ping_interval: self.ping,
            ..RedisSettings::new(self.url.expose())
        }
    }

    /// What cannot go together, by key. Reads the files that are named.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let settings = self.settings();
        let files = [
            ("redis.tls_ca_file", self.tls_ca_file.is_some()),
            ("redis.tls_cert_file", self.tls_cert_file.is_some()),
            ("redis.tls_key_file", self.tls_key_file.is_some()),
        ];
        for (key, _) in files.into_iter().filter(|(_, given)| *given && !settings.is_tls()) {
            faults.push((key, "connections are not encrypted: redis.url must begin with rediss".into()));
        }
        for (key, given, other) in [(files[1].0, files[1].1, files[2].1), (files[2].0, files[2].1, files[1].1)] {
            if given && !other {
                faults.push((key, "is of no use without tls_cert_file and tls_key_file together".into()));
            }
        }
        for (key, given) in [
            ("redis.sentinel_username", !self.sentinel_username.is_empty()),
            ("redis.sentinel_password", !self.sentinel_password.is_empty()),
        ] {
            if given && settings.is_cluster() {
                faults.push((key, "a cluster has no sentinels: redis.url names nodes of one".into()));
            } else if given && !settings.is_sentinel() {
                faults.push((key, "redis.url names no sentinels: expected redis+sentinel://...".into()));
            }
        }
        if faults.is_empty() {
            let authority =
                RedisSettings { tls: Certificates { own: None, ..settings.tls.clone() }, ..settings.clone() };
            if let Err(error) = authority.check() {
                faults.push(("redis.tls_ca_file", error.to_string()));
            } else if let Err(error) = settings.check() {
                faults.push(("redis.tls_cert_file", error.to_string()));
            }
        }
        faults
    }
}
