//! The header of a client's frame (RFC 6455 5.2), judged byte by byte as it comes.

use super::ReadError;
use super::unmask::Mask;
use crate::frame::{CONTROL_BYTES_MAX, Opcode};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_AND_3: u8 = 0x30;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;

/// Its first byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) fin: bool,
    pub(super) rsv1: bool,
    pub(super) opcode: Opcode,
}

impl Start {
    pub(super) fn parse(byte: u8) -> Result<Start, ReadError> {
        if byte & RSV2_AND_3 != 0 {
            return Err(ReadError::Reserved);
        }
        let number = byte & OPCODE;
        let opcode = Opcode::from_number(number).ok_or(ReadError::Opcode(number))?;
        let fin = byte & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(ReadError::ControlFragmented);
        }
        Ok(Start { fin, rsv1: byte & RSV1 != 0, opcode })
    }
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) start: Start,
    /// For a control frame, at most [`CONTROL_BYTES_MAX`].
    pub(super) payload_bytes: u64,
    pub(super) mask: Mask,
    /// Its own size.
    pub(super) bytes: usize,
}

impl Header {
    /// Parses what follows the first byte; none if it is incomplete but right so far.
    pub(super) fn parse(start: Start, rest: &[u8]) -> Result<Option<Header>, ReadError> {
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(ReadError::Unmasked);
        }
        let short = second & LENGTH;
        if start.opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(ReadError::ControlTooLong);
        }
        let (length_bytes, length) = match short {
            126 => match rest.first_chunk() {
                None => return Ok(None),
                Some(length) => (2, u64::from(u16::from_be_bytes(*length))),
            },
            127 => match rest.first_chunk() {
                None => return Ok(None),
                Some(length) => (8, u64::from_be_bytes(*length)),
            },
            short => (0, u64::from(short)),
        };
        let in_shortest_form = match length_bytes {
            2 => length > 125,
            8 => length > 0xffff && length >> 63 == 0,
            _ => true,
        };
        if !in_shortest_form {
            return Err(ReadError::Length);
        }
        let Some(key) = rest[length_bytes..].first_chunk() else { return Ok(None) };
        Ok(Some(Header { start, payload_bytes: length, mask: Mask::new(*key), bytes: 2 + length_bytes + key.len() }))
    }
}
