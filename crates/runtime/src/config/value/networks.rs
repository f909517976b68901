//! Networks of addresses as settings, and the header in which proxies name their clients.

use toml::Value;

use super::{Setting, expected, list, shown_list};

pub use tidings_protocol::network::{Network, Networks};

impl Setting for Networks {
    fn read(value: &Value) -> Result<Networks, String> {
        list("a network as in 10.0.0.0/8, or an address", value).map(Networks)
    }

    fn show(&self) -> Value {
        shown_list(&self.0)
    }
}

/// Where a trusted proxy writes for whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
}

impl ForwardedHeader {
    fn word(self) -> &'static str {
        match self {
            ForwardedHeader::Forwarded => "forwarded",
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
        }
    }
}

impl Setting for ForwardedHeader {
    fn read(value: &Value) -> Result<ForwardedHeader, String> {
        let word = value.as_str().unwrap_or_default().trim().to_ascii_lowercase();
        [ForwardedHeader::Forwarded, ForwardedHeader::XForwardedFor]
            .into_iter()
            .find(|header| header.word() == word)
            .ok_or_else(|| expected("forwarded or x-forwarded-for", value))
    }

    fn show(&self) -> Value {
        Value::String(self.word().into())
    }
}
