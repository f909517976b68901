//! Whatever bytes come: no panic, no more memory than the limits allow (`read_chunks` asserts it), and no difference
//! made by how they were split.

use super::*;

/// Bytes that look enough like frames to get past the first checks.
fn almost_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => proptest::sample::select(vec![0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x41, 0xc1, 0xc2]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        ".{0,30}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..140),
        ".{0,30}".prop_map(|text| Deflater::new(1, WindowBits::MAX).text(text.repeat(9).as_bytes())[2..].to_vec()),
        (0..70_100_usize).prop_map(|size| vec![b'x'; size]),
    ];
    let frame = prop_oneof![
        8 => (first, payload).prop_map(|(first, payload)| sent(first, &payload)),
        1 => proptest::collection::vec(any::<u8>(), 0..30),
    ];
    proptest::collection::vec(frame, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]
    #[test]
    fn no_bytes_do_harm(bytes in almost_frames(), size in 1..500_usize, deflate: bool) {
        let whole = read_chunks(deflate, [bytes.as_slice()]);
        prop_assert_eq!(read_chunks(deflate, bytes.chunks(size)), whole);
    }
}
