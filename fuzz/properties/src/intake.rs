//! Bodies of requests: native events and CloudEvents.

use serde_json::value::RawValue;
use tidings_protocol::fold::{FOLD_VERSION, State, StateLimits};
use tidings_protocol::intake::{
    BodyFormat, Fault, Intake, body_format, check_idempotency_key, cloudevents, parse_body, parse_line,
    valid_traceparent,
};
use tidings_protocol::limits::{EventLimits, FAULTS_MAX, NAME_BYTES_MAX};
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::problem::Problem;
use tidings_protocol::wire;

use crate::input::{Input, head_and_body};

/// What an envelope may have beyond what was sent: id, time, received, runner and trace, with their names.
const COMPLETED_BYTES_MAX: usize = 1_024;

/// What a refusal may say in its sentence, and of one field.
const DETAIL_BYTES_MAX: usize = 1_024;

/// Small limits, so that small inputs get to them.
const LIMITS: EventLimits = EventLimits {
    data_bytes_max: 2_048,
    request_bytes_max: 8_192,
    batch_events_max: 8,
    line_bytes_max: 4_096,
    data_depth_max: 12,
};

/// What a request says beside its body.
#[derive(Clone, Copy, Default)]
struct Beside<'a> {
    runner: Option<&'a str>,
    traceparent: Option<&'a str>,
    idempotency_key: Option<&'a str>,
}

fn with<R>(beside: Beside<'_>, run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    within(&LIMITS, beside, run)
}

fn within<R>(limits: &EventLimits, beside: Beside<'_>, run: impl FnOnce(&mut Intake<'_>) -> R) -> R {
    let mut ids = 0;
    let mut next_id = || {
        ids += 1;
        format!("01JD00000000000000000000{ids:02}")
    };
    run(&mut Intake {
        limits,
        received_ms: 1_795_165_200_123,
        next_id: &mut next_id,
        default_runner: beside.runner,
        default_traceparent: beside.traceparent,
        idempotency_key: beside.idempotency_key,
    })
}

/// The native events of a body, where it is taken.
pub(crate) fn taken(body: &[u8]) -> Option<Vec<wire::Event>> {
    with(Beside::default(), |intake| parse_body(body, intake)).ok()
}

/// What becomes of a body in the limits that services have by default.
pub(crate) fn judged(body: &[u8]) -> Result<Vec<wire::Event>, Fault> {
    within(&EventLimits::default(), Beside::default(), |intake| parse_body(body, intake))
}

/// Native events: a line is a body of one event; whatever is taken is JSON, no larger than what was sent, taken again as
/// the same when it comes back, and folds to a state that a checkpoint holds whole.
pub(crate) fn events(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let body = input.rest();
    let beside = Beside {
        runner: (flags & 1 == 1).then_some("runner"),
        traceparent: (flags & 2 == 2).then_some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        idempotency_key: (flags & 4 == 4).then_some("key"),
    };
    let read = with(beside, |intake| parse_body(body, intake));
    if !body.trim_ascii_start().starts_with(b"[") && body.len() <= LIMITS.line_bytes_max {
        let line = with(beside, |intake| parse_line(body, 0, intake)).map(|event| vec![event]);
        assert_eq!(line, read);
    }
    check(body.len(), read);
}

/// `CloudEvents` in all modes, after the media type that leads to them: as [`events`].
pub(crate) fn cloud_events(data: &[u8]) {
    let (fields, body) = head_and_body(data);
    let value = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let content_type = value("content-type");
    let format = match body_format(content_type, value(cloudevents::SPECVERSION_HEADER).is_some()) {
        Ok(format) => format,
        Err(fault) => return check_fault(fault),
    };
    let beside = Beside {
        traceparent: value("traceparent").and_then(valid_traceparent),
        idempotency_key: value("idempotency-key").filter(|key| check_idempotency_key(key).is_ok()),
        ..Beside::default()
    };
    let read = with(beside, |intake| match format {
        BodyFormat::Json => parse_body(body, intake),
        BodyFormat::Ndjson => parse_line(body, 0, intake).map(|event| vec![event]),
        BodyFormat::CloudEvent => cloudevents::parse_structured(body, intake).map(|event| vec![event]),
        BodyFormat::CloudEventBatch => cloudevents::parse_batch(body, intake),
        BodyFormat::CloudEventBinary => {
            cloudevents::parse_binary(fields.iter().copied(), content_type, body, intake).map(|event| vec![event])
        }
    });
    // Data that is no JSON goes into a string: escapes take up to six bytes for one, base64 four for three.
    let sent = data.len() + if format == BodyFormat::CloudEventBinary { body.len() * 5 } else { 0 };
    check(sent, read);
}

