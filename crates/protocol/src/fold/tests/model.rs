//! The fold as the executable model has it: values and ranks in plain maps, always kept. The model deletes sessions
//! whole; here a deletion names any path, and stands for all below.

use std::collections::BTreeMap;

use crate::entry::{Body, Entry, ForkKind};
use crate::fold::{Content, NAME_END, State};
use crate::position::{Branch, Position};
use crate::wire::{Event, effect::Op};

/// (the session, or "" for the project; path).
pub(crate) type Field = (String, Vec<String>);
type Rank = (i64, u64, u64);

const LOW: Rank = (-1, 0, 0);

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) v: BTreeMap<Field, String>,
    lists: BTreeMap<Field, Vec<String>>,
    rank: BTreeMap<Field, Rank>,
    dead: BTreeMap<Field, Rank>,
    order: Vec<Branch>,
}

pub(crate) fn fold(log: &[Entry]) -> Model {
    let mut model = Model::default();
    for entry in log {
        match &entry.body {
            Body::Fork(note) => {
                model.learn(note.closed);
                model.learn(entry.position.branch);
                if note.kind == ForkKind::Deleted {
                    model = Model { order: model.order, ..Model::default() };
                }
            }
            Body::Events(events) => {
                for (index, event) in events.iter().enumerate() {
                    model.apply(entry.position_of(index), event);
                }
            }
            Body::Elsewhere(_) => unreachable!("histories hold their events"),
        }
    }
    model
}

impl Model {
    fn learn(&mut self, branch: Branch) -> i64 {
        let at = self.order.iter().position(|name| *name == branch).unwrap_or_else(|| {
            self.order.push(branch);
            self.order.len() - 1
        });
        i64::try_from(at).expect("few branches")
    }

    fn rank_of(&mut self, position: Position, event: &Event) -> Rank {
        for was in &event.was {
            let was: Position = was.parse().expect("histories write positions");
            if self.order.contains(&was.branch) {
                return (self.learn(was.branch), was.ms(), was.n());
            }
        }
        (self.learn(position.branch), position.ms(), position.n())
    }

    fn apply(&mut self, position: Position, event: &Event) {
        self.learn(position.branch);
        let (r, healed) = (self.rank_of(position, event), !event.was.is_empty());
        for effect in &event.effects {
            let owner = if effect.project { String::new() } else { event.session.clone() };
            let f: Field = (owner.clone(), effect.path.clone());
            let above = (0..=effect.path.len()).map(|depth| (owner.clone(), effect.path[..depth].to_vec()));
            let dead = above.filter_map(|field| self.dead.get(&field)).max().copied().unwrap_or(LOW);
            let own = self.rank.get(&f).copied().unwrap_or(LOW);
            if effect.op() == Op::Delete {
                let below = |field: &Field| field.0 == owner && field.1.starts_with(&effect.path);
                let rank = &self.rank;
                self.v.retain(|g, _| !below(g) || (healed && rank.get(g).unwrap_or(&LOW) > &r));
                self.lists.retain(|g, _| self.v.contains_key(g));
                if !(healed && dead > r) {
                    let grave = self.dead.entry(f).or_insert(LOW);
                    *grave = r.max(*grave);
                }
                continue;
            }
            if healed && dead > r {
                continue;
            }
            let value = String::from_utf8(effect.value.to_vec()).expect("text");
            match effect.op() {
                Op::Set if healed && own > r => continue,
                Op::Set => {
                    self.v.insert(f.clone(), value);
                }
                Op::SetOnce => {
                    self.v.entry(f.clone()).or_insert(value);
                }
                Op::Add => {
                    let sum = self.v.get(&f).and_then(|sum| sum.strip_prefix('+')?.parse::<i64>().ok()).unwrap_or(0);
                    self.v.insert(f.clone(), format!("+{}", sum + effect.number));
                }
                Op::Push => {
                    let is_list = self.v.get(&f).is_some_and(|v| v.starts_with("list"));
                    let list = self.lists.entry(f.clone()).or_default();
                    if !is_list {
                        list.clear();
                    }
                    list.push(value);
                    let from = list.len().saturating_sub(effect.limit as usize);
                    list.drain(..from);
                    self.v.insert(f.clone(), format!("list{list:?}"));
                }
                Op::Delete => unreachable!("done above"),
            }
            self.rank.insert(f, r.max(own));
        }
    }
}

/// What a state holds, in the model's form.
pub(crate) fn values(state: &State) -> BTreeMap<Field, String> {
    let text = |content: &Content| match content {
        Content::Json(value) => String::from_utf8(value.to_vec()).expect("text"),
        Content::Number(sum) => format!("+{sum}"),
        Content::List(list) => {
            let items: Vec<_> = list.items.iter().map(|item| String::from_utf8(item.to_vec()).expect("text")).collect();
            format!("list{items:?}")
        }
    };
    let sessions = state.sessions.iter().map(|(name, live)| (name.to_string(), &live.body));
    let mut values = BTreeMap::new();
    for (owner, body) in sessions.chain([(String::new(), &state.project)]) {
        for (name, cell) in &body.fields {
            values.insert((owner.clone(), vec![name.to_string()]), text(&cell.content));
        }
        for (section, members) in &body.sections {
            for (member, cells) in members {
                for (rest, cell) in &cells.cells {
                    let rest = rest.split_terminator(NAME_END).map(ToString::to_string);
                    let path = [section.to_string(), member.to_string()].into_iter().chain(rest).collect();
                    values.insert((owner.clone(), path), text(&cell.content));
                }
            }
        }
    }
    values
}
