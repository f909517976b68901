//! Checkpoint fields (docs/log.md L17): a [`State`] as bytes, a field per session, and back.
//!
//! Equal states give equal bytes. Unknown protobuf fields of a newer version are ignored on reading, so a version is read
//! by the one before it; that one must not write over it, which is the janitor's to see to.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::body::{Body, Cell, Cells, Content, List, Member};
use super::rank::{Branches, Rank};
use super::{Gone, Live, State, StateLimits, Times};
use crate::position::Position;
use crate::wire;

/// Version of the fold's rules. A checkpoint of a newer one is never written over.
pub const FOLD_VERSION: u32 = 1;

/// Newest version of a checkpoint that is read: the next one's is understood, the one after may not be.
const VERSION_READ_MAX: u32 = FOLD_VERSION + 1;
/// The field of the project.
const PROJECT: &str = "p";
/// The field of the sessions that are gone.
const GONE: &str = "g";
/// Starts the field of a session.
const SESSION: &str = "s:";

/// Checkpoint fields that give no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Another version of the rules wrote it, too far from this one.
    #[error("checkpoint version {0} cannot be read, this is version {FOLD_VERSION}")]
    Version(u32),
    /// A field is not what it should be.
    #[error("malformed checkpoint field {0:?}")]
    Malformed(String),
    /// A field that the project's field speaks of is absent.
    #[error("missing checkpoint field {0:?}")]
    Missing(String),
}

impl State {
    /// The checkpoint fields that changed since the last call (or since [`State::from_fields`]), sorted by name; `None`:
    /// delete the field. Written over the checkpoint that this state came from, they make the checkpoint at
    /// [`State::position`]; a state from [`State::new`] gives all its fields the first time.
    pub fn touched(&mut self) -> Vec<(String, Option<Bytes>)> {
        let mut fields = Vec::new();
        if std::mem::take(&mut self.changes.gone) {
            let gone = (!self.gone.is_empty()).then(|| self.encode_gone());
            fields.push((GONE.to_owned(), gone));
        }
        if std::mem::take(&mut self.changes.project) {
            fields.push((PROJECT.to_owned(), Some(self.encode_project())));
        }
        let removed = std::mem::take(&mut self.changes.removed).into_iter().map(|name| (session_field(&name), None));
        fields.extend(removed);
        for (name, live) in self.sessions.iter_mut().filter(|(_, live)| live.dirty) {
            (live.dirty, live.saved) = (false, true);
            fields.push((session_field(name), Some(encode_body(&live.body).encode_to_vec().into())));
        }
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        fields
    }

    /// The state that a checkpoint holds: all its fields, in any order. Fields of unknown names are left alone. The limits
    /// are the defaults; [`State::with_limits`] sets others. Version 0 without fields is the checkpoint of a log that has
    /// none yet, or whose project was deleted at this position.
    pub fn from_fields(
        position: Position,
        version: u32,
        fields: impl IntoIterator<Item = (String, Bytes)>,
    ) -> Result<State, StateError> {
        State::read(position, version, fields, true)
    }

    /// The fields that [`State::of_sessions`] reads for these sessions.
    pub fn fields_of<'a>(sessions: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        [PROJECT.to_owned()].into_iter().chain(sessions.into_iter().map(session_field)).collect()
    }

    /// The same of those live sessions alone whose fields are there: to look at them, never to be written back.
    ///
    /// # Errors
    /// Those of [`State::from_fields`], but that sessions may be missing.
    pub fn of_sessions(
        position: Position,
        version: u32,
        fields: impl IntoIterator<Item = (String, Bytes)>,
    ) -> Result<State, StateError> {
        State::read(position, version, fields, false)
    }

    fn read(
        position: Position,
        version: u32,
        fields: impl IntoIterator<Item = (String, Bytes)>,
        whole: bool,
    ) -> Result<State, StateError> {
        let mut fields = fields.into_iter().peekable();
        if version == 0 && fields.peek().is_none() {
            let mut state = State::new(StateLimits::default());
            state.skip(position);
            return Ok(state);
        }
        if !(1..=VERSION_READ_MAX).contains(&version) {
            return Err(StateError::Version(version));
        }
        let mut state = State { position, ..State::new(StateLimits::default()) };
        let mut project = None;
        let mut bodies = std::collections::BTreeMap::new();
        for (name, bytes) in fields {
            let malformed = |_| StateError::Malformed(name.clone());
            if let Some(session) = name.strip_prefix(SESSION) {
                let cells = wire::Cells::decode(bytes).map_err(malformed)?;
                let body = decode_body(cells).ok_or_else(|| StateError::Malformed(name.clone()))?;
                bodies.insert(session.to_owned(), body);
            } else if name == PROJECT {
                project = Some(wire::ProjectState::decode(bytes).map_err(malformed)?);
            } else if name == GONE {
                let gone = wire::GoneSessions::decode(bytes).map_err(malformed)?;
                state.gone = Arc::new(gone.sessions.into_iter().map(decode_gone).collect());
            }
        }
        let project = project.ok_or_else(|| StateError::Missing(PROJECT.into()))?;
        let malformed = || StateError::Malformed(PROJECT.into());
        let names = project.branches.iter().map(|branch| branch.parse().map_err(|_| malformed()));
        state.branches = Branches { forgotten: project.branches_forgotten, names: names.collect::<Result<_, _>>()? };
        state.project = Arc::new(decode_body(project.cells.unwrap_or_default()).ok_or_else(malformed)?);
        let incomplete = Some(project.incomplete_before).filter(|text| !text.is_empty());
        state.incomplete_before = incomplete.map(|text| text.parse().map_err(|_| malformed())).transpose()?;
        for wire::LiveSession { session, times } in project.sessions {
            let body = match bodies.remove(&session) {
                Some(body) => body,
                None if whole => return Err(StateError::Missing(session_field(&session))),
                None => continue,
            };
            let times = decode_times(times);
            state.bytes += body.bytes;
            state.sessions.insert(session.into(), Live { body: Arc::new(body), times, dirty: false, saved: true });
        }
        state.changes.project = false;
        // Fields without an entry are of sessions that are gone: the next step deletes them.
        state.changes.removed = bodies.into_keys().map(Arc::from).collect();
        // Too early is safe: the next event finds the true one.
        state.expire_at_ms = 0;
        Ok(state)
    }

    fn encode_project(&self) -> Bytes {
        let sessions = self.sessions.iter().map(|(session, live)| wire::LiveSession {
            session: session.to_string(),
            times: Some(encode_times(live.times)),
        });
        let project = wire::ProjectState {
            cells: Some(encode_body(&self.project)),
            branches: self.branches.names.iter().map(ToString::to_string).collect(),
            branches_forgotten: self.branches.forgotten,
            sessions: sessions.collect(),
            incomplete_before: self.incomplete_before.map(|position| position.to_string()).unwrap_or_default(),
        };
        project.encode_to_vec().into()
    }

    fn encode_gone(&self) -> Bytes {
        let sessions = self.gone.iter().map(|gone| wire::GoneSession {
            session: gone.session.to_string(),
            times: Some(encode_times(gone.times)),
            gone_ms: gone.since_ms,
            agents: gone.agents,
            summary: Bytes::copy_from_slice(&gone.summary),
        });
        wire::GoneSessions { sessions: sessions.collect() }.encode_to_vec().into()
    }
}

