//! Slots of Redis Cluster: which one a key lies in, who has which, and where an error redirects to. No I/O.

use std::fmt;

use ::redis::{FromRedisValue as _, Value};

use crate::index::crc16;

/// How many slots there are.
pub(super) const SLOTS: u16 = 16_384;

/// The slot of a key or of a shard channel: by its hash tag if it has one, else by all of it.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        // An empty tag is none.
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// A node that does not know its own name answers with none, or with `?`: it is where it was asked.
    fn of(host: &str, port: u16, asked: &str) -> Address {
        let host = if matches!(host, "" | "?") { asked } else { host };
        Address { host: host.to_owned(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A stretch of slots and its primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    /// The first slot.
    pub(super) from: u16,
    /// The last one.
    pub(super) to: u16,
    /// Whose they are.
    pub(super) by: Address,
}

/// The answer of `CLUSTER SLOTS` of the node that was asked under this host; none: it is none.
pub(super) fn owned(answer: &Value, asked: &str) -> Option<Vec<Owned>> {
    let Value::Array(stretches) = answer else { return None };
    stretches.iter().map(|stretch| one(stretch, asked)).collect()
}

fn one(stretch: &Value, asked: &str) -> Option<Owned> {
    let Value::Array(parts) = stretch else { return None };
    let [Value::Int(from), Value::Int(to), Value::Array(primary), ..] = parts.as_slice() else { return None };
    let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
    let host = Option::<String>::from_redis_value_ref(host).ok()?.unwrap_or_default();
    let (from, to) = (u16::try_from(*from).ok()?, u16::try_from(*to).ok()?);
    (from <= to && to < SLOTS).then_some(())?;
    Some(Owned { from, to, by: Address::of(&host, u16::try_from(*port).ok()?, asked) })
}

/// What a node that does not have a key says of who has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot is that node's, for good.
    Moved(Address),
    /// The slot is on its way there, and this key is there already.
    Ask(Address),
}

impl Redirect {
    /// Reads an error's text, `MOVED 3999 host:port`, of the node that was asked under this host.
    pub(super) fn parse(text: &str, asked: &str) -> Option<Redirect> {
        let mut words = text.split(' ');
        let (code, _slot, at) = (words.next()?, words.next()?, words.next()?);
        let (host, port) = at.rsplit_once(':')?;
        let address = Address::of(host, port.parse().ok()?, asked);
        match code {
            "MOVED" => Some(Redirect::Moved(address)),
            "ASK" => Some(Redirect::Ask(address)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn slots_are_those_of_redis_cluster() {
        // As `CLUSTER KEYSLOT` answers.
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{foo}", 12_182),
            ("a:{foo}:b{bar}", 12_182),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar", 15_278),
            ("", 0),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn the_map_is_read_from_what_a_node_says() {
        let answer = "*2\r\n*4\r\n:0\r\n:9\r\n*3\r\n$1\r\na\r\n:7\r\n$2\r\nid\r\n*3\r\n$1\r\nr\r\n:8\r\n$2\r\nid\r\n\
                      *3\r\n:12\r\n:16383\r\n*3\r\n$-1\r\n:9\r\n$2\r\nid\r\n";
        let answer = ::redis::parse_redis_value(answer.as_bytes()).expect("a reply");
        let here = Owned { from: 12, to: 16_383, by: at("here", 9) };
        assert_eq!(owned(&answer, "here"), Some(vec![Owned { from: 0, to: 9, by: at("a", 7) }, here]));
        for bad in
            ["+OK\r\n", "*1\r\n*2\r\n:0\r\n:9\r\n", "*1\r\n*3\r\n:0\r\n:16384\r\n*3\r\n$1\r\na\r\n:7\r\n$1\r\ni\r\n"]
        {
            let bad = ::redis::parse_redis_value(bad.as_bytes()).expect("a reply");
            assert_eq!(owned(&bad, "here"), None);
        }
    }

    #[test]
    fn redirects_name_a_node() {
        let check =
            |text: &str, expected: Option<Redirect>| assert_eq!(Redirect::parse(text, "here"), expected, "{text}");
        check("MOVED 3999 10.0.0.1:6381", Some(Redirect::Moved(at("10.0.0.1", 6381))));
        check("ASK 3999 ::1:6381", Some(Redirect::Ask(at("::1", 6381))));
        check("MOVED 3999 :6381", Some(Redirect::Moved(at("here", 6381))));
        check("MOVED 3999 ?:6381", Some(Redirect::Moved(at("here", 6381))));
        for other in ["MOVED", "MOVED 3999", "MOVED 3999 host", "TRYAGAIN Multiple keys request", "READONLY"] {
            check(other, None);
        }
    }
}
