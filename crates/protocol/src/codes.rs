//! The codes of the wire: why a request or frame was refused, and why a connection was closed.
//!
//! The words and numbers are contract and metric labels: they are added to, never changed. Each row of the tables makes
//! its decisions (status, whether to try again, what people read); there is no default to fall into.

use std::fmt;

/// Declares [`ErrorCode`]: `Variant = "word", status, retry, "title";`, in alphabetical order.
macro_rules! error_codes {
    ($($(#[$doc:meta])+ $variant:ident = $word:literal, $status:literal, $retry:ident, $title:literal;)+) => {
        /// Why a request or a frame was refused. Goes into problem bodies and into `error` frames.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode {
            $($(#[$doc])+ $variant,)+
        }

        impl ErrorCode {
            /// Every code, in alphabetical order.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant),+];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $word,)+ }
            }

            /// The HTTP status that goes with it.
            pub const fn http_status(self) -> u16 {
                match self { $(ErrorCode::$variant => $status,)+ }
            }

            /// Whether the same request, unchanged and under the same ids, may succeed later.
            pub const fn is_retryable(self) -> bool {
                match self { $(ErrorCode::$variant => error_codes!(@$retry),)+ }
            }

            /// A few words for people; the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(ErrorCode::$variant => $title,)+ }
            }
        }
    };
    (@again) => { true };
    (@never) => { false };
}

error_codes! {
    /// Another answer to the same command or request for approval came first.
    AlreadyAnswered = "already_answered", 409, never, "It is answered already";
    /// More events in one array than allowed.
    BatchTooLarge = "batch_too_large", 413, never, "Too many events in one request";
    /// The service has as much to do as it may take on.
    Busy = "busy", 503, again, "The service is busy";
    /// The id of a command is somebody else's.
    CommandConflict = "command_conflict", 409, never, "The id is another command's";
    /// The command is answered, or was never known here.
    CommandGone = "command_gone", 410, never, "The command is over";
    /// `data` nests deeper than allowed.
    DataTooDeep = "data_too_deep", 422, never, "JSON is nested too deeply";
    /// As many sessions as may be were deleted while their events are still in the log.
    DeletionsFull = "deletions_full", 409, again, "Too many deleted sessions";
    /// The service is about to stop.
    Draining = "draining", 503, again, "The service is shutting down";
    /// A field occurs twice.
    DuplicateField = "duplicate_field", 422, never, "A field occurs twice";
    /// An array without events.
    EmptyBatch = "empty_batch", 422, never, "The batch is empty";
    /// `data` is larger than allowed.
    EventTooLarge = "event_too_large", 413, never, "An event is too large";
    /// The producer's epoch is older than one that was seen: another one took over.
    Fenced = "fenced", 409, never, "The producer was replaced by a newer one";
    /// The credential is good, but has no right to this here.
    Forbidden = "forbidden", 403, never, "The credential has no right to this";
    /// A WebSocket message is larger than allowed.
    FrameTooLarge = "frame_too_large", 413, never, "A frame is too large";
    /// The header fields are larger, or more, than allowed.
    HeadersTooLarge = "headers_too_large", 431, never, "The header fields are too large";
    /// The `Host` header names another host than the service answers for.
    HostRefused = "host_refused", 403, never, "The host is refused";
    /// As many commands of this capability are open as may be.
    InboxFull = "inbox_full", 503, again, "The inbox is full";
    /// A fault of the service; details are in its log.
    Internal = "internal", 500, again, "The service failed";
    /// Several events of a request are faulty, each in its own way.
    InvalidEvent = "invalid_event", 422, never, "Events are not valid";
    /// A field has a value that it may not have.
    InvalidField = "invalid_field", 422, never, "A field is not valid";
    /// A filter that cannot be understood.
    InvalidFilter = "invalid_filter", 400, never, "The filter is not valid";
    /// A WebSocket message that is no frame of the protocol.
    InvalidFrame = "invalid_frame", 400, never, "The frame is not valid";
    /// A header field that cannot be understood.
    InvalidHeader = "invalid_header", 400, never, "A header field is not valid";
    /// A query parameter that cannot be understood.
    InvalidParameter = "invalid_parameter", 400, never, "A parameter is not valid";
    /// A text that names no place in a log.
    InvalidPosition = "invalid_position", 400, never, "The position is not valid";
    /// A text that cannot name a project.
    InvalidProject = "invalid_project", 400, never, "The project's name is not valid";
    /// Text that is not UTF-8.
    InvalidUtf8 = "invalid_utf8", 400, never, "The text is not valid UTF-8";
    /// The lease is not this runner's any more: the command was handed on.
    LeaseLost = "lease_lost", 409, never, "The lease is over";
    /// The body ended in the middle of a line: that line was not taken.
    LineCut = "line_cut", 400, again, "The last line is incomplete";
    /// A line of NDJSON is longer than allowed.
    LineTooLarge = "line_too_large", 413, never, "A line is too large";
    /// A compressed body that cannot be unpacked.
    MalformedEncoding = "malformed_encoding", 400, never, "The body cannot be unpacked";
    /// Text that is not JSON.
    MalformedJson = "malformed_json", 400, never, "The text is not valid JSON";
    /// The store has no memory left for this project.
    MemoryPressure = "memory_pressure", 503, again, "The store is out of memory";
    /// The route does not have this method.
    MethodNotAllowed = "method_not_allowed", 405, never, "The method is not allowed here";
    /// A field that must be there is not.
    MissingField = "missing_field", 422, never, "A required field is missing";
    /// The project's log was written by a newer version.
    NewerFormat = "newer_format", 503, again, "The log is of a newer version";
    /// No runner with the capability is there.
    NoRunner = "no_runner", 503, again, "No runner is there";
    /// None of the accepted media types can be served.
    NotAcceptable = "not_acceptable", 406, never, "No acceptable representation";
    /// No such route, session or other thing.
    NotFound = "not_found", 404, never, "Not found";
    /// The connection has no subscription to this project.
    NotSubscribed = "not_subscribed", 409, never, "There is no such subscription";
    /// The `Origin` header names a site that may not use the service.
    OriginRefused = "origin_refused", 403, never, "The origin is refused";
    /// The producer's sequence number jumps.
    OutOfSequence = "out_of_sequence", 409, never, "The producer's sequence has a gap";
    /// The store did not answer in time: the events may have been appended. Harmless to send again under the same ids.
    OutcomeUnknown = "outcome_unknown", 504, again, "The outcome is unknown";
    /// The store is short of memory, and the project uses more than its share of it.
    OverShare = "over_share", 503, again, "The project is over its share";
    /// The project remembers as many producers as it may.
    ProducersFull = "producers_full", 503, again, "Too many producers";
    /// Over a limit of the project, the API key or the caller.
    RateLimited = "rate_limited", 429, again, "Too many requests";
    /// The store is away.
    RedisAway = "redis_away", 503, again, "The store is away";
    /// The project has as many keys or members as it may.
    RegistryFull = "registry_full", 409, never, "The project has no room for more";
    /// The request did not arrive in time.
    RequestTimeout = "request_timeout", 408, again, "The request took too long";
    /// The body, unpacked, is larger than allowed.
    RequestTooLarge = "request_too_large", 413, never, "The request is too large";
    /// A field or type that only the server sets.
    Reserved = "reserved", 422, never, "Reserved to the server";
    /// What is needed to check the caller's rights does not answer.
    RightsUnavailable = "rights_unavailable", 503, again, "Rights cannot be checked now";
    /// A runner of this name is there by another credential.
    RunnerTaken = "runner_taken", 409, never, "The runner is somebody else's";
    /// A connection subscribes to more projects than allowed.
    TooManySubscriptions = "too_many_subscriptions", 409, never, "Too many subscriptions";
    /// No credential, or none that is good.
    Unauthenticated = "unauthenticated", 401, never, "A good credential is required";
    /// A field that the envelope does not have.
    UnknownField = "unknown_field", 422, never, "An unknown field";
    /// A frame whose `op` is not known.
    UnknownOp = "unknown_op", 400, never, "An unknown operation";
    /// A `Content-Encoding` that is not understood.
    UnsupportedEncoding = "unsupported_encoding", 415, never, "The content encoding is not supported";
    /// A `Content-Type` that is not understood.
    UnsupportedMediaType = "unsupported_media_type", 415, never, "The media type is not supported";
    /// The route speaks WebSocket only.
    UpgradeRequired = "upgrade_required", 426, never, "This is a WebSocket";
}

impl ErrorCode {
    /// The code that a word names.
    pub fn parse(word: &str) -> Option<ErrorCode> {
        ErrorCode::ALL.iter().copied().find(|code| code.as_str() == word)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a client should do after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reconnect {
    /// Come back at once, to any gateway, behind the last position.
    Now,
    /// Come back after `retry_after_ms` of the close reason.
    Later,
    /// The same client would be closed again: not without a change.
    No,
}

/// Declares [`CloseCode`]: `Variant = "word", number, reconnect;`, in alphabetical order.
macro_rules! close_codes {
    ($($(#[$doc:meta])+ $variant:ident = $word:literal, $number:literal, $reconnect:ident;)+) => {
        /// Why the server closed a WebSocket: 41xx come back now, 42xx come back after `retry_after_ms`, 44xx not
        /// without a change. Faults of framing keep the numbers of RFC 6455.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum CloseCode {
            $($(#[$doc])+ $variant,)+
        }

        impl CloseCode {
            /// Every code, in alphabetical order.
            pub const ALL: &'static [CloseCode] = &[$(CloseCode::$variant),+];

            /// The word in the close reason, and the metric label.
            pub const fn as_str(self) -> &'static str {
                match self { $(CloseCode::$variant => $word,)+ }
            }

            /// The number in the close frame.
            pub const fn number(self) -> u16 {
                match self { $(CloseCode::$variant => $number,)+ }
            }

            /// What the client should do.
            pub const fn reconnect(self) -> Reconnect {
                match self { $(CloseCode::$variant => Reconnect::$reconnect,)+ }
            }
        }
    };
}

close_codes! {
    /// The gateway stops.
    Draining = "draining", 4200, Later;
    /// The rights that the connection was opened with were withdrawn.
    Forbidden = "forbidden", 4403, No;
    /// A frame over the size limit.
    FrameTooLarge = "frame_too_large", 1009, No;
    /// A fault of the gateway.
    Internal = "internal", 4202, Later;
    /// A text frame that is not UTF-8.
    InvalidUtf8 = "invalid_utf8", 1007, No;
    /// The client closed, and is answered.
    Normal = "normal", 1000, No;
    /// The gateway has as many connections, or as much to do, as it may take on.
    Overloaded = "overloaded", 4201, Later;
    /// No pong, nor anything else, arrived in time.
    PingTimeout = "ping_timeout", 4101, Now;
    /// Framing that breaks RFC 6455.
    ProtocolError = "protocol_error", 1002, No;
    /// The client sends more messages than it may.
    RateLimited = "rate_limited", 4203, Later;
    /// The socket took nothing for too long.
    Stalled = "stalled", 4100, Now;
    /// The client goes on sending what is no frame of the protocol.
    TooManyErrors = "too_many_errors", 4400, No;
    /// The credential ended: it expired, or was revoked.
    Unauthenticated = "unauthenticated", 4401, No;
}

/// Longest close reason, in bytes (RFC 6455: a control frame's 125 less the number).
pub const CLOSE_REASON_BYTES_MAX: usize = 123;

impl CloseCode {
    /// The code of a number in a close frame.
    pub fn from_number(number: u16) -> Option<CloseCode> {
        CloseCode::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The close reason: JSON, `{"code": ..}` and for 42xx `retry_after_ms`, at most [`CLOSE_REASON_BYTES_MAX`] bytes.
    pub fn reason(self, retry_after_ms: u64) -> String {
        match self.reconnect() {
            Reconnect::Later => format!("{{\"code\":\"{}\",\"retry_after_ms\":{retry_after_ms}}}", self.as_str()),
            Reconnect::Now | Reconnect::No => format!("{{\"code\":\"{}\"}}", self.as_str()),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_are_alphabetical_snake_case_and_found_again() {
        let words: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        for code in ErrorCode::ALL {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{code}");
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
        }
        assert_eq!(ErrorCode::parse("nonsense"), None);
    }

    /// A service's own troubles pass, and so does what retention ends; what is wrong with a request stays wrong.
    #[test]
    fn only_passing_troubles_are_retryable() {
        for code in ErrorCode::ALL {
            let passing = code.http_status() >= 500
                || matches!(code, ErrorCode::RequestTimeout | ErrorCode::LineCut | ErrorCode::RateLimited)
                || matches!(code, ErrorCode::DeletionsFull);
            assert_eq!(code.is_retryable(), passing, "{code}");
        }
    }

    #[test]
    fn close_codes_say_by_their_range_whether_to_come_back() {
        let words: Vec<&str> = CloseCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        for code in CloseCode::ALL {
            let range = match code.reconnect() {
                Reconnect::Now => 4100..4200,
                Reconnect::Later => 4200..4300,
                Reconnect::No if code.number() < 4000 => 1000..1010,
                Reconnect::No => 4400..4500,
            };
            assert!(range.contains(&code.number()), "{code}");
            assert_eq!(CloseCode::from_number(code.number()), Some(*code), "two codes share a number");
            assert!(code.reason(u64::MAX).len() <= CLOSE_REASON_BYTES_MAX);
        }
    }

    #[test]
    fn a_close_reason_is_json_and_says_when_to_come_back() {
        assert_eq!(CloseCode::Draining.reason(1500), r#"{"code":"draining","retry_after_ms":1500}"#);
        assert_eq!(CloseCode::Stalled.reason(1500), r#"{"code":"stalled"}"#);
    }
}
