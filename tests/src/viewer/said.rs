//! What a gateway says, whatever the transport.

use std::borrow::Cow;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::place::Place;

/// One thing that a gateway said.
#[derive(Debug, Clone)]
pub enum Said {
    /// The greeting.
    Hello {
        /// The viewer's id.
        viewer: String,
    },
    /// A subscription stands, its stream starts here.
    Subscribed {
        /// Where.
        position: String,
    },
    /// An event.
    Event(Event),
    /// Something is missing.
    Gap(Gap),
    /// A compacted stretch, up to a position.
    Compacted {
        /// Its end.
        position: String,
        /// What is left of it.
        events: Vec<Event>,
    },
    /// The cursor moved without a word.
    At {
        /// To here.
        position: String,
    },
    /// State, true at a position.
    Snapshot {
        /// Where.
        position: String,
        /// The whole state.
        state: Value,
    },
    /// The store is away, or back.
    Degraded(bool),
    /// The gateway goes.
    Draining {
        /// When to come back.
        retry_after_ms: u64,
    },
    /// All that are there.
    Presence(Value),
    /// Somebody came or went: shaped like an event, without a position.
    Change(Value),
    /// Something was refused.
    Error {
        /// The code.
        code: String,
        /// The `ref` of what was refused.
        reference: Option<String>,
    },
    /// Anything else, by its `op`.
    Other(String),
    /// The connection was closed with a code.
    Closed {
        /// The number.
        code: u16,
        /// The reason.
        reason: String,
    },
}

/// An event as it was told.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its id.
    pub id: Box<str>,
    /// Its position.
    pub position: String,
    /// It was told with a former position.
    pub was: bool,
    /// It was told as one that was told before.
    pub seen: bool,
    /// The whole text.
    pub json: Box<str>,
}

/// A gap as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Exclusive lower bound.
    pub after: Place,
    /// Exclusive upper bound.
    pub before: Place,
    /// Why.
    pub cause: String,
    /// How many.
    pub lost: Option<u64>,
    /// Whether something is missing for sure.
    pub certain: bool,
    /// Where to resume.
    pub position: String,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    position: Option<String>,
    viewer: Option<String>,
    active: Option<bool>,
    retry_after_ms: Option<u64>,
    code: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    position: Option<String>,
    #[serde(borrow)]
    was: Option<&'a RawValue>,
    #[serde(default)]
    seen: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct GapData {
    after: Option<String>,
    before: Option<String>,
    cause: String,
    lost: Option<u64>,
    certain: bool,
}

impl Said {
    /// Reads a frame of `tidings.v1`.
    pub fn from_frame(text: &str) -> anyhow::Result<Said> {
        let frame: Frame<'_> = serde_json::from_str(text).with_context(|| format!("no frame: {text}"))?;
        let position = || frame.position.clone().context("a frame without position");
        Ok(match &*frame.op {
            "event" => Said::from_event(frame.event.context("an event frame without event")?.get())?,
            "events" => Said::Compacted { position: position()?, events: events(&frame.events.unwrap_or_default())? },
            "hello" => Said::Hello { viewer: frame.viewer.unwrap_or_default() },
            "subscribed" => Said::Subscribed { position: position()? },
            "at" => Said::At { position: position()? },
            "snapshot" => {
                let state = frame.state.context("a snapshot without state")?;
                Said::Snapshot { position: position()?, state: serde_json::from_str(state.get())? }
            }
            "presence" => Said::Presence(serde_json::from_str(text)?),
            "degraded" => Said::Degraded(frame.active.unwrap_or_default()),
            "draining" => Said::Draining { retry_after_ms: frame.retry_after_ms.context("no time to come back")? },
            "error" => Said::Error { code: frame.code.unwrap_or_default(), reference: frame.reference },
            other => Said::Other(other.to_owned()),
        })
    }

    /// Reads an event or a gap, which looks like one.
    pub fn from_event(json: &str) -> anyhow::Result<Said> {
        let outline: Outline<'_> = serde_json::from_str(json).with_context(|| format!("no event: {json}"))?;
        if outline.kind.starts_with("presence.") {
            return Ok(Said::Change(serde_json::from_str(json)?));
        }
        if outline.kind != "gap" {
            return Ok(Said::Event(outline.event(json)?));
        }
        let data: GapData = serde_json::from_str(outline.data.context("a gap without data")?.get())?;
        let place = |text: Option<String>| text.map_or(Ok(Place::default()), |text| text.parse());
        Ok(Said::Gap(Gap {
            after: place(data.after).map_err(anyhow::Error::msg)?,
            before: place(data.before).map_err(anyhow::Error::msg)?,
            cause: data.cause,
            lost: data.lost,
            certain: data.certain,
            position: outline.position.context("a gap without position")?,
        }))
    }

    /// Reads a block of server-sent events: its name, its id, its data. None: nothing was said.
    pub fn from_block(name: &str, id: Option<&str>, data: &str) -> anyhow::Result<Option<Said>> {
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(borrow)]
            events: Option<Vec<&'a RawValue>>,
            state: Option<Value>,
            active: Option<bool>,
            retry_after_ms: Option<u64>,
        }
        if data.is_empty() {
            return Ok(id.map(|id| Said::At { position: id.to_owned() }));
        }
        if matches!(name, "" | "gap") {
            return Said::from_event(data).map(Some);
        }
        let read: Data<'_> = serde_json::from_str(data).with_context(|| format!("no block: {data}"))?;
        let position = || id.map(str::to_owned).context("a block without id");
        Ok(Some(match name {
            "events" => Said::Compacted { position: position()?, events: events(&read.events.unwrap_or_default())? },
            "snapshot" => Said::Snapshot { position: position()?, state: read.state.context("no state")? },
            "degraded" => Said::Degraded(read.active.unwrap_or_default()),
            "draining" => Said::Draining { retry_after_ms: read.retry_after_ms.context("no time to come back")? },
            other => Said::Other(other.to_owned()),
        }))
    }
}

impl Outline<'_> {
    fn event(self, json: &str) -> anyhow::Result<Event> {
        Ok(Event {
            id: self.id.unwrap_or_default().into(),
            position: self.position.context("an event without position")?,
            was: self.was.is_some(),
            seen: self.seen,
            json: json.into(),
        })
    }
}

fn events(list: &[&RawValue]) -> anyhow::Result<Vec<Event>> {
    let read = |raw: &&RawValue| -> anyhow::Result<Event> {
        let outline: Outline<'_> = serde_json::from_str(raw.get())?;
        outline.event(raw.get())
    };
    list.iter().map(read).collect()
}
