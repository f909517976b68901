//! Configuration: where it comes from, and the structs that services take.
//!
//! Two phases. First every given value (defaults, then the file, then the environment, then flags; later ones win) is
//! looked up in the sections' tables and parsed; then the whole is checked for what cannot be. Both phases go on after a
//! fault, so that one run names them all ([`Faults`]). A configuration with a fault is never used.
//!
//! The environment is an argument, so nothing here reads or changes the process's own. Each key is declared once, in
//! [`sections`]: its type, default, bounds and meaning; `docs/configuration.md` is checked against those tables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

pub mod auth;
mod check;
mod descriptors;
pub mod dialects;
mod entry;
pub mod fault;
pub mod manual;
mod memory;
mod redis;
mod section;
pub mod sections;
mod source;
mod suggest;
pub mod value;
pub mod webhooks;

pub use auth::AuthConfig;
pub use dialects::{DialectName, DialectNames, DialectsConfig};
pub use fault::{Fault, Faults};
pub use sections::{GatewayConfig, IngestConfig, LimitsConfig, ProjectsConfig, RedisConfig, TelemetryConfig};
pub use source::Origin;
pub use value::{ForwardedHeader, LogFilter, LogFormat, Network, Networks, OriginVerdict, Origins, RedisUrl};
pub use webhooks::WebhooksConfig;

use section::Section;

/// The exit code of a process whose configuration has faults: `EX_USAGE`.
pub const EXIT_CODE: u8 = 64;

/// The name of the environment variable that names the file, if no flag does.
pub const FILE_VARIABLE: &str = "TIDINGS_CONFIG";

/// The project of clients that name none, in dev mode.
const DEV_PROJECT: &str = "demo";

/// A checked configuration, section by section.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// `[gateway]`
    pub gateway: GatewayConfig,
    /// `[ingest]`
    pub ingest: IngestConfig,
    /// `[auth]`
    pub auth: AuthConfig,
    /// `[redis]`
    pub redis: RedisConfig,
    /// `[projects]`
    pub projects: ProjectsConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[telemetry]`
    pub telemetry: TelemetryConfig,
    /// `[dialects]`
    pub dialects: DialectsConfig,
    /// `[webhooks]`
    pub webhooks: WebhooksConfig,
}

/// Where values may come from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file that a flag names; else the environment's [`FILE_VARIABLE`] may name one.
    pub file: Option<PathBuf>,
    /// The environment: what begins with `TIDINGS_` is ours, and must be known.
    pub environment: Vec<(OsString, OsString)>,
    /// Values of flags: (flag, key, text).
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A configuration, and where each value that is no default came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// By key (`gateway.listen`).
    pub origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// Reads all sources and checks the whole.
    pub fn load(sources: &Sources) -> Result<Loaded, Faults> {
        let (given, mut faults) = source::collect(sources);
        let mut config = Config::default();
        let mut origins = BTreeMap::new();
        for one in given {
            match config.set(&one.key, &one.value) {
                Some((key, Ok(()))) => {
                    origins.insert(key, one.origin);
                }
                Some((key, Err(message))) => faults.push(Fault::new(Some(one.origin), key, message)),
                None => faults.push(suggest::unknown(one)),
            }
        }
        faults.extend(check::whole(&config, &origins));
        if faults.is_empty() { Ok(Loaded { config, origins }) } else { Err(Faults(faults)) }
    }

    /// Whether services ask nobody for a credential. Then only this machine may reach them, and pages from this machine
    /// only may use them.
    pub fn is_open(&self) -> bool {
        self.auth.is_open()
    }

    /// Sets one value; none: there is no such key.
    fn set(&mut self, key: &str, value: &toml::Value) -> Option<(&'static str, Result<(), String>)> {
        let (section, name) = key.split_once('.')?;
        let section = self.sections_mut().into_iter().find(|candidate| candidate.name() == section)?;
        section.set(name, value)
    }

    fn sections(&self) -> [&dyn Section; 9] {
        [
            &self.gateway,
            &self.ingest,
            &self.auth,
            &self.redis,
            &self.projects,
            &self.limits,
            &self.telemetry,
            &self.dialects,
            &self.webhooks,
        ]
    }

    fn sections_mut(&mut self) -> [&mut dyn Section; 9] {
        [
            &mut self.gateway,
            &mut self.ingest,
            &mut self.auth,
            &mut self.redis,
            &mut self.projects,
            &mut self.limits,
            &mut self.telemetry,
            &mut self.dialects,
            &mut self.webhooks,
        ]
    }
}

impl Loaded {
    /// The same without rights, whatever the sources say of them, with all dialects and webhooks on this machine, unless they
    /// say which: for dev mode.
    ///
    /// # Errors
    /// What cannot be then: an address that others reach.
    pub fn opened(mut self) -> Result<Loaded, Faults> {
        self.config.auth = AuthConfig::default();
        if !self.origins.keys().any(|key| key.starts_with("dialects.")) {
            self.config.dialects = DialectsConfig::dev(DEV_PROJECT.parse().expect("a name"));
        }
        if !self.origins.contains_key("webhooks.allowed_networks") {
            self.config.webhooks.allowed_networks = WebhooksConfig::dev().allowed_networks;
        }
        let faults = check::whole(&self.config, &self.origins);
        if faults.is_empty() { Ok(self) } else { Err(Faults(faults)) }
    }

    /// The effective configuration as TOML, secrets redacted, each value with where it came from.
    pub fn show(&self) -> String {
        let sections: Vec<String> =
            self.config.sections().into_iter().map(|section| self.show_section(section)).collect();
        sections.join("\n")
    }

    fn show_section(&self, section: &dyn Section) -> String {
        let lines = section.keys().iter().zip(section.show()).map(|(key, value)| {
            let origin = self.origins.get(key.path).map_or("default".to_owned(), Origin::to_string);
            format!("{} = {value} # {origin}\n", key.name())
        });
        format!("[{}]\n{}", section.name(), lines.collect::<String>())
    }
}

#[cfg(test)]
mod tests;
