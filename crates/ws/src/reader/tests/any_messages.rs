//! Whatever a client says by the rules is understood, however it is cut into frames and reads; and as another
//! implementation understands it.

use std::io;

use tokio_tungstenite::tungstenite;
use tungstenite::protocol::{Role, WebSocket};

use super::*;

/// A message, and how its sender cuts it: where, in thousandths of its size.
#[derive(Debug, Clone)]
struct Said {
    message: Message,
    cuts: Vec<usize>,
    compressed: bool,
}

fn said() -> impl Strategy<Value = Said> {
    let size = prop_oneof![8 => 0..300_usize, 1 => 65_500..65_600_usize];
    let text = (".{0,40}", 0..8_usize).prop_map(|(text, times)| Message::Text(text.repeat(times)));
    let binary = (any::<[u8; 7]>(), size).prop_map(|(bytes, size)| {
        Message::Binary(bytes.iter().copied().cycle().take(size).collect::<Vec<u8>>().into())
    });
    let control = || proptest::collection::vec(any::<u8>(), 0..=frame::CONTROL_BYTES_MAX).prop_map(Bytes::from);
    let message = prop_oneof![
        4 => text,
        4 => binary,
        1 => control().prop_map(Message::Ping),
        1 => control().prop_map(Message::Pong),
    ];
    (message, proptest::collection::vec(0..=1000_usize, 0..4), any::<bool>())
        .prop_map(|(message, cuts, compressed)| Said { message, cuts, compressed })
}

/// The frames of a message.
fn frames(said: &Said, deflate: bool) -> Vec<Vec<u8>> {
    let (opcode, payload) = match &said.message {
        Message::Text(text) => (1, text.as_bytes()),
        Message::Binary(bytes) => (2, &bytes[..]),
        Message::Ping(payload) => return vec![sent(0x89, payload)],
        Message::Pong(payload) => return vec![sent(0x8a, payload)],
        Message::Close(_) => unreachable!("not said here"),
    };
    let compressed = deflate && said.compressed && Deflater::new(9, WindowBits::MAX).binary(payload)[0] == 0xc2;
    let payload = if compressed { deflated(payload) } else { payload.to_vec() };
    let mut cuts: Vec<usize> = said.cuts.iter().map(|cut| payload.len() * cut / 1000).collect();
    cuts.extend([0, payload.len()]);
    cuts.sort_unstable();
    let last = cuts.len() - 2;
    let part = |(index, cut): (usize, &[usize])| {
        let first = if index == 0 { opcode | if compressed { 0x40 } else { 0 } } else { 0 };
        sent(first | if index == last { 0x80 } else { 0 }, &payload[cut[0]..cut[1]])
    };
    cuts.windows(2).enumerate().map(part).collect()
}

/// What tungstenite, as a server, gets out of it.
fn tungstenite_reads(bytes: &[u8]) -> Result<Vec<Message>, tungstenite::Error> {
    struct Input<'a>(&'a [u8]);
    impl io::Read for Input<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            io::Read::read(&mut self.0, buf)
        }
    }
    impl io::Write for Input<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Ok(buf.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut socket = WebSocket::from_raw_socket(Input(bytes), Role::Server, None);
    let mut messages = Vec::new();
    loop {
        messages.push(match socket.read() {
            Ok(tungstenite::Message::Text(text)) => Message::Text(text.as_str().to_owned()),
            Ok(tungstenite::Message::Binary(bytes)) => Message::Binary(bytes),
            Ok(tungstenite::Message::Ping(payload)) => Message::Ping(payload),
            Ok(tungstenite::Message::Pong(payload)) => Message::Pong(payload),
            Ok(tungstenite::Message::Close(close)) => Message::Close(close.map_or_else(CloseFrame::default, |close| {
                CloseFrame { code: Some(close.code.into()), reason: close.reason.as_str().to_owned() }
            })),
            Ok(tungstenite::Message::Frame(_)) => unreachable!("reads give messages"),
            // The end of the input, or of the connection by a close frame.
            Err(
                tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
                | tungstenite::Error::ConnectionClosed,
            ) => return Ok(messages),
            Err(error) => return Err(error),
        });
    }
}

/// Cuts bytes at places given in thousandths.
fn chunks<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| bytes.len() * cut / 1000).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

proptest! {
    #[test]
    fn every_message_arrives_however_it_is_cut(
        all in proptest::collection::vec(said(), 0..6),
        cuts in proptest::collection::vec(0..=1000_usize, 0..40),
        deflate: bool,
    ) {
        let bytes: Vec<u8> = all.iter().flat_map(|said| frames(said, deflate)).flatten().collect();
        let expected: Vec<Message> = all.into_iter().map(|said| said.message).collect();
        let (messages, end) = read_chunks(deflate, chunks(&bytes, &cuts));
        prop_assert_eq!(end, Ok(()));
        prop_assert_eq!(&messages, &expected);
        if !deflate {
            prop_assert_eq!(tungstenite_reads(&bytes).expect("it is by the rules"), expected);
        }
    }

    /// A flipped bit or two: whatever still passes here means the same to tungstenite.
    #[test]
    fn what_is_accepted_is_understood_alike(
        all in proptest::collection::vec(said(), 1..4),
        close in proptest::option::of((any::<u16>(), "[a-zé]{0,10}")),
        flips in proptest::collection::vec((0..64_usize, 0..8_u8), 0..3),
    ) {
        let mut bytes: Vec<u8> = all.iter().flat_map(|said| frames(said, false)).flatten().collect();
        if let Some((code, reason)) = close {
            bytes.extend(sent(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat()));
        }
        for (place, bit) in flips {
            let place = place % bytes.len();
            bytes[place] ^= 1 << bit;
        }
        let (messages, end) = read_chunks(false, [bytes.as_slice()]);
        match (end, tungstenite_reads(&bytes)) {
            (Ok(()), Ok(theirs)) => prop_assert_eq!(messages, theirs),
            (Ok(()), Err(error)) => prop_assert!(false, "tungstenite refuses it: {}", error),
            (Err(_), _) => {}
        }
    }
}
