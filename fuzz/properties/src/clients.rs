//! Who is behind the proxies: what they write into headers, and before connections.

use std::net::{IpAddr, SocketAddr};

use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use tidings_runtime::config::ForwardedHeader;

#[allow(dead_code, unreachable_pub, reason = "only some of it is used here, and by this alone")]
#[path = "../../../crates/runtime/src/http/client.rs"]
mod client;
#[path = "../../../crates/runtime/src/http/proxy_protocol.rs"]
mod proxy_protocol;

use client::Proxies;

/// What the proxies of these properties have before their addresses, and what others have.
const TRUSTED: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const OTHERS: [&str; 2] = ["192.0.2.1", "::ffff:203.0.113.9"];

/// Most bytes of a PROXY header.
const HEADER_BYTES_MAX: usize = 16 + 4 * 1024;

/// Nobody but a trusted proxy is believed, and what comes before its word changes nothing.
pub(crate) fn addresses(data: &[u8]) {
    proxy_header(data);
    let Ok(line) = HeaderValue::from_bytes(data) else { return };
    for (header, name) in
        [(ForwardedHeader::XForwardedFor, "x-forwarded-for"), (ForwardedHeader::Forwarded, "forwarded")]
    {
        let name = HeaderName::from_static(name);
        let trusted = vec!["10.0.0.0/8".parse().expect("a network")];
        let proxies = Proxies { trusted: crate::config::Networks(trusted), header, proxy_protocol: false };
        let client = |source: &str, lines: &[&HeaderValue]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(name.clone(), HeaderValue::clone(line));
            }
            let found = proxies.client(SocketAddr::new(address(source), 1), &headers).0;
            assert_eq!(found, found.to_canonical());
            found
        };
        for other in OTHERS {
            assert_eq!(client(other, &[&line]), address(other).to_canonical(), "its own word");
        }
        let [near, far] = TRUSTED;
        let found = client(near, &[&line]);
        let claim = HeaderValue::from_static("6.6.6.6, for=6.6.6.6");
        if !is_trusted(found) {
            assert_eq!(client(near, &[&claim, &line]), found, "what a client wrote before");
        }
        let written = HeaderValue::from_static(match header {
            ForwardedHeader::XForwardedFor => "10.0.0.2",
            ForwardedHeader::Forwarded => "for=10.0.0.2;by=10.0.0.1",
        });
        let over_two = client(near, &[&line, &written]);
        assert!(over_two == found || (found, over_two) == (address(near), address(far)), "{found} {over_two}");
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn is_trusted(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if address.octets()[0] == 10)
}

/// Not a byte too many is read, and a header that says the same is read as the same.
fn proxy_header(data: &[u8]) {
    let mut rest = data;
    let Ok(read) = proxy_protocol::read(&mut rest).now_or_never().expect("all of it is there") else { return };
    let length = data.len() - rest.len();
    assert!((16..=HEADER_BYTES_MAX).contains(&length));
    for cut in [0, 1, 15, 16, length - 1].into_iter().filter(|cut| *cut < length) {
        assert!(proxy_protocol::read(&mut &data[..cut]).now_or_never().is_some_and(|read| read.is_err()));
    }
    let Some(client) = read else { return };
    let (family, address) = match client.ip() {
        IpAddr::V4(address) => (0x11, address.octets().repeat(2)),
        IpAddr::V6(address) => (0x21, address.octets().repeat(2)),
    };
    let addresses = [&address[..], &client.port().to_be_bytes(), &[0, 80]].concat();
    let bytes = u16::try_from(addresses.len()).expect("it is short").to_be_bytes();
    let written = [&data[..12], &[0x21, family], &bytes, &addresses, b"GET"].concat();
    let mut rest = &written[..];
    let again = proxy_protocol::read(&mut rest).now_or_never().expect("all of it is there");
    assert!(again.is_ok_and(|again| again == Some(client)) && rest == b"GET");
}
