//! An event before it is sent.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// What a runner says of an event. `data` is kept as text, so that what was recorded passes byte for byte.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Draft {
    /// The event's type.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Repeated by retries, so that they are harmless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The runner's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Box<RawValue>>,
}

impl Draft {
    /// An event of a session.
    pub(crate) fn new(kind: &str, session: &str, data: &Value) -> Draft {
        let data = serde_json::value::to_raw_value(data).expect("a JSON value has string keys only");
        Draft { kind: kind.to_owned(), session: Some(session.to_owned()), data: Some(data), ..Draft::default() }
    }

    /// The same, of this agent.
    pub(crate) fn by(mut self, agent: &str) -> Draft {
        self.agent = Some(agent.to_owned());
        self
    }

    /// About how many bytes it takes in a request.
    pub(crate) fn bytes(&self) -> usize {
        const ENVELOPE: usize = 512;
        self.data.as_ref().map_or(0, |data| data.get().len()) + ENVELOPE
    }

    /// The event as JSON.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an event has string keys only")
    }
}
