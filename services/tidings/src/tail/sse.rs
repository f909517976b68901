//! Server-sent events, read: bytes in any pieces to whole blocks. A block that is cut is no block.

use std::collections::VecDeque;

/// Bytes of one block; a server's largest is a compacted backlog.
const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One block of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// The event's name; empty for a plain event.
    pub(super) name: String,
    /// Where to resume once this block is dealt with.
    pub(super) id: Option<String>,
    /// The data's lines joined; `None`: a block without data.
    pub(super) data: Option<Vec<u8>>,
    /// Milliseconds after which to reconnect.
    pub(super) retry_ms: Option<u64>,
}

/// A stream with blocks beyond all bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream holds a block of more than {BLOCK_BYTES_MAX} bytes")]
pub(super) struct TooLarge;

/// Reads one stream; a new stream needs a new parser.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that is not complete yet.
    line: Vec<u8>,
    block: Block,
    block_bytes: usize,
    is_empty: bool,
}

impl Parser {
    /// A parser at the begin of a stream.
    pub(super) fn new() -> Parser {
        Parser { is_empty: true, ..Parser::default() }
    }

    /// Takes the next bytes and appends the blocks that they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], blocks: &mut VecDeque<Block>) -> Result<(), TooLarge> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.grow(&bytes[..end])?;
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            self.on_line(line.strip_suffix(b"\r").unwrap_or(&line), blocks);
        }
        self.grow(bytes)
    }

    fn grow(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.block_bytes += bytes.len();
        if self.block_bytes > BLOCK_BYTES_MAX {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn on_line(&mut self, line: &[u8], blocks: &mut VecDeque<Block>) {
        if line.is_empty() {
            self.block_bytes = 0;
            let block = std::mem::take(&mut self.block);
            if !std::mem::replace(&mut self.is_empty, true) {
                blocks.push_back(block);
            }
            return;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match &line[..colon] {
            b"data" => match &mut self.block.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                none => *none = Some(value.to_vec()),
            },
            b"event" => self.block.name = text(),
            b"id" => self.block.id = Some(text()),
            b"retry" => self.block.retry_ms = text().parse().ok(),
            // Comments keep the connection; unknown fields are a newer server's.
            _ => return,
        }
        self.is_empty = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"retry: 1000\nid: 0-0\n\n:\n\nid: 1-1.a\ndata: {\"a\":1}\n\nevent: gap\r\nid: 1-2.a\r\ndata: x\r\ndata:y\r\n\r\nid: 9\ndata: cut";

    fn blocks_in_pieces_of(length: usize) -> Vec<Block> {
        let (mut parser, mut blocks) = (Parser::new(), VecDeque::new());
        for piece in STREAM.chunks(length) {
            parser.feed(piece, &mut blocks).expect("small blocks");
        }
        blocks.into()
    }

    #[test]
    fn blocks_are_the_same_however_the_bytes_arrive() {
        let block = |name: &str, id: &str, data: Option<&str>, retry_ms| Block {
            name: name.into(),
            id: Some(id.into()),
            data: data.map(|data| data.as_bytes().to_vec()),
            retry_ms,
        };
        let expected = [
            block("", "0-0", None, Some(1_000)),
            block("", "1-1.a", Some("{\"a\":1}"), None),
            block("gap", "1-2.a", Some("x\ny"), None),
        ];
        for length in 1..=STREAM.len() {
            assert_eq!(blocks_in_pieces_of(length), expected, "pieces of {length}");
        }
    }

    #[test]
    fn a_block_without_an_end_is_refused() {
        let (mut parser, mut blocks) = (Parser::new(), VecDeque::new());
        let piece = vec![b'x'; BLOCK_BYTES_MAX / 2 + 1];
        assert_eq!(parser.feed(&piece, &mut blocks), Ok(()));
        assert_eq!(parser.feed(&piece, &mut blocks), Err(TooLarge));
    }
}
