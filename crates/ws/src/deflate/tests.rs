use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1 << 20;

fn inflate(compressed: &[u8]) -> Result<Vec<u8>, InflateError> {
    Inflater::new().inflate(compressed, LIMIT)
}

/// The payload of a frame, and whether it is compressed.
fn open(frame: &[u8]) -> (bool, &[u8]) {
    let payload = &frame[match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }..];
    assert_eq!(frame::header_bytes(payload.len()), frame.len() - payload.len());
    (frame[0] & 0x40 != 0, payload)
}

/// Words that repeat at distances both inside and outside of small windows.
fn prose(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let words = std::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(format!("word{} ", (state >> 16) % 400).into_bytes())
    });
    words.flatten().take(bytes).collect()
}

#[test]
fn the_examples_of_rfc_7692_are_read() {
    let check = |compressed: &[u8]| assert_eq!(inflate(compressed).as_deref(), Ok(b"Hello".as_slice()));
    check(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]);
    // A block that is stored, one that is final, two in one message.
    check(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00]);
    check(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
    check(&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00]);
    assert_eq!(inflate(&[0x00]), Ok(Vec::new()));
}

#[test]
fn what_is_no_whole_message_is_corrupt() {
    let check = |compressed: &[u8]| assert_eq!(inflate(compressed), Err(InflateError::Corrupt), "{compressed:02x?}");
    check(&[]);
    check(&[0xff, 0xff]);
    check(&[0xf2, 0x48, 0xcd]);
    check(&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65]);
    // Garbage behind a final block.
    check(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xff]);
    let mut deflater = Deflater::new(6, WindowBits::MAX);
    let text = prose(2000);
    let frame = deflater.text(&text);
    let (_, whole) = open(&frame);
    for end in 0..whole.len() {
        // A cut at the border of a block cannot be told; it still must not pass as another message.
        if let Ok(message) = inflate(&whole[..end]) {
            assert_eq!(message, text, "cut at {end}");
        }
    }
}

#[test]
fn final_blocks_are_few() {
    let message = |final_blocks: usize| [[3, 0].repeat(final_blocks), vec![0]].concat();
    assert_eq!(inflate(&message(16)), Ok(Vec::new()));
    assert_eq!(inflate(&message(17)), Err(InflateError::Corrupt));
}

#[test]
fn an_inflater_is_as_good_as_new_after_an_error() {
    let mut inflater = Inflater::new();
    assert_eq!(inflater.inflate(&[0xff, 0xff], LIMIT), Err(InflateError::Corrupt));
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflater.inflate(&hello, 4), Err(InflateError::TooLong));
    assert_eq!(inflater.inflate(&hello, 5).as_deref(), Ok(b"Hello".as_slice()));
}

#[test]
fn a_bomb_is_refused_within_the_limit() {
    let mut deflater = Deflater::new(9, WindowBits::MAX);
    let frame = deflater.binary(&vec![0; 16 << 20]);
    let (compressed, bomb) = open(&frame);
    assert!(compressed && bomb.len() < 20_000);
    let mut out = Vec::new();
    let mut inflater = Inflater::new();
    assert_eq!(inflater.run(bomb, &mut out, 100_000), Err(InflateError::TooLong));
    assert!(out.capacity() <= 100_001, "{} bytes were reserved", out.capacity());
    assert_eq!(inflater.inflate(bomb, (16 << 20) - 1), Err(InflateError::TooLong));
    assert_eq!(inflater.inflate(bomb, 16 << 20).map(|message| message.len()), Ok(16 << 20));
}

#[test]
fn frames_do_not_depend_on_each_other() {
    let mut deflater = Deflater::new(6, WindowBits::MAX);
    let text = prose(5000);
    let first = deflater.text(&text);
    assert_eq!(deflater.text(&text), first, "the second one must not lean on the first");
    let mut several = Vec::new();
    deflater.write(&mut several, Opcode::Text, &text);
    deflater.write(&mut several, Opcode::Text, &text);
    assert_eq!(several, [&first[..], &first[..]].concat());
}

#[test]
fn what_compression_does_not_shrink_stays_plain() {
    let mut deflater = Deflater::new(1, WindowBits::MAX);
    assert_eq!(deflater.text(b""), frame::text(b""));
    assert_eq!(deflater.text(b"q"), frame::text(b"q"));
    assert_eq!(deflater.binary(b"a0Zk"), frame::binary(b"a0Zk"));
    assert!(open(&deflater.text(&[b'a'; 100])).0);
}

/// Bytes without any pattern.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        // Xorshift: its bytes are even enough that no code shortens them.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state.to_le_bytes()[3])
    };
    std::iter::from_fn(next).take(bytes).collect()
}

#[test]
fn a_window_is_used_and_never_exceeded() {
    for bits in 9..=15 {
        let mut deflater = Deflater::new(6, WindowBits::new(bits).expect("9 to 15"));
        // All that could be saved is the second copy, which the deflater sees only if the first one is still in view.
        let mut saves = |distance: usize| open(&deflater.binary(&noise(distance).repeat(2))).0;
        assert!(saves(1 << (bits - 2)), "{bits} bits");
        assert!(!saves((1 << bits) + 1), "{bits} bits");
    }
    assert_eq!((WindowBits::new(8), WindowBits::new(16)), (None, None));
}

proptest! {
    #[test]
    fn what_is_deflated_inflates(
        // Few different bytes, so that most payloads compress.
        payload in proptest::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..5000),
        repeat in 1..20_usize,
        level in 0..12_u32,
        bits in 9..=15_u8,
    ) {
        let payload = payload.repeat(repeat);
        let mut deflater = Deflater::new(level, WindowBits::new(bits).expect("9 to 15"));
        let frame = deflater.binary(&payload);
        let (compressed, sent) = open(&frame);
        prop_assert!(sent.len() <= payload.len());
        let got = if compressed { Inflater::new().inflate(sent, payload.len()) } else { Ok(sent.to_vec()) };
        prop_assert_eq!(got, Ok(payload));
    }

    #[test]
    fn any_bytes_inflate_within_the_limit_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Inflater::new().inflate(&bytes, 1000) {
            prop_assert!(message.len() <= 1000);
        }
    }
}
