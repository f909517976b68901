//! Redaction of an event that was taken, before anything of it is stored: its JSON, and all that was derived from `data`.

use std::borrow::Cow;

use super::Fault;
use super::data::compact;
use super::envelope::{Draft, TEXT_FIELDS, field};
use super::event::{data_value, key, text_span};
use crate::codes::ErrorCode;
use crate::effects::{Subject, effects_of};
use crate::limits::EventLimits;
use crate::problem::FieldProblem;
use crate::redact::{Counts, Redactor};
use crate::vocabulary;
use crate::wire;

/// What stands before an event's data. It cannot stand in a string of the envelope, where quotes are escaped.
const LEAD: &str = ",\"data\":";

/// Redacts the strings of `data`, and derives again what depends on it: effects, key, names, the place of the text. The
/// id stays, so that a retry is known; the event was validated as it came. Nothing found: nothing changes.
///
/// # Errors
/// Marks may be longer than what they stand for: [`ErrorCode::EventTooLarge`] when data has no room for them. The event is
/// then as it was and must not be stored.
pub fn redact(
    event: &mut wire::Event,
    redactor: &Redactor,
    limits: &EventLimits,
    counts: &mut Counts,
) -> Result<(), Fault> {
    let json = std::str::from_utf8(&event.json).expect("the intake writes text");
    let Some(before) = json.find(LEAD) else { return Ok(()) };
    let data_at = before + LEAD.len();
    let Some(redacted) = redactor.json(&json[data_at..json.len() - 1], counts) else { return Ok(()) };
    let (limit, actual) = (limits.data_bytes_max, redacted.len());
    if actual > limit {
        let code = ErrorCode::EventTooLarge;
        let fault = FieldProblem::new(code).field("data").limit(limit, actual);
        let detail = format!("`data`: {actual} bytes after redaction, the limit is {limit}");
        return Err(Fault { code, detail, errors: vec![fault] });
    }
    let mut stored = String::with_capacity(data_at + actual + 1);
    stored.push_str(&json[..data_at]);
    let data = compact(&redacted, limit, &mut stored);
    stored.push('}');

    let draft = envelope(&json[..before]);
    let kind = &*event.r#type;
    let known = vocabulary::lookup(kind);
    let fold = known.filter(|known| !known.state.is_empty()).and_then(|_| data_value(&stored[data.range.clone()]));
    if let Some(value) = fold {
        let (parent, time) = (draft.text(field::PARENT), draft.text(field::TIME));
        let subject = Subject { kind, session: &event.session, agent: &event.agent, parent, id: &event.id, time };
        event.effects = effects_of(&subject, &value);
    }
    event.key = key(known, &draft, &data, &stored);
    event.text = text_span(kind, &data, &stored);
    event.json = stored.into();
    Ok(())
}

/// The text fields of an envelope that the intake wrote, without its end.
fn envelope(json: &str) -> Draft<'static> {
    let mut out = String::with_capacity(json.len() + 1);
    let members = compact(&format!("{json}}}"), usize::MAX, &mut out);
    let mut draft = Draft::default();
    for (at, name) in TEXT_FIELDS.iter().enumerate() {
        let text = members.member(&out, name).and_then(super::ident::text_of);
        draft.text[at] = text.map(|text| Cow::Owned(text.into_owned()));
    }
    draft
}
