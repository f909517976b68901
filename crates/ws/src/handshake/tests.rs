use super::*;

/// The example request of RFC 6455 1.2.
fn request() -> HeaderMap {
    headers(&[
        ("host", "server.example.com"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ])
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs = pairs.iter();
    pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn check<'a>(headers: &HeaderMap, terms: &Terms<'a>) -> Result<Handshake<'a>, HandshakeError> {
    Handshake::check(&Method::GET, Version::HTTP_11, headers, terms)
}

#[test]
fn the_example_of_rfc_6455_is_answered_so() {
    let response: Response<()> = check(&request(), &Terms::default()).expect("it is right").response();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(
        *response.headers(),
        headers(&[
            ("upgrade", "websocket"),
            ("connection", "upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ])
    );
}

#[test]
fn tokens_are_found_in_lists_in_any_case() {
    let mut headers = request();
    headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, , UPGRADE"));
    headers.insert(UPGRADE, HeaderValue::from_static("h2c"));
    headers.append(UPGRADE, HeaderValue::from_static("WebSocket"));
    assert!(check(&headers, &Terms::default()).is_ok());
}

#[test]
fn each_flaw_is_told() {
    let check_with = |change: &dyn Fn(&mut HeaderMap), expected| {
        let mut headers = request();
        change(&mut headers);
        assert_eq!(check(&headers, &Terms::default()).map(drop), Err(expected));
    };
    let without = |name: HeaderName, expected| check_with(&|headers| drop(headers.remove(&name)), expected);
    without(CONNECTION, HandshakeError::Connection);
    without(HOST, HandshakeError::Host);
    without(SEC_WEBSOCKET_KEY, HandshakeError::Key);
    without(SEC_WEBSOCKET_VERSION, HandshakeError::Version);
    without(UPGRADE, HandshakeError::NotAnUpgrade);
    let with = |name: HeaderName, value: &'static str, expected| {
        check_with(&|headers| drop(headers.insert(&name, HeaderValue::from_static(value))), expected);
    };
    with(CONNECTION, "close, upgraded", HandshakeError::Connection);
    with(UPGRADE, "websockets", HandshakeError::NotAnUpgrade);
    with(SEC_WEBSOCKET_VERSION, "8", HandshakeError::Version);
    with(SEC_WEBSOCKET_VERSION, "13, 8", HandshakeError::Version);
    with(SEC_WEBSOCKET_KEY, "", HandshakeError::Key);
    with(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ", HandshakeError::Key);
    with(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZSEh", HandshakeError::Key);
    with(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZSE=", HandshakeError::Key);
    with(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSB*b25jZQ==", HandshakeError::Key);
    with(SEC_WEBSOCKET_PROTOCOL, "chat, super chat", HandshakeError::Subprotocols);
    with(SEC_WEBSOCKET_PROTOCOL, "chat, chat", HandshakeError::Subprotocols);
    with(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate;", HandshakeError::Extensions);
    let twice = |headers: &mut HeaderMap| {
        headers.append(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
    };
    check_with(&twice, HandshakeError::Key);
    let check_line = |method, version, expected| {
        assert_eq!(Handshake::check(&method, version, &request(), &Terms::default()).map(drop), Err(expected));
    };
    check_line(Method::POST, Version::HTTP_11, HandshakeError::Method);
    check_line(Method::GET, Version::HTTP_10, HandshakeError::HttpVersion);
    check_line(Method::GET, Version::HTTP_2, HandshakeError::HttpVersion);
}

#[test]
fn a_refusal_says_what_would_have_been_right() {
    let check = |error: HandshakeError, status: u16, expected: &[(&'static str, &'static str)]| {
        let response: Response<()> = error.response();
        assert_eq!(response.status(), status);
        assert_eq!(*response.headers(), headers(expected));
    };
    let upgrade = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13")];
    check(HandshakeError::Version, 426, &upgrade);
    check(HandshakeError::NotAnUpgrade, 426, &upgrade);
    check(HandshakeError::Method, 405, &[("allow", "GET")]);
    check(HandshakeError::Key, 400, &[]);
}

#[test]
fn the_client_orders_the_subprotocols() {
    let terms = Terms { subprotocols: &["b", "a"], deflate: None };
    let check_offers = |offers: &[&'static str], expected: Option<&str>| {
        let mut headers = request();
        for offer in offers {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer));
        }
        let handshake = check(&headers, &terms).expect("the offers are well-formed");
        assert_eq!(handshake.subprotocol(), expected);
        let response: Response<()> = handshake.response();
        assert_eq!(
            response.headers().get(SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes),
            expected.map(str::as_bytes)
        );
    };
    check_offers(&[], None);
    check_offers(&["c"], None);
    check_offers(&["c, a , b"], Some("a"));
    check_offers(&["c", "b, a"], Some("b"));
    // Subprotocols are compared as they are.
    check_offers(&["A"], None);
}

#[test]
fn compression_is_agreed_to_only_when_both_want_it() {
    let mut headers = request();
    let wanting = Terms { subprotocols: &[], deflate: Some(WindowBits::MAX) };
    assert!(!check(&headers, &wanting).expect("it is right").deflate());
    headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate; client_max_window_bits"));
    assert!(!check(&headers, &Terms::default()).expect("it is right").deflate());
    let handshake = check(&headers, &wanting).expect("it is right");
    assert!(handshake.deflate());
    assert_eq!(
        handshake.response::<()>().headers()[SEC_WEBSOCKET_EXTENSIONS],
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    );
}
