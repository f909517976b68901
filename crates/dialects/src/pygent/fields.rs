//! Reading fields of `data` so that what is told has the types that the page relies on, whatever a runner left out.

use serde_json::{Map, Value};
use tidings_protocol::timestamp;

use crate::told::Told;

/// A number; 0 where there is none.
pub(super) fn number(data: &Value, name: &str) -> Value {
    data.get(name).filter(|value| value.is_number()).cloned().unwrap_or_else(|| Value::from(0))
}

/// A number of one of these names, the first that is there; 0 where none is.
pub(super) fn number_of(data: &Value, names: &[&str]) -> Value {
    let found = names.iter().find(|name| data.get(**name).is_some_and(Value::is_number));
    number(data, found.unwrap_or(&names[0]))
}

/// A text, or this one.
pub(super) fn text(data: &Value, name: &str, otherwise: &str) -> Value {
    data.get(name).and_then(Value::as_str).unwrap_or(otherwise).into()
}

/// A list; empty where there is none.
pub(super) fn list(data: &Value, name: &str) -> Value {
    data.get(name).filter(|value| value.is_array()).cloned().unwrap_or_else(|| Value::Array(Vec::new()))
}

/// An object; empty where there is none.
pub(super) fn object(data: &Value, name: &str) -> Value {
    data.get(name).filter(|value| value.is_object()).cloned().unwrap_or_else(|| Value::Object(Map::new()))
}

/// Whether it says `true`.
pub(super) fn truth(data: &Value, name: &str, otherwise: bool) -> bool {
    data.get(name).and_then(Value::as_bool).unwrap_or(otherwise)
}

/// A text for people: strings as they are, anything else as JSON, nothing for null.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// When it happened, as the page reads it.
pub(super) fn time(told: &Told<'_>) -> Value {
    timestamp::rfc3339(told.time_ms()).into()
}

/// A time that the runner says, else when the event happened.
pub(super) fn time_of(data: &Value, name: &str, told: &Told<'_>) -> Value {
    let said = data.get(name).and_then(Value::as_str).filter(|said| timestamp::parse_rfc3339(said).is_some());
    said.map_or_else(|| time(told), Value::from)
}

/// `base`, with members of `over` in it that it lacks. What `base` has stays: its types are those that the page needs.
pub(super) fn with(mut base: Value, over: &Value) -> Value {
    if let (Value::Object(base), Value::Object(over)) = (&mut base, over) {
        for (name, value) in over {
            base.entry(name).or_insert_with(|| value.clone());
        }
    }
    base
}
