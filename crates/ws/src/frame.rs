//! Frames that the server sends: unmasked, unfragmented, finished.
//!
//! A frame is the same for every socket that it goes to, so it is built once and shared as [`Bytes`]. [`write_header`]
//! lets a caller lay many frames into one buffer and share slices of it. Nothing here compresses: that is
//! [`crate::deflate`].

use bytes::Bytes;

/// The most payload bytes of a control frame (ping, pong, close).
pub const CONTROL_BYTES_MAX: usize = 125;

/// The most bytes of a close reason: the payload of a control frame less the code.
pub const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// The largest header of a frame without a mask.
pub const HEADER_BYTES_MAX: usize = 10;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0,
    /// A message of UTF-8, or its first fragment.
    Text = 1,
    /// A message of any bytes, or its first fragment.
    Binary = 2,
    /// The last frame of its sender.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// The answer to a ping, or a sign of life without one.
    Pong = 10,
}

impl Opcode {
    /// The opcode with this number; none if the number is reserved.
    pub const fn from_number(number: u8) -> Option<Opcode> {
        Some(match number {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    /// Whether frames of this kind may stand between the fragments of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// The size of the header in front of a payload of `payload_bytes`.
pub const fn header_bytes(payload_bytes: usize) -> usize {
    match payload_bytes {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => HEADER_BYTES_MAX,
    }
}

/// Appends the header of a final, unmasked frame whose payload of `payload_bytes` follows. `rsv1` marks a compressed
/// message.
pub fn write_header(buf: &mut Vec<u8>, opcode: Opcode, rsv1: bool, payload_bytes: usize) {
    buf.push(FIN | if rsv1 { RSV1 } else { 0 } | opcode as u8);
    // Each form is the end of the long one.
    let long = (payload_bytes as u64).to_be_bytes();
    match payload_bytes {
        0..=125 => buf.push(long[7]),
        126..=0xffff => {
            buf.push(126);
            buf.extend_from_slice(&long[6..]);
        }
        _ => {
            buf.push(127);
            buf.extend_from_slice(&long);
        }
    }
}

/// Appends a whole unmasked frame, not compressed.
pub fn write(buf: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    buf.reserve(header_bytes(payload.len()) + payload.len());
    write_header(buf, opcode, false, payload.len());
    buf.extend_from_slice(payload);
}

/// A text frame. That `payload` is UTF-8 is the caller's promise; receivers fail the connection otherwise.
pub fn text(payload: &[u8]) -> Bytes {
    single(Opcode::Text, payload)
}

/// A binary frame.
pub fn binary(payload: &[u8]) -> Bytes {
    single(Opcode::Binary, payload)
}

/// A ping.
///
/// # Panics
/// If `payload` is longer than [`CONTROL_BYTES_MAX`].
pub fn ping(payload: &[u8]) -> Bytes {
    control(Opcode::Ping, payload)
}

/// A pong; `payload` is that of the ping it answers.
///
/// # Panics
/// If `payload` is longer than [`CONTROL_BYTES_MAX`], which that of a ping from the [reader](crate::reader) never is.
pub fn pong(payload: &[u8]) -> Bytes {
    control(Opcode::Pong, payload)
}

/// A close frame with a code and a reason. A reason above [`REASON_BYTES_MAX`] is cut in front of the character that
/// crosses it.
///
/// # Panics
/// In debug builds, if `code` may not stand in a frame ([`is_close_code`]).
pub fn close(code: u16, reason: &str) -> Bytes {
    debug_assert!(is_close_code(code), "close code {code} is not for frames");
    let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    control(Opcode::Close, &payload)
}

/// A close frame without a code: the answer to one that has none.
pub fn close_without_code() -> Bytes {
    control(Opcode::Close, &[])
}

/// Whether a code may stand in a close frame: the registered ones that are not for internal use alone (1005, 1006, 1015),
/// and those of libraries (3000 on) and applications (4000 on).
pub const fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn control(opcode: Opcode, payload: &[u8]) -> Bytes {
    assert!(payload.len() <= CONTROL_BYTES_MAX, "a control frame holds at most {CONTROL_BYTES_MAX} bytes");
    single(opcode, payload)
}

fn single(opcode: Opcode, payload: &[u8]) -> Bytes {
    // The capacity is exact, so that the vector becomes `Bytes` without a copy.
    let mut frame = Vec::with_capacity(header_bytes(payload.len()) + payload.len());
    write(&mut frame, opcode, payload);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests;
