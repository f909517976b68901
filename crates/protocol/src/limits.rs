//! Limits on what comes from outside, each with its reason. Those that an operator may change are in [`EventLimits`].

/// An event's `data`, in bytes, after white space outside strings was removed.
pub const DATA_BYTES_MAX: usize = 256 * 1024;

/// A request's body, in bytes, unpacked. NDJSON is streamed and has no such limit.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events in one array.
pub const BATCH_EVENTS_MAX: usize = 1_000;

/// One line of NDJSON, in bytes: an event's data, its envelope, and white space within reason.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Depth of nesting in `data`; the outermost object is 1.
pub const DATA_DEPTH_MAX: usize = 64;

/// Deepest `data` that may be configured: the JSON parser behind the fold goes no deeper than 127.
pub const DATA_DEPTH_CEILING: usize = 120;

/// Ids and names (`id`, `session`, `agent`, `parent`, `runner`, `key`, a producer's id, and the ids in known types'
/// data), in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// An event's `type`, in bytes.
pub const TYPE_BYTES_MAX: usize = 64;

/// `time`, in bytes: RFC 3339 with nanoseconds and an offset takes 35.
pub const TIME_BYTES_MAX: usize = 40;

/// `traceparent`, in bytes: version 00 takes 55, later ones may append.
pub const TRACEPARENT_BYTES_MAX: usize = 128;

/// How long before it was received an event may have been sent, in milliseconds: what lies further back counts as this.
pub const SENT_BEFORE_MAX_MS: u64 = 3_600_000;

/// Largest `epoch`, `seq` or count: the largest integer that every JSON reader, and the store's scripts, hold exactly.
pub const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// A CloudEvents id longer than this, in bytes, is hashed.
pub const CLOUDEVENT_ID_BYTES_MAX: usize = 64;

/// Faults that one answer names; more are counted only.
pub const FAULTS_MAX: usize = 100;

/// Bytes of a client's own text (an unknown field's name, say) that an answer repeats.
pub const ECHO_BYTES_MAX: usize = 64;

/// All header fields of a request together, in bytes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Header fields of a request.
pub const HEADERS_MAX: usize = 100;

/// The limits on events that an operator may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLimits {
    /// See [`DATA_BYTES_MAX`].
    pub data_bytes_max: usize,
    /// See [`REQUEST_BYTES_MAX`].
    pub request_bytes_max: usize,
    /// See [`BATCH_EVENTS_MAX`].
    pub batch_events_max: usize,
    /// See [`LINE_BYTES_MAX`].
    pub line_bytes_max: usize,
    /// See [`DATA_DEPTH_MAX`]; never more than [`DATA_DEPTH_CEILING`] in effect.
    pub data_depth_max: usize,
}

impl Default for EventLimits {
    fn default() -> EventLimits {
        EventLimits {
            data_bytes_max: DATA_BYTES_MAX,
            request_bytes_max: REQUEST_BYTES_MAX,
            batch_events_max: BATCH_EVENTS_MAX,
            line_bytes_max: LINE_BYTES_MAX,
            data_depth_max: DATA_DEPTH_MAX,
        }
    }
}