fn session_field(session: &str) -> String {
    format!("{SESSION}{session}")
}

fn encode_times(times: Times) -> wire::SessionTimes {
    let Times { first_ms, last_ms, last_n, ended_ms } = times;
    wire::SessionTimes { first_ms, last_ms, last_n, ended_ms }
}

fn decode_times(times: Option<wire::SessionTimes>) -> Times {
    let wire::SessionTimes { first_ms, last_ms, last_n, ended_ms } = times.unwrap_or_default();
    Times { first_ms, last_ms, last_n, ended_ms }
}

fn decode_gone(gone: wire::GoneSession) -> Gone {
    Gone {
        session: gone.session.into(),
        summary: gone.summary.as_ref().into(),
        agents: gone.agents,
        times: decode_times(gone.times),
        since_ms: gone.gone_ms,
    }
}

fn encode_body(body: &Body) -> wire::Cells {
    let encode_member = |(name, member): (&Arc<str>, &Arc<Member>)| wire::Member {
        name: name.to_string(),
        last_n: member.last_n,
        cells: encode_cells(&member.cells),
    };
    let sections = body.sections.iter().map(|(name, members)| wire::Section {
        name: name.to_string(),
        members: members.iter().map(encode_member).collect(),
    });
    let graves =
        body.graves.iter().map(|(path, rank)| wire::Grave { path: path.to_string(), rank: encode_rank(*rank) });
    wire::Cells { fields: encode_cells(&body.fields), sections: sections.collect(), graves: graves.collect() }
}

/// `None`: a cell without content.
fn decode_body(cells: wire::Cells) -> Option<Body> {
    let mut body = Body { fields: decode_cells(cells.fields)?, ..Body::default() };
    for section in cells.sections {
        let mut members = super::body::Section::new();
        for wire::Member { name, last_n, cells } in section.members {
            members.insert(name.into(), Arc::new(Member { last_n, cells: decode_cells(cells)? }));
        }
        body.sections.insert(section.name.into(), members);
    }
    body.graves = cells.graves.into_iter().map(|grave| (grave.path.into(), decode_rank(grave.rank))).collect();
    body.bytes = body.count_bytes();
    Some(body)
}

fn encode_cells(cells: &Cells) -> Vec<wire::Cell> {
    let encode = |(name, cell): &(Arc<str>, Cell)| wire::Cell {
        name: name.to_string(),
        content: Some(match &cell.content {
            Content::Json(value) => wire::cell::Content::Json(Bytes::copy_from_slice(value)),
            Content::Number(number) => wire::cell::Content::Number(*number),
            Content::List(list) => {
                let items = list.items.iter().map(|item| Bytes::copy_from_slice(item)).collect();
                wire::cell::Content::List(wire::List { items })
            }
        }),
        rank: encode_rank(cell.rank),
    };
    cells.iter().map(encode).collect()
}

fn decode_cells(cells: Vec<wire::Cell>) -> Option<Cells> {
    let decode = |cell: wire::Cell| {
        let content = match cell.content? {
            wire::cell::Content::Json(value) => Content::Json(value.as_ref().into()),
            wire::cell::Content::Number(number) => Content::Number(number),
            wire::cell::Content::List(wire::List { items }) => {
                let mut list = List::default();
                for item in items {
                    list.push(item.as_ref().into());
                }
                Content::List(Arc::new(list))
            }
        };
        Some((cell.name.into(), Cell { content, rank: decode_rank(cell.rank) }))
    };
    let mut cells: Cells = cells.into_iter().map(decode).collect::<Option<_>>()?;
    // Look-ups rest on the order; ours are sorted already.
    cells.sort_by(|a, b| a.0.cmp(&b.0));
    Some(cells)
}

fn encode_rank(rank: Rank) -> Option<wire::Rank> {
    (rank > Rank::NONE).then_some(wire::Rank { branch: rank.branch, n: rank.n })
}

fn decode_rank(rank: Option<wire::Rank>) -> Rank {
    rank.map_or(Rank::NONE, |rank| Rank { branch: rank.branch, n: rank.n })
}
