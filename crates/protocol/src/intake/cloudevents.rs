//! CloudEvents 1.0: structured, batch and binary mode, mapped to the native envelope and then treated like any event.
//!
//! `id` is unique only together with `source`, so the event's id is made of both. Extensions `session`, `agent`,
//! `parent`, `runner`, `key` and `traceparent` are the envelope's fields; other attributes are dropped.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::envelope::{self, Draft, Form, Shape, field};
use super::ident::{name_fault, push_json, sha1_hex, text_of};
use super::media::MediaType;
use super::{Fault, Faults, Intake, event, malformed, utf8, whole};
use crate::codes::ErrorCode;
use crate::limits::CLOUDEVENT_ID_BYTES_MAX;
use crate::wire;

/// The header that tells binary mode.
pub const SPECVERSION_HEADER: &str = "ce-specversion";

/// Prefix of the headers that carry attributes in binary mode.
const HEADER_PREFIX: &str = "ce-";

/// Characters of the source's hash that go into an id.
const SOURCE_HASH_LEN: usize = 16;

/// Reads a body of one event (`application/cloudevents+json`).
pub fn parse_structured(body: &[u8], intake: &mut Intake<'_>) -> Result<wire::Event, Fault> {
    let mut events = envelope::read(whole(body, intake.limits)?, Form::CloudEvents, Shape::One, 0, intake)?;
    Ok(events.pop().expect("one event was read, or a fault was returned"))
}

/// Reads a body of an array of events (`application/cloudevents-batch+json`).
pub fn parse_batch(body: &[u8], intake: &mut Intake<'_>) -> Result<Vec<wire::Event>, Fault> {
    envelope::read(whole(body, intake.limits)?, Form::CloudEvents, Shape::Many, 0, intake)
}

/// Reads an event in binary mode: `headers` are all of the request's (others than `ce-*` are skipped; names in any
/// case), the body is its data. JSON becomes data as it is, text a string, other bytes a string in base64.
pub fn parse_binary<'h>(
    headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
    content_type: Option<&str>,
    body: &[u8],
    intake: &mut Intake<'_>,
) -> Result<wire::Event, Fault> {
    let limit = intake.limits.request_bytes_max;
    if body.len() > limit {
        return Err(Fault::over(ErrorCode::RequestTooLarge, "bytes in the request", limit, body.len()));
    }
    let mut faults = Faults::default();
    let mut cloud = CloudEvent::default();
    for (name, value) in headers {
        let (Some(prefix), Some(name)) = (name.get(..HEADER_PREFIX.len()), name.get(HEADER_PREFIX.len()..)) else {
            continue;
        };
        if prefix.eq_ignore_ascii_case(HEADER_PREFIX)
            && let Some(at) = attribute_of(&name.to_ascii_lowercase())
        {
            if let Some(text) = header_text(value) {
                cloud.set(at, Cow::Owned(text), 0, &mut faults);
            } else {
                let expected = "expected percent-encoded UTF-8";
                faults.add(0, ErrorCode::InvalidField, ATTRIBUTES[at], |fault| fault.expected(expected));
            }
        }
    }
    let mut draft = cloud.into_draft(0, &mut faults);
    if !body.is_empty() {
        draft.data = Some(Cow::Owned(data_of(body, content_type)?));
    }
    let built = event::build(&draft, 0, intake, &mut faults);
    faults.into_result()?;
    Ok(built.expect("an event was built, or a fault noted"))
}

/// The attributes that are looked at.
const ATTRIBUTES: [&str; 12] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "datacontenttype",
    "session",
    "agent",
    "parent",
    "runner",
    "key",
    "traceparent",
];

const SPECVERSION: usize = 0;
const ID: usize = 1;
const SOURCE: usize = 2;
const DATACONTENTTYPE: usize = 5;

/// The envelope's field for each of the other attributes.
const FIELDS: [(usize, usize); 8] = [
    (3, field::TYPE),
    (4, field::TIME),
    (6, field::SESSION),
    (7, field::AGENT),
    (8, field::PARENT),
    (9, field::RUNNER),
    (10, field::KEY),
    (11, field::TRACEPARENT),
];

fn attribute_of(name: &str) -> Option<usize> {
    ATTRIBUTES.iter().position(|known| *known == name)
}

/// An event as it is read, attribute by attribute.
#[derive(Debug, Default)]
pub(super) struct CloudEvent<'a> {
    /// By index into [`ATTRIBUTES`].
    attributes: [Option<Cow<'a, str>>; ATTRIBUTES.len()],
    data: Option<&'a str>,
    data_base64: Option<Cow<'a, str>>,
}

