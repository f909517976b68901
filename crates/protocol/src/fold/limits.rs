//! What a project's state may hold.

/// Bounds of a [`State`](super::State). Every answer to "full" depends on state and position alone, so that folds agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateLimits {
    /// Live sessions. One more: the longest-ended one goes, else the least recently active.
    pub sessions: usize,
    /// How long an ended session stays live, in milliseconds of positions.
    pub ended_ms: u64,
    /// Summaries of sessions that are gone. One more: the oldest goes.
    pub summaries: usize,
    /// How long a summary stays, in milliseconds of positions.
    pub summary_ms: u64,
    /// Agents of a session. One more: the least recently written goes; so with every collection below.
    pub agents: usize,
    /// Stages of a session.
    pub stages: usize,
    /// Members of any other collection (tools, running tools, approvals, collaborations, usage).
    pub members: usize,
    /// Collections of a session. One more is not taken in.
    pub sections: usize,
    /// Single cells of a session, and cells of one member. One more is not taken in.
    pub cells: usize,
    /// Items of a list, whatever its effect asks for.
    pub list_items: usize,
    /// One value, in bytes. A bigger one is not taken in.
    pub value_bytes: usize,
    /// One session, and the project's own cells, in bytes by count of names and values. More: the least recently
    /// written members go, or the oldest items of the list that grows.
    pub session_bytes: usize,
    /// All live sessions together, in bytes. More: sessions go as above.
    pub project_bytes: usize,
    /// Ranks of deleted cells that a session remembers while a fork is listed. More: the lowest are forgotten, and an
    /// event that is healed later than that many deletions may bring its cell back.
    pub graves: usize,
}

impl Default for StateLimits {
    fn default() -> StateLimits {
        StateLimits {
            sessions: 1_000,
            ended_ms: 60 * 60 * 1_000,
            summaries: 1_000,
            summary_ms: 7 * 24 * 60 * 60 * 1_000,
            agents: 1_000,
            stages: 64,
            members: 1_000,
            sections: 32,
            cells: 256,
            list_items: 1_000,
            value_bytes: 64 * 1024,
            session_bytes: 8 * 1024 * 1024,
            project_bytes: 64 * 1024 * 1024,
            graves: 1_000,
        }
    }
}

impl StateLimits {
    /// Bound of the collection `section`.
    pub(super) fn members_of(&self, section: &str) -> usize {
        match section {
            "agents" => self.agents,
            "stages" => self.stages,
            _ => self.members,
        }
    }
}
