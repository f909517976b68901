//! WebSocket: frames from a client, compressed messages, the handshake.

use std::cell::RefCell;

use bytes::BytesMut;
use http::{Method, Version, header};
use tidings_ws::deflate::{Deflater, Inflater, WindowBits};
use tidings_ws::frame::{self, CONTROL_BYTES_MAX, Opcode};
use tidings_ws::handshake::{Handshake, HandshakeError, Terms, offered_subprotocols};
use tidings_ws::reader::{Message, ReadError, Reader, ReaderLimits, UNREAD_BYTES_MAX};

use crate::input::{Input, head_and_body, headers};

const LIMITS: ReaderLimits = ReaderLimits { message_bytes_max: 4_096, frame_bytes_max: 2_048 };
const SUBPROTOCOLS: [&str; 2] = ["tidings.v1", "other"];

/// Bytes from a client mean the same however they were cut, never hold more than the limits allow, and what was
/// understood is understood again when it is said anew.
pub(crate) fn reader(data: &[u8]) {
    let mut input = Input::new(data);
    let (deflate, size) = (input.byte() & 1 == 1, usize::from(input.byte()) + 1);
    let bytes = input.rest();
    let whole = read(LIMITS, deflate, [bytes]);
    assert_eq!(read(LIMITS, deflate, bytes.chunks(size)), whole, "by {size}");
    let mut again = Vec::new();
    for message in &whole.0 {
        say(message, &mut again);
    }
    let limits = ReaderLimits { frame_bytes_max: LIMITS.message_bytes_max, ..LIMITS };
    assert_eq!(read(limits, false, [again.as_slice()]), (whole.0, Ok(())));
}

fn read<'a>(
    limits: ReaderLimits,
    deflate: bool,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Result<(), ReadError>) {
    let mut reader = Reader::new(limits, deflate);
    let (mut input, mut messages) = (BytesMut::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match reader.feed(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    assert!(input.is_empty() && matches!(error.close_code(), 1002 | 1007 | 1009));
                    return (messages, Err(error));
                }
            }
        }
        assert!(input.len() <= UNREAD_BYTES_MAX, "{} bytes wait", input.len());
        assert!(reader.held_bytes() <= limits.message_bytes_max, "{} bytes are held", reader.held_bytes());
    }
    (messages, Ok(()))
}

/// A client's frame with this message.
fn say(message: &Message, out: &mut Vec<u8>) {
    let mut close = Vec::new();
    let (opcode, payload) = match message {
        Message::Text(text) => (Opcode::Text, text.as_bytes()),
        Message::Binary(bytes) => (Opcode::Binary, &bytes[..]),
        Message::Ping(payload) => (Opcode::Ping, &payload[..]),
        Message::Pong(payload) => (Opcode::Pong, &payload[..]),
        Message::Close(frame) => {
            assert!(frame.answer().len() <= 2 + CONTROL_BYTES_MAX);
            close.extend(frame.code.into_iter().flat_map(u16::to_be_bytes));
            close.extend_from_slice(frame.reason.as_bytes());
            (Opcode::Close, &close[..])
        }
    };
    let bytes_max = if opcode.is_control() { CONTROL_BYTES_MAX } else { LIMITS.message_bytes_max };
    assert!(payload.len() <= bytes_max, "{} bytes in a message", payload.len());
    let key = [0x37, 0xfa, 0x21, 0x3d];
    let start = out.len();
    frame::write_header(out, opcode, false, payload.len());
    out[start + 1] |= 0x80;
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

thread_local! {
    static DEFLATERS: RefCell<[Deflater; 2]> = RefCell::new([
        Deflater::new(1, WindowBits::MAX),
        Deflater::new(9, WindowBits::new(9).expect("a window that there is")),
    ]);
}

/// What inflates stays within the limit, no message leaves a trace in the next one, and what the server compresses
/// inflates to the same.
pub(crate) fn deflate(data: &[u8]) {
    let mut input = Input::new(data);
    let (which, bytes_max) = (usize::from(input.byte() & 1), usize::from(input.byte()) * 64);
    let bytes = input.rest();
    let mut inflater = Inflater::new();
    let first = inflater.inflate(bytes, bytes_max);
    if let Ok(out) = &first {
        assert!(out.len() <= bytes_max);
    }
    let halved = inflater.inflate(&bytes[..bytes.len() / 2], bytes_max);
    assert_eq!(Inflater::new().inflate(&bytes[..bytes.len() / 2], bytes_max), halved);
    assert_eq!(inflater.inflate(bytes, bytes_max), first);

    let packed = DEFLATERS.with_borrow_mut(|deflaters| deflaters[which].binary(bytes));
    let header = match packed[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let is_packed = packed[0] == 0xc2;
    assert!(is_packed || packed[0] == 0x82);
    assert!(packed.len() <= frame::header_bytes(bytes.len()) + bytes.len(), "compressing made it larger");
    let payload = if is_packed {
        inflater.inflate(&packed[header..], bytes.len()).expect("our own message inflates")
    } else {
        packed[header..].to_vec()
    };
    assert_eq!(payload, bytes);
}

/// A handshake agrees only to what both sides said, and agrees to its own answer; a refusal says what would be right.
pub(crate) fn handshake(data: &[u8]) {
    let mut input = Input::new(data);
    let (flags, bits) = (input.byte(), input.byte());
    let (fields, _) = head_and_body(input.rest());
    let mut headers = headers(&fields);
    if flags & 1 == 0 {
        let sound = [
            (header::HOST, "h"),
            (header::UPGRADE, "websocket"),
            (header::CONNECTION, "upgrade"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        for (name, value) in sound {
            headers.entry(name).or_insert(http::HeaderValue::from_static(value));
        }
    }
    let method = if flags & 2 == 0 { Method::GET } else { Method::POST };
    let version = if flags & 4 == 0 { Version::HTTP_11 } else { Version::HTTP_10 };
    let terms = Terms { subprotocols: &SUBPROTOCOLS, deflate: WindowBits::new(bits) };
    let agreed = match Handshake::check(&method, version, &headers, &terms) {
        Ok(agreed) => agreed,
        Err(refused) => {
            assert!(refused.response::<()>().status().is_client_error());
            return;
        }
    };
    assert!(method == Method::GET && version == Version::HTTP_11);
    let offered = offered_subprotocols(&headers).expect("they were read before");
    let first = offered.iter().find(|name| SUBPROTOCOLS.contains(name));
    assert_eq!(agreed.subprotocol(), first.copied());
    assert!(!agreed.deflate() || terms.deflate.is_some());
    let answer = agreed.response::<()>();
    assert_eq!(answer.status(), 101);
    let extension = answer.headers().get(header::SEC_WEBSOCKET_EXTENSIONS).cloned();
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    headers.extend(extension.clone().map(|value| (header::SEC_WEBSOCKET_EXTENSIONS, value)));
    let again = Handshake::check(&method, version, &headers, &terms).map(Handshake::response::<()>);
    let again = again.map(|answer| answer.headers().get(header::SEC_WEBSOCKET_EXTENSIONS).cloned());
    assert_eq!(again, Ok::<_, HandshakeError>(extension));
}
