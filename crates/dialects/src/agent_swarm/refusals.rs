//! Refusals of the REST routes, in the shapes that their clients read. Every one is JSON.

use serde::Serialize;
use serde_json::{Value, json};
use tidings_protocol::codes::ErrorCode;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// No credential, or none that is good: the client gets another one.
    NotAuthenticated,
    /// A request that cannot be taken as it is.
    Invalid(Vec<Fault>),
    /// Too many requests.
    RateLimited {
        /// Seconds after which one may succeed.
        retry_after_s: u64,
    },
    /// Another refusal.
    Other {
        /// The HTTP status.
        status: u16,
        /// What people read.
        detail: String,
    },
}

/// A fault of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fault {
    /// Where: `body` or `query`, then the path in it.
    pub loc: Vec<Value>,
    /// What people read.
    pub msg: String,
    /// The kind of the fault.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl Fault {
    /// A fault of a member of the body, or of a parameter.
    pub fn of(within: &str, name: &str, kind: &'static str, msg: impl Into<String>) -> Fault {
        Fault { loc: vec![within.into(), name.into()], msg: msg.into(), kind }
    }
}

impl Refusal {
    /// There is no such thing.
    pub fn not_found(what: &str) -> Refusal {
        Refusal::Other { status: 404, detail: format!("{what} not found") }
    }

    /// What one of our refusals is here.
    pub fn from_code(code: ErrorCode, detail: impl Into<String>, retry_after_s: Option<u32>) -> Refusal {
        let detail = detail.into();
        match code.http_status() {
            401 => Refusal::NotAuthenticated,
            429 => Refusal::RateLimited { retry_after_s: retry_after_s.unwrap_or(1).into() },
            status => Refusal::Other { status, detail },
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::NotAuthenticated => 401,
            Refusal::Invalid(_) => 422,
            Refusal::RateLimited { .. } => 429,
            Refusal::Other { status, .. } => *status,
        }
    }

    /// The body.
    pub fn body(&self) -> Value {
        match self {
            Refusal::NotAuthenticated => json!({"detail": "Not authenticated"}),
            Refusal::Invalid(faults) => json!({"detail": faults}),
            Refusal::RateLimited { retry_after_s } => {
                let detail = format!("Rate limit exceeded. Try again in {retry_after_s} seconds.");
                json!({"detail": detail, "retry_after": retry_after_s})
            }
            Refusal::Other { status: 500, detail } => json!({"error": "Internal server error", "detail": detail}),
            Refusal::Other { detail, .. } => json!({"detail": detail}),
        }
    }
}
