//! The shapes of requests and problems, for the OpenAPI document. Bodies are read by `tidings_protocol::intake`, which knows
//! the rules exactly; these say what a client should send and may get.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One event, or an array of them.
#[derive(Serialize, ToSchema)]
#[schema(as = EventsPosted)]
#[serde(untagged)]
#[allow(dead_code, clippy::large_enum_variant, reason = "it is only described")]
pub(crate) enum EventsBody {
    /// One event.
    One(EventBody),
    /// Several.
    Many(EventList),
}

/// Events that are appended in this order.
#[derive(Serialize, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub(crate) struct EventList(Vec<EventBody>);

/// An event in the native envelope. Events of known types must have the data that the vocabulary names; other types pass
/// through as they are.
#[derive(Serialize, ToSchema)]
#[schema(as = Event, example = json!({
    "type": "agent.status", "session": "session_abc", "agent": "planner", "data": {"status": "processing"},
}))]
#[serde(deny_unknown_fields)]
pub(crate) struct EventBody {
    r#type: EventType,
    /// Idempotency key within the project; made by the service when it is absent.
    id: Option<Name>,
    /// The runner's clock, RFC 3339. Never used for order.
    #[schema(format = DateTime, max_length = 40)]
    time: Option<String>,
    /// The run of a swarm that this belongs to. Types with state need it.
    session: Option<Name>,
    /// The agent's id within the session.
    agent: Option<Name>,
    /// The agent that started this one.
    parent: Option<Name>,
    /// The process that runs this session.
    runner: Option<Name>,
    /// Which newer event makes this one obsolete, or what it appends to.
    key: Option<Name>,
    /// W3C trace context; the request's `traceparent` header when it is absent.
    traceparent: Option<Traceparent>,
    /// The event's place in its producer's sequence.
    producer: Option<Producer>,
    /// Any JSON; of known types an object.
    data: Option<Value>,
}

/// An event as CloudEvents 1.0 writes it in JSON. Attributes that are not named here are dropped; `data_base64` may stand in
/// the place of `data`. The event's id is made of `source` and `id`.
#[derive(Serialize, ToSchema)]
#[schema(as = CloudEvent, example = json!({
    "specversion": "1.0", "id": "1", "source": "/runner/7", "type": "agent.status",
    "session": "session_abc", "agent": "planner", "data": {"status": "processing"},
}))]
pub(crate) struct CloudEventBody {
    specversion: SpecVersion,
    /// Unique for its source.
    id: Word,
    /// Where it happened.
    source: Word,
    r#type: EventType,
    /// The runner's clock, RFC 3339. Never used for order.
    #[schema(format = DateTime, max_length = 40)]
    time: Option<String>,
    /// As in the native envelope.
    session: Option<Name>,
    /// As in the native envelope.
    agent: Option<Name>,
    /// As in the native envelope.
    parent: Option<Name>,
    /// As in the native envelope.
    runner: Option<Name>,
    /// As in the native envelope.
    key: Option<Name>,
    /// The extension for distributed tracing; the request's `traceparent` header when it is absent.
    traceparent: Option<Traceparent>,
    /// Any JSON; of known types an object.
    data: Option<Value>,
}

/// Events that are appended in this order.
#[derive(Serialize, ToSchema)]
#[schema(min_items = 1, max_items = 1000)]
pub(crate) struct CloudEventList(Vec<CloudEventBody>);

/// The version of CloudEvents.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "it is only described")]
pub(crate) enum SpecVersion {
    /// The only one that is taken.
    #[serde(rename = "1.0")]
    V1,
}

/// What happened: dotted lower-case words.
#[derive(Serialize, ToSchema)]
#[schema(pattern = "^[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*$", max_length = 64)]
pub(crate) struct EventType(String);

/// A name or id: at most 128 bytes, no control characters.
#[derive(Serialize, ToSchema)]
#[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", min_length = 1, max_length = 128)]
pub(crate) struct Name(String);

/// Text without control characters.
#[derive(Serialize, ToSchema)]
#[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$", min_length = 1)]
pub(crate) struct Word(String);

/// W3C trace context.
#[derive(Serialize, ToSchema)]
#[schema(
    pattern = "^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$",
    max_length = 128,
    example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)]
pub(crate) struct Traceparent(String);

/// A place in a producer's sequence.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Producer {
    /// The producer.
    id: Name,
    /// Grows each time the producer starts anew; older ones are fenced.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    epoch: u64,
    /// 1 is the first of an epoch.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    seq: u64,
}

/// Why a request was refused (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// A stable URI of the kind of problem.
    r#type: String,
    /// The kind in a few words.
    title: String,
    /// The HTTP status, again.
    status: u16,
    /// This occurrence in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
    /// The stable code.
    code: String,
    /// What is wrong in particular.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    errors: Option<Vec<FaultBody>>,
    /// What became of each event, `null` where that is not known: with 409, 503 and 504 after some were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    results: Option<Vec<Option<crate::answer::EventResult>>>,
}

/// One fault of a request.
#[derive(Serialize, ToSchema)]
#[schema(as = Fault)]
pub(crate) struct FaultBody {
    /// Which event of the request, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    index: Option<u64>,
    /// Which field, with dots.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    field: Option<String>,
    /// The stable code.
    code: String,
    /// The limit that was passed, or the number that was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limit: Option<u64>,
    /// What was there instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    actual: Option<u64>,
    /// What was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    detail: Option<String>,
}
