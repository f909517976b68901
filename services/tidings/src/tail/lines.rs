//! NDJSON: one line per event, byte for byte as delivered; gaps are lines, too. What is no event goes to standard error.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Item, Output, aside};

/// Lines that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Lines {
    out: Vec<u8>,
}

/// A compacted backlog.
#[derive(Deserialize)]
pub(super) struct Compacted<'a> {
    /// Its events, as they are.
    #[serde(borrow)]
    pub(super) events: Vec<&'a RawValue>,
}

impl Output for Lines {
    fn item(&mut self, item: &Item) {
        match item {
            Item::Event(json) => self.line(json),
            Item::Events(json) => match serde_json::from_slice::<Compacted<'_>>(json) {
                Ok(list) => list.events.iter().for_each(|event| self.line(event.get().as_bytes())),
                Err(_) => self.line(json),
            },
            Item::Degraded(true) => aside("the store is away: events may be late"),
            Item::Degraded(false) => aside("the store is back"),
            Item::Connected => {}
            Item::Away(why) => aside(&format!("no connection ({why}); trying again")),
            Item::Back => aside("connected again"),
        }
    }

    fn finish(&mut self) {}

    fn pending(&self) -> usize {
        self.out.len()
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

impl Lines {
    fn line(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
        self.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_lines_byte_for_byte_however_they_were_delivered() {
        let mut lines = Lines::default();
        lines.item(&Item::Event(br#"{"type":"log","data":{"n":1.0e0}}"#.to_vec()));
        let list = br#"{"compacted":true,"position":"1-3.a","events":[{"type":"a","data":1e2},{"type":"gap"}]}"#;
        lines.item(&Item::Events(list.to_vec()));
        let text = String::from_utf8(lines.take()).expect("UTF-8");
        assert_eq!(
            text,
            "{\"type\":\"log\",\"data\":{\"n\":1.0e0}}\n{\"type\":\"a\",\"data\":1e2}\n{\"type\":\"gap\"}\n"
        );
        assert_eq!(lines.pending(), 0);
    }
}
