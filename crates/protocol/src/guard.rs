//! What becomes of an event that comes back and finds another one under its guard's key (docs/log.md L9).

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire;

/// Said in `data`.
const SUPERSEDED: &str = "\"superseded\":true";

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// The event as it stands beside the one that holds its place: without guard and effects, with `superseded: true` in its
/// `data`. Everything else stays as it is, byte for byte. Data that is no object stays as it is, too.
pub fn supersede(event: &mut wire::Event) {
    event.guard = None;
    event.effects.clear();
    let Some((at, text)) = insertion(&event.json) else { return };
    let mut json = Vec::with_capacity(event.json.len() + text.len());
    json.extend_from_slice(&event.json[..at]);
    json.extend_from_slice(text.as_bytes());
    json.extend_from_slice(&event.json[at..]);
    event.json = json.into();
    if let Some(span) = event.text.as_mut().filter(|span| span.offset as usize >= at) {
        span.offset += u32::try_from(text.len()).expect("a few words");
    }
}

/// Where the word belongs, and as what: at the end of its object, where it counts even if the object has one already.
fn insertion(json: &[u8]) -> Option<(usize, String)> {
    let envelope: Envelope<'_> = serde_json::from_slice(json).ok()?;
    let before = |open: usize, end: usize, word: String| {
        let empty = json[open + 1..end].iter().all(u8::is_ascii_whitespace);
        (end, if empty { word } else { format!(",{word}") })
    };
    match envelope.data.map(RawValue::get) {
        Some(data) if data.starts_with('{') => {
            let open = data.as_ptr() as usize - json.as_ptr() as usize;
            Some(before(open, open + data.len() - 1, SUPERSEDED.to_owned()))
        }
        Some(_) => None,
        None => {
            let open = json.iter().position(|byte| *byte == b'{')?;
            let end = json.iter().rposition(|byte| *byte == b'}')?;
            Some(before(open, end, format!("\"data\":{{{SUPERSEDED}}}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let mut event = wire::Event {
            json: json.to_owned().into(),
            guard: Some(wire::Guard::default()),
            effects: vec![wire::Effect::default()],
            ..wire::Event::default()
        };
        supersede(&mut event);
        assert_eq!(std::str::from_utf8(&event.json).expect("text"), expected);
        assert_eq!((event.guard, event.effects.len()), (None, 0));
    }

    #[test]
    fn data_says_so_and_nothing_else_changes() {
        check(r#"{"a":1,"data":{"x":"}"},"b":2}"#, r#"{"a":1,"data":{"x":"}","superseded":true},"b":2}"#);
        check(r#"{"data":{ }}"#, r#"{"data":{ "superseded":true}}"#);
        check(r#"{"a":1}"#, r#"{"a":1,"data":{"superseded":true}}"#);
        check("{}", r#"{"data":{"superseded":true}}"#);
        check(r#"{"data":[1]}"#, r#"{"data":[1]}"#);
    }

    #[test]
    fn the_text_stays_where_it_is() {
        let json = r#"{"data":{"x":1},"text":"hi"}"#;
        let offset = |json: &[u8]| String::from_utf8_lossy(json).find("hi").expect("it is there");
        let text = wire::TextSpan { offset: u32::try_from(offset(json.as_bytes())).expect("few"), length: 2 };
        let mut event = wire::Event { json: json.into(), text: Some(text), ..wire::Event::default() };
        supersede(&mut event);
        assert_eq!(event.text.map(|span| span.offset as usize), Some(offset(&event.json)));
    }
}
