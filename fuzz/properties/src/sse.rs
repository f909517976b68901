//! Server-sent events, as `tidings tail` reads them.

#[path = "../../../services/tidings/src/tail/sse.rs"]
mod source;

use std::collections::VecDeque;

use crate::input::Input;
use source::{Block, Parser};

/// Blocks are the same however the bytes arrive, and hold no more than what came.
pub(crate) fn stream(data: &[u8]) {
    let mut input = Input::new(data);
    let size = usize::from(input.byte()) + 1;
    let bytes = input.rest();
    let whole = blocks([bytes]);
    assert_eq!(blocks(bytes.chunks(size)), whole, "by {size}");
    let held: usize = whole.iter().map(|block| block.data.as_ref().map_or(0, Vec::len)).sum();
    assert!(held <= bytes.len());
}

fn blocks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> VecDeque<Block> {
    let (mut parser, mut blocks) = (Parser::new(), VecDeque::new());
    for chunk in chunks {
        parser.feed(chunk, &mut blocks).expect("a fuzzer's input is smaller than any limit");
    }
    blocks
}
