//! Unknown keys, and what was probably meant.

use super::section::Section;
use super::source::{Given, Origin};
use super::{Config, Fault};

/// The fault of a value whose key nobody knows.
pub(super) fn unknown(given: Given) -> Fault {
    let Given { key, value, origin } = given;
    let config = Config::default();
    let is_section = config.sections().iter().any(|section| section.name() == key);
    let message = if is_section {
        format!("is a section, not a value: found a {}", value.type_str())
    } else if value.is_table() {
        "unknown key: sections have no sections of their own".to_owned()
    } else {
        match nearest(&key) {
            Some(known) => format!("unknown key (did you mean {}?)", written(known, &origin)),
            None => "unknown key".to_owned(),
        }
    };
    Fault::new(Some(origin), key, message)
}

/// A key as this source would write it.
fn written(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::File(_) | Origin::Flag(_) => key.to_owned(),
        Origin::Variable(_) => format!("TIDINGS_{}", key.replacen('.', "__", 1).to_ascii_uppercase()),
    }
}

/// The known key that is fewest edits away, if it is near enough to be a slip: one edit in four characters.
fn nearest(key: &str) -> Option<&'static str> {
    let config = Config::default();
    let plain = |key: &str| key.to_ascii_lowercase().replace(['-', '.'], "_");
    let wanted = plain(key);
    let known = config.sections().into_iter().flat_map(Section::keys).map(|key| key.path);
    let (edits, best) = known.map(|path| (distance(&wanted, &plain(path)), path)).min()?;
    (edits <= (wanted.len() / 4).max(2)).then_some(best)
}

/// Insertions, deletions and replacements between two words (Levenshtein), by bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        assert_eq!(nearest("gateway.lissten"), Some("gateway.listen"));
        assert_eq!(nearest("gateway.admin-listen"), Some("gateway.admin_listen"));
        assert_eq!(nearest("gateway_listen"), Some("gateway.listen"));
        assert_eq!(nearest("redis.uri"), Some("redis.url"));
        assert_eq!(nearest("planets.venus"), None);
    }
}
