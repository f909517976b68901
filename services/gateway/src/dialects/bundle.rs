//! Frames that go out together as one message, where a connection asked for that.

use bytes::Bytes;
use tidings_dialects::Dialect;
use tidings_ws::frame;

/// Makes one frame of all of them, if the dialect has a way to say so; else they stay.
pub(super) fn bundle(dialect: &dyn Dialect, frames: &mut Vec<Bytes>) {
    let texts: Vec<&str> = frames.iter().flat_map(|chunk| texts(chunk)).collect();
    if texts.len() < 2 {
        return;
    }
    if let Some(one) = dialect.bundle(&texts) {
        let one = frame::text(one.as_bytes());
        frames.clear();
        frames.push(one);
    }
}

/// How many messages there are in a chunk of frames of our own making.
pub(super) fn count(chunk: &[u8]) -> u64 {
    payloads(chunk).count() as u64
}

/// The payloads of text frames of our own making, one behind the other in a chunk.
pub(super) fn texts(chunk: &[u8]) -> Vec<&str> {
    payloads(chunk).filter_map(|payload| std::str::from_utf8(payload).ok()).collect()
}

fn payloads(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = chunk;
    std::iter::from_fn(move || {
        let [_, length, tail @ ..] = rest else { return None };
        let (length, tail) = match (*length, tail) {
            (126, [a, b, tail @ ..]) => (usize::from(u16::from_be_bytes([*a, *b])), tail),
            (127, tail) if tail.len() >= 8 => {
                let (long, tail) = tail.split_at(8);
                let long = long.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
                (long, tail)
            }
            (short, tail) => (usize::from(short), tail),
        };
        let (payload, behind) = tail.split_at_checked(length)?;
        rest = behind;
        Some(payload)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_found_again() {
        let (short, long, longest) = ("x".repeat(125), "y".repeat(126), "z".repeat(70_000));
        let mut chunk = Vec::new();
        for text in ["", &short, &long, &longest, "end"] {
            chunk.extend_from_slice(&frame::text(text.as_bytes()));
        }
        assert_eq!(texts(&chunk), ["", &short, &long, &longest, "end"]);
        assert_eq!((count(&chunk), count(&[])), (5, 0));
    }
}
