//! Snapshots: a [`State`] as JSON, as docs/protocol.md names it.
//!
//! Names are sorted and values are the bytes that ingest wrote, so equal states give equal text. Values are taken for
//! valid JSON: only ingest writes effects.

use crate::fold::{Body, Cells, Content, Gone, Live, NAME_END, State};

#[cfg(test)]
mod tests;

/// Parts that a session always shows, empty where nothing is known, as (name, what stands for nothing).
const SESSION_PARTS: [(&str, &str); 5] =
    [("agents", "{}"), ("logs", "[]"), ("outputs", "[]"), ("stages", "{}"), ("tools", "{}")];
/// The section of a session that a snapshot gathers for the whole project.
const APPROVALS: &str = "approvals";

/// Counts for a list of projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Summary {
    /// Live sessions.
    pub sessions: u64,
    /// Of these, those that have not ended and whose runner is there.
    pub running: u64,
    /// Of these, those that completed.
    pub completed: u64,
    /// Of these, those that failed.
    pub failed: u64,
    /// Of these, those that were cancelled.
    pub cancelled: u64,
    /// Of these, those whose runner is gone.
    pub lost: u64,
    /// Agents of live sessions.
    pub agents: u64,
    /// Open approvals.
    pub approvals: u64,
    /// `ms` of the last position; 0: nothing was ever appended.
    pub last_activity_ms: u64,
}

impl State {
    /// Writes the object `state` of a snapshot: `{"sessions":{..},"approvals":[..],"usage":{..},"fleet":{..}}`, then what
    /// other cells the project has. Open approvals stand in one list, sorted by session and id, each with its session.
    pub fn snapshot_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"sessions\":{");
        let mut comma = Comma::default();
        for (name, live) in self.shown() {
            comma.name(out, name);
            write_session(live, Some(APPROVALS), out);
        }
        out.extend_from_slice(b"},\"approvals\":[");
        let mut comma = Comma::default();
        for (_, live) in self.shown() {
            for member in live.body.section(APPROVALS).into_iter().flat_map(|approvals| approvals.values()) {
                comma.next(out);
                write_cells(&member.cells, out);
            }
        }
        out.push(b']');
        write_body(&self.project, &[("usage", "{}"), ("fleet", "{}")], None, &mut Comma(true), out);
        out.push(b'}');
    }

    /// One live session with everything that it has, its open approvals too; `None`: unknown, or gone.
    pub fn session_json(&self, session: &str) -> Option<Vec<u8>> {
        let live = self.sessions.get(session).filter(|live| !live.body.is_blank())?;
        let mut out = Vec::new();
        write_session(live, None, &mut out);
        Some(out)
    }

    /// All sessions, live ones first (by name), then summaries of those that are gone (newest first): a JSON array of
    /// `{session, live, title?, status?, started?, ended?, agents, first_ms, last_ms, ended_ms?}`; times in `_ms` are those
    /// of positions.
    pub fn sessions_json(&self) -> Vec<u8> {
        let mut out = b"[".to_vec();
        let mut comma = Comma::default();
        for (name, live) in self.shown() {
            comma.next(&mut out);
            let agents = live.body.section("agents").map_or(0, |agents| agents.len() as u64);
            let gone = Gone {
                session: name.into(),
                summary: live.body.summary().into(),
                agents,
                times: live.times,
                since_ms: 0,
            };
            write_summary(&gone, true, &mut out);
        }
        for gone in self.gone.iter().rev() {
            comma.next(&mut out);
            write_summary(gone, false, &mut out);
        }
        out.push(b']');
        out
    }

    /// The newest log lines of a live session, oldest first: a JSON array; `None`: unknown, or gone.
    pub fn logs(&self, session: &str) -> Option<Vec<u8>> {
        let live = self.sessions.get(session).filter(|live| !live.body.is_blank())?;
        let mut out = Vec::new();
        match live.body.fields.binary_search_by(|(name, _)| (**name).cmp("logs")) {
            Ok(at) => write_content(&live.body.fields[at].1.content, &mut out),
            Err(_) => out.extend_from_slice(b"[]"),
        }
        Some(out)
    }

    /// Names of the live sessions, sorted.
    pub fn session_names(&self) -> impl Iterator<Item = &str> {
        self.shown().map(|(name, _)| name)
    }

    /// Counts over the live sessions.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { last_activity_ms: self.position().ms(), ..Summary::default() };
        for (_, live) in self.shown() {
            summary.sessions += 1;
            *match live.body.status() {
                Some(br#""completed""#) => &mut summary.completed,
                Some(br#""failed""#) => &mut summary.failed,
                Some(br#""cancelled""#) => &mut summary.cancelled,
                Some(br#""lost""#) => &mut summary.lost,
                _ => &mut summary.running,
            } += 1;
            let members = |section| live.body.section(section).map_or(0, |members| members.len() as u64);
            summary.agents += members("agents");
            summary.approvals += members(APPROVALS);
        }
        summary
    }

    /// Live sessions that have anything to show (others only remember a deletion).
    fn shown(&self) -> impl Iterator<Item = (&str, &Live)> {
        self.sessions.iter().filter(|(_, live)| !live.body.is_blank()).map(|(name, live)| (&**name, live))
    }
}

fn write_summary(gone: &Gone, live: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"session\":");
    write_text(&gone.session, out);
    out.extend_from_slice(format!(",\"live\":{live},\"agents\":{}", gone.agents).as_bytes());
    let times = gone.times;
    out.extend_from_slice(format!(",\"first_ms\":{},\"last_ms\":{}", times.first_ms, times.last_ms).as_bytes());
    if times.ended_ms > 0 {
        out.extend_from_slice(format!(",\"ended_ms\":{}", times.ended_ms).as_bytes());
    }
    // The rest is an object of its own: its members move in here.
    if let Some(members) = gone.summary.get(1..).filter(|members| *members != b"}") {
        out.push(b',');
        out.extend_from_slice(members);
    } else {
        out.push(b'}');
    }
}

fn write_session(live: &Live, without: Option<&str>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut comma = Comma::default();
    if let Some(status) = live.body.status() {
        comma.name(out, "status");
        out.extend_from_slice(status);
    }
    write_body(&live.body, &SESSION_PARTS, without, &mut comma, out);
    out.push(b'}');
}

/// Writes fields and sections as members of one object, sorted by name; `always` where nothing is known as well. The
/// field `status` is the session writer's. A section stands before a field of its name.
fn write_body(body: &Body, always: &[(&str, &str)], without: Option<&str>, comma: &mut Comma, out: &mut Vec<u8>) {
    let mut names: Vec<&str> = body.fields.iter().map(|(name, _)| &**name).filter(|name| *name != "status").collect();
    names.extend(body.sections.keys().map(|name| &**name));
    names.extend(always.iter().map(|(name, _)| *name));
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| Some(*name) != without) {
        comma.name(out, name);
        if let Some(members) = body.section(name) {
            out.push(b'{');
            let mut comma = Comma::default();
            for (member, cells) in members {
                comma.name(out, member);
                write_cells(&cells.cells, out);
            }
            out.push(b'}');
        } else if let Ok(at) = body.fields.binary_search_by(|(field, _)| (**field).cmp(name)) {
            write_content(&body.fields[at].1.content, out);
        } else if let Some((_, nothing)) = always.iter().find(|(part, _)| *part == name) {
            out.extend_from_slice(nothing.as_bytes());
        }
    }
}

