//! `Sec-WebSocket-Extensions`: its grammar (RFC 6455 9.1) and the agreement on permessage-deflate (RFC 7692 7.1).
//!
//! Whatever is agreed to excludes context takeover on both sides: the server's frames are shared by sockets that have
//! seen different messages before, and the reader keeps no window between messages.

use http::HeaderValue;
use http::header::GetAll;

use super::is_token_byte;
use crate::deflate::WindowBits;

/// An accepted offer of permessage-deflate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    /// The window to promise; present if the client limited it.
    server_max_window_bits: Option<WindowBits>,
}

/// The header does not follow its grammar.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// One element of the header: an extension's name and parameters, in order.
#[derive(Debug)]
struct Offer<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<String>)>,
}

impl Agreed {
    /// The element for the response.
    pub(super) fn header(self) -> HeaderValue {
        let mut value = "permessage-deflate; server_no_context_takeover; client_no_context_takeover".to_owned();
        if let Some(bits) = self.server_max_window_bits {
            value.push_str("; server_max_window_bits=");
            value.push_str(&bits.get().to_string());
        }
        HeaderValue::from_str(&value).expect("it is visible ASCII")
    }
}

/// Accepts the first offer that suits a server which compresses with `window`, or none of them.
pub(super) fn agree(values: GetAll<'_, HeaderValue>, window: Option<WindowBits>) -> Result<Option<Agreed>, Malformed> {
    let mut agreed = None;
    // All of it is parsed even when an early offer suits: a malformed header is refused wherever the flaw stands.
    for value in values {
        let mut rest = Cursor { rest: value.to_str().map_err(|_| Malformed)? };
        while let Some(offer) = rest.offer()? {
            agreed = agreed.or_else(|| window.and_then(|window| suits(&offer, window)));
        }
    }
    Ok(agreed)
}

/// The answer to one offer; none declines it.
fn suits(offer: &Offer<'_>, window: WindowBits) -> Option<Agreed> {
    if offer.name != "permessage-deflate" {
        return None;
    }
    let mut server_max_window_bits = None;
    for (index, (name, value)) in offer.parameters.iter().enumerate() {
        if offer.parameters[..index].iter().any(|(earlier, _)| earlier == name) {
            return None;
        }
        match (*name, value) {
            ("server_max_window_bits", Some(bits)) => {
                if window_bits(bits)? < window.get() {
                    return None;
                }
                server_max_window_bits = Some(window);
            }
            // Promised and demanded by the answer in any case.
            ("server_no_context_takeover" | "client_no_context_takeover", None) => {}
            // Hints that the client could do with less; the reader inflates with the full window anyway.
            ("client_max_window_bits", bits) => {
                bits.as_deref().map_or(Some(WindowBits::MAX.get()), window_bits)?;
            }
            _ => return None,
        }
    }
    Some(Agreed { server_max_window_bits })
}

/// 8 to 15, in decimal without leading zeros.
fn window_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (8..=15).contains(bits))?;
    (value.len() == if bits < 10 { 1 } else { 2 }).then_some(bits)
}

struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// The next element of the list; none at its end.
    fn offer(&mut self) -> Result<Option<Offer<'a>>, Malformed> {
        while self.take(',') {}
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut offer = Offer { name: self.token()?, parameters: Vec::new() };
        while self.take(';') {
            let name = self.token()?;
            let value = if self.take('=') { Some(self.value()?) } else { None };
            offer.parameters.push((name, value));
        }
        if self.rest.is_empty() || self.take(',') { Ok(Some(offer)) } else { Err(Malformed) }
    }

    /// Skips spaces, and `expected` with the spaces behind it if it is next.
    fn take(&mut self, expected: char) -> bool {
        self.skip_space();
        let Some(rest) = self.rest.strip_prefix(expected) else { return false };
        self.rest = rest;
        self.skip_space();
        true
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let end = self.rest.bytes().position(|byte| !is_token_byte(byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// A token, or a quoted string of which a token remains once it is unquoted.
    fn value(&mut self) -> Result<String, Malformed> {
        let Some(quoted) = self.rest.strip_prefix('"') else { return self.token().map(str::to_owned) };
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().ok_or(Malformed)? {
                '"' => break,
                '\\' => value.push(chars.next().ok_or(Malformed)?),
                other => value.push(other),
            }
        }
        self.rest = chars.as_str();
        if !value.is_empty() && value.bytes().all(is_token_byte) { Ok(value) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
