//! The strict reader: bytes from a client in, messages out.
//!
//! Pure and incremental: it neither reads nor writes, and how the bytes were split on their way changes nothing. What
//! RFC 6455 or RFC 7692 forbid ends it at the earliest byte that shows it; limits are judged by headers, before a body
//! is held. Memory: of its input it leaves at most [`UNREAD_BYTES_MAX`]; besides, it holds the message in progress, never above [`ReaderLimits::message_bytes_max`] (twice that, and an inflater, in the moment
//! when a compressed message is complete); between messages it holds nothing.

mod header;
mod message;
mod unmask;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use self::header::{Header, Start};
use self::message::Assembly;
use self::unmask::Mask;
use crate::deflate::{InflateError, Inflater};
use crate::frame::{self, Opcode};

/// The most bytes of input that wait for more: a control frame (a header of 6 bytes at most) less its last byte.
pub const UNREAD_BYTES_MAX: usize = 6 + frame::CONTROL_BYTES_MAX - 1;

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderLimits {
    /// The largest message, in bytes of its payload, both as sent and (if compressed) as inflated.
    pub message_bytes_max: usize,
    /// The largest data frame, in bytes of its payload as sent.
    pub frame_bytes_max: usize,
}

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A message of text.
    Text(String),
    /// A message of bytes.
    Binary(Bytes),
    /// A ping, at most [`frame::CONTROL_BYTES_MAX`] bytes, to be answered by [`frame::pong`] with the same payload.
    Ping(Bytes),
    /// A pong; whether it answers a ping is for the caller to know.
    Pong(Bytes),
    /// The client's last frame. To be answered by [`CloseFrame::answer`], unless a close was sent before.
    Close(CloseFrame),
}

/// The payload of a close frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CloseFrame {
    /// The code, one that [`frame::is_close_code`] allows; none if the frame was empty.
    pub code: Option<u16>,
    /// The reason; empty without a code.
    pub reason: String,
}

impl CloseFrame {
    /// The frame that answers it: the same code, no reason.
    pub fn answer(&self) -> Bytes {
        self.code.map_or_else(frame::close_without_code, |code| frame::close(code, ""))
    }
}

/// What a client did wrong. The connection is to be closed with [`ReadError::close_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadError {
    /// A close frame with a code that may not be sent.
    #[error("close code {0} is not allowed in a frame")]
    CloseCode(u16),
    /// A close frame with one byte.
    #[error("a close frame holds half a code")]
    CloseHalfCode,
    /// A control frame in fragments.
    #[error("a control frame is fragmented")]
    ControlFragmented,
    /// A control frame above [`frame::CONTROL_BYTES_MAX`].
    #[error("a control frame is too long")]
    ControlTooLong,
    /// A compressed message that is no whole DEFLATE stream.
    #[error("a compressed message is corrupt")]
    DeflateCorrupt,
    /// A data frame above [`ReaderLimits::frame_bytes_max`].
    #[error("a frame is larger than allowed")]
    FrameTooLong,
    /// A new message before the last one was complete.
    #[error("a message begins inside another one")]
    Interleaved,
    /// A length that is not in its shortest form, or above 2^63.
    #[error("a length is not in its shortest form")]
    Length,
    /// A message above [`ReaderLimits::message_bytes_max`].
    #[error("a message is larger than allowed")]
    MessageTooLong,
    /// Text, or a close reason, that is not UTF-8.
    #[error("text is not utf-8")]
    NotUtf8,
    /// An opcode that is not defined.
    #[error("opcode {0} is reserved")]
    Opcode(u8),
    /// A reserved bit, or that of compression where nothing is compressed.
    #[error("a reserved bit is set")]
    Reserved,
    /// A continuation of no message.
    #[error("a continuation continues nothing")]
    StrayContinuation,
    /// A frame without a mask.
    #[error("a frame is not masked")]
    Unmasked,
}

impl ReadError {
    /// The code to close with: 1002 (protocol), 1007 (not what it claims to be) or 1009 (too large).
    pub const fn close_code(self) -> u16 {
        match self {
            ReadError::CloseCode(_)
            | ReadError::CloseHalfCode
            | ReadError::ControlFragmented
            | ReadError::ControlTooLong
            | ReadError::Interleaved
            | ReadError::Length
            | ReadError::Opcode(_)
            | ReadError::Reserved
            | ReadError::StrayContinuation
            | ReadError::Unmasked => 1002,
            ReadError::DeflateCorrupt | ReadError::NotUtf8 => 1007,
            ReadError::FrameTooLong | ReadError::MessageTooLong => 1009,
        }
    }
}

/// The state machine of one connection.
#[derive(Debug)]
pub struct Reader {
    limits: ReaderLimits,
    deflate: bool,
    state: State,
    /// The message whose first fragment has begun.
    assembly: Option<Assembly>,
}

#[derive(Debug)]
enum State {
    /// At the border of a frame.
    Header,
    /// Inside a data frame.
    Payload { remaining: usize, mask: Mask, fin: bool },
    /// Behind a close frame, or an error.
    Ended(Option<ReadError>),
}

impl Reader {
    /// A reader at the start of a connection; `deflate` if the handshake
    /// [agreed to it](crate::handshake::Handshake::deflate).
    pub fn new(limits: ReaderLimits, deflate: bool) -> Reader {
        Reader { limits, deflate, state: State::Header, assembly: None }
    }

