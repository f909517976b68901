//! Content encodings, unpacked step by step: no step gives more than [`STEP_BYTES`], so that a compressed bomb is found out
//! while it is still small. One layer; what follows a finished gzip member or zstd frame is taken for the next one.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

/// Bytes that one step unpacks at most.
pub(crate) const STEP_BYTES: usize = 32 * 1024;

/// Window of a zstd frame, as a power of two: what RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Window of gzip, as a power of two.
const GZIP_WINDOW_LOG: u8 = 15;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// The encoding that a `Content-Encoding` names; none: an unknown one, or several layers.
    pub(crate) fn parse(value: &str) -> Option<Encoding> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "zstd" => Some(Encoding::Zstd),
            _ => None,
        }
    }

    /// Memory that unpacking it takes beside input and output, in bytes.
    pub(crate) fn window_bytes(self) -> usize {
        match self {
            Encoding::Identity => 0,
            Encoding::Gzip => 1 << GZIP_WINDOW_LOG,
            Encoding::Zstd => 1 << ZSTD_WINDOW_LOG,
        }
    }
}

/// Bytes that are not what their encoding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not valid {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Unpacks one body.
pub(crate) struct Unpacker {
    kind: Kind,
    /// Nothing is unfinished: no member or frame has begun, or the last one has ended.
    whole: bool,
}

enum Kind {
    Identity,
    Gzip(Box<Decompress>),
    Zstd(Decoder<'static>),
}

impl Unpacker {
    pub(crate) fn new(encoding: Encoding) -> Unpacker {
        let kind = match encoding {
            Encoding::Identity => Kind::Identity,
            Encoding::Gzip => Kind::Gzip(Box::new(Decompress::new_gzip(GZIP_WINDOW_LOG))),
            Encoding::Zstd => Kind::Zstd(zstd_decoder()),
        };
        Unpacker { kind, whole: true }
    }

    /// Takes some of `input` and appends at most [`STEP_BYTES`] to `out`. True: call again, there may be more, even without
    /// input.
    pub(crate) fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Malformed> {
        if let Kind::Identity = self.kind {
            let (head, rest) = input.split_at(input.len().min(STEP_BYTES));
            out.extend_from_slice(head);
            *input = rest;
            return Ok(!rest.is_empty());
        }
        if self.whole && input.is_empty() {
            return Ok(false);
        }
        let start = out.len();
        out.resize(start + STEP_BYTES, 0);
        let result = self.run(input, &mut out[start..]);
        let (taken, given) = result.unwrap_or_default();
        out.truncate(start + given);
        *input = &input[taken..];
        result?;
        Ok(given == STEP_BYTES || (!input.is_empty() && taken + given > 0))
    }

    /// (taken, given)
    fn run(&mut self, input: &[u8], out: &mut [u8]) -> Result<(usize, usize), Malformed> {
        match &mut self.kind {
            Kind::Identity => Ok((0, 0)),
            Kind::Gzip(gzip) => {
                if self.whole {
                    **gzip = Decompress::new_gzip(GZIP_WINDOW_LOG);
                }
                let (before_in, before_out) = (gzip.total_in(), gzip.total_out());
                let status = gzip.decompress(input, out, FlushDecompress::None).map_err(|_| Malformed("gzip"))?;
                self.whole = status == Status::StreamEnd;
                Ok((passed(before_in, gzip.total_in()), passed(before_out, gzip.total_out())))
            }
            Kind::Zstd(zstd) => {
                let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(out));
                let left = zstd.run(&mut input, &mut output).map_err(|_| Malformed("zstd"))?;
                self.whole = left == 0;
                Ok((input.pos(), output.pos()))
            }
        }
    }

    /// Whether the body may end here.
    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        match (self.whole, &self.kind) {
            (true, _) | (false, Kind::Identity) => Ok(()),
            (false, Kind::Gzip(_)) => Err(Malformed("gzip: it ends too early")),
            (false, Kind::Zstd(_)) => Err(Malformed("zstd: it ends too early")),
        }
    }
}

fn zstd_decoder() -> Decoder<'static> {
    let mut decoder = Decoder::new().expect("a decoder needs a little memory");
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).expect("a window within the library's bounds");
    decoder
}

fn passed(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("no more than a buffer holds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).expect("a Vec takes all");
        encoder.finish().expect("a Vec takes all")
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::encode_all(text, 3).expect("a slice can be read")
    }

    fn unpack(encoding: Encoding, packed: &[u8], chunk: usize) -> Result<Vec<u8>, Malformed> {
        let mut unpacker = Unpacker::new(encoding);
        let mut out = Vec::new();
        for mut input in packed.chunks(chunk) {
            loop {
                let before = out.len();
                let more = unpacker.step(&mut input, &mut out)?;
                assert!(out.len() - before <= STEP_BYTES);
                if !more {
                    break;
                }
            }
            assert!(input.is_empty());
        }
        unpacker.finish().map(|()| out)
    }

    #[test]
    fn bodies_are_unpacked_whatever_the_chunks() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for (encoding, packed) in [
            (Encoding::Identity, text.clone()),
            (Encoding::Gzip, gzip(&text)),
            (Encoding::Zstd, zstd(&text)),
            (Encoding::Gzip, [gzip(&text[..1_000]), gzip(&text[1_000..])].concat()),
            (Encoding::Zstd, [zstd(&text[..1_000]), zstd(&text[1_000..])].concat()),
        ] {
            for chunk in [1, 7, 4_096, usize::MAX] {
                assert_eq!(unpack(encoding, &packed, chunk).expect("sound"), text, "{encoding:?} by {chunk}");
            }
        }
    }

    #[test]
    fn what_is_cut_or_no_such_encoding_is_malformed() {
        for (encoding, packed) in [(Encoding::Gzip, gzip(b"hello")), (Encoding::Zstd, zstd(b"hello"))] {
            for end in 1..packed.len() {
                assert!(unpack(encoding, &packed[..end], 3).is_err(), "{encoding:?} cut at {end}");
            }
            assert!(unpack(encoding, b"{\"type\":\"log\"}", 3).is_err());
            let mut flipped = packed.clone();
            let last = flipped.len() - 1;
            flipped[last] ^= 1;
            if encoding == Encoding::Gzip {
                assert!(unpack(encoding, &flipped, 3).is_err(), "the length is checked");
            }
        }
    }
}
