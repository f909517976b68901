//! A message in the making: its bytes as they come, and what is known about them.

use bytes::Bytes;

use super::unmask::Mask;
use super::{Message, ReadError, inflate};

/// The least room for a message whose frame is longer than what has come of it.
const ROOM_BYTES_MIN: usize = 1024;

#[derive(Debug)]
pub(super) struct Assembly {
    text: bool,
    compressed: bool,
    /// The payload so far, unmasked.
    bytes: Vec<u8>,
    /// Plain text is known to be UTF-8 up to here; at most three bytes of an incomplete character follow.
    valid: usize,
}

impl Assembly {
    pub(super) fn new(text: bool, compressed: bool) -> Assembly {
        Assembly { text, compressed, bytes: Vec::new(), valid: 0 }
    }

    /// Bytes of payload so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends the next bytes of a frame that has `frame_remaining` bytes to come, these included.
    ///
    /// Room grows with what has come, not with what is announced, so that announcing costs a client as much as sending;
    /// and never beyond what is announced, so that the limit on messages bounds it.
    pub(super) fn append(&mut self, masked: &[u8], frame_remaining: usize, mask: &mut Mask) {
        let start = self.bytes.len();
        if self.bytes.capacity() - start < masked.len() {
            let room = masked.len().max(start).max(ROOM_BYTES_MIN).min(frame_remaining);
            self.bytes.reserve_exact(room);
        }
        self.bytes.extend_from_slice(masked);
        mask.apply(&mut self.bytes[start..]);
    }

    /// Fails as soon as no continuation could make the text valid.
    pub(super) fn check_text(&mut self) -> Result<(), ReadError> {
        if !self.text || self.compressed {
            return Ok(());
        }
        match str::from_utf8(&self.bytes[self.valid..]) {
            Ok(_) => self.valid = self.bytes.len(),
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(ReadError::NotUtf8),
        }
        Ok(())
    }

    /// The message, once its last fragment is complete.
    pub(super) fn finish(self, message_bytes_max: usize) -> Result<Message, ReadError> {
        let bytes = if self.compressed { inflate(&self.bytes, message_bytes_max)? } else { self.bytes };
        if self.text {
            String::from_utf8(bytes).map(Message::Text).map_err(|_| ReadError::NotUtf8)
        } else {
            Ok(Message::Binary(Bytes::from(bytes)))
        }
    }
}
