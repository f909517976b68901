//! From an envelope as it was read to the event as it is stored: every check, the delivered JSON, and what travels beside
//! it so that gateways never parse it.

use std::borrow::Cow;

use super::check;
use super::data::{Data, compact};
use super::envelope::{Draft, TEXT_FIELDS, field};
use super::ident::{id_from_key, id_from_producer, is_traceparent, name_fault, push_json, text_of, type_fault};
use super::{Faults, Intake};
use crate::codes::ErrorCode;
use crate::effects::{Subject, effects_of};
use crate::limits::{
    DATA_DEPTH_CEILING, EventLimits, NAME_BYTES_MAX, SENT_BEFORE_MAX_MS, TIME_BYTES_MAX, TRACEPARENT_BYTES_MAX,
    TYPE_BYTES_MAX,
};
use crate::problem::FieldProblem;
use crate::timestamp;
use crate::vocabulary::{self, EventType, KeyRule, Scope};
use crate::wire;

/// Builds the event, or notes in `faults` why it cannot be. Faults noted before are not looked at.
pub(super) fn build(
    draft: &Draft<'_>,
    index: u64,
    intake: &mut Intake<'_>,
    faults: &mut Faults,
) -> Option<wire::Event> {
    let before = faults.count;
    check_envelope(draft, index, faults);
    let kind = draft.text(field::TYPE);
    let known = vocabulary::lookup(kind);
    if let Some(known) = known {
        check_scope(known.scope, draft, index, faults);
    }

    let (id, id_from_runner) = id(draft, index, intake);
    let received = timestamp::rfc3339(intake.received_ms);
    let time = draft.text[field::TIME].as_deref().unwrap_or(&received);
    let runner = draft.text[field::RUNNER].as_deref().or(intake.default_runner);
    let trace = draft.text[field::TRACEPARENT].as_deref().or(intake.default_traceparent);
    let texts =
        [(field::ID, Some(&*id)), (field::TIME, Some(time)), (field::RUNNER, runner), (field::TRACEPARENT, trace)];
    let (json, data) = write(draft, texts, &received, intake.limits.data_bytes_max);

    // What does not fit, or only the server may say, is not looked into any further.
    if is_in_limits(&data, intake.limits, index, faults)
        && let Some(known) = known
        && (kind != "gap" || is_gap_of_runner(&data, &json, index, faults))
    {
        check::check(known, &data, &json, index, faults);
    }
    if faults.count > before {
        return None;
    }

    let (session, agent) = (draft.text(field::SESSION), draft.text(field::AGENT));
    let subject = Subject { kind, session, agent, parent: draft.text(field::PARENT), id: &id, time };
    let effects = if known.is_some_and(|known| !known.state.is_empty()) {
        let Some(value) = data_value(&json[data.range.clone()]) else {
            let expected = "a number is out of range";
            faults.add(index, ErrorCode::InvalidField, "data", |fault| fault.expected(expected));
            return None;
        };
        effects_of(&subject, &value)
    } else {
        Vec::new()
    };
    Some(wire::Event {
        r#type: kind.to_owned(),
        id_from_runner,
        session: session.to_owned(),
        agent: agent.to_owned(),
        lane: known.map_or(wire::Lane::Control, |known| known.lane.to_wire()).into(),
        key: key(known, draft, &data, &json),
        fields: data.names_hash(&json),
        received_ms: intake.received_ms,
        effects,
        was: Vec::new(),
        to: String::new(),
        producer: draft.producer.clone(),
        gap: (kind == "gap").then(|| gap(&data, &json)),
        text: text_span(kind, &data, &json),
        traceparent: trace.unwrap_or_default().to_owned(),
        sent_ms: draft.text[field::TIME].as_deref().map_or(0, |time| sent_ms(time, intake.received_ms)),
        guard: None,
        id: id.into_owned(),
        json: json.into(),
    })
}

/// When a runner says that it sent an event, as far as that can be: its clock may be wrong, or the event very old.
fn sent_ms(time: &str, received_ms: u64) -> u64 {
    let sent = timestamp::parse_rfc3339(time).and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
    sent.clamp(received_ms.saturating_sub(SENT_BEFORE_MAX_MS), received_ms)
}