impl<'a> CloudEvent<'a> {
    /// Sets a member of the JSON format, or notes why not. Null means absent, but for data.
    pub(super) fn set_json(&mut self, name: &str, raw: &'a RawValue, index: u64, faults: &mut Faults) {
        let json = raw.get();
        if name == "data" {
            if self.data.replace(json).is_some() {
                faults.add(index, ErrorCode::DuplicateField, name, |fault| fault);
            }
            return;
        }
        let known = attribute_of(name);
        if json == "null" || (known.is_none() && name != "data_base64") {
            return;
        }
        match (text_of(json), known) {
            (None, _) => faults.add(index, ErrorCode::InvalidField, name, |fault| fault.expected("expected a string")),
            (Some(text), Some(at)) => self.set(at, text, index, faults),
            (Some(text), None) => {
                if self.data_base64.replace(text).is_some() {
                    faults.add(index, ErrorCode::DuplicateField, name, |fault| fault);
                }
            }
        }
    }

    fn set(&mut self, at: usize, text: Cow<'a, str>, index: u64, faults: &mut Faults) {
        if self.attributes[at].replace(text).is_some() {
            faults.add(index, ErrorCode::DuplicateField, ATTRIBUTES[at], |fault| fault);
        }
    }

    /// The native envelope, as far as there is one; what is wrong is noted.
    pub(super) fn into_draft(mut self, index: u64, faults: &mut Faults) -> Draft<'a> {
        for at in [SPECVERSION, ID, SOURCE] {
            if self.attributes[at].is_none() {
                faults.add(index, ErrorCode::MissingField, ATTRIBUTES[at], |fault| fault);
            }
        }
        if self.attributes[SPECVERSION].as_deref().is_some_and(|version| version != "1.0") {
            faults.add(index, ErrorCode::InvalidField, "specversion", |fault| fault.expected("expected 1.0"));
        }
        for at in [ID, SOURCE] {
            if let Some(wrong) = self.attributes[at].as_deref().and_then(|text| name_fault(text, usize::MAX)) {
                faults.add(index, ErrorCode::InvalidField, ATTRIBUTES[at], wrong);
            }
        }
        let mut draft = Draft::default();
        if let [_, Some(id), Some(source), ..] = &self.attributes {
            draft.text[field::ID] = Some(Cow::Owned(id_of(source, id)));
        }
        draft.data = self.data(index, faults);
        for (at, field) in FIELDS {
            draft.text[field] = self.attributes[at].take();
        }
        draft
    }

    /// Its data as JSON, from whichever member it is in.
    fn data(&self, index: u64, faults: &mut Faults) -> Option<Cow<'a, str>> {
        let Some(base64) = self.data_base64.as_deref() else { return self.data.map(Cow::Borrowed) };
        if self.data.is_some() {
            let expected = "either data or data_base64";
            faults.add(index, ErrorCode::InvalidField, "data_base64", |fault| fault.expected(expected));
            return None;
        }
        let Ok(bytes) = STANDARD.decode(base64) else {
            faults.add(index, ErrorCode::InvalidField, "data_base64", |fault| fault.expected("expected base64"));
            return None;
        };
        match data_of(&bytes, self.attributes[DATACONTENTTYPE].as_deref()) {
            Ok(json) => Some(Cow::Owned(json)),
            Err(fault) => {
                faults.add(index, fault.code, "data_base64", |problem| problem.expected(fault.detail));
                None
            }
        }
    }
}

/// An id that is unique without its source; itself hashed where it is long.
fn id_of(source: &str, id: &str) -> String {
    let mut out = sha1_hex(source);
    out.truncate(SOURCE_HASH_LEN);
    out.push('-');
    if id.len() > CLOUDEVENT_ID_BYTES_MAX {
        out.push_str(&sha1_hex(id));
    } else {
        out.push_str(id);
    }
    out
}

/// Data as JSON: JSON as it is (also without a content type), text as a string, anything else as a string in base64.
fn data_of(bytes: &[u8], content_type: Option<&str>) -> Result<String, Fault> {
    let media = MediaType::new(content_type.unwrap_or("application/json"));
    if media.is_json() && media.is_utf8 {
        let text = utf8(bytes)?;
        return serde_json::from_str::<&RawValue>(text).map(|_| text.to_owned()).map_err(|error| malformed(&error));
    }
    let mut json = String::with_capacity(bytes.len() + 2);
    if media.is_text() && media.is_utf8 {
        push_json(utf8(bytes)?, &mut json);
    } else {
        push_json(&STANDARD.encode(bytes), &mut json);
    }
    Ok(json)
}

/// An attribute's text from a header: quotes around it are undone, then one round of percent-decoding.
fn header_text(value: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let inside = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let quoted = inside.is_some();
    let mut rest = inside.unwrap_or(value).iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'\\' if quoted => *rest.next()?,
            b'%' => {
                let (high, low) = (char::from(*rest.next()?).to_digit(16)?, char::from(*rest.next()?).to_digit(16)?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
