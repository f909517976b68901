//! A recording: what a file holds, told by its content, as steps in the native vocabulary; all of them valid.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tidings_protocol::intake::{Intake, parse_line};
use tidings_protocol::limits::EventLimits;

use super::{ag_ui, native, swe_agent};
use crate::client::draft::Draft;
use crate::terminal::plain::plain;

/// Faults that a refusal names.
const FAULTS_SHOWN: usize = 10;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Events of AG-UI, one list or several by name.
    AgUi,
    /// Our own events.
    Native,
    /// A trajectory of SWE-agent.
    SweAgent,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Format::AgUi => "AG-UI events",
            Format::Native => "native events",
            Format::SweAgent => "a SWE-agent trajectory",
        }
    }
}

/// The pause before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// None: it belongs to the step before.
    None,
    /// The recording does not tell.
    Unknown,
    /// As recorded.
    Known(Duration),
}

impl Pause {
    /// The pause, or `step` where it is not known.
    pub(super) fn or(self, step: Duration) -> Duration {
        match self {
            Pause::None => Duration::ZERO,
            Pause::Unknown => step,
            Pause::Known(pause) => pause,
        }
    }
}

/// One event, and how long after the one before.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) pause: Pause,
    pub(super) event: Draft,
    /// Where in the file it comes from.
    pub(super) place: Place,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A line, from 1.
    Line(usize),
    /// An element of a list (which may have a name), from 0.
    Index(Option<String>, usize),
    /// The file as a whole.
    Whole,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(line) => write!(f, "line {line}"),
            Place::Index(None, index) => write!(f, "[{index}]"),
            Place::Index(Some(list), index) => write!(f, "{}[{index}]", plain(list)),
            Place::Whole => f.write_str("the file"),
        }
    }
}

/// Something in a recording that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) what: String,
}

impl Fault {
    pub(super) fn new(place: Place, what: impl Into<String>) -> Fault {
        Fault { place, what: what.into() }
    }
}

/// Everything in a file that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) struct Faults(pub(super) Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.0.iter().take(FAULTS_SHOWN).enumerate() {
            let lead = if self.0.len() == 1 { "" } else { "\n  " };
            let lead = if number == 0 && self.0.len() == 1 { "" } else { lead };
            write!(f, "{lead}{}: {}", fault.place, plain(&fault.what))?;
        }
        match self.0.len().saturating_sub(FAULTS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Faults {
        Faults(vec![fault])
    }
}

/// A recording, ready to be posted.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) format: Format,
    pub(super) steps: Vec<Step>,
    /// Gap rows that were left out.
    pub(super) gaps: usize,
    /// Events that only a server may say, which were left out.
    pub(super) reserved: usize,
    /// Texts that were cut.
    pub(super) cut: usize,
}

impl Recording {
    /// An empty one.
    pub(super) fn new(format: Format) -> Recording {
        Recording { format, steps: Vec::new(), gaps: 0, reserved: 0, cut: 0 }
    }

    /// Reads a file's content. `name` is the file's, for sessions that have no other.
    ///
    /// # Errors
    /// With every fault of it: what is not understood, and what a server would refuse.
    pub(super) fn read(bytes: &[u8], name: &str) -> Result<Recording, Faults> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            Fault::new(Place::Line(line), "is not UTF-8")
        })?;
        let name = name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("replay");
        let recording = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(file)) if file.get("trajectory").is_some_and(Value::is_array) => {
                swe_agent::map(&file, name)?
            }
            Ok(Value::Array(list)) if list.iter().any(ag_ui::is_event) => ag_ui::map(&[(None, &list)], name)?,
            Ok(Value::Object(file)) if is_traces(&file) => {
                let traces =
                    file.iter().filter_map(|(name, list)| Some((Some(name.as_str()), list.as_array()?.as_slice())));
                ag_ui::map(&traces.collect::<Vec<_>>(), name)?
            }
            Ok(Value::Object(file)) if file.get("events").is_some_and(Value::is_array) => native::list_in_object(text)?,
            Ok(Value::Array(_)) => native::list(text)?,
            // One line alone is both, and what is not one JSON value may be one a line.
            Ok(_) | Err(_) => native::lines(text)?,
        };
        if recording.steps.is_empty() {
            return Err(Fault::new(Place::Whole, "holds no events").into());
        }
        recording.check()?;
        Ok(recording)
    }

    /// Whether a server (with the limits of a server that was not configured otherwise) would take every event.
    fn check(&self) -> Result<(), Faults> {
        let limits = EventLimits::default();
        let mut next_id = || "id".to_owned();
        let mut intake = Intake {
            limits: &limits,
            received_ms: 0,
            next_id: &mut next_id,
            default_runner: None,
            default_traceparent: None,
            idempotency_key: None,
        };
        let faults = self.steps.iter().filter_map(|step| {
            let fault = parse_line(&step.event.to_json(), 0, &mut intake).err()?;
            // Events are checked one by one, so their number in a request says nothing here.
            let what = fault.detail.strip_prefix("event 0: ").unwrap_or(&fault.detail);
            Some(Fault::new(step.place.clone(), format!("{}: {what}", step.event.kind)))
        });
        let faults: Vec<Fault> = faults.collect();
        if faults.is_empty() { Ok(()) } else { Err(Faults(faults)) }
    }
}

/// Several lists of AG-UI events, by name.
fn is_traces(file: &serde_json::Map<String, Value>) -> bool {
    let mut lists = file.values().map(Value::as_array);
    !file.is_empty() && lists.all(|list| list.is_some_and(|list| list.iter().any(ag_ui::is_event)))
}
