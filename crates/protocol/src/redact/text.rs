//! Finds in one text, by one set of rules.

use std::ops::Range;

use regex_automata::Input;
use regex_automata::meta::Regex;

use super::{MATCHES_MAX, RULE_NAME_BYTES_MAX, Rule};

/// What a mark begins with; the rule's name and `]` follow.
pub(super) const MARK: &str = "[redacted:";

/// Rules that are looked for together.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) regex: Regex,
    /// The rule of each of the patterns.
    pub(super) rules: Vec<Rule>,
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Find {
    pub(super) range: Range<usize>,
    pub(super) rule: Rule,
}

impl Stage {
    /// All finds, from left to right, none over another nor over a mark. With more than [`MATCHES_MAX`] the last one takes
    /// all that follows.
    pub(super) fn finds(&self, text: &str) -> Vec<Find> {
        let mut finds = Vec::new();
        let mut from = 0;
        while from < text.len() {
            let mark = mark(text, from);
            let to = mark.as_ref().map_or(text.len(), |mark| mark.start);
            // Only the span is searched, but edges of words are seen beyond it.
            let within = Input::new(text).span(from..to);
            for found in self.regex.find_iter(within) {
                if found.is_empty() {
                    continue;
                }
                let rule = self.rules[found.pattern().as_usize()];
                if finds.len() + 1 >= MATCHES_MAX {
                    finds.push(Find { range: found.start()..text.len(), rule });
                    return finds;
                }
                finds.push(Find { range: found.range(), rule });
            }
            from = mark.map_or(text.len(), |mark| mark.end);
        }
        finds
    }
}

/// The next mark from there on.
fn mark(text: &str, mut from: usize) -> Option<Range<usize>> {
    while let Some(found) = text[from..].find(MARK) {
        let start = from + found;
        let name = &text.as_bytes()[start + MARK.len()..];
        let length = name.iter().take(RULE_NAME_BYTES_MAX + 1).position(|b| !is_name_byte(*b)).unwrap_or(0);
        if length > 0 && name[length] == b']' {
            return Some(start..start + MARK.len() + length + 1);
        }
        from = start + MARK.len();
    }
    None
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_what_looks_alike() {
        for (text, expected) in [
            ("a[redacted:jwt]b", Some(1..15)),
            ("[redacted:][redacted:a-1]", Some(11..25)),
            ("[redacted:JWT]", None),
            ("[redacted:jwt", None),
            ("[redacted:", None),
            ("[redacted:abcdefghijklmnopqrstuvwxyz0123456]", None),
        ] {
            assert_eq!(mark(text, 0), expected, "{text}");
        }
    }
}
