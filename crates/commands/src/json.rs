//! JSON as text: what passes through is never read into numbers and written again.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object in their order, values as they stand.
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// A name, borrowed where it has no escapes.
struct Name;

impl<'de> serde::de::DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl<'a> Members<'a> {
    /// The members of `json`; none: it is no object, or not JSON.
    pub(crate) fn of(json: &'a str) -> Option<Members<'a>> {
        serde_json::from_str(json).ok()
    }

    /// The last member of this name (the one that JSON readers take), unless it is null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.get());
        found.filter(|json| *json != "null")
    }

    /// The text of a member that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }
}

/// Text as a JSON string. Control characters beyond ASCII's are escaped as well, since notes of guards hold none.
pub(crate) fn string(text: &str) -> String {
    escaped(&serde_json::to_string(text).expect("a string is JSON"))
}

/// JSON (without white space outside strings) without control characters.
pub(crate) fn escaped(json: &str) -> String {
    if !json.chars().any(char::is_control) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        // All of them lie in the basic plane.
        if c.is_control() {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// JSON that is known to be valid, without white space outside strings.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut inside, mut escape) = (false, false);
    for c in json.chars() {
        match c {
            _ if escape => escape = false,
            '\\' if inside => escape = true,
            '"' => inside = !inside,
            ' ' | '\t' | '\n' | '\r' if !inside => continue,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// How deep arrays and objects lie in each other, in JSON that is known to be valid; 0: there are none.
pub(crate) fn depth(json: &str) -> usize {
    let (mut inside, mut escape) = (false, false);
    let (mut now, mut most) = (0_usize, 0);
    for b in json.bytes() {
        match b {
            _ if escape => escape = false,
            b'\\' if inside => escape = true,
            b'"' => inside = !inside,
            b'[' | b'{' if !inside => {
                now += 1;
                most = most.max(now);
            }
            b']' | b'}' if !inside => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// An object's JSON with members added at its end; `more` is `"name":value` with commas between, and not empty.
pub(crate) fn with_members(object: &str, more: &str) -> String {
    let open = object.trim_end().strip_suffix('}').unwrap_or(object);
    let comma = if open.trim_end().ends_with('{') { "" } else { "," };
    format!("{open}{comma}{more}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_outside_strings_goes() {
        for (json, expected) in [
            (" { \"a b\" : [ 1.50e+1 , \" x \\\" y \" ] }\n", r#"{"a b":[1.50e+1," x \" y "]}"#),
            (r#""\\""#, r#""\\""#),
            (r#" {"a": "\\\" z" , "b":2}"#, r#"{"a":"\\\" z","b":2}"#),
        ] {
            assert_eq!(compact(json), expected);
        }
    }

    #[test]
    fn depth_counts_containers_outside_strings() {
        for (json, expected) in [("1", 0), (r#"{"a":[1],"b":[]}"#, 2), (r#""[[\"[""#, 0), (r#"[{"[":"{"}]"#, 2)] {
            assert_eq!(depth(json), expected, "{json}");
        }
    }

    #[test]
    fn members_are_added_at_the_end() {
        assert_eq!(with_members("{}", "\"a\":1"), r#"{"a":1}"#);
        assert_eq!(with_members("{ \"b\": 2.0 } ", "\"a\":1"), "{ \"b\": 2.0 ,\"a\":1}");
    }

    #[test]
    fn members_keep_their_text() {
        let members = Members::of(r#"{"\u0061":1.00,"b":null,"c":"x\ny","a":2e9}"#).expect("an object");
        assert_eq!((members.get("a"), members.get("b"), members.text("c")), (Some("2e9"), None, Some("x\ny".into())));
        assert!(Members::of("[1]").is_none());
    }

    #[test]
    fn no_control_character_is_left() {
        assert_eq!(string("a\u{85}b\n"), "\"a\\u0085b\\n\"");
    }
}
