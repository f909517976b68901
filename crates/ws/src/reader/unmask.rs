//! The mask of a client's frame, applied a word at a time.

/// A masking key, turned to the next byte of the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask {
    key: [u8; 4],
}

impl Mask {
    pub(super) fn new(key: [u8; 4]) -> Mask {
        Mask { key }
    }

    /// Unmasks the next bytes of the payload.
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let word = u64::from(u32::from_ne_bytes(self.key));
        let word = word << 32 | word;
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for chunk in words {
            *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
        }
        for (byte, key) in rest.iter_mut().zip(self.key.iter().cycle()) {
            *byte ^= key;
        }
        self.key.rotate_left(rest.len() % 4);
    }
}
