//! Payloads of the polling transport: several packets in one body, with a separator between.

/// What stands between two packets.
pub const SEPARATOR: char = '\u{1e}';

/// The packets of a posted body. More than `packets_max`, or an empty one: `None`.
pub fn split(body: &str, packets_max: usize) -> Option<Vec<&str>> {
    let packets: Vec<&str> = body.split(SEPARATOR).take(packets_max + 1).collect();
    (packets.len() <= packets_max && packets.iter().all(|packet| !packet.is_empty())).then_some(packets)
}

/// The body of an answer to a poll. JSON has no separator in it: control characters are escaped there.
pub fn join<S: AsRef<str>>(packets: &[S]) -> String {
    let mut body = String::with_capacity(packets.iter().map(|packet| packet.as_ref().len() + 1).sum());
    for packet in packets {
        if !body.is_empty() {
            body.push(SEPARATOR);
        }
        body.push_str(packet.as_ref());
    }
    body
}