fn check_envelope(draft: &Draft<'_>, index: u64, faults: &mut Faults) {
    let invalid = ErrorCode::InvalidField;
    match draft.text[field::TYPE].as_deref() {
        None => faults.add(index, ErrorCode::MissingField, "type", |fault| fault),
        Some(kind) => {
            if let Some((code, expected)) = type_fault(kind) {
                let (limit, actual) = (TYPE_BYTES_MAX, kind.len());
                faults.add(index, code, "type", |fault| {
                    let fault = fault.expected(expected);
                    if actual > limit { fault.limit(limit, actual) } else { fault }
                });
            }
        }
    }
    for at in [field::ID, field::SESSION, field::AGENT, field::PARENT, field::RUNNER, field::KEY] {
        if let Some(wrong) = draft.text[at].as_deref().and_then(|name| name_fault(name, NAME_BYTES_MAX)) {
            faults.add(index, invalid, TEXT_FIELDS[at], wrong);
        }
    }
    if let Some(wrong) = draft.producer.as_ref().and_then(|producer| name_fault(&producer.id, NAME_BYTES_MAX)) {
        faults.add(index, invalid, "producer.id", wrong);
    }
    if draft.text[field::TIME].as_deref().is_some_and(|time| timestamp::parse_rfc3339(time).is_none()) {
        let expected = format!("expected RFC 3339 in at most {TIME_BYTES_MAX} bytes");
        faults.add(index, invalid, "time", |fault| fault.expected(expected));
    }
    if let Some(trace) = draft.text[field::TRACEPARENT].as_deref()
        && (trace.len() > TRACEPARENT_BYTES_MAX || !is_traceparent(trace))
    {
        let expected = "expected a W3C traceparent";
        faults.add(index, invalid, "traceparent", |fault| fault.expected(expected));
    }
}

fn check_scope(scope: Scope, draft: &Draft<'_>, index: u64, faults: &mut Faults) {
    let needed: &[usize] = match scope {
        Scope::Project => &[],
        Scope::Session => &[field::SESSION],
        Scope::Agent => &[field::SESSION, field::AGENT],
    };
    for at in needed.iter().copied().filter(|at| draft.text[*at].is_none()) {
        let expected = |fault: FieldProblem| fault.expected("events of this type need it");
        faults.add(index, ErrorCode::MissingField, TEXT_FIELDS[at], expected);
    }
}

fn is_in_limits(data: &Data, limits: &EventLimits, index: u64, faults: &mut Faults) -> bool {
    let (bytes, bytes_max) = (data.range.len(), limits.data_bytes_max);
    if bytes > bytes_max {
        faults.add(index, ErrorCode::EventTooLarge, "data", |fault| fault.limit(bytes_max, bytes));
    }
    let depth_max = limits.data_depth_max.min(DATA_DEPTH_CEILING);
    if data.depth > depth_max {
        faults.add(index, ErrorCode::DataTooDeep, "data", |fault| fault.limit(depth_max, data.depth));
    }
    bytes <= bytes_max && data.depth <= depth_max
}

/// A runner may only say what it dropped itself, and not where in the log that was.
fn is_gap_of_runner(data: &Data, json: &str, index: u64, faults: &mut Faults) -> bool {
    let before = faults.count;
    let cause = data.member(json, "cause").and_then(text_of);
    if cause.is_some_and(|cause| cause != vocabulary::GAP_CAUSE_OF_RUNNERS) {
        let expected = "a runner may only say producer_dropped";
        faults.add(index, ErrorCode::Reserved, "data.cause", |fault| fault.expected(expected));
    }
    for (bound, path) in [("after", "data.after"), ("before", "data.before")] {
        if data.member(json, bound).is_some() {
            let expected = "only the server knows positions";
            faults.add(index, ErrorCode::Reserved, path, |fault| fault.expected(expected));
        }
    }
    faults.count == before
}

/// The event's id, and whether a retry brings the same one.
fn id<'d>(draft: &'d Draft<'_>, index: u64, intake: &mut Intake<'_>) -> (Cow<'d, str>, bool) {
    if let Some(id) = draft.text[field::ID].as_deref() {
        return (Cow::Borrowed(id), true);
    }
    if let Some(key) = intake.idempotency_key {
        let mut json = String::new();
        if let Some(raw) = &draft.data {
            compact(raw, intake.limits.data_bytes_max, &mut json);
        }
        // A retry may well be traced anew, so the trace does not count.
        let texts = draft.text[..field::TRACEPARENT].iter().map(Option::as_deref);
        let parts = texts.chain([draft.data.is_some().then_some(json.as_str())]);
        return (Cow::Owned(id_from_key(key, index, parts)), true);
    }
    match &draft.producer {
        Some(producer) => (Cow::Owned(id_from_producer(&producer.id, producer.epoch, producer.seq)), true),
        None => (Cow::Owned((intake.next_id)()), false),
    }
}

/// The envelope as it is delivered, without what a gateway adds, and where in it data lies. `completed`: the fields whose
/// text is not the draft's alone.
fn write(
    draft: &Draft<'_>,
    completed: [(usize, Option<&str>); 4],
    received: &str,
    data_bytes_max: usize,
) -> (String, Data) {
    use std::fmt::Write as _;
    let text_of = |at: usize| match completed.iter().find(|(field, _)| *field == at) {
        Some((_, text)) => *text,
        None => draft.text[at].as_deref(),
    };
    let texts: usize = (0..TEXT_FIELDS.len()).filter_map(text_of).map(|text| text.len() + 16).sum();
    let mut json = String::with_capacity(texts + 160 + draft.data.as_ref().map_or(0, |data| data.len()));
    let mut lead = '{';
    for (at, name) in TEXT_FIELDS.iter().enumerate() {
        let text = text_of(at);
        if let Some(text) = text {
            json.push(lead);
            json.push('"');
            json.push_str(name);
            json.push_str("\":");
            push_json(text, &mut json);
            lead = ',';
        }
    }
    if let Some(producer) = &draft.producer {
        json.push_str(",\"producer\":{\"id\":");
        push_json(&producer.id, &mut json);
        let _ = write!(json, ",\"epoch\":{},\"seq\":{}}}", producer.epoch, producer.seq);
    }
    json.push_str(",\"received\":\"");
    json.push_str(received);
    json.push('"');
    let data = match &draft.data {
        Some(raw) => {
            json.push_str(",\"data\":");
            compact(raw, data_bytes_max, &mut json)
        }
        None => Data::default(),
    };
    json.push('}');
    (json, data)
}

