//! Signing, reading and checking.

use proptest::prelude::*;

use super::*;

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[test]
fn a_body_is_signed_as_documented() {
    // Made with another implementation: Python's `hmac`.
    let signed = sign([&secret("0123456789abcdef")], 1_700_000_000, b"{\"events\":[]}");
    assert_eq!(signed, "t=1700000000,v1=1f1c43683e76ee83b09613ab56fa5bdd3ce55f3ee41db00a92e22eea0376899e");
}

#[test]
fn while_a_secret_is_changed_both_are_good() {
    let (old, new, other) =
        (secret("the old secret of 16"), secret("the new secret of 16"), secret("another's secret"));
    let signed = sign([&new, &old], 1_000, b"body");
    let check = |secret: &Secret| verify(secret, &signed, b"body", 1_000, AGE_MAX);
    assert_eq!((check(&old), check(&new), check(&other)), (Ok(()), Ok(()), Err(Unverified::Forged)));
}

#[test]
fn what_was_changed_or_is_of_another_time_is_refused() {
    let secret = secret("a secret of 16 b");
    let signed = sign([&secret], 1_000, b"body");
    let check = |value: &str, body: &[u8], now_s: u64| verify(&secret, value, body, now_s, AGE_MAX);
    assert_eq!((check(&signed, b"body", 700), check(&signed, b"body", 1_300)), (Ok(()), Ok(())));
    assert_eq!(check(&signed, b"body", 1_301), Err(Unverified::Age));
    assert_eq!(check(&signed, b"body", 699), Err(Unverified::Age));
    assert_eq!(check(&signed, b"Body", 1_000), Err(Unverified::Forged));
    assert_eq!(check(&signed.replace("t=1000", "t=1001"), b"body", 1_000), Err(Unverified::Forged));
    // The dot keeps digits of the time and of the body apart.
    let signed = sign([&secret], 10, b"0.body");
    assert_eq!(check(&signed.replace("t=10", "t=100"), b".body", 100), Err(Unverified::Forged));
}

#[test]
fn what_is_not_of_the_form_is_malformed() {
    let mac = "0".repeat(64);
    let good = format!("t=7, v1={mac},v2=later");
    assert_eq!(Signature::parse(&good).map(|signature| signature.at_s), Ok(7));
    for bad in [
        String::new(),
        "t=7".into(),
        format!("v1={mac}"),
        format!("t=7,t=7,v1={mac}"),
        format!("t=+7,v1={mac}"),
        format!("t=07,v1={mac}"),
        format!("t=,v1={mac}"),
        format!("t=18446744073709551616,v1={mac}"),
        format!("t=7,v1={}", &mac[1..]),
        format!("t=7,v1={mac}0"),
        format!("t=7,v1=g{}", &mac[1..]),
        format!("t=7,v1=ä{}", &mac[2..]),
        format!("t=7;v1={mac}"),
        format!("t=7,v1={mac},{}", "x=y,".repeat(300)),
    ] {
        assert_eq!(Signature::parse(&bad), Err(Unverified::Malformed), "{bad}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics_and_what_is_read_is_written_alike(text in "[tv1=, 0-9a-fx.]{0,160}") {
        if let Ok(signature) = Signature::parse(&text) {
            prop_assert_eq!(Signature::parse(&signature.to_string()), Ok(signature));
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        let _ = Signature::parse(&text);
    }

    #[test]
    fn what_is_signed_is_good_and_one_bit_makes_it_bad(
        text in "[ -~]{16,64}", body in proptest::collection::vec(any::<u8>(), 1..200), at_s: u64, bit in 0_usize..1_600,
    ) {
        let secret = Secret::new(text);
        let signed = sign([&secret], at_s, &body);
        prop_assert_eq!(verify(&secret, &signed, &body, at_s, AGE_MAX), Ok(()));
        let mut other = body.clone();
        let place = bit / 8 % other.len();
        other[place] ^= 1 << (bit % 8);
        prop_assert_eq!(verify(&secret, &signed, &other, at_s, AGE_MAX), Err(Unverified::Forged));
    }
}
