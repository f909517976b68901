//! A hook's body, read so far as it is told on: whole files pass through a tool, and what is made of one is cut to some KiB
//! anyhow. So a body of any shape takes bounded memory.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use tidings_protocol::effects::cut_text;

/// Values that are kept within the members of a hook, all together.
const VALUES_MAX: usize = 4_096;

/// Members of a hook that are kept.
const MEMBERS_MAX: usize = 64;

/// Text that is kept of one string, in bytes.
const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Text that is kept in all, in bytes.
const TEXTS_BYTES_MAX: usize = 1024 * 1024;

/// The member that goes back to the tool as it came, or not at all.
const SUGGESTIONS: &str = "permission_suggestions";

/// Reads a body: values beyond a bound are left out, long texts cut.
///
/// # Errors
/// If it is not JSON. Halves of surrogate pairs, which the tool writes where it cuts a text, become U+FFFD.
pub fn read(body: &[u8]) -> Result<Value, serde_json::Error> {
    let body = mended(body);
    let room = Room { values: Cell::new(VALUES_MAX), bytes: Cell::new(TEXTS_BYTES_MAX), was_short: Cell::new(false) };
    let mut deserializer = serde_json::Deserializer::from_slice(&body);
    let value = Part { room: &room, depth: 0 }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value.unwrap_or_default())
}

/// What may still be kept.
struct Room {
    values: Cell<usize>,
    bytes: Cell<usize>,
    /// Something was not kept whole since this was last looked at.
    was_short: Cell<bool>,
}

/// A value at some depth; none: there is no room for it.
#[derive(Clone, Copy)]
struct Part<'a> {
    room: &'a Room,
    depth: usize,
}

impl Part<'_> {
    fn inner(self) -> Self {
        Part { depth: self.depth + 1, ..self }
    }

    /// The members of the hook itself have room in any case: they say what it is.
    fn has_room(self) -> bool {
        if self.depth < 2 {
            return true;
        }
        let left = self.room.values.get();
        self.room.values.set(left.saturating_sub(1));
        self.room.was_short.set(self.room.was_short.get() || left == 0);
        left > 0
    }

    fn text(self, text: &str) -> Value {
        let bytes = &self.room.bytes;
        let kept = cut_text(text, TEXT_BYTES_MAX.min(bytes.get()));
        bytes.set(bytes.get().saturating_sub(kept.len()));
        self.room.was_short.set(self.room.was_short.get() || kept.len() < text.len());
        Value::String(kept.into_owned())
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        if self.has_room() {
            deserializer.deserialize_any(self).map(Some)
        } else {
            deserializer.deserialize_ignored_any(IgnoredAny).map(|IgnoredAny| None)
        }
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(self.text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self.inner())? {
            values.extend(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<Cow<'de, str>>()? {
            if self.depth == 0 && members.len() >= MEMBERS_MAX {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = object.next_value_seed(self.inner())?;
            let is_short = self.depth == 0 && self.room.was_short.take();
            // Half a rule would grant more than the whole one.
            let Some(value) = value.filter(|_| !(is_short && name == SUGGESTIONS)) else { continue };
            if let Value::String(name) = self.text(&name) {
                members.insert(name, value);
            }
        }
        Ok(members.into())
    }
}

/// The same without halves of surrogate pairs, which no text can hold.
fn mended(json: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Cow::Borrowed(json);
    let mut at = 0;
    while let Some(found) = json[at..].iter().position(|byte| *byte == b'\\') {
        at += found;
        match escaped(json, at) {
            Some(0xD800..=0xDBFF) if matches!(escaped(json, at + 6), Some(0xDC00..=0xDFFF)) => at += 12,
            Some(0xD800..=0xDFFF) => {
                mended.to_mut()[at + 2..at + 6].copy_from_slice(b"fffd");
                at += 6;
            }
            // Whatever is escaped is no beginning of an escape.
            _ => at = (at + 2).min(json.len()),
        }
    }
    mended
}

/// The unit that an escape (a backslash, `u` and four hexadecimal digits) at this place stands for.
fn escaped(json: &[u8], at: usize) -> Option<u32> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_ordinary_hook_is_read_as_it_is() {
        let hook = json!({"session_id": "s", "n": [1, -2, 0.5, null, true], "deep": {"a": [{"b": "ä\n"}]}});
        assert_eq!(read(hook.to_string().as_bytes()).expect("JSON"), hook);
        assert!(read(b"{").is_err() && read(b"{} {}").is_err() && read(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn halves_of_pairs_are_mended_and_pairs_stay() {
        let read = |json: &str| read(json.as_bytes()).expect("JSON");
        assert_eq!(
            read(r#"["\ud83d\ude00","a\ud83d","\ude00b","\ud83d\ud83d\ude00","\\ud83d","\u00e4"]"#),
            json!(["😀", "a\u{fffd}", "\u{fffd}b", "\u{fffd}😀", "\\ud83d", "ä"])
        );
    }

    #[test]
    fn what_may_be_granted_is_whole_or_not_there() {
        let suggestions = json!([{"type": "addRules", "rules": [{"toolName": "Bash", "ruleContent": "npm test"}]}]);
        let many = vec![0; VALUES_MAX - 5];
        let hook = json!({"a": many, "permission_suggestions": suggestions});
        assert!(read(hook.to_string().as_bytes()).expect("JSON").get("permission_suggestions").is_none());
        let hook = json!({"a": many[1..], "permission_suggestions": suggestions});
        assert_eq!(read(hook.to_string().as_bytes()).expect("JSON")["permission_suggestions"], suggestions);
    }

    #[test]
    fn a_body_of_any_shape_takes_bounded_memory_and_says_what_it_is() {
        let many = format!("[{}]", vec![r#"{"a":{}}"#; 100_000].join(","));
        let texts = format!("[{}]", vec![format!("\"{}\"", "x".repeat(90_000)); 40].join(","));
        let names = (0..1_000).fold(String::new(), |names, n| names + ",\"m" + &n.to_string() + "\":[]");
        let body = format!(r#"{{"tool_input":{many},"texts":{texts},"hook_event_name":"Stop"{names}}}"#);
        let hook = read(body.as_bytes()).expect("JSON");
        assert_eq!(hook["hook_event_name"], "Stop");
        assert_eq!(hook.as_object().map(Map::len), Some(MEMBERS_MAX));
        assert!(hook["tool_input"].as_array().is_some_and(|list| list.len() <= VALUES_MAX));
        assert!(hook.to_string().len() < TEXTS_BYTES_MAX + 64 * VALUES_MAX);
    }
}