/// What a newer `latest` event replaces, or a `delta` appends to.
pub(super) fn key(known: Option<&EventType>, draft: &Draft<'_>, data: &Data, json: &str) -> String {
    let own = draft.text[field::KEY].as_deref();
    let member =
        |name| data.member(json, name).and_then(|raw| text_of(raw).or(Some(Cow::Borrowed(raw)))).unwrap_or_default();
    let joined = |first: &str, name| format!("{first}/{}", member(name));
    match known.map_or(KeyRule::Runner, |known| known.key) {
        KeyRule::Runner => own.unwrap_or_default().to_owned(),
        KeyRule::Session => own.unwrap_or(draft.text(field::SESSION)).to_owned(),
        KeyRule::Data(name) => own.map_or_else(|| member(name).into_owned(), str::to_owned),
        KeyRule::AgentAnd(name) => joined(own.unwrap_or(draft.text(field::AGENT)), name),
        KeyRule::SessionAnd(name) => joined(own.unwrap_or(draft.text(field::SESSION)), name),
        KeyRule::Joined(name) => own.map_or_else(|| member(name).into_owned(), |own| joined(own, name)),
    }
}

/// Where the inside of the joinable string lies.
pub(super) fn text_span(kind: &str, data: &Data, json: &str) -> Option<wire::TextSpan> {
    let value = data.member_range(json, vocabulary::joinable_member(kind)?)?;
    let inside = value.start + 1..value.end - 1;
    Some(wire::TextSpan { offset: u32::try_from(inside.start).ok()?, length: u32::try_from(inside.len()).ok()? })
}

fn gap(data: &Data, json: &str) -> wire::Gap {
    wire::Gap {
        after: String::new(),
        before: String::new(),
        cause: vocabulary::GAP_CAUSE_OF_RUNNERS.to_owned(),
        lost: data.member(json, "lost").and_then(|lost| lost.parse().ok()),
        certain: data.member(json, "certain") != Some("false"),
    }
}

/// `data` for the fold, which keeps text only as a digest: half a surrogate pair (a string that was cut in the middle of
/// a character) becomes U+FFFD there, while the event itself passes as it is. `None`: a number that no reader can hold.
pub(super) fn data_value(json: &str) -> Option<serde_json::Value> {
    if json.is_empty() {
        return Some(serde_json::Value::Null);
    }
    serde_json::from_str(json).ok().or_else(|| serde_json::from_str(&without_half_pairs(json)).ok())
}

/// An event's envelope as a value, for who reads members of `data`: half a surrogate pair, which events may hold, becomes
/// U+FFFD. `None`: no intake made it.
pub fn envelope_value(json: &[u8]) -> Option<serde_json::Value> {
    let json = std::str::from_utf8(json).ok()?;
    if json.is_empty() { None } else { data_value(json) }
}

/// The same JSON with each half of a surrogate pair that stands alone replaced by U+FFFD.
pub(crate) fn without_half_pairs(json: &str) -> String {
    let unit = |at: usize| {
        let hex = json.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    let mut out = String::with_capacity(json.len());
    let mut at = 0;
    while let Some(found) = json[at..].find('\\') {
        out.push_str(&json[at..at + found]);
        at += found;
        let length = match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out.push('\u{fffd}');
                at += 6;
                continue;
            }
            Some(_) => 6,
            None => 2,
        };
        out.push_str(&json[at..at + length]);
        at += length;
    }
    out.push_str(&json[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_can_be_read_whatever_was_cut_in_it() {
        let envelope = envelope_value(br#"{"type":"log","data":{"message":"a\ud83d"}}"#).expect("it can be read");
        assert_eq!(envelope["data"]["message"], "a\u{fffd}");
        assert_eq!((envelope_value(b"\xff"), envelope_value(b"{")), (None, None));
    }

    #[test]
    fn half_a_surrogate_pair_becomes_a_replacement_character() {
        for (json, expected) in [
            (r#""plain""#, r#""plain""#),
            (r#""a\ud83d""#, "\"a\u{fffd}\""),
            (r#""\udc00b""#, "\"\u{fffd}b\""),
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}\\ud83d\\ude00\""),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\ud83d\n\u0041""#, "\"\u{fffd}\\n\\u0041\""),
        ] {
            assert_eq!(without_half_pairs(json), expected, "{json}");
            serde_json::from_str::<String>(&without_half_pairs(json)).expect("decodable now");
        }
    }
}