    /// Takes bytes from the front of `input` and returns the next message; none if there is none before more input.
    /// To be called until then, whenever input has been appended. After a [`Message::Close`] all input is dropped.
    ///
    /// # Errors
    /// What the client did wrong; all later calls repeat it and drop their input.
    pub fn feed(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ReadError> {
        let step = self.step(input);
        match &step {
            Ok(Some(Message::Close(_))) => self.end(None),
            Err(error) => self.end(Some(*error)),
            Ok(_) => {}
        }
        if matches!(self.state, State::Ended(_)) {
            input.clear();
        }
        step
    }

    /// Bytes of memory that the message in progress occupies.
    pub fn held_bytes(&self) -> usize {
        self.assembly.as_ref().map_or(0, Assembly::held_bytes)
    }

    fn end(&mut self, error: Option<ReadError>) {
        self.state = State::Ended(error);
        self.assembly = None;
    }

    fn step(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ReadError> {
        loop {
            match &mut self.state {
                State::Ended(error) => return error.map_or(Ok(None), Err),
                State::Header => {
                    let Some(header) = self.header(input)? else { return Ok(None) };
                    if header.start.opcode.is_control() {
                        return control(&header, input);
                    }
                    self.begin(&header)?;
                    input.advance(header.bytes);
                }
                State::Payload { remaining, mask, fin } => {
                    let assembly = self.assembly.as_mut().expect("a data frame began or continues a message");
                    let available = input.len().min(*remaining);
                    assembly.append(&input[..available], *remaining, mask);
                    input.advance(available);
                    *remaining -= available;
                    let (complete, fin) = (*remaining == 0, *fin);
                    if complete {
                        self.state = State::Header;
                    }
                    if complete && fin {
                        let assembly = self.assembly.take().expect("it was there above");
                        return assembly.finish(self.limits.message_bytes_max).map(Some);
                    }
                    assembly.check_text()?;
                    if !complete {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// The header at the front of `input`, judged as far as it is there; none if it is incomplete.
    fn header(&self, input: &[u8]) -> Result<Option<Header>, ReadError> {
        let Some((&start, rest)) = input.split_first_chunk::<1>() else { return Ok(None) };
        let start = Start::parse(start[0])?;
        match (start.opcode, &self.assembly) {
            (Opcode::Continuation, None) => return Err(ReadError::StrayContinuation),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ReadError::Interleaved),
            _ => {}
        }
        // RSV1 belongs to the first frame of a message alone (RFC 7692 6).
        if start.rsv1 && !(self.deflate && matches!(start.opcode, Opcode::Text | Opcode::Binary)) {
            return Err(ReadError::Reserved);
        }
        Header::parse(start, rest)
    }

    /// Enters a data frame, if it is within the limits.
    fn begin(&mut self, header: &Header) -> Result<(), ReadError> {
        let length = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        if length > self.limits.frame_bytes_max {
            return Err(ReadError::FrameTooLong);
        }
        let held = self.assembly.as_ref().map_or(0, Assembly::len);
        if length > self.limits.message_bytes_max.saturating_sub(held) {
            return Err(ReadError::MessageTooLong);
        }
        let start = &header.start;
        self.assembly.get_or_insert_with(|| Assembly::new(start.opcode == Opcode::Text, start.rsv1));
        self.state = State::Payload { remaining: length, mask: header.mask, fin: start.fin };
        Ok(())
    }
}

/// Takes a control frame from the front of `input` once it is complete.
fn control(header: &Header, input: &mut BytesMut) -> Result<Option<Message>, ReadError> {
    let length = usize::try_from(header.payload_bytes).expect("the header is that of a control frame");
    if input.len() < header.bytes + length {
        return Ok(None);
    }
    input.advance(header.bytes);
    let mut payload = [0; frame::CONTROL_BYTES_MAX];
    let payload = &mut payload[..length];
    input.copy_to_slice(payload);
    let mut mask = header.mask;
    mask.apply(payload);
    Ok(Some(match header.start.opcode {
        Opcode::Ping => Message::Ping(Bytes::copy_from_slice(payload)),
        Opcode::Pong => Message::Pong(Bytes::copy_from_slice(payload)),
        _ => Message::Close(close(payload)?),
    }))
}

fn close(payload: &[u8]) -> Result<CloseFrame, ReadError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(CloseFrame::default()) } else { Err(ReadError::CloseHalfCode) };
    };
    let code = u16::from_be_bytes(*code);
    if !frame::is_close_code(code) {
        return Err(ReadError::CloseCode(code));
    }
    let reason = str::from_utf8(reason).map_err(|_| ReadError::NotUtf8)?;
    Ok(CloseFrame { code: Some(code), reason: reason.to_owned() })
}

impl From<InflateError> for ReadError {
    fn from(error: InflateError) -> ReadError {
        match error {
            InflateError::Corrupt => ReadError::DeflateCorrupt,
            InflateError::TooLong => ReadError::MessageTooLong,
        }
    }
}

/// Inflates a message with an inflater that lives no longer than the call: clients compress few and small messages, and
/// tens of kilobytes for every idle connection would cost more than making one.
fn inflate(compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, ReadError> {
    Ok(Inflater::new().inflate(compressed, bytes_max)?)
}

#[cfg(test)]
mod tests;
