//! When what a delivery brings was appended: read off its bytes, which are all that a courier holds.

/// When the last event of a frame was appended, in milliseconds since the Unix epoch by the log's clock; none: it does not say.
pub(crate) fn appended_ms(frame: &[u8]) -> Option<u64> {
    const MEMBER: &[u8] = b"\"position\":\"";
    // Quotes inside of strings are escaped, and it is the last member of this name: what a runner sent comes before.
    let at = frame.windows(MEMBER.len()).rposition(|bytes| bytes == MEMBER)? + MEMBER.len();
    let digits: Vec<u8> = frame[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tidings_log::encoding::{Encoding as _, Json};
    use tidings_protocol::frames::Marks;
    use tidings_protocol::wire;

    use super::*;

    #[test]
    fn a_frame_says_when_it_was_appended() {
        let mut frame = Vec::new();
        let event =
            wire::Event { json: r#"{"type":"log","data":{"position":"7-1.x"}}"#.into(), ..wire::Event::default() };
        let position = "1763630000123-7.k3f9a7c2m4xq".parse().expect("a position");
        Json.event(&"demo".parse().expect("a name"), position, &event, Marks::default(), &mut frame);
        assert_eq!(appended_ms(&frame), Some(1_763_630_000_123));
        assert_eq!((appended_ms(b"{}"), appended_ms(b"\"position\":\"")), (None, None));
    }
}
