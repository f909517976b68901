//! A walk over JSON that is known to be valid: its strings, redacted, and all else as it is. Does not recurse.

use std::borrow::Cow;

use super::builtin::{BY_NAME, is_secret_member};
use super::{Counts, Redactor};
use crate::intake::{push_json, string_end, without_half_pairs};

/// JSON with its strings redacted. `None`: nothing was found.
pub(super) fn json(redactor: &Redactor, json: &str, counts: &mut Counts) -> Option<String> {
    let bytes = json.as_bytes();
    let mut out: Option<String> = None;
    // Everything before `run` is in `out`, once there is one.
    let (mut at, mut run) = (0, 0);
    let mut secret = false;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at + 1);
                let raw = &json[at + 1..end];
                if bytes.get(end + 1) == Some(&b':') {
                    secret = redactor.builtin && is_secret_member(raw);
                } else {
                    if let Some(redacted) = string(redactor, raw, secret, counts) {
                        let out = out.get_or_insert_with(|| String::with_capacity(json.len()));
                        out.push_str(&json[run..at]);
                        push_json(&redacted, out);
                        run = end + 1;
                    }
                    secret = false;
                }
                at = end + 1;
            }
            // A name's own value only, not what lies deeper in it.
            b'{' | b'[' => {
                secret = false;
                at += 1;
            }
            _ => at += 1,
        }
    }
    out.map(|mut out| {
        out.push_str(&json[run..]);
        out
    })
}

/// The text of one string, redacted. `raw`: its inside, escapes and all.
fn string(redactor: &Redactor, raw: &str, secret: bool, counts: &mut Counts) -> Option<String> {
    let text = if raw.contains('\\') { Cow::Owned(decoded(raw)?) } else { Cow::Borrowed(raw) };
    if secret && !text.is_empty() && !is_mark(&text) {
        let mut whole = String::new();
        redactor.put(BY_NAME, &mut whole);
        counts.add(BY_NAME);
        return Some(whole);
    }
    redactor.text(&text, counts)
}

fn is_mark(text: &str) -> bool {
    text.starts_with(super::text::MARK) && text.ends_with(']') && !text.contains(char::is_whitespace)
}

/// What a string means. Half a surrogate pair becomes U+FFFD: such a string changes there if something in it is found.
fn decoded(raw: &str) -> Option<String> {
    let quoted = format!("\"{raw}\"");
    serde_json::from_str(&quoted).ok().or_else(|| serde_json::from_str(&without_half_pairs(&quoted)).ok())
}
