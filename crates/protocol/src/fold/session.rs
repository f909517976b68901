//! The little that the fold must understand of a session: whether it is over, and what its summary says.

use serde_json::value::RawValue;

use super::body::Body;
use crate::effects;

/// A summary's title, in bytes of text.
const SUMMARY_TITLE_BYTES_MAX: usize = 200;
/// Any other value of a summary, in bytes of JSON; a longer one is left out.
const SUMMARY_VALUE_BYTES_MAX: usize = 200;
/// How a session is called whose runner is gone.
const LOST: &[u8] = br#""lost""#;

impl Body {
    /// Whether the session has ended, or its runner is gone and was not heard of since.
    pub(crate) fn has_ended(&self) -> bool {
        self.is_blank() || self.has_closed() || self.json("lost").is_some()
    }

    /// The session's status, as JSON: what was last said, but `lost` while an open one's runner is gone.
    pub(crate) fn status(&self) -> Option<&[u8]> {
        if self.json("lost").is_some() && !self.has_closed() { Some(LOST) } else { self.json("status") }
    }

    fn has_closed(&self) -> bool {
        matches!(self.json("status"), Some(br#""completed""# | br#""failed""# | br#""cancelled""#))
    }

    /// What stays in the list when the session goes: a JSON object.
    pub(crate) fn summary(&self) -> Vec<u8> {
        let mut parts: Vec<(&str, Box<RawValue>)> = Vec::new();
        let title: Option<String> = self.json("title").and_then(|title| serde_json::from_slice(title).ok());
        if let Some(title) = title {
            let title = effects::cut_text(&title, SUMMARY_TITLE_BYTES_MAX);
            parts.push(("title", serde_json::value::to_raw_value(&title).expect("a text serializes")));
        }
        let others = [("status", self.status()), ("started", self.json("started")), ("ended", self.json("ended"))];
        for (name, value) in others {
            let value = value.filter(|value| value.len() <= SUMMARY_VALUE_BYTES_MAX);
            if let Some(value) = value.and_then(|value| serde_json::from_slice(value).ok()) {
                parts.push((name, value));
            }
        }
        let mut text = b"{".to_vec();
        for (index, (name, value)) in parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            text.extend_from_slice(format!("{comma}\"{name}\":{value}").as_bytes());
        }
        text.push(b'}');
        text
    }
}
