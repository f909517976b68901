//! What stands in a record of settings and is not understood here: members of a newer version, and webhooks of a shape that
//! cannot be read. It is kept on a change, so that an older service beside a newer one takes nothing away.

use std::fmt;

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::hooks::{CommandWebhook, Webhook};

const WEBHOOKS: &str = "webhooks";
const COMMANDS: &str = "commands";
const WEBHOOK: &str = "webhook";

/// Members of stored settings that are not understood here, where they stood. Neither printed nor shown: secrets may be among
/// them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Unknown(Map<String, Value>);

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} members", self.0.len())
    }
}

impl Unknown {
    /// What of `stored` is not in `known`, which was read from it.
    pub(super) fn of(stored: Value, known: &Value) -> Unknown {
        match beyond(stored, known) {
            Some(Value::Object(members)) => Unknown(members),
            _ => Unknown::default(),
        }
    }

    /// Puts it beside what is known.
    pub(super) fn join(&self, known: &mut Value) {
        join(known, &Value::Object(self.0.clone()));
    }

    /// It was set anew, or unset: this path, with dots.
    pub(super) fn forget(&mut self, path: &str) {
        let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
        let mut members = Some(&mut self.0);
        for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
            members = members.and_then(|members| members.get_mut(parent)?.as_object_mut());
        }
        members.and_then(|members| members.remove(last));
    }

    /// The same of a webhook; names may have dots.
    pub(super) fn forget_webhook(&mut self, name: &str) {
        self.0.get_mut(WEBHOOKS).and_then(Value::as_object_mut).and_then(|named| named.remove(name));
    }

    /// Names of webhooks that it says something of.
    pub(super) fn webhooks(&self) -> impl Iterator<Item = &str> {
        self.0.get(WEBHOOKS).and_then(Value::as_object).into_iter().flat_map(Map::keys).map(String::as_str)
    }

    /// Whether it says something of the webhook of commands.
    pub(super) fn has_command_webhook(&self) -> bool {
        self.0.get(COMMANDS).is_some_and(|commands| commands.get(WEBHOOK).is_some())
    }
}

/// Stored settings without the webhooks that cannot be read.
pub(super) fn readable(mut stored: Value) -> Value {
    match stored.get_mut(WEBHOOKS) {
        Some(Value::Object(named)) => named.retain(|_, hook| Webhook::deserialize(&*hook).is_ok()),
        Some(other) => *other = Value::Object(Map::new()),
        None => {}
    }
    if let Some(Value::Object(commands)) = stored.get_mut(COMMANDS)
        && commands.get(WEBHOOK).is_some_and(|hook| Option::<CommandWebhook>::deserialize(hook).is_err())
    {
        commands.remove(WEBHOOK);
    }
    stored
}

/// What of a value is not in one that was read from it. `null` says nothing, and a list is all of it or nothing.
fn beyond(stored: Value, known: &Value) -> Option<Value> {
    match (stored, known) {
        (Value::Object(members), known) => {
            let more = members.into_iter().filter_map(|(name, value)| {
                let more = match known.get(&name) {
                    Some(known) => beyond(value, known),
                    None => Some(value).filter(|value| !value.is_null()),
                };
                more.map(|more| (name, more))
            });
            Some(Value::Object(more.collect())).filter(|more| more.as_object().is_some_and(|more| !more.is_empty()))
        }
        (stored @ Value::Array(_), known) => (stored != *known).then_some(stored),
        _ => None,
    }
}

/// What is known wins, but for a list, of which not all was understood.
fn join(known: &mut Value, more: &Value) {
    match (known, more) {
        (Value::Object(known), Value::Object(more)) => {
            for (name, more) in more {
                match known.get_mut(name) {
                    Some(known) => join(known, more),
                    None => drop(known.insert(name.clone(), more.clone())),
                }
            }
        }
        (known @ Value::Array(_), Value::Array(_)) => *known = more.clone(),
        _ => {}
    }
}
