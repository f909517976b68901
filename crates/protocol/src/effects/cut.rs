//! Cutting untrusted values to a size that state can afford.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// Ends a text that was cut.
pub const MARK: char = '…';

/// Deeper parts of a value become null.
const DEPTH_MAX: usize = 16;

/// `text`, at most `bytes_max` bytes of it: cut between characters, the last of them then [`MARK`].
pub fn text(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let Some(room) = bytes_max.checked_sub(MARK.len_utf8()) else { return Cow::Borrowed("") };
    let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    Cow::Owned(format!("{}{MARK}", &text[..end]))
}

/// `value`, at most `bytes_max` bytes of JSON: long strings end in [`MARK`], arrays and objects lose their tails.
pub fn value(value: &Value, bytes_max: usize) -> Value {
    let mut room = bytes_max;
    loop {
        let mut left = room;
        let cut = part(value, &mut left, 0);
        // The budget counts characters that need no escape; others may grow sixfold, so measure and try again.
        if encoded_len(&cut) <= bytes_max {
            return cut;
        }
        if room == 0 {
            return Value::Null;
        }
        room /= 2;
    }
}

fn part(value: &Value, left: &mut usize, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    match value {
        Value::String(string) => {
            *left = left.saturating_sub(2);
            let cut = text(string, *left);
            *left -= cut.len();
            Value::String(cut.into_owned())
        }
        Value::Array(items) => {
            *left = left.saturating_sub(2);
            let mut kept = Vec::new();
            for item in items {
                let Some(rest) = left.checked_sub(1).filter(|rest| *rest >= least(item)) else { break };
                *left = rest;
                kept.push(part(item, left, depth + 1));
            }
            Value::Array(kept)
        }
        Value::Object(members) => {
            *left = left.saturating_sub(2);
            let mut kept = Map::new();
            for (name, member) in members {
                let quoted = name.len() + 4;
                let Some(rest) = left.checked_sub(quoted).filter(|rest| *rest >= least(member)) else { break };
                *left = rest;
                kept.insert(name.clone(), part(member, left, depth + 1));
            }
            Value::Object(kept)
        }
        scalar => {
            *left = left.saturating_sub(encoded_len(scalar));
            scalar.clone()
        }
    }
}

/// What is left of a value at the least: a pair of quotes or brackets, or all of it.
fn least(value: &Value) -> usize {
    match value {
        Value::String(_) | Value::Array(_) | Value::Object(_) => 2,
        scalar => encoded_len(scalar),
    }
}

fn encoded_len(value: &Value) -> usize {
    /// Counts what is written.
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("a value with string keys always serializes");
    count.0
}