fn check(sent_bytes: usize, read: Result<Vec<wire::Event>, Fault>) {
    let events = match read {
        Ok(events) => events,
        Err(fault) => return check_fault(fault),
    };
    assert!((1..=LIMITS.batch_events_max).contains(&events.len()));
    let mut state = State::new(StateLimits::default());
    let branch: Branch = "abcdefghijkl".parse().expect("a branch's name");
    for (event, n) in events.iter().zip(1..) {
        check_event(sent_bytes, event);
        state.apply_event(Position::new(event.received_ms, n, branch), event);
    }
    let mut snapshot = Vec::new();
    state.snapshot_json(&mut snapshot);
    serde_json::from_slice::<&RawValue>(&snapshot).expect("a snapshot is JSON");
    serde_json::from_slice::<&RawValue>(&state.sessions_json()).expect("a list of sessions is JSON");
    let fields = state.touched().into_iter().filter_map(|(name, bytes)| Some((name, bytes?)));
    let restored = State::from_fields(state.position(), FOLD_VERSION, fields).expect("our own checkpoint is read");
    let mut again = Vec::new();
    restored.snapshot_json(&mut again);
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&snapshot));
}

fn check_event(sent_bytes: usize, event: &wire::Event) {
    let json = std::str::from_utf8(&event.json).expect("an envelope is text");
    serde_json::from_str::<&RawValue>(json).expect("an envelope is JSON");
    assert!(!json.contains(['\n', '\r']), "an envelope is one line");
    assert!(json.len() <= sent_bytes + COMPLETED_BYTES_MAX, "{} bytes of {sent_bytes}", json.len());
    assert!(event.id.len() <= NAME_BYTES_MAX && !event.id.is_empty());
    if let Some(span) = event.text {
        let (start, length) = (span.offset as usize, span.length as usize);
        let inside = &json[start..start + length];
        serde_json::from_str::<&RawValue>(&format!("\"{inside}\"")).expect("a span is the inside of a string");
    }
    for effect in &event.effects {
        assert!(effect.value.is_empty() || serde_json::from_slice::<&RawValue>(&effect.value).is_ok());
    }
    // In strings quotes are escaped, so the first one found is the field.
    let at = json.find(",\"received\":\"").expect("the server says when it took it");
    let end = at + json[at..].find("Z\"").expect("a time in UTC") + 2;
    let returned = [&json[..at], &json[end..]].concat();
    let again = with(Beside::default(), |intake| parse_body(returned.as_bytes(), intake));
    // Where the sender named no time, the envelope was given one, which counts as the sender's when it comes back.
    let sent_ms = if event.sent_ms == 0 { event.received_ms } else { event.sent_ms };
    assert_eq!(again, Ok(vec![wire::Event { id_from_runner: true, sent_ms, ..event.clone() }]));
}

fn check_fault(fault: Fault) {
    assert!(fault.errors.len() <= FAULTS_MAX);
    assert!(!fault.detail.is_empty() && fault.detail.len() <= DETAIL_BYTES_MAX, "{}", fault.detail);
    assert!(fault.code.http_status() >= 400);
    let json = Problem::from(fault).to_json();
    assert!(json.len() <= (FAULTS_MAX + 1) * DETAIL_BYTES_MAX, "{} bytes of answer", json.len());
    serde_json::from_slice::<&RawValue>(&json).expect("a problem is JSON");
}
