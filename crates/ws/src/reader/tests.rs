use proptest::prelude::*;

use super::*;
use crate::deflate::{Deflater, WindowBits};

mod any_bytes;
mod any_messages;

const LIMITS: ReaderLimits = ReaderLimits { message_bytes_max: 100_000, frame_bytes_max: 70_000 };
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A client's frame: the first byte as given, the payload masked.
fn sent(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::write_header(&mut frame, Opcode::Text, false, payload.len());
    frame[0] = first;
    frame[1] |= 0x80;
    frame.extend_from_slice(&KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// The compressed payload of a message.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let frame = Deflater::new(9, WindowBits::MAX).binary(payload);
    assert_eq!(frame[0], 0xc2, "it is worth compressing");
    frame[if frame[1] < 126 { 2 } else { 4 }..].to_vec()
}

/// All that a reader gets out of chunks, and how it ends.
fn read_chunks<'a>(deflate: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Message>, Result<(), ReadError>) {
    let mut reader = Reader::new(LIMITS, deflate);
    let (mut input, mut messages) = (BytesMut::new(), Vec::new());
    for chunk in chunks {
        input.extend_from_slice(chunk);
        loop {
            match reader.feed(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
        assert!(input.len() <= UNREAD_BYTES_MAX, "{} bytes wait", input.len());
        assert!(reader.held_bytes() <= LIMITS.message_bytes_max, "{} bytes are held", reader.held_bytes());
    }
    (messages, Ok(()))
}

fn read(frames: &[&[u8]]) -> (Vec<Message>, Result<(), ReadError>) {
    let whole = read_chunks(false, [frames.concat().as_slice()]);
    assert_eq!(read_chunks(false, frames.concat().chunks(1)), whole, "byte by byte");
    whole
}

fn text(text: &str) -> Message {
    Message::Text(text.to_owned())
}

#[track_caller]
fn fails(frames: &[&[u8]], expected: ReadError) {
    assert_eq!(read(frames), (Vec::new(), Err(expected)));
}

#[test]
fn the_examples_of_rfc_6455_are_read() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&[&hello]), (vec![text("Hello")], Ok(())));
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&[&pong]), (vec![Message::Pong(Bytes::from_static(b"Hello"))], Ok(())));
    let fragments = [sent(0x01, b"Hel"), sent(0x80, b"lo")].concat();
    assert_eq!(read(&[&fragments]), (vec![text("Hello")], Ok(())));
    let binary = sent(0x82, &vec![9; 65_536]);
    assert_eq!(read(&[&binary]), (vec![Message::Binary(vec![9; 65_536].into())], Ok(())));
}

#[test]
fn control_frames_may_stand_between_fragments() {
    let frames = [sent(0x01, b"a"), sent(0x89, b"?"), sent(0x00, b""), sent(0x8a, b""), sent(0x80, b"b")].concat();
    let ping = Message::Ping(Bytes::from_static(b"?"));
    assert_eq!(read(&[&frames]), (vec![ping, Message::Pong(Bytes::new()), text("ab")], Ok(())));
}

#[test]
fn headers_are_judged_at_the_first_byte_that_shows_a_flaw() {
    fails(&[&[0x91]], ReadError::Reserved);
    fails(&[&[0xa1]], ReadError::Reserved);
    // RSV1 without an agreement.
    fails(&[&[0xc1]], ReadError::Reserved);
    fails(&[&[0x83]], ReadError::Opcode(3));
    fails(&[&[0x8f]], ReadError::Opcode(15));
    fails(&[&[0x09]], ReadError::ControlFragmented);
    fails(&[&[0x80]], ReadError::StrayContinuation);
    fails(&[&sent(0x01, b"a"), &[0x81]], ReadError::Interleaved);
    fails(&[&[0x81, 0x05]], ReadError::Unmasked);
    fails(&[&[0x89, 0xfe]], ReadError::ControlTooLong);
    fails(&[&[0x81, 0xfe, 0, 125]], ReadError::Length);
    fails(&[&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]], ReadError::Length);
    fails(&[&[0x81, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0]], ReadError::Length);
}

#[test]
fn sizes_are_judged_before_any_body() {
    let header = |first: u8, length: u64| {
        let mut header = vec![first, 0xff];
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&KEY);
        header
    };
    fails(&[&header(0x82, 1 << 30)], ReadError::FrameTooLong);
    fails(&[&header(0x82, i64::MAX as u64)], ReadError::FrameTooLong);
    fails(&[&header(0x82, 70_001)], ReadError::FrameTooLong);
    fails(&[&sent(0x02, &vec![0; 30_001]), &header(0x80, 70_000)], ReadError::MessageTooLong);
    let (messages, end) = read(&[&sent(0x02, &vec![0; 30_000]), &sent(0x80, &vec![0; 70_000])]);
    assert_eq!((messages.len(), end), (1, Ok(())));
}

