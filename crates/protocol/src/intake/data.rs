//! `data` without white space, in one pass over JSON that is known to be valid: depth, and where the top-level members lie.

use std::ops::Range;

/// What the pass found. Ranges are of the text that was written to.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// Everything.
    pub(super) range: Range<usize>,
    /// Deepest nesting; 0 for a scalar.
    pub(super) depth: usize,
    /// Whether it is an object.
    pub(super) is_object: bool,
    /// An object's members, in order; those that begin behind the size limit are left out.
    pub(super) members: Vec<Member>,
}

/// One member of the top level.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Its name as it is written, without the quotes.
    name: Range<usize>,
    /// Its name as it is meant, where that differs.
    decoded: Option<Box<str>>,
    /// Its value.
    value: Range<usize>,
}

impl Member {
    fn name<'m>(&'m self, json: &'m str) -> &'m str {
        self.decoded.as_deref().unwrap_or_else(|| &json[self.name.clone()])
    }
}

impl Data {
    /// The last member of this name (the one that JSON readers take), as JSON.
    pub(super) fn member<'j>(&self, json: &'j str, name: &str) -> Option<&'j str> {
        self.member_range(json, name).map(|range| &json[range])
    }

    /// Where its value lies.
    pub(super) fn member_range(&self, json: &str, name: &str) -> Option<Range<usize>> {
        let found = self.members.iter().rev().find(|member| member.name(json) == name)?;
        Some(found.value.clone())
    }

    /// Notes a member whose value ends at `end`.
    fn note(&mut self, member: &mut Member, end: usize, bytes_max: usize) {
        if member.name.start - self.range.start <= bytes_max {
            let (name, decoded) = (member.name.clone(), member.decoded.take());
            self.members.push(Member { name, decoded, value: member.value.start..end });
        }
    }

    /// A hash of the top-level names that depends on nothing else, the same for ever: FNV-1a over the sorted names, each
    /// ended by a byte that UTF-8 does not have.
    pub(super) fn names_hash(&self, json: &str) -> u64 {
        let mut names: Vec<&str> = self.members.iter().map(|member| member.name(json)).collect();
        names.sort_unstable();
        names.dedup();
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        names.iter().fold(0xcbf2_9ce4_8422_2325, |hash, name| step(name.bytes().fold(hash, step), 0xff))
    }
}

/// The text of a name (as JSON) that is written with escapes; one that cannot be decoded (half a surrogate pair) stands as
/// it is written, as do all others.
fn decoded(name: &str) -> Option<Box<str>> {
    if name.contains('\\') { serde_json::from_str(name).ok() } else { None }
}

/// Appends `raw`, which must be valid JSON, to `out` without white space outside strings. Notes no members behind
/// `bytes_max`: the whole is refused then, and must not cost more memory than what is taken.
pub(super) fn compact(raw: &str, bytes_max: usize, out: &mut String) -> Data {
    let bytes = raw.as_bytes();
    let start = out.len();
    let mut data = Data { range: start..start, ..Data::default() };
    let (mut at, mut run, mut depth) = (0, 0, 0_usize);
    let mut member = Member { name: 0..0, decoded: None, value: 0..0 };
    let mut name_is_next = false;
    while at < bytes.len() {
        // Where the byte at `at` will stand: everything from `run` on is not written yet.
        let place = out.len() + at - run;
        let top = depth == 1 && data.is_object;
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at + 1);
                if top && name_is_next {
                    member.name = place + 1..place + end - at;
                    member.decoded = decoded(&raw[at..=end]);
                    name_is_next = false;
                }
                at = end;
            }
            opening @ (b'{' | b'[') => {
                depth += 1;
                data.depth = data.depth.max(depth);
                if depth == 1 {
                    data.is_object = opening == b'{';
                    name_is_next = true;
                }
            }
            b'}' | b']' => {
                // An empty object has no member to end.
                if top && !name_is_next {
                    data.note(&mut member, place, bytes_max);
                }
                depth -= 1;
            }
            b':' if top => member.value.start = place + 1,
            b',' if top => {
                data.note(&mut member, place, bytes_max);
                name_is_next = true;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push_str(&raw[run..at]);
                run = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    out.push_str(&raw[run..]);
    data.range.end = out.len();
    data
}

