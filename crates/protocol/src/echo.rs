//! What an answer repeats of its client's own text: enough to find the place, never so much that a small request makes a
//! large answer.

use crate::limits::ECHO_BYTES_MAX;

/// What a parser says of a text may be so long, in bytes, before it counts as repeating the text.
const SENTENCE_BYTES_MAX: usize = 256;

/// The beginning of a client's text, at most [`ECHO_BYTES_MAX`] bytes, without control characters.
pub fn text(text: &str) -> String {
    let shown = &text[..text.floor_char_boundary(ECHO_BYTES_MAX)];
    shown.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What the JSON parser says, which may name a field or a value in full: of a long sentence its beginning and the place.
pub fn parse_error(error: &serde_json::Error) -> String {
    let sentence = error.to_string();
    if sentence.len() <= SENTENCE_BYTES_MAX {
        return sentence;
    }
    let (line, column) = (error.line(), error.column());
    format!("{}\u{2026} at line {line} column {column}", text(&sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(text("a\nb"), "a\u{fffd}b");
        assert_eq!(text(&"ä".repeat(100)), "ä".repeat(ECHO_BYTES_MAX / 2));
        assert_eq!(text(&format!("x{}", "ä".repeat(100))).len(), ECHO_BYTES_MAX - 1);
    }

    #[test]
    fn a_parsers_sentence_keeps_its_place() {
        let error = |json: &str| serde_json::from_str::<bool>(json).expect_err("no truth value");
        assert_eq!(parse_error(&error("{")), error("{").to_string());
        let long = parse_error(&error(&format!("\n\"{}\"", "x".repeat(10_000))));
        assert!(long.len() <= SENTENCE_BYTES_MAX, "{long}");
        assert!(long.ends_with("\u{2026} at line 2 column 10002"), "{long}");
    }
}
