//! The shapes of requests and problems, for the OpenAPI document. Bodies are read by `tidings_protocol::intake`, which knows
//! the rules exactly; these say what a client should send and may get.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One event, or an array of them.
#[derive(Serialize, ToSchema)]
#[schema(as = Events)]
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
#[schema(as = Event)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventBody {
    /// What happened: dotted lower-case words.
    #[schema(pattern = "^[a-z][a-z0-9_]*(\\.[a-z0-9_]+)*$", max_length = 64, example = "agent.status")]
    r#type: String,
    /// Idempotency key within the project; made by the service when it is absent.
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// The runner's clock, RFC 3339. Never used for order.
    #[schema(format = DateTime, max_length = 40)]
    time: Option<String>,
    /// The run of a swarm that this belongs to. Types with state need it.
    #[schema(min_length = 1, max_length = 128)]
    session: Option<String>,
    /// The agent's id within the session.
    #[schema(min_length = 1, max_length = 128)]
    agent: Option<String>,
    /// The agent that started this one.
    #[schema(min_length = 1, max_length = 128)]
    parent: Option<String>,
    /// The process that runs this session.
    #[schema(min_length = 1, max_length = 128)]
    runner: Option<String>,
    /// Which newer event makes this one obsolete, or what it appends to.
    #[schema(min_length = 1, max_length = 128)]
    key: Option<String>,
    /// W3C trace context.
    #[schema(max_length = 128)]
    traceparent: Option<String>,
    /// The event's place in its producer's sequence.
    producer: Option<Producer>,
    /// Any JSON; of known types an object.
    data: Option<Value>,
}

/// A place in a producer's sequence.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Producer {
    /// The producer.
    #[schema(min_length = 1, max_length = 128)]
    id: String,
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
