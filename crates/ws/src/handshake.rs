//! The opening handshake (RFC 6455 section 4.2): whether a request may become a WebSocket, and the answer to it.
//!
//! Pure: it reads the request's head and makes the response's. It knows no origins, credentials or routes, and it
//! selects, but does not demand, a subprotocol: [`Handshake::subprotocol`] is there for those who do.

mod extensions;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{
    ALLOW, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Method, Response, StatusCode, Version};
use thiserror::Error;

use crate::deflate::WindowBits;

/// The version of the protocol that RFC 6455 defines, the only one there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A key is 16 random bytes.
const KEY_BYTES: usize = 16;
/// Their size in base64.
const KEY_CHARS: usize = 24;

/// What the server is ready to agree to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms<'a> {
    /// The subprotocols that it speaks; their order does not matter, the client's does.
    pub subprotocols: &'a [&'a str],
    /// The window of the [`Deflater`](crate::deflate::Deflater) behind its compressed frames; none for no compression.
    pub deflate: Option<WindowBits>,
}

/// A request that may become a WebSocket, and what was agreed upon.
#[derive(Debug, Clone)]
pub struct Handshake<'a> {
    accept: HeaderValue,
    subprotocol: Option<&'a str>,
    deflate: Option<extensions::Agreed>,
}

/// Why a request cannot become a WebSocket. [`HandshakeError::response`] tells the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// `Connection` does not name `upgrade`.
    #[error("the connection header does not name upgrade")]
    Connection,
    /// `Sec-WebSocket-Extensions` is no list of extensions. (One that is unknown or unwelcome is just not agreed to.)
    #[error("the sec-websocket-extensions header is malformed")]
    Extensions,
    /// There is no `Host`.
    #[error("the host header is missing")]
    Host,
    /// The request is not HTTP/1.1.
    #[error("a websocket is opened over http/1.1")]
    HttpVersion,
    /// `Sec-WebSocket-Key` is missing, given twice, or not 16 bytes in base64.
    #[error("the sec-websocket-key header is not one key of 16 bytes in base64")]
    Key,
    /// The method is not GET.
    #[error("a websocket is opened by GET")]
    Method,
    /// `Upgrade` does not name `websocket`: a plain request went to a place that only speaks WebSocket.
    #[error("the upgrade header does not name websocket")]
    NotAnUpgrade,
    /// `Sec-WebSocket-Protocol` is no list of different tokens.
    #[error("the sec-websocket-protocol header is malformed")]
    Subprotocols,
    /// `Sec-WebSocket-Version` is not 13.
    #[error("the sec-websocket-version header is not 13")]
    Version,
}

impl<'a> Handshake<'a> {
    /// Judges a request by its head.
    ///
    /// Of the subprotocols that both sides know, the one that the client names first is selected. Of its offers of
    /// permessage-deflate, the first is accepted that a shared compressed frame suits: one that leaves the server a
    /// window as large as that of `terms`. Without such an offer the connection is just not compressed.
    ///
    /// # Errors
    /// The first thing found that RFC 6455 forbids.
    pub fn check(
        method: &Method,
        version: Version,
        headers: &HeaderMap,
        terms: &Terms<'a>,
    ) -> Result<Handshake<'a>, HandshakeError> {
        if method != Method::GET {
            return Err(HandshakeError::Method);
        }
        if !names(headers, &UPGRADE, "websocket") {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }
        if !names(headers, &CONNECTION, "upgrade") {
            return Err(HandshakeError::Connection);
        }
        if !headers.contains_key(HOST) {
            return Err(HandshakeError::Host);
        }
        if only(headers, &SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(HandshakeError::Version);
        }
        let accept = only(headers, &SEC_WEBSOCKET_KEY).and_then(accept).ok_or(HandshakeError::Key)?;
        let offered = offered_subprotocols(headers)?;
        let subprotocol = offered.iter().find_map(|offered| terms.subprotocols.iter().find(|known| *known == offered));
        let deflate = extensions::agree(headers.get_all(SEC_WEBSOCKET_EXTENSIONS), terms.deflate)
            .map_err(|extensions::Malformed| HandshakeError::Extensions)?;
        Ok(Handshake { accept, subprotocol: subprotocol.copied(), deflate })
    }

    /// The selected subprotocol; none if the client offered none that the server speaks.
    pub fn subprotocol(&self) -> Option<&'a str> {
        self.subprotocol
    }

    /// Whether both sides may send compressed messages. (Both may send plain ones always.)
    pub fn deflate(&self) -> bool {
        self.deflate.is_some()
    }

    /// The response: 101 and the headers that switch the protocol.
    pub fn response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, WEBSOCKET);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(subprotocol) = self.subprotocol {
            let value = HeaderValue::from_str(subprotocol).expect("it equals a value that came in a header");
            headers.insert(SEC_WEBSOCKET_PROTOCOL, value);
        }
        if let Some(agreed) = self.deflate {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, agreed.header());
        }
        response
    }
}

