//! The cells of one session, or of the project itself, and the five effects on them.
//!
//! Owns values, ranks and graves (ranks of what was deleted), and keeps them within [`StateLimits`]. It knows no
//! vocabulary: a path of one name is a *field*; a longer one is a cell of a *member* (second name) of a *section* (first).
//! Copies are cheap: members are shared until one of the copies writes to them.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::limits::StateLimits;
use super::rank::Rank;
use crate::wire::{Effect, effect::Op};

/// Counted for a cell, a member or a list's item beside its text, in bytes.
pub(crate) const CELL_BYTES: usize = 64;
/// Longest path.
const PATH_MAX: usize = 8;
/// Ends each name in a joined path, so that a prefix of names is a prefix of the text. No name holds it.
pub(crate) const NAME_END: char = '\0';

/// What a cell holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// A JSON value.
    Json(Arc<[u8]>),
    /// A sum.
    Number(i64),
    /// Its newest items.
    List(Arc<List>),
}

/// The newest items of a bounded list, each a JSON value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct List {
    pub(crate) items: VecDeque<Arc<[u8]>>,
    /// Of all items, counted.
    pub(crate) bytes: usize,
}

impl List {
    pub(crate) fn push(&mut self, item: Arc<[u8]>) {
        self.bytes += item.len() + CELL_BYTES;
        self.items.push_back(item);
    }

    fn pop(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= item.len() + CELL_BYTES;
        }
    }
}

/// A value and the highest rank that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cell {
    pub(crate) content: Content,
    pub(crate) rank: Rank,
}

/// Cells by name, sorted. Few, so a sorted vector beats a tree.
pub(crate) type Cells = Vec<(Arc<str>, Cell)>;

/// One member of a section: an agent, a stage, a tool.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Member {
    /// Log position (running count) of its last write.
    pub(crate) last_n: u64,
    /// By the rest of the path, each name ended by [`NAME_END`]; empty: the member itself is a value.
    pub(crate) cells: Cells,
}

/// Members by name.
pub(crate) type Section = BTreeMap<Arc<str>, Arc<Member>>;

/// The cells of a session, or of the project.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Body {
    pub(crate) fields: Cells,
    pub(crate) sections: BTreeMap<Arc<str>, Section>,
    /// Ranks of deletions, by joined path; only while a fork is listed.
    pub(crate) graves: BTreeMap<Box<str>, Rank>,
    /// Names and values, counted.
    pub(crate) bytes: usize,
}

/// What an effect is applied with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) rank: Rank,
    /// The event stood elsewhere before, so a higher rank may stand against it.
    pub(crate) healed: bool,
    /// Running count of the event.
    pub(crate) n: u64,
    pub(crate) limits: &'a StateLimits,
}

impl Write<'_> {
    fn is_below(&self, rank: Rank) -> bool {
        self.healed && rank > self.rank
    }
}

impl Body {
    /// Applies one effect. A malformed one (an unknown op, a path that is empty, too deep or holds NUL) changes nothing.
    pub(crate) fn apply(&mut self, effect: &Effect, write: Write<'_>) {
        let path = &effect.path;
        let Ok(op) = Op::try_from(effect.op) else { return };
        let malformed = path.len() > PATH_MAX || path.iter().any(|name| name.contains(NAME_END));
        if malformed || effect.value.len() > write.limits.value_bytes {
            return;
        }
        if op == Op::Delete {
            return self.delete(path, write);
        }
        if path.is_empty() || (write.healed && write.is_below(self.grave_above(path))) {
            return;
        }
        if let [field] = path.as_slice() {
            let before = self.fields_bytes(field);
            let after = update(&mut self.fields, field, op, effect, write);
            self.bytes = self.bytes + after - before;
            if op == Op::Push {
                self.shorten(field, write.limits.session_bytes);
            }
        } else {
            self.write_member(path, op, effect, write);
        }
        if self.bytes > write.limits.session_bytes {
            self.shed(write);
        }
    }

    /// Whether nothing is left to show.
    pub(crate) fn is_blank(&self) -> bool {
        self.fields.is_empty() && self.sections.is_empty()
    }

    /// The value of a field, as JSON, if it was set.
    pub(crate) fn json(&self, field: &str) -> Option<&[u8]> {
        match &self.fields[find(&self.fields, field).ok()?].1.content {
            Content::Json(value) => Some(value),
            Content::Number(_) | Content::List(_) => None,
        }
    }

