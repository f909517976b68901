use http::HeaderMap;
use http::header::SEC_WEBSOCKET_EXTENSIONS;

use super::*;

fn agree_to(values: &[&str], window: u8) -> Result<Option<Agreed>, Malformed> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(value).expect("a header's value"));
    }
    let window = WindowBits::new(window).expect("9 to 15");
    agree(headers.get_all(SEC_WEBSOCKET_EXTENSIONS), Some(window))
}

const PLAIN: Agreed = Agreed { server_max_window_bits: None };

#[test]
fn offers_that_suit_are_accepted() {
    let check = |offer: &str| assert_eq!(agree_to(&[offer], 15), Ok(Some(PLAIN)), "{offer}");
    check("permessage-deflate");
    check(" permessage-deflate ;\tserver_no_context_takeover ; client_no_context_takeover ");
    check("permessage-deflate; client_max_window_bits");
    check("permessage-deflate; client_max_window_bits=8");
    check("permessage-deflate; client_max_window_bits=\"15\"");
    check(", permessage-deflate, ,");
    check("x-webkit-deflate-frame, permessage-deflate; client_max_window_bits");
    check(r#"unknown; with="a\b"; or=token, permessage-deflate"#);
}

#[test]
fn offers_that_do_not_suit_are_declined() {
    let check = |offer: &str| assert_eq!(agree_to(&[offer], 15), Ok(None), "{offer}");
    check("");
    check("permessage-bzip2");
    check("Permessage-Deflate");
    check("permessage-deflate; unknown");
    check("permessage-deflate; Server_no_context_takeover");
    check("permessage-deflate; server_no_context_takeover=1");
    check("permessage-deflate; client_no_context_takeover; client_no_context_takeover");
    check("permessage-deflate; client_max_window_bits=10; client_max_window_bits=10");
    check("permessage-deflate; client_max_window_bits=7");
    check("permessage-deflate; client_max_window_bits=16");
    check("permessage-deflate; client_max_window_bits=010");
    check("permessage-deflate; client_max_window_bits=+9");
    check("permessage-deflate; server_max_window_bits");
    check("permessage-deflate; server_max_window_bits=16");
    check("permessage-deflate; server_max_window_bits=14");
}

#[test]
fn the_first_offer_that_suits_wins() {
    let limited = |bits| Agreed { server_max_window_bits: WindowBits::new(bits) };
    let offers = "permessage-deflate; server_max_window_bits=10, permessage-deflate; server_max_window_bits=12";
    assert_eq!(agree_to(&[offers, "permessage-deflate"], 15), Ok(Some(PLAIN)));
    assert_eq!(agree_to(&[offers, "permessage-deflate"], 12), Ok(Some(limited(12))));
    assert_eq!(agree_to(&[offers, "permessage-deflate"], 11), Ok(Some(limited(11))));
    assert_eq!(agree_to(&["permessage-deflate; server_max_window_bits=8"], 9), Ok(None));
    assert_eq!(
        limited(11).header(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11"
    );
}

#[test]
fn a_malformed_header_is_told_wherever_the_flaw_is() {
    let check = |value: &str| assert_eq!(agree_to(&["permessage-deflate", value], 15), Err(Malformed), "{value}");
    check(";");
    check("a b");
    check("a;");
    check("a; ;b");
    check("a; =b");
    check("a; b=");
    check("a; b=c d");
    check("a; b=\"");
    check("a; b=\"\"");
    check("a; b=\"c d\"");
    check("a; b=\"c\\");
    check("a; b=\"c\"d");
    check("a, b=c");
    check("a(b)");
}

proptest::proptest! {
    #[test]
    fn any_value_is_judged_without_a_panic(value in "[ -~]{0,60}|([a-c];=, \"\\\\){0,30}") {
        let _ = agree_to(&[&value], 15);
    }
}