/// Writes the cells of a member: its one value, or a tree by their paths. A cell that others lie below is left out.
fn write_cells(cells: &Cells, out: &mut Vec<u8>) {
    if let [(name, cell)] = cells.as_slice()
        && name.is_empty()
    {
        return write_content(&cell.content, out);
    }
    write_level(cells.iter().filter(|(name, _)| !name.is_empty()).map(|(name, cell)| (&**name, &cell.content)), out);
}

fn write_level<'a>(cells: impl Iterator<Item = (&'a str, &'a Content)>, out: &mut Vec<u8>) {
    out.push(b'{');
    let mut comma = Comma::default();
    let mut cells = cells.peekable();
    while let Some((path, content)) = cells.next() {
        let (name, rest) = path.split_once(NAME_END).unwrap_or((path, ""));
        let mut below = Vec::new();
        if !rest.is_empty() {
            below.push((rest, content));
        }
        while let Some((next, content)) = cells.peek().copied() {
            let Some(rest) = next.strip_prefix(name).and_then(|rest| rest.strip_prefix(NAME_END)) else { break };
            below.push((rest, content));
            cells.next();
        }
        comma.name(out, name);
        if below.is_empty() { write_content(content, out) } else { write_below(below, out) }
    }
    out.push(b'}');
}

/// Paths are at most eight names deep, so this recursion is bounded.
fn write_below(below: Vec<(&str, &Content)>, out: &mut Vec<u8>) {
    write_level(below.into_iter(), out);
}

fn write_content(content: &Content, out: &mut Vec<u8>) {
    match content {
        Content::Json(value) => out.extend_from_slice(value),
        Content::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Content::List(list) => {
            out.push(b'[');
            let mut comma = Comma::default();
            for item in &list.items {
                comma.next(out);
                out.extend_from_slice(item);
            }
            out.push(b']');
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a text serializes into memory");
}

/// Puts a comma before every item but the first.
#[derive(Default)]
struct Comma(bool);

impl Comma {
    fn next(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.0, true) {
            out.push(b',');
        }
    }

    fn name(&mut self, out: &mut Vec<u8>, name: &str) {
        self.next(out);
        write_text(name, out);
        out.push(b':');
    }
}