    /// The members of a section.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.get(name)
    }

    fn write_member(&mut self, path: &[String], op: Op, effect: &Effect, write: Write<'_>) {
        let limits = write.limits;
        let (section, name) = (path[0].as_str(), path[1].as_str());
        if !self.sections.contains_key(section) {
            if self.sections.len() >= limits.sections {
                return;
            }
            self.sections.insert(section.into(), Section::new());
        }
        let members = self.sections.get_mut(section).expect("it was made above");
        if !members.contains_key(name) {
            while members.len() >= limits.members_of(section) {
                let Some(oldest) = least_recent(members) else { return };
                let member = members.remove(&oldest).expect("it was just seen");
                self.bytes -= member_bytes(&oldest, &member);
            }
            members.insert(name.into(), Arc::default());
            self.bytes += name.len() + CELL_BYTES;
        }
        let member = Arc::make_mut(members.get_mut(name).expect("it was made above"));
        member.last_n = write.n;
        // Nearly every path has three names, and those need no joining but the end mark.
        let rest = joined(&path[2..]);
        let before = cell_bytes_at(&member.cells, &rest);
        let after = update(&mut member.cells, &rest, op, effect, write);
        self.bytes = self.bytes + after - before;
    }

    fn delete(&mut self, path: &[String], write: Write<'_>) {
        let dead = self.grave_above(path);
        let mut freed = 0;
        let mut drop_from = |cells: &mut Cells, prefix: &str| {
            cells.retain(|(name, cell)| {
                let keep = !name.starts_with(prefix) || write.is_below(cell.rank);
                freed += if keep { 0 } else { cell_bytes(name, cell) };
                keep
            });
        };
        match path {
            [] => drop_from(&mut self.fields, ""),
            [field] => {
                if let Ok(at) = find(&self.fields, field)
                    && !write.is_below(self.fields[at].1.rank)
                {
                    let (name, cell) = self.fields.remove(at);
                    self.bytes -= cell_bytes(&name, &cell);
                }
            }
            _ => {}
        }
        let rest = joined(path.get(2..).unwrap_or_default());
        self.sections.retain(|section, members| {
            if path.first().is_none_or(|name| **name == **section) {
                let mut visit = |name: &Arc<str>, member: &mut Arc<Member>| {
                    drop_from(&mut Arc::make_mut(member).cells, &rest);
                    member.cells.is_empty().then(|| name.clone())
                };
                let emptied: Vec<Arc<str>> = match path.get(1) {
                    Some(name) => {
                        let found = members.get_key_value(name.as_str()).map(|(key, _)| key.clone());
                        found.and_then(|key| visit(&key, members.get_mut(&key)?)).into_iter().collect()
                    }
                    None => members.iter_mut().filter_map(|(name, member)| visit(name, member)).collect(),
                };
                for name in emptied {
                    members.remove(&name);
                    self.bytes -= name.len() + CELL_BYTES;
                }
            }
            !members.is_empty()
        });
        self.bytes -= freed;
        if write.rank > Rank::NONE && !write.is_below(dead) {
            self.bury(path, write);
        }
    }

    /// Remembers a deletion; it makes older ones below it needless.
    fn bury(&mut self, path: &[String], write: Write<'_>) {
        let path = joined(path);
        let below = self.graves.range::<str, _>((Bound::Included(path.as_str()), Bound::Unbounded));
        let needless: Vec<Box<str>> = below
            .take_while(|(grave, _)| grave.starts_with(&path))
            .filter(|(_, rank)| **rank <= write.rank)
            .map(|(grave, _)| grave.clone())
            .collect();
        for grave in needless {
            self.graves.remove(&grave);
        }
        self.graves.insert(path.into(), write.rank);
        while self.graves.len() > write.limits.graves {
            let lowest = self.graves.iter().min_by_key(|(path, rank)| (**rank, *path)).map(|(path, _)| path.clone());
            self.graves.remove(&lowest.expect("there are more than none"));
        }
    }

    /// The highest rank of a deletion at `path` or above it.
    fn grave_above(&self, path: &[String]) -> Rank {
        if self.graves.is_empty() {
            return Rank::NONE;
        }
        (0..=path.len())
            .filter_map(|depth| self.graves.get(joined(&path[..depth]).as_str()))
            .max()
            .copied()
            .unwrap_or_default()
    }

    fn fields_bytes(&self, field: &str) -> usize {
        cell_bytes_at(&self.fields, field)
    }

    /// Drops the oldest items of a list while the body is over its bound.
    fn shorten(&mut self, field: &str, bytes_max: usize) {
        let Ok(at) = find(&self.fields, field) else { return };
        if let Content::List(list) = &mut self.fields[at].1.content {
            let before = list.bytes;
            while self.bytes - (before - list.bytes) > bytes_max && list.items.len() > 1 {
                Arc::make_mut(list).pop();
            }
            self.bytes -= before - list.bytes;
        }
    }

    /// Drops the least recently written members, but none that this event wrote, while over the bound.
    fn shed(&mut self, write: Write<'_>) {
        while self.bytes > write.limits.session_bytes {
            let oldest = self
                .sections
                .iter()
                .flat_map(|(section, members)| members.iter().map(move |(name, member)| (member.last_n, section, name)))
                .min()
                .filter(|(last_n, ..)| *last_n < write.n)
                .map(|(_, section, name)| (section.clone(), name.clone()));
            let Some((section, name)) = oldest else { return };
            let members = self.sections.get_mut(&section).expect("it was just seen");
            let member = members.remove(&name).expect("it was just seen");
            self.bytes -= member_bytes(&name, &member);
            if members.is_empty() {
                self.sections.remove(&section);
            }
        }
    }

    /// Counts the bytes anew.
    pub(crate) fn count_bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(name, cell)| cell_bytes(name, cell)).sum();
        let members = self.sections.values().flatten();
        fields + members.map(|(name, member)| member_bytes(name, member)).sum::<usize>()
    }
}

