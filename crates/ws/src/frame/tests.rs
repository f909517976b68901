use super::*;

#[test]
fn each_size_has_the_shortest_header() {
    let check = |payload_bytes: usize, header: &[u8]| {
        let mut buf = vec![0xaa];
        write_header(&mut buf, Opcode::Text, false, payload_bytes);
        assert_eq!(buf[1..], *header, "{payload_bytes} bytes");
        assert_eq!(header_bytes(payload_bytes), header.len(), "{payload_bytes} bytes");
    };
    check(0, &[0x81, 0]);
    check(125, &[0x81, 125]);
    check(126, &[0x81, 126, 0, 126]);
    check(0xffff, &[0x81, 126, 0xff, 0xff]);
    check(0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    check(0x1_2345_6789, &[0x81, 127, 0, 0, 0, 1, 0x23, 0x45, 0x67, 0x89]);
}

#[test]
fn frames_are_as_in_the_examples_of_rfc_6455() {
    let check = |frame: Bytes, expected: &[u8]| assert_eq!(frame[..], *expected);
    check(text(b"Hello"), &[0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    check(ping(b"Hello"), &[0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
    check(pong(b""), &[0x8a, 0x00]);
    check(binary(&[7; 256])[..5].to_vec().into(), &[0x82, 0x7e, 0x01, 0x00, 7]);
    check(close(1001, "ok"), &[0x88, 0x04, 0x03, 0xe9, b'o', b'k']);
    check(close_without_code(), &[0x88, 0x00]);
}

#[test]
fn rsv1_marks_compression() {
    let mut buf = Vec::new();
    write_header(&mut buf, Opcode::Binary, true, 7);
    assert_eq!(buf, [0xc2, 7]);
}

#[test]
fn a_long_reason_is_cut_in_front_of_a_character() {
    // 122 bytes and then one character of two: the cut at 123 would halve it.
    let reason = format!("{}é and more", "x".repeat(122));
    let frame = close(1000, &reason);
    assert_eq!(frame[1], 124);
    assert_eq!(frame[4..], reason.as_bytes()[..122]);
    assert_eq!(close(1000, &"x".repeat(200)).len(), 2 + CONTROL_BYTES_MAX);
}

#[test]
#[should_panic(expected = "at most 125 bytes")]
fn a_long_ping_is_a_bug_of_the_caller() {
    ping(&[0; 126]);
}

#[test]
fn every_opcode_has_its_number() {
    for number in 0..=u8::MAX {
        if let Some(opcode) = Opcode::from_number(number) {
            assert_eq!(opcode as u8, number);
            assert_eq!(opcode.is_control(), number >= 8);
        }
    }
    assert_eq!((0..=u8::MAX).filter_map(Opcode::from_number).count(), 6);
}

#[test]
fn close_codes_for_internal_use_are_not_for_frames() {
    let check =
        |codes: &[u16], allowed| codes.iter().for_each(|&code| assert_eq!(is_close_code(code), allowed, "{code}"));
    check(&[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, u16::MAX], false);
    check(&[1000, 1003, 1007, 1014, 3000, 4100, 4999], true);
}
