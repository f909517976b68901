//! Bodies as they arrive: lines of a stream, and what is packed.

use std::io::Write as _;

use crate::ingest::lines::{Line, Lines};
use crate::ingest::unpack::{Encoding, Malformed, STEP_BYTES, Unpacker};
use crate::input::Input;

/// A line's bytes, or how many there were of one that is too long.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Whole(Vec<u8>),
    TooLong(usize),
}

/// Lines are those of the whole text however it arrives; no more is held than one line may have.
pub(crate) fn lines(data: &[u8]) {
    let mut input = Input::new(data);
    let (bytes_max, size) = (usize::from(input.byte()), usize::from(input.byte()) + 1);
    let text = input.rest();
    let mut lines = Lines::new(bytes_max);
    let mut found = Vec::new();
    for mut chunk in text.chunks(size) {
        while !chunk.is_empty() {
            let taken = lines.push(chunk, |line| {
                found.push(match line {
                    Line::Whole(line) => Cut::Whole(line.to_vec()),
                    Line::TooLong(bytes) => Cut::TooLong(bytes),
                });
                // Now and then it is to stop, and goes on later.
                !found.len().is_multiple_of(3)
            });
            chunk = &chunk[taken..];
        }
        // A buffer that grows may double, and starts with a few bytes.
        assert!(lines.held() <= 2 * (bytes_max + 1 + size) + 8, "{} bytes are held", lines.held());
    }
    let mut all: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    let last = all.pop().unwrap_or_default();
    assert_eq!(lines.is_mid_line(), !last.is_empty());
    assert_eq!(found.len(), all.len());
    for (found, line) in found.iter().zip(all) {
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        match found {
            Cut::Whole(found) => assert!(bare.len() <= bytes_max && found == bare),
            Cut::TooLong(bytes) => {
                assert!(bare.len() > bytes_max && (*bytes == bare.len() || *bytes == line.len()));
            }
        }
    }
    match lines.skipped() {
        Some(bytes) => assert!(bytes == last.len() && last.len() > bytes_max),
        None => assert_eq!(lines.end().unwrap_or_default(), last),
    }
}

/// The most that is unpacked here; a service has a limit of its own.
const UNPACKED_BYTES_MAX: usize = 256 * 1024;

/// What is packed gives the same bytes however it arrives, never more than a step at a time; what we pack is unpacked to
/// the same, and refused when its last byte is missing.
pub(crate) fn unpack(data: &[u8]) {
    let mut input = Input::new(data);
    let (which, size) = (input.byte(), usize::from(input.byte()) + 1);
    let bytes = input.rest();
    let (encoding, name) = match which % 3 {
        0 => (Encoding::Gzip, "gzip"),
        1 => (Encoding::Zstd, " ZSTD"),
        _ => (Encoding::Identity, "identity"),
    };
    assert_eq!(Encoding::parse(name), Some(encoding));
    let whole = unpacked(encoding, [bytes]);
    assert_eq!(unpacked(encoding, bytes.chunks(size)), whole, "by {size}");
    let packed = match encoding {
        Encoding::Identity => bytes.to_vec(),
        Encoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).expect("a vector takes all");
            encoder.finish().expect("a vector takes all")
        }
        Encoding::Zstd => zstd::bulk::compress(bytes, 1).expect("a slice can be packed"),
    };
    assert_eq!(unpacked(encoding, packed.chunks(size)).as_deref(), Some(bytes));
    if encoding != Encoding::Identity {
        assert_eq!(unpacked(encoding, packed[..packed.len() - 1].chunks(size)), None, "it was cut");
    }
}

/// The bytes; none: refused, as malformed or as too large.
fn unpacked<'a>(encoding: Encoding, chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut unpacker = Unpacker::new(encoding);
    let mut out = Vec::new();
    for mut chunk in chunks {
        loop {
            let before = (out.len(), chunk.len());
            let more = unpacker.step(&mut chunk, &mut out).map_err(|Malformed(what)| what).ok()?;
            assert!(out.len() - before.0 <= STEP_BYTES);
            if out.len() > UNPACKED_BYTES_MAX {
                return None;
            }
            if !more {
                break;
            }
            assert!((out.len(), chunk.len()) != before, "a step that does nothing asks for another");
        }
        assert!(chunk.is_empty(), "{} bytes were left", chunk.len());
    }
    unpacker.finish().ok().map(|()| out)
}
