//! Texts and values of a recording that are longer than an event may be, cut with a mark that says so.

use serde_json::Value;
use tidings_protocol::limits::DATA_BYTES_MAX;

/// JSON bytes that one text or value may take; two of them and their names fit into an event.
pub(super) const PART_BYTES_MAX: usize = DATA_BYTES_MAX / 2 - 4 * 1024;

/// Cuts, and counts how often.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    pub(super) count: usize,
}

impl Cutter {
    /// The text, its end replaced by a mark if it takes more than [`PART_BYTES_MAX`] bytes of JSON.
    pub(super) fn text(&mut self, text: &str) -> String {
        let mut taken = 0;
        let fits = text.char_indices().find(|(_, c)| {
            taken += json_bytes(*c);
            taken > PART_BYTES_MAX
        });
        let Some((end, _)) = fits else { return text.to_owned() };
        self.count += 1;
        format!("{}\n[… {} bytes cut]", &text[..end], text.len() - end)
    }

    /// The value, or if that is too large its JSON as a text that is cut.
    pub(super) fn value(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            other => {
                let json = other.to_string();
                if json.len() <= PART_BYTES_MAX { other.clone() } else { Value::String(self.text(&json)) }
            }
        }
    }
}

/// Bytes of a character in a JSON string.
fn json_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\x1f' => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_in_json_is_cut_with_a_mark() {
        let check = |text: &str, is_cut: bool| {
            let mut cutter = Cutter::default();
            let cut = cutter.text(text);
            let json = serde_json::to_string(&cut).expect("a string");
            assert!(json.len() <= PART_BYTES_MAX + 64, "{}", json.len());
            assert_eq!(cutter.count, usize::from(is_cut));
            assert_eq!(cut == text, !is_cut);
            assert_eq!(cut.ends_with(" bytes cut]"), is_cut);
        };
        check("short", false);
        check(&"x".repeat(PART_BYTES_MAX), false);
        check(&"x".repeat(PART_BYTES_MAX + 1), true);
        check(&"\u{1}".repeat(PART_BYTES_MAX / 6 + 1), true);
        check(&"漢".repeat(PART_BYTES_MAX / 3 + 1), true);
        let mut cutter = Cutter::default();
        let large = serde_json::json!({ "a": "x".repeat(PART_BYTES_MAX) });
        assert!(cutter.value(&large).is_string() && cutter.count == 1);
    }
}
