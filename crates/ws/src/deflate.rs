//! permessage-deflate without context takeover: every message is compressed by itself.
//!
//! That costs some ratio and buys that a compressed frame, like a plain one, is built once and shared by all sockets
//! that agreed to it, and that an idle connection holds neither a window nor a dictionary.

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

use crate::frame::{self, Opcode};

/// What a sync flush ends with; the sender drops it and the receiver adds it (RFC 7692 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What the receiver adds: the tail, and an empty final block. Only if a message ends at the border of a block does the
/// inflater end exactly with these bytes; that is how a message that was cut short is told.
const INFLATE_TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// The most final blocks in one message. Senders have no need of more than one, if of any, while each costs the inflater
/// a fresh start, a thousand times what its two bytes cost the sender.
const FINAL_BLOCKS_MAX: u32 = 16;

/// The first room for a message that is inflated, as a multiple of its compressed size.
const INFLATE_RATIO_GUESS: usize = 4;

/// The least room that is added when a message outgrows its buffer.
const ROOM_BYTES_MIN: usize = 64;

/// The size of an LZ77 window, as its base-2 logarithm: 9 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 32 KiB, which every client takes that states no limit; browsers do not.
    pub const MAX: WindowBits = WindowBits(15);

    /// A window of 2^`bits` bytes; none unless `bits` is 9 to 15. (RFC 7692 knows 8 too, zlib does not.)
    pub const fn new(bits: u8) -> Option<WindowBits> {
        match bits {
            9..=15 => Some(WindowBits(bits)),
            _ => None,
        }
    }

    /// The logarithm.
    pub const fn get(self) -> u8 {
        self.0
    }
}

/// Compresses messages into frames, one independent of the other. It holds some 300 KB of state and scratch space:
/// have one for a thread or a topic, not for a connection.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    scratch: Vec<u8>,
}

impl Deflater {
    /// A compressor of a level from 1 (fast) to 9 (small), with the window that the
    /// [`Terms`](crate::handshake::Terms) of the handshake name.
    pub fn new(level: u32, window: WindowBits) -> Deflater {
        let compress = Compress::new_with_window_bits(Compression::new(level.clamp(1, 9)), false, window.get());
        Deflater { compress, scratch: Vec::new() }
    }

    /// A text frame for sockets that agreed to compression; see [`Deflater::write`]. That `payload` is UTF-8 is the
    /// caller's promise.
    pub fn text(&mut self, payload: &[u8]) -> Bytes {
        self.frame(Opcode::Text, payload)
    }

    /// A binary frame for sockets that agreed to compression; see [`Deflater::write`].
    pub fn binary(&mut self, payload: &[u8]) -> Bytes {
        self.frame(Opcode::Binary, payload)
    }

    /// Appends a frame for sockets that agreed to compression: a compressed one, or a plain one if that is no larger.
    ///
    /// # Panics
    /// In debug builds, if `opcode` is not that of a message: control frames are never compressed.
    pub fn write(&mut self, buf: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
        debug_assert!(!opcode.is_control() && opcode != Opcode::Continuation);
        self.compress(payload);
        if self.scratch.len() >= payload.len() {
            return frame::write(buf, opcode, payload);
        }
        buf.reserve(frame::header_bytes(self.scratch.len()) + self.scratch.len());
        frame::write_header(buf, opcode, true, self.scratch.len());
        buf.extend_from_slice(&self.scratch);
    }

    fn frame(&mut self, opcode: Opcode, payload: &[u8]) -> Bytes {
        let mut buf = Vec::new();
        self.write(&mut buf, opcode, payload);
        Bytes::from(buf)
    }

    /// Fills the scratch buffer with the compressed payload, less the tail.
    fn compress(&mut self, payload: &[u8]) {
        self.scratch.clear();
        self.compress.reset();
        // The usual bound for incompressible input; the loop has the last word.
        self.scratch.reserve(payload.len() + payload.len() / 8 + ROOM_BYTES_MIN);
        loop {
            let consumed = usize::try_from(self.compress.total_in()).expect("it is at most the payload's size");
            self.compress
                .compress_vec(&payload[consumed..], &mut self.scratch, FlushCompress::Sync)
                .expect("a stream that is never finished takes any input");
            // Spare room is the sign that the flush is complete.
            if self.scratch.len() < self.scratch.capacity() {
                break;
            }
            self.scratch.reserve(self.scratch.len().max(ROOM_BYTES_MIN));
        }
        debug_assert!(self.scratch.ends_with(&FLUSH_TAIL));
        self.scratch.truncate(self.scratch.len() - FLUSH_TAIL.len());
    }
}

/// Why a compressed message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InflateError {
    /// The data are not a whole DEFLATE message.
    #[error("the compressed message is corrupt")]
    Corrupt,
    /// The message is larger than allowed. No more than that was inflated.
    #[error("the compressed message inflates to more than allowed")]
    TooLong,
}

/// Inflates messages, one independent of the other. It holds some 40 KB: have one for a thread, or make one when needed.
#[derive(Debug)]
pub struct Inflater {
    decompress: Decompress,
    /// Those of the message so far behind which a new stream began.
    final_blocks: u32,
}

impl Default for Inflater {
    fn default() -> Inflater {
        Inflater::new()
    }
}

impl Inflater {
    /// An inflater with the full window, so that it reads what was compressed with any.
    pub fn new() -> Inflater {
        Inflater { decompress: Decompress::new(false), final_blocks: 0 }
    }

    /// Inflates the payload of a compressed message (all fragments of it) to at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`InflateError`]; the inflater is as good as new after one.
    pub fn inflate(&mut self, compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
        self.decompress.reset(false);
        self.final_blocks = 0;
        let mut out = Vec::with_capacity(bytes_max.min(compressed.len().saturating_mul(INFLATE_RATIO_GUESS)));
        self.run(compressed, &mut out, bytes_max)?;
        // A message may hold final blocks of its own; then a new stream begins behind them.
        if self.run(&INFLATE_TAIL, &mut out, bytes_max)? == Status::StreamEnd {
            Ok(out)
        } else {
            Err(InflateError::Corrupt)
        }
    }

    /// Feeds all of `input`. The answer is `StreamEnd` if a stream ended with its last byte.
    fn run(&mut self, mut input: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<Status, InflateError> {
        let mut status = Status::Ok;
        while !input.is_empty() {
            if status == Status::StreamEnd {
                self.final_blocks += 1;
                if self.final_blocks > FINAL_BLOCKS_MAX {
                    return Err(InflateError::Corrupt);
                }
                self.decompress.reset(false);
            }
            if out.len() == out.capacity() {
                grow(out, bytes_max);
            }
            let (consumed, produced) = (self.decompress.total_in(), out.len());
            status =
                self.decompress.decompress_vec(input, out, FlushDecompress::Sync).map_err(|_| InflateError::Corrupt)?;
            if out.len() > bytes_max {
                return Err(InflateError::TooLong);
            }
            let consumed =
                usize::try_from(self.decompress.total_in() - consumed).expect("it is at most the input's size");
            input = &input[consumed..];
            let stuck = consumed == 0 && out.len() == produced && out.len() < out.capacity();
            if stuck && status != Status::StreamEnd {
                return Err(InflateError::Corrupt);
            }
        }
        Ok(status)
    }
}

/// Doubles the room, but never beyond one byte above the limit: the byte that tells that it is passed.
fn grow(out: &mut Vec<u8>, bytes_max: usize) {
    let room = out.len().max(ROOM_BYTES_MIN).min(bytes_max.saturating_add(1).saturating_sub(out.len()));
    out.reserve_exact(room);
}

#[cfg(test)]
mod tests;
