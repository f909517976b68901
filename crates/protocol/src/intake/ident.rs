//! Names and ids: what they may be, and where an event gets one that retries repeat.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha1_smol::Sha1;

use crate::codes::ErrorCode;
use crate::limits::{NAME_BYTES_MAX, TYPE_BYTES_MAX};
use crate::problem::FieldProblem;

/// What is wrong with a name.
pub(super) fn name_fault(name: &str, bytes_max: usize) -> Option<impl FnOnce(FieldProblem) -> FieldProblem + use<>> {
    let actual = name.len();
    let expected = if name.is_empty() {
        "must not be empty"
    } else if actual > bytes_max {
        "too many bytes"
    } else if name.chars().any(char::is_control) {
        "must not have control characters"
    } else {
        return None;
    };
    Some(move |fault: FieldProblem| {
        let fault = fault.expected(expected);
        if actual > bytes_max { fault.limit(bytes_max, actual) } else { fault }
    })
}

/// What is wrong with an event's type: a code, and what was expected.
pub(super) fn type_fault(kind: &str) -> Option<(ErrorCode, &'static str)> {
    let segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let starts_well = kind.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if kind.len() > TYPE_BYTES_MAX {
        Some((ErrorCode::InvalidField, "too many bytes"))
    } else if !starts_well || !kind.split('.').all(segment) {
        Some((ErrorCode::InvalidField, "lower-case words of a-z, 0-9 and _, joined by dots, starting with a letter"))
    } else if crate::vocabulary::is_reserved(kind) {
        Some((ErrorCode::Reserved, "only the server makes events of this type"))
    } else {
        None
    }
}

/// Whether this is a W3C `traceparent`: version, trace id, parent id, flags; later versions may append.
pub(super) fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    };
    let some = |part: &str| part.bytes().any(|b| b != b'0');
    let mut parts = text.splitn(5, '-');
    let mut next = || parts.next().unwrap_or_default();
    let (version, trace, parent, flags) = (next(), next(), next(), next());
    let more = parts.next().is_some();
    hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && some(trace)
        && hex(parent, 16)
        && some(parent)
        && hex(flags, 2)
        && (version != "00" || !more)
}

/// A stable id for event `index` under an idempotency key. `parts` are what makes the event this event; they are hashed
/// with their lengths, so that no two lists of parts look alike.
pub(super) fn id_from_key<'p>(key: &str, index: u64, parts: impl Iterator<Item = Option<&'p str>>) -> String {
    let mut hash = Sha1::new();
    let mut add = |part: &str| {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    };
    add(key);
    for part in parts {
        // Absent and empty differ.
        add(if part.is_some() { "+" } else { "-" });
        add(part.unwrap_or_default());
    }
    format!("idem-{index}-{}", hash.digest())
}

/// A stable id for an event of a producer.
pub(super) fn id_from_producer(id: &str, epoch: u64, seq: u64) -> String {
    let mut out = String::with_capacity(id.len() + 24);
    out.push_str(id);
    let _ = write!(out, ":{epoch}:{seq}");
    if out.len() > NAME_BYTES_MAX {
        return format!("{}:{epoch}:{seq}", sha1_hex(id));
    }
    out
}

/// SHA-1 in hexadecimal: 40 characters. Here it only tells texts apart; nobody's safety rests on it.
pub(super) fn sha1_hex(text: &str) -> String {
    Sha1::from(text).digest().to_string()
}

/// A JSON string's text; `None` if this is not a string, or holds half a surrogate pair.
pub(super) fn text_of(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if inside.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json(text: &str, out: &mut String) {
    if text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push_str(&serde_json::to_string(text).expect("a string is JSON"));
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_dotted_lower_case() {
        for good in ["log", "agent.status", "a1_b.2.c", &format!("a{}", "b".repeat(63))] {
            assert_eq!(type_fault(good), None, "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "A", "1a", "_a", "a-b", "a b", "ä", "a\0", &"a".repeat(65)] {
            assert_eq!(type_fault(bad).map(|fault| fault.0), Some(ErrorCode::InvalidField), "{bad}");
        }
        for reserved in ["presence", "presence.joined", "presence.x.y", "session.lost"] {
            assert_eq!(type_fault(reserved).map(|fault| fault.0), Some(ErrorCode::Reserved), "{reserved}");
        }
        assert_eq!(type_fault("presences"), None);
    }

    #[test]
    fn traceparents_are_checked() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        assert!(is_traceparent(&good.replacen("00", "01", 1)));
        assert!(is_traceparent(&format!("{}-more", good.replacen("00", "01", 1))));
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &format!("{good}0"),
            &good.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    /// Golden: a retry that crosses an upgrade must give the same ids.
    #[test]
    fn ids_that_are_made_never_change() {
        let parts = || [Some("log"), None, Some("")].into_iter();
        assert_eq!(id_from_key("key", 7, parts()), "idem-7-22845717633bcf88f79611979de1795f9150bbb8");
        assert_ne!(id_from_key("key", 7, parts()), id_from_key("key2", 7, parts()));
        assert_eq!(id_from_producer("p", 2, 3), "p:2:3");
        let long = id_from_producer(&"p".repeat(128), u64::MAX, u64::MAX);
        assert!(long.len() <= NAME_BYTES_MAX, "{long}");
        assert!(long.starts_with(&sha1_hex(&"p".repeat(128))));
    }
}