#[test]
fn an_announced_frame_takes_no_memory_before_it_comes() {
    let mut reader = Reader::new(LIMITS, false);
    let mut input = BytesMut::from(&sent(0x82, &vec![0; 70_000])[..100]);
    assert_eq!(reader.feed(&mut input), Ok(None));
    assert!(reader.held_bytes() <= 1024, "{} bytes are held", reader.held_bytes());
}

#[test]
fn text_fails_at_the_first_byte_that_cannot_be_utf8() {
    // U+110000 would begin so; the frame is not complete, nor is the message.
    let frame = sent(0x01, b"\xce\xba\xf4\x90\x80\x80 and more");
    fails(&[&frame[..6 + 4]], ReadError::NotUtf8);
    assert_eq!(read(&[&frame[..6 + 3]]), (Vec::new(), Ok(())));
    // A character across fragments is fine, one that breaks off is not.
    let (first, second) = ("aé".as_bytes().split_at(2), sent(0x80, b""));
    assert_eq!(read(&[&sent(0x01, first.0), &sent(0x80, first.1)]), (vec![text("aé")], Ok(())));
    fails(&[&sent(0x01, first.0), &second], ReadError::NotUtf8);
    fails(&[&sent(0x81, first.0)], ReadError::NotUtf8);
    fails(&[&sent(0x01, b"a\xff")], ReadError::NotUtf8);
}

#[test]
fn close_frames_are_checked_and_end_all() {
    let close = |code: Option<u16>, reason: &str| Message::Close(CloseFrame { code, reason: reason.to_owned() });
    let check = |payload: &[u8], expected| {
        assert_eq!(read(&[&sent(0x88, payload), b"\xff what comes then is not read"]), (vec![expected], Ok(())));
    };
    check(b"", close(None, ""));
    check(b"\x03\xe8", close(Some(1000), ""));
    check(b"\x0f\xa0w\xc3\xa9g", close(Some(4000), "wég"));
    fails(&[&sent(0x88, b"\x03")], ReadError::CloseHalfCode);
    fails(&[&sent(0x88, b"\x03\xed")], ReadError::CloseCode(1005));
    fails(&[&sent(0x88, b"\x03\xe8\xff")], ReadError::NotUtf8);
    assert_eq!(CloseFrame { code: Some(4000), reason: "why".to_owned() }.answer(), frame::close(4000, ""));
    assert_eq!(CloseFrame::default().answer(), frame::close_without_code());
}

#[test]
fn an_error_is_repeated_and_input_dropped() {
    let mut reader = Reader::new(LIMITS, false);
    for _ in 0..2 {
        let mut input = BytesMut::from(&[0x91, 0x80, 0, 0][..]);
        assert_eq!(reader.feed(&mut input), Err(ReadError::Reserved));
        assert!(input.is_empty());
    }
}

#[test]
fn compressed_messages_are_read_where_agreed() {
    let long = "all work and no play ".repeat(1000);
    let payload = deflated(long.as_bytes());
    let check = |frames: &[Vec<u8>], expected: (Vec<Message>, Result<(), ReadError>)| {
        let whole = frames.concat();
        assert_eq!(read_chunks(true, [whole.as_slice()]), expected);
        assert_eq!(read_chunks(true, whole.chunks(1)), expected);
    };
    let (a, b) = payload.split_at(50);
    check(&[sent(0xc1, &payload), sent(0x81, b"plain")], (vec![text(&long), text("plain")], Ok(())));
    check(&[sent(0x41, a), sent(0x89, b""), sent(0x80, b)], (vec![Message::Ping(Bytes::new()), text(&long)], Ok(())));
    check(&[sent(0xc1, a)], (vec![], Err(ReadError::DeflateCorrupt)));
    // RSV1 is for the first frame of a message alone, and never for a control frame.
    check(&[sent(0x41, a), sent(0xc0, b)], (vec![], Err(ReadError::Reserved)));
    check(&[sent(0xc9, b"")], (vec![], Err(ReadError::Reserved)));
    // Text is judged once it is inflated.
    check(&[sent(0xc1, b"\x00\x01\x00\xfe\xff\xff\x00")], (vec![], Err(ReadError::NotUtf8)));
    let bomb = deflated(&vec![0; LIMITS.message_bytes_max + 1]);
    check(&[sent(0xc2, &bomb)], (vec![], Err(ReadError::MessageTooLong)));
}

#[test]
fn every_error_has_its_close_code() {
    let check = |error: ReadError, code| assert_eq!(error.close_code(), code, "{error}");
    check(ReadError::Unmasked, 1002);
    check(ReadError::NotUtf8, 1007);
    check(ReadError::DeflateCorrupt, 1007);
    check(ReadError::FrameTooLong, 1009);
    check(ReadError::from(InflateError::TooLong), 1009);
}
