//! Engine.IO and Socket.IO, as their clients speak them.

use serde_json::{Value, json};
use tidings_dialects::engine_io::packet::{Event, Packet, Said};
use tidings_dialects::engine_io::payload;
use tidings_dialects::engine_io::session::{Output, Session, Transport};
use tidings_dialects::pygent::{PyGent, Wrapping};
use tidings_dialects::{Action, Dialect as _};

use crate::input::Input;

/// Packets of one posted body.
const PACKETS_MAX: usize = 64;

/// Time goes on by one of these between packets; the last is more than any deadline of a session.
const PAUSES_MS: [u64; 4] = [0, 1, 20_000, 60_000];

/// Packets are read as they are written, and a session keeps its promises, whatever is posted and when.
pub(crate) fn said(data: &[u8]) {
    let mut input = Input::new(data);
    let mut pauses = usize::from(input.byte()) | usize::from(input.byte()) << 8;
    let Ok(body) = std::str::from_utf8(input.rest()) else { return };
    let Some(packets) = payload::split(body, PACKETS_MAX) else { return };
    assert_eq!(payload::join(&packets), body);
    let (mut session, _) = Session::open("s", "t", Transport::Polling, &["websocket"], 1_000_000, 0);
    let (mut now_ms, mut joined, mut over) = (1, false, false);
    for text in packets {
        read_as_written(text);
        now_ms += PAUSES_MS[pauses % PAUSES_MS.len()];
        pauses /= PAUSES_MS.len();
        let mut outputs = session.tick(now_ms);
        outputs.extend(session.hear(text, now_ms));
        for output in outputs {
            assert!(!over);
            match output {
                Output::Send(text) => assert!(text != "41" && Packet::parse(&text).is_ok(), "{text}"),
                Output::Joined => assert!(!std::mem::replace(&mut joined, true)),
                Output::Heard(event) => {
                    assert!(joined);
                    // In the wrapping of the transport the dialect hears the same.
                    let event = Packet::Message(Said::Event(event).text()).text();
                    for action in PyGent(Wrapping::SocketIo).hear(&event, now_ms) {
                        if let Action::Say(text) = action {
                            assert!(matches!(Packet::parse(&text), Ok(Packet::Message(_))), "{text}");
                        }
                    }
                }
                Output::Left => assert!(std::mem::take(&mut joined)),
                Output::Close(_) => (over, joined) = (true, false),
                Output::Binary => {}
            }
        }
        assert_eq!((session.joined, session.over), (joined, over));
    }
}

fn read_as_written(text: &str) {
    let Ok(packet) = Packet::parse(text) else { return };
    if packet != Packet::Binary {
        assert_eq!(packet.text(), text);
    }
    let Packet::Message(message) = packet else { return };
    let Ok(said) = Said::parse(&message) else { return };
    if said != Said::Binary {
        let written = said.text();
        let again = Said::parse(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
        let (again, said) = (values(again), values(said));
        assert!(alike(&again, &said), "{again} was {said}");
    }
}

/// What a packet holds.
fn values(said: Said) -> Value {
    match said {
        Said::Connect { namespace, auth } => json!([0, namespace, auth]),
        Said::Disconnect { namespace } => json!([1, namespace]),
        Said::Event(Event { namespace, id, name, arguments }) => json!([2, namespace, id, name, arguments]),
        Said::Ack { namespace, id, arguments } => json!([3, namespace, id, arguments]),
        Said::ConnectError { namespace, data } => json!([4, namespace, data]),
        Said::Binary => Value::Null,
    }
}

/// The same, but for the last digit of numbers with a fraction or beyond 64 bits: reading them is not exact.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let is_there = |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| alike(value, other));
            one.len() == other.len() && one.iter().all(is_there)
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let [one, other] = [one, other].map(|number| number.as_f64().unwrap_or_default());
            (one - other).abs() <= 4.0 * f64::EPSILON * one.abs()
        }
        (one, other) => one == other,
    }
}
