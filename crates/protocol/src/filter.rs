//! Filters: which events of a project a viewer wants.

use serde::{Deserialize, Serialize};

use crate::wire;

/// Most words in one list of a filter.
pub const FILTER_WORDS_MAX: usize = 100;

/// A viewer's filter. An empty list lets everything pass; lists are joined by *and*, their words by *or*.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Types, by whole segments: `agent` lets `agent.status` pass, but not `agents`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Sessions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// Agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// Lanes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lanes: Vec<Lane>,
}

/// How an event may be treated when a viewer lags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Never merged.
    Control,
    /// Neighbours with one key may be joined.
    Delta,
    /// Only the newest of a key matters.
    Latest,
}

impl Lane {
    /// The lane in the log's encoding.
    pub fn to_wire(self) -> wire::Lane {
        match self {
            Lane::Control => wire::Lane::Control,
            Lane::Delta => wire::Lane::Delta,
            Lane::Latest => wire::Lane::Latest,
        }
    }

    /// The lane that a word names.
    pub fn parse(word: &str) -> Option<Lane> {
        match word {
            "control" => Some(Lane::Control),
            "delta" => Some(Lane::Delta),
            "latest" => Some(Lane::Latest),
            _ => None,
        }
    }
}

impl Filter {
    /// Whether everything passes.
    pub fn is_open(&self) -> bool {
        self.types.is_empty() && self.sessions.is_empty() && self.agents.is_empty() && self.lanes.is_empty()
    }

    /// The list that has more than [`FILTER_WORDS_MAX`] words, if one has.
    pub fn too_long(&self) -> Option<(&'static str, usize)> {
        [
            ("types", self.types.len()),
            ("sessions", self.sessions.len()),
            ("agents", self.agents.len()),
            ("lanes", self.lanes.len()),
        ]
        .into_iter()
        .find(|(_, words)| *words > FILTER_WORDS_MAX)
    }

    /// Whether the event passes. Gaps always do: they speak of what cannot be filtered.
    pub fn passes(&self, event: &wire::Event) -> bool {
        if self.is_open() || event.gap.is_some() {
            return true;
        }
        let any = |words: &[String], word: &str| words.is_empty() || words.iter().any(|wanted| wanted == word);
        (self.types.is_empty() || self.types.iter().any(|wanted| type_matches(wanted, &event.r#type)))
            && any(&self.sessions, &event.session)
            && any(&self.agents, &event.agent)
            && (self.lanes.is_empty() || self.lanes.iter().any(|lane| lane.to_wire() as i32 == event.lane))
    }
}

/// Whole segments: `agent` matches `agent` and `agent.status`.
fn type_matches(wanted: &str, kind: &str) -> bool {
    kind.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, session: &str, lane: wire::Lane) -> wire::Event {
        wire::Event { r#type: kind.into(), session: session.into(), lane: lane as i32, ..Default::default() }
    }

    #[test]
    fn types_match_by_whole_segments() {
        let filter = Filter { types: vec!["agent".into()], ..Filter::default() };
        assert!(filter.passes(&event("agent.status", "s", wire::Lane::Latest)));
        assert!(filter.passes(&event("agent", "s", wire::Lane::Control)));
        assert!(!filter.passes(&event("agents.status", "s", wire::Lane::Latest)));
    }

    #[test]
    fn lists_are_joined_by_and_and_gaps_always_pass() {
        let filter = Filter { sessions: vec!["a".into()], lanes: vec![Lane::Control], ..Filter::default() };
        assert!(filter.passes(&event("log", "a", wire::Lane::Control)));
        assert!(!filter.passes(&event("log", "b", wire::Lane::Control)));
        assert!(!filter.passes(&event("log", "a", wire::Lane::Delta)));
        let gap = wire::Event { gap: Some(wire::Gap::default()), ..event("gap", "", wire::Lane::Control) };
        assert!(filter.passes(&gap));
    }
}
