//! Packets: Engine.IO's, and Socket.IO's inside its messages.

use serde_json::Value;

/// Most arguments of an event.
const ARGUMENTS_MAX: usize = 64;
/// Longest namespace, in bytes.
const NAMESPACE_BYTES_MAX: usize = 128;
/// Names that are the library's own and never an event's.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// A packet of Engine.IO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// `0`: the server's first.
    Open(String),
    /// `1`: the session ends.
    Close,
    /// `2`, with what is to be said back.
    Ping(String),
    /// `3`, with what the ping said.
    Pong(String),
    /// `4`: a packet of Socket.IO.
    Message(String),
    /// `5`: this transport takes over.
    Upgrade,
    /// `6`: nothing, so that a poll ends.
    Noop,
    /// `b`: a binary message in base64, which nobody here understands.
    Binary,
}

/// A packet of Socket.IO.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// `0`: join a namespace.
    Connect {
        /// Which.
        namespace: String,
        /// What the client says of itself.
        auth: Option<Value>,
    },
    /// `1`: leave it.
    Disconnect {
        /// Which.
        namespace: String,
    },
    /// `2`.
    Event(Event),
    /// `3`: an answer to an event.
    Ack {
        /// Where.
        namespace: String,
        /// The event's id.
        id: u64,
        /// What it was answered.
        arguments: Vec<Value>,
    },
    /// `4`: the namespace cannot be joined.
    ConnectError {
        /// Which.
        namespace: String,
        /// Why.
        data: Value,
    },
    /// `5` and `6`: an event or answer with binary attachments, which are not looked at.
    Binary,
}

/// An event of Socket.IO.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Where; `/` is the root.
    pub namespace: String,
    /// Where an answer is wanted, its number.
    pub id: Option<u64>,
    /// What happened.
    pub name: String,
    /// With what.
    pub arguments: Vec<Value>,
}

/// A text that is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a packet")]
pub struct NotAPacket;

impl Packet {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Packet, NotAPacket> {
        let mut chars = text.chars();
        let kind = chars.next().ok_or(NotAPacket)?;
        let rest = chars.as_str();
        let packet = match kind {
            '0' => Packet::Open(rest.to_owned()),
            '1' => Packet::Close,
            '2' => Packet::Ping(rest.to_owned()),
            '3' => Packet::Pong(rest.to_owned()),
            '4' => Packet::Message(rest.to_owned()),
            '5' => Packet::Upgrade,
            '6' => Packet::Noop,
            'b' => Packet::Binary,
            _ => return Err(NotAPacket),
        };
        match packet {
            Packet::Close | Packet::Upgrade | Packet::Noop if !rest.is_empty() => Err(NotAPacket),
            packet => Ok(packet),
        }
    }

    /// Writes it. [`Packet::Binary`] has nothing to write but its mark.
    pub fn text(&self) -> String {
        match self {
            Packet::Open(data) => format!("0{data}"),
            Packet::Close => "1".to_owned(),
            Packet::Ping(data) => format!("2{data}"),
            Packet::Pong(data) => format!("3{data}"),
            Packet::Message(data) => format!("4{data}"),
            Packet::Upgrade => "5".to_owned(),
            Packet::Noop => "6".to_owned(),
            Packet::Binary => "b".to_owned(),
        }
    }
}

impl Said {
    /// Reads what an Engine.IO message holds.
    pub fn parse(text: &str) -> Result<Said, NotAPacket> {
        let mut chars = text.chars();
        let kind = chars.next().ok_or(NotAPacket)?;
        if matches!(kind, '5' | '6') {
            return Ok(Said::Binary);
        }
        let (namespace, rest) = namespace(chars.as_str())?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let id = match digits {
            0 => None,
            _ => Some(rest[..digits].parse().map_err(|_| NotAPacket)?),
        };
        let data = match &rest[digits..] {
            "" => None,
            body => Some(serde_json::from_str(body).map_err(|_| NotAPacket)?),
        };
        match (kind, data, id) {
            ('0', auth @ (None | Some(Value::Object(_))), None) => Ok(Said::Connect { namespace, auth }),
            ('1', None, None) => Ok(Said::Disconnect { namespace }),
            ('2', Some(Value::Array(arguments)), id) => event_of(namespace, id, arguments),
            ('3', Some(Value::Array(arguments)), Some(id)) => Ok(Said::Ack { namespace, id, arguments }),
            ('4', Some(data @ (Value::Object(_) | Value::String(_))), None) => {
                Ok(Said::ConnectError { namespace, data })
            }
            _ => Err(NotAPacket),
        }
    }

    /// Writes it, as the body of an Engine.IO message. [`Said::Binary`] has nothing to write but its mark.
    pub fn text(&self) -> String {
        match self {
            Said::Connect { namespace, auth } => {
                let auth = auth.as_ref().map(ToString::to_string).unwrap_or_default();
                format!("0{}{auth}", prefix(namespace))
            }
            Said::Disconnect { namespace } => format!("1{}", prefix(namespace)),
            Said::Event(event) => {
                let mut list = vec![Value::from(event.name.as_str())];
                list.extend(event.arguments.iter().cloned());
                format!("2{}{}{}", prefix(&event.namespace), number(event.id), Value::from(list))
            }
            Said::Ack { namespace, id, arguments } => {
                format!("3{}{id}{}", prefix(namespace), Value::from(arguments.clone()))
            }
            Said::ConnectError { namespace, data } => format!("4{}{data}", prefix(namespace)),
            Said::Binary => "5".to_owned(),
        }
    }
}

/// The event of the root namespace that an Engine.IO packet holds, if it does.
pub fn event(packet: &str) -> Option<Event> {
    match Said::parse(packet.strip_prefix('4')?) {
        Ok(Said::Event(event)) if event.namespace == "/" => Some(event),
        _ => None,
    }
}

fn event_of(namespace: String, id: Option<u64>, mut arguments: Vec<Value>) -> Result<Said, NotAPacket> {
    if arguments.is_empty() || arguments.len() > ARGUMENTS_MAX {
        return Err(NotAPacket);
    }
    match arguments.remove(0) {
        Value::String(name) if !RESERVED.contains(&name.as_str()) => {
            Ok(Said::Event(Event { namespace, id, name, arguments }))
        }
        _ => Err(NotAPacket),
    }
}

/// Reads `/name,` (or `/name` up to the end); a query behind the name is not part of it.
fn namespace(text: &str) -> Result<(String, &str), NotAPacket> {
    if !text.starts_with('/') {
        return Ok(("/".to_owned(), text));
    }
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let name = name.split('?').next().unwrap_or(name);
    if name.len() > NAMESPACE_BYTES_MAX {
        return Err(NotAPacket);
    }
    Ok((name.to_owned(), rest))
}

fn prefix(namespace: &str) -> String {
    if namespace == "/" { String::new() } else { format!("{namespace},") }
}

fn number(id: Option<u64>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
