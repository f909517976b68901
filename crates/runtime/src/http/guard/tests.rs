use super::*;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), value.parse().expect("a header value"));
    }
    headers
}

/// The refusal's code, or "ok".
fn verdict(method: &Method, target: &str, fields: &[(&'static str, &str)]) -> String {
    match judge(method, &target.parse().expect("a target"), &headers(fields)) {
        Ok(()) => "ok".into(),
        Err(refused) => refused.problem().code.to_string(),
    }
}

fn check_host(host: &str, expected: &str) {
    assert_eq!(verdict(&Method::GET, "/", &[("host", host)]), expected, "Host: {host}");
}

fn check_origin(origin: &str, expected: &str) {
    let fields = [("host", "localhost:8000"), ("origin", origin)];
    assert_eq!(verdict(&Method::POST, "/", &fields), expected, "Origin: {origin}");
}

#[test]
fn loopback_hosts_are_let_in() {
    for host in [
        "localhost",
        "localhost:8000",
        "LOCALHOST:1",
        "localhost.:80",
        "app.localhost",
        "a.b.localhost:3000",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.255.0.9:65535",
        "[::1]",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]:8000",
    ] {
        check_host(host, "ok");
    }
}

#[test]
fn other_hosts_are_refused() {
    for host in [
        "example.com",
        "example.com:8000",
        "localhost.example.com",
        "notlocalhost",
        ".localhost",
        "127.0.0.1.example.com",
        "127.0.0.1.nip.io:8000",
        "0.0.0.0:8000",
        "192.168.1.10:8000",
        "10.0.0.1",
        "[::]",
        "[::ffff:192.168.0.1]:80",
        "[fe80::1]",
        "localhost@example.com",
        "example.com@localhost",
        "localhost:99999",
        "localhost:x",
        "localhost/evil",
        "",
    ] {
        check_host(host, "host_refused");
    }
}

#[test]
fn every_name_of_the_host_counts() {
    let refused = "host_refused";
    assert_eq!(verdict(&Method::GET, "/", &[]), refused, "no host at all");
    assert_eq!(verdict(&Method::GET, "http://localhost:8000/", &[]), "ok", "HTTP/2 names it in the target");
    assert_eq!(verdict(&Method::GET, "http://evil.example/", &[("host", "localhost")]), refused);
    assert_eq!(verdict(&Method::GET, "http://localhost/", &[("host", "evil.example")]), refused);
    assert_eq!(verdict(&Method::GET, "/", &[("host", "localhost"), ("host", "evil.example")]), refused);
}

#[test]
fn pages_of_this_machine_are_let_in() {
    for origin in ["http://localhost:3000", "https://localhost", "http://127.0.0.1:8000", "http://[::1]:5173"] {
        check_origin(origin, "ok");
    }
}

#[test]
fn other_pages_are_refused() {
    for origin in [
        "null",
        "",
        "https://example.com",
        "http://localhost.example.com",
        "http://localhost@example.com",
        "http://example.com@localhost",
        "file://",
        "file://localhost",
        "chrome-extension://localhost",
        "http://localhost/path",
        "http://localhost http://example.com",
        "localhost:8000",
    ] {
        check_origin(origin, "origin_refused");
    }
    let two = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://example.com")];
    assert_eq!(verdict(&Method::POST, "/", &two), "origin_refused");
}

#[test]
fn what_another_site_embeds_is_refused_and_a_followed_link_is_not() {
    let fetched = |method: Method, site: &str, mode: &str, dest: &str| {
        let fields =
            [("host", "localhost"), ("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
        verdict(&method, "/", &fields)
    };
    assert_eq!(fetched(Method::GET, "cross-site", "no-cors", "image"), "origin_refused");
    assert_eq!(fetched(Method::GET, "cross-site", "no-cors", "script"), "origin_refused");
    assert_eq!(fetched(Method::GET, "cross-site", "navigate", "iframe"), "origin_refused");
    assert_eq!(fetched(Method::POST, "cross-site", "navigate", "document"), "origin_refused");
    assert_eq!(fetched(Method::GET, "cross-site", "navigate", "document"), "ok");
    assert_eq!(fetched(Method::GET, "same-origin", "cors", "empty"), "ok");
    assert_eq!(fetched(Method::GET, "none", "navigate", "document"), "ok");
    // A page on localhost that calls 127.0.0.1 is another site to the browser; its Origin is what counts.
    let page = [("host", "127.0.0.1:8000"), ("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site")];
    assert_eq!(verdict(&Method::GET, "/", &page), "ok");
}