impl HandshakeError {
    /// The status to refuse with.
    pub fn status(self) -> StatusCode {
        match self {
            HandshakeError::Connection
            | HandshakeError::Extensions
            | HandshakeError::Host
            | HandshakeError::HttpVersion
            | HandshakeError::Key
            | HandshakeError::Subprotocols => StatusCode::BAD_REQUEST,
            HandshakeError::Method => StatusCode::METHOD_NOT_ALLOWED,
            HandshakeError::NotAnUpgrade | HandshakeError::Version => StatusCode::UPGRADE_REQUIRED,
        }
    }

    /// The headers that belong to [`HandshakeError::status`]: what would have been right.
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.status() {
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(UPGRADE, WEBSOCKET);
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            _ => {}
        }
        headers
    }

    /// A response of that status and those headers; what it says in its body is the caller's choice.
    pub fn response<B: Default>(self) -> Response<B> {
        let mut response = Response::new(B::default());
        *response.status_mut() = self.status();
        *response.headers_mut() = self.headers();
        response
    }
}

/// The subprotocols that a client offers, in its order.
///
/// # Errors
/// [`HandshakeError::Subprotocols`] if one is no token or is named twice.
pub fn offered_subprotocols(headers: &HeaderMap) -> Result<Vec<&str>, HandshakeError> {
    let mut offered = Vec::new();
    for value in headers.get_all(SEC_WEBSOCKET_PROTOCOL) {
        for name in elements(value).ok_or(HandshakeError::Subprotocols)? {
            if !name.bytes().all(is_token_byte) || offered.contains(&name) {
                return Err(HandshakeError::Subprotocols);
            }
            offered.push(name);
        }
    }
    Ok(offered)
}

/// `Sec-WebSocket-Accept` for a key; none if the key is not one.
fn accept(key: &HeaderValue) -> Option<HeaderValue> {
    let key = key.as_bytes();
    // Room for what the decoder expects of 24 characters before it has seen the padding.
    let mut decoded = [0; KEY_BYTES + 2];
    if key.len() != KEY_CHARS || BASE64.decode_slice(key, &mut decoded) != Ok(KEY_BYTES) {
        return None;
    }
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(ACCEPT_GUID);
    let accept = BASE64.encode(hash.digest().bytes());
    Some(HeaderValue::from_str(&accept).expect("base64 is visible ASCII"))
}

/// The value of a header that is there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether the lists of a header name a token; case does not matter.
fn names(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut elements = headers.get_all(name).iter().filter_map(elements).flatten();
    elements.any(|element| element.eq_ignore_ascii_case(token))
}

/// The elements of a comma-separated list without quoted strings. Empty ones are skipped, as RFC 9110 5.6.1 wants it.
fn elements(value: &HeaderValue) -> Option<impl Iterator<Item = &str>> {
    let list = value.to_str().ok()?;
    Some(list.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|element| !element.is_empty()))
}

/// Whether a byte may stand in a token (RFC 9110 5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
