//! `[dialects]`: which other systems' clients a gateway serves, and what they see.

use std::fmt;
use std::str::FromStr;

use tidings_dialects::agentcraft::Shape;
use tidings_dialects::agentcraft::client::ClientIds;
use tidings_protocol::grant::{Scope, Scopes};
use tidings_protocol::project::Project;
use toml::Value;

use super::section::section;
use super::value::{Setting, expected, list, shown_list};

/// A dialect, by its name in metrics and settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DialectName {
    /// Agent Swarm.
    AgentSwarm,
    /// AgentCraft.
    AgentCraft,
    /// PyGent Factory.
    PyGent,
}

impl DialectName {
    /// All of them, in the order of their words.
    pub const ALL: [DialectName; 3] = [DialectName::AgentSwarm, DialectName::AgentCraft, DialectName::PyGent];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            DialectName::AgentSwarm => "agent_swarm",
            DialectName::AgentCraft => "agentcraft",
            DialectName::PyGent => "pygent",
        }
    }
}

impl fmt::Display for DialectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DialectName {
    type Err = ();

    fn from_str(word: &str) -> Result<DialectName, ()> {
        DialectName::ALL.into_iter().find(|name| name.as_str() == word).ok_or(())
    }
}

/// The dialects that are served.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DialectNames(Vec<DialectName>);

impl DialectNames {
    /// All that there are.
    pub fn all() -> DialectNames {
        DialectNames(DialectName::ALL.to_vec())
    }

    /// Whether this one is.
    pub fn contains(&self, name: DialectName) -> bool {
        self.0.contains(&name)
    }
}

impl Setting for DialectNames {
    fn read(value: &Value) -> Result<DialectNames, String> {
        list("agent_swarm, agentcraft or pygent", value).map(DialectNames)
    }

    fn show(&self) -> Value {
        shown_list(&self.0)
    }
}

/// A project; empty: none.
impl Setting for Option<Project> {
    fn read(value: &Value) -> Result<Option<Project>, String> {
        let text = value.as_str().ok_or_else(|| expected("the name of a project", value))?.trim();
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| expected("the name of a project", value))
    }

    fn show(&self) -> Value {
        Value::String(self.as_ref().map_or_else(String::new, ToString::to_string))
    }
}

/// What those may do who show nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnyonesScopes(pub Scopes);

impl Default for AnyonesScopes {
    fn default() -> AnyonesScopes {
        AnyonesScopes(Scopes::from(Scope::Read))
    }
}

impl Setting for AnyonesScopes {
    fn read(value: &Value) -> Result<AnyonesScopes, String> {
        let words: Vec<Scope> = list("a scope: read, command, approve, ...", value)?;
        Ok(AnyonesScopes(words.into_iter().collect()))
    }

    fn show(&self) -> Value {
        let words: Vec<Scope> = self.0.iter().collect();
        shown_list(&words)
    }
}

impl Setting for Shape {
    fn read(value: &Value) -> Result<Shape, String> {
        value.as_str().and_then(Shape::parse).ok_or_else(|| expected("flat, nested or both", value))
    }

    fn show(&self) -> Value {
        Value::String(self.as_str().into())
    }
}

impl Setting for ClientIds {
    fn read(value: &Value) -> Result<ClientIds, String> {
        value.as_str().and_then(ClientIds::parse).ok_or_else(|| expected("relaxed or seed", value))
    }

    fn show(&self) -> Value {
        Value::String(self.as_str().into())
    }
}

section! {
    /// Clients that were written for other systems (docs/dialects.md), on the gateway's own port. `tidings dev` serves all
    /// of them, with the project `demo`, unless it is told which.
    "dialects" => DialectsConfig {
        /// The dialects that are served: `agent_swarm`, `agentcraft`, `pygent`. None unless they are named.
        "serve" => serve: DialectNames = DialectNames::default();
        /// The project that clients of AgentCraft watch, which show no credential.
        "agentcraft_project" => agentcraft_project: Option<Project> = None;
        /// What they may do there. `admin` lets them broadcast.
        "agentcraft_scopes" => agentcraft_scopes: AnyonesScopes = AnyonesScopes::default();
        /// Which client ids are let in: `relaxed` takes 1 to 128 letters, digits, hyphens and underscores; `seed` what
        /// AgentCraft's own document advises, which refuses its own front end.
        "agentcraft_client_ids" => agentcraft_client_ids: ClientIds = ClientIds::Relaxed;
        /// Which messages they get: the document's (`flat`), those of its code (`nested`), or `both`.
        "agentcraft_frames" => agentcraft_frames: Shape = Shape::Flat;
        /// WebSockets that one user of Agent Swarm may have open, over all gateways.
        "agent_swarm_connections_max" => agent_swarm_connections_max: u64 = 5, within 1..=10_000;
        /// The project that builds belong to which clients of Agent Swarm ask for. Each session of it is a project of theirs.
        /// Without it, the one project that their credential is for.
        "agent_swarm_project" => agent_swarm_project: Option<Project> = None;
        /// Requests that one user of Agent Swarm may make in an hour, over all gateways. Its clients are told what is left.
        "agent_swarm_requests_per_hour" => agent_swarm_requests_per_hour: u64 = 10_000, within 1..=1_000_000;
        /// The project that clients of PyGent Factory work in, which show no credential.
        "pygent_project" => pygent_project: Option<Project> = None;
        /// What they may do there. Without `command` nobody answers them.
        "pygent_scopes" => pygent_scopes: AnyonesScopes = AnyonesScopes::default();
    }
}

impl DialectsConfig {
    /// All of them, in this project, with all rights of viewers: for dev mode.
    pub(super) fn dev(project: Project) -> DialectsConfig {
        let scopes = AnyonesScopes([Scope::Read, Scope::Command, Scope::Approve, Scope::Admin].into_iter().collect());
        DialectsConfig {
            serve: DialectNames::all(),
            agentcraft_project: Some(project.clone()),
            agentcraft_scopes: scopes,
            agent_swarm_project: Some(project.clone()),
            pygent_project: Some(project),
            pygent_scopes: scopes,
            ..DialectsConfig::default()
        }
    }

    /// What is wrong with the section as a whole.
    pub(super) fn faults(&self) -> Vec<(&'static str, String)> {
        [
            (DialectName::AgentCraft, "dialects.agentcraft_project", self.agentcraft_project.is_none()),
            (DialectName::PyGent, "dialects.pygent_project", self.pygent_project.is_none()),
        ]
        .into_iter()
        .filter(|(name, _, missing)| *missing && self.serve.contains(*name))
        .map(|(name, key, _)| (key, format!("its clients show no credential: without a project {name} serves nobody")))
        .collect()
    }
}