/// Applies a writing effect to one cell; returns what the cell weighs after it (0: it was not taken in).
fn update(cells: &mut Cells, name: &str, op: Op, effect: &Effect, write: Write<'_>) -> usize {
    let at = match find(cells, name) {
        Ok(at) => at,
        Err(_) if cells.len() >= write.limits.cells => return 0,
        Err(at) => {
            let content = match op {
                Op::Add => Content::Number(0),
                Op::Push => Content::List(Arc::default()),
                Op::Set | Op::SetOnce | Op::Delete => Content::Json(effect.value.as_ref().into()),
            };
            cells.insert(at, (name.into(), Cell { content, rank: Rank::NONE }));
            at
        }
    };
    let cell = &mut cells[at].1;
    match op {
        Op::Set if write.is_below(cell.rank) => {}
        Op::Set => match &cell.content {
            // The same again: keep the allocation, others share it.
            Content::Json(value) if **value == *effect.value => {}
            _ => cell.content = Content::Json(effect.value.as_ref().into()),
        },
        Op::Add => {
            let sum = if let Content::Number(sum) = cell.content { sum } else { 0 };
            cell.content = Content::Number(sum.saturating_add(effect.number));
        }
        Op::Push => {
            if !matches!(cell.content, Content::List(_)) {
                cell.content = Content::List(Arc::default());
            }
            if let Content::List(list) = &mut cell.content {
                let list = Arc::make_mut(list);
                list.push(effect.value.as_ref().into());
                while list.items.len() > (effect.limit as usize).clamp(1, write.limits.list_items) {
                    list.pop();
                }
            }
        }
        Op::SetOnce | Op::Delete => {}
    }
    cell.rank = cell.rank.max(write.rank);
    cell_bytes(&cells[at].0, &cells[at].1)
}

fn find(cells: &Cells, name: &str) -> Result<usize, usize> {
    cells.binary_search_by(|(cell, _)| (**cell).cmp(name))
}

fn least_recent(members: &Section) -> Option<Arc<str>> {
    members.iter().min_by_key(|(name, member)| (member.last_n, *name)).map(|(name, _)| name.clone())
}

fn joined(names: &[String]) -> String {
    let mut text = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
    for name in names {
        text.push_str(name);
        text.push(NAME_END);
    }
    text
}

fn cell_bytes_at(cells: &Cells, name: &str) -> usize {
    find(cells, name).map_or(0, |at| cell_bytes(&cells[at].0, &cells[at].1))
}

fn cell_bytes(name: &str, cell: &Cell) -> usize {
    let content = match &cell.content {
        Content::Json(value) => value.len(),
        Content::Number(_) => 8,
        Content::List(list) => list.bytes,
    };
    name.len() + content + CELL_BYTES
}

fn member_bytes(name: &str, member: &Member) -> usize {
    name.len() + CELL_BYTES + member.cells.iter().map(|(name, cell)| cell_bytes(name, cell)).sum::<usize>()
}