/// Index of the quote that ends the string whose inside starts at `at`.
pub(crate) fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += quote_or_escape(&bytes[at..]);
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
}

/// Index of the first quote or backslash; valid JSON has one. Eight bytes at a time: most of what passes is text.
fn quote_or_escape(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    // The lowest high bit that is set marks the first byte that is zero (higher ones may be false alarms).
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let (words, rest) = bytes.as_chunks::<8>();
    for (nth, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\')));
        if found != 0 {
            return nth * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let tail = rest.iter().position(|b| matches!(b, b'"' | b'\\')).expect("a string in valid JSON ends");
    words.len() * 8 + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compacted(raw: &str) -> (String, Data) {
        let mut out = String::from("##");
        let data = compact(raw, 1_000, &mut out);
        assert_eq!(data.range, 2..out.len());
        (out, data)
    }

    #[test]
    fn only_white_space_outside_strings_goes() {
        for (raw, expected) in [
            (r#" { "a" : [ 1 , 2.50e+1 ] , "b c" : " x \" y " } "#, r#"{"a":[1,2.50e+1],"b c":" x \" y "}"#),
            ("\t[\r\n]\n", "[]"),
            ("{ }", "{}"),
            (" -0.0 ", "-0.0"),
            (r#""\\""#, r#""\\""#),
            (r#""a long string \\\" with quotes  and  spaces""#, r#""a long string \\\" with quotes  and  spaces""#),
            (r#"{"ä":"  é  \ud83d"}"#, r#"{"ä":"  é  \ud83d"}"#),
        ] {
            assert_eq!(&compacted(raw).0[2..], expected);
        }
    }

    #[test]
    fn members_are_found_and_the_last_of_a_name_counts() {
        let (json, data) =
            compacted(r#"{ "a" : { "b" : 1 , "a" : 2 } , "\u0062" : [ 3 , "," ] , "a" : "x:{y" , "" : null }"#);
        assert_eq!(data.member(&json, "a"), Some(r#""x:{y""#));
        assert_eq!(data.member(&json, "b"), Some(r#"[3,","]"#));
        assert_eq!(data.member(&json, ""), Some("null"));
        assert_eq!(data.member(&json, "c"), None);
        assert_eq!(data.members.len(), 4);
        assert!(compacted(r#"[{"a":1}]"#).1.members.is_empty());
        assert!(compacted("{}").1.members.is_empty());
    }

    #[test]
    fn members_behind_the_limit_are_not_noted() {
        let mut out = String::new();
        let data = compact(r#"{"a":1,"b":2,"c":3}"#, 7, &mut out);
        assert_eq!(out, r#"{"a":1,"b":2,"c":3}"#);
        assert_eq!(data.members.len(), 1);
    }

    #[test]
    fn depth_counts_containers() {
        for (raw, depth) in
            [("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#""[[[""#, 0), ("[[],[[]]]", 3), ("[[[]],[]]", 3)]
        {
            assert_eq!(compacted(raw).1.depth, depth, "{raw}");
        }
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(compacted(&deep).1.depth, 1_000_000);
    }

    /// Golden: stored hashes are compared with new ones for as long as a log lives.
    #[test]
    fn the_hash_of_names_never_changes() {
        let hash = |raw| {
            let (json, data) = compacted(raw);
            data.names_hash(&json)
        };
        assert_eq!(hash("{}"), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(r#"{"a":1}"#), 0x089b_c907_b544_c769);
        assert_eq!(hash(r#"{"status":"idle","progress":65}"#), 0xe45e_30e4_e84b_46f6);
        assert_eq!(hash(r#"{"a":1,"b":2}"#), hash(r#"{ "b":{"c":3}, "\u0061":[], "a":1 }"#));
        assert_ne!(hash(r#"{"ab":1}"#), hash(r#"{"a":1,"b":2}"#));
        assert_eq!(hash("[1]"), hash("{}"));
    }
}
