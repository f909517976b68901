//! What is said to who watches: made once, encoded once for each way to say it, shared by all.

use std::sync::OnceLock;

use bytes::Bytes;

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// All that are there: one object.
    Full,
    /// Who joined and left: objects shaped like events, without a position.
    Changes,
}

/// Something to say.
#[derive(Debug)]
pub struct Said {
    topic: Topic,
    texts: Vec<Vec<u8>>,
    encoded: [OnceLock<Bytes>; Said::WAYS],
}

impl Said {
    /// In how many ways it may be encoded.
    pub const WAYS: usize = 2;

    pub(crate) fn new(topic: Topic, texts: Vec<Vec<u8>>) -> Said {
        Said { topic, texts, encoded: Default::default() }
    }

    /// What it is about.
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// Bytes of all that is said, before it is encoded.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.iter().map(Vec::len).sum()
    }

    /// JSON objects.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().map(Vec::as_slice)
    }

    /// As it is said in one of [`Said::WAYS`] ways, which each caller must number alike: encoded by who first asks.
    ///
    /// # Panics
    /// If there is no such way.
    pub fn encoded(&self, way: usize, encode: impl FnOnce(&Said) -> Bytes) -> Bytes {
        self.encoded[way].get_or_init(|| encode(self)).clone()
    }
}
