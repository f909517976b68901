//! Who is behind the proxies. What a proxy says is believed only of proxies that the operator named; everybody else can
//! write the same header.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use crate::config::{ForwardedHeader, Networks};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client itself, as far as it can be believed: of the socket's peer, or what trusted proxies say of
/// who stands before them. For logs and limits; it proves nothing. Every request carries it as an extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// Whose requests and connections count together: an address of IPv4, a network of 64 bits of IPv6, since who has one
    /// of these has as many addresses as it likes.
    pub fn network(self) -> IpAddr {
        match self.0 {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}

/// Which proxies are believed, and where they write.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// Their addresses. Empty: nobody is believed.
    pub trusted: Networks,
    /// The one header that they set. The other one is the client's own text and is never read.
    pub header: ForwardedHeader,
    /// Whether connections begin with a PROXY header of version 2. Then they may come from trusted proxies only.
    pub proxy_protocol: bool,
}

impl Proxies {
    /// Whether this is one of them.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.contains(address.to_canonical())
    }

    /// The client of a request that came from `source` (the peer, or the client of its PROXY header).
    pub(super) fn client(&self, source: SocketAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = source.ip().to_canonical();
        if !self.trusts(client) {
            return ClientAddress(client);
        }
        let name = match self.header {
            ForwardedHeader::Forwarded => header::FORWARDED,
            ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
        };
        // The nearest proxy writes last. Each entry was written by the one behind it, so the walk ends at the first that
        // is not trusted: what stands before it is its own claim.
        for line in headers.get_all(name).iter().rev() {
            let Ok(line) = line.to_str() else { return ClientAddress(client) };
            let nodes: Vec<Option<&str>> = match self.header {
                ForwardedHeader::Forwarded => elements(line).into_iter().map(forwarded_for).collect(),
                ForwardedHeader::XForwardedFor => line.split(',').map(Some).collect(),
            };
            for node in nodes.into_iter().rev() {
                // Unreadable or hidden: the last one that is known speaks for whoever is behind it.
                let Some(address) = node.and_then(address) else { return ClientAddress(client) };
                client = address;
                if !self.trusts(client) {
                    return ClientAddress(client);
                }
            }
        }
        ClientAddress(client)
    }
}

/// The elements of a list, commas inside quotes not counted. A quote that does not end would swallow what a proxy wrote
/// behind it, so such a list is one element that cannot be read.
fn elements(line: &str) -> Vec<&str> {
    split_outside_quotes(line, ',').unwrap_or_else(|| vec![""])
}

/// None: a quote does not end.
fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text
        .split(|c: char| {
            let escapes = std::mem::take(&mut escaped);
            match c {
                _ if escapes => {}
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => return c == separator && !quoted,
            }
            false
        })
        .collect();
    (!quoted).then_some(parts)
}

/// The `for` of an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    split_outside_quotes(element, ';')?.into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then(|| value.trim())
    })
}

/// An address with or without port, brackets and quotes.
fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    let node = node.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(node).trim();
    let bare = || node.parse::<IpAddr>().ok();
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: ForwardedHeader, source: &str, lines: &[(&'static str, &str)], expected: &str) {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|network| network.parse().expect("a network"));
        let proxies = Proxies { trusted: Networks(trusted.to_vec()), header, proxy_protocol: false };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a value"));
        }
        let client = proxies.client(SocketAddr::new(source.parse().expect("an address"), 1), &headers);
        assert_eq!(client.0.to_string(), expected, "{source} {lines:?}");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let check = |address: &str, expected: &str| {
            let client = ClientAddress(address.parse().expect("an address"));
            assert_eq!(client.network().to_string(), expected);
        };
        check("192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        let check = |source: &str, value: &str, expected: &str| {
            check(ForwardedHeader::XForwardedFor, source, &[("x-forwarded-for", value)], expected);
        };
        check("203.0.113.9", "192.0.2.1", "203.0.113.9");
        check("10.0.0.1", "192.0.2.1", "192.0.2.1");
        check("::ffff:10.0.0.1", "::ffff:192.0.2.1", "192.0.2.1");
        check("10.0.0.1", "6.6.6.6, 192.0.2.1", "192.0.2.1");
        check("10.0.0.1", "6.6.6.6, 192.0.2.1, 10.0.0.2", "192.0.2.1");
        check("10.0.0.1", "10.9.9.9, 10.0.0.2", "10.9.9.9");
        check("10.0.0.1", "192.0.2.1, garbage, 10.0.0.2", "10.0.0.2");
        check("10.0.0.1", "192.0.2.1:4711", "192.0.2.1");
        check("10.0.0.1", "[2001:db8::7]:80", "2001:db8::7");
        check("2001:db8:1::5", "2001:db8::7", "2001:db8::7");
        check("10.0.0.1", "", "10.0.0.1");
        check("10.0.0.1", "\"6.6.6.6, 192.0.2.1", "192.0.2.1");
    }

    #[test]
    fn lines_are_one_list() {
        let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1, 10.0.0.2")];
        check(ForwardedHeader::XForwardedFor, "10.0.0.1", &lines, "192.0.2.1");
    }

    #[test]
    fn forwarded_is_read_where_it_was_chosen_and_the_other_is_not() {
        let check = |value: &str, expected: &str| {
            let lines = [("x-forwarded-for", "6.6.6.6"), ("forwarded", value)];
            check(ForwardedHeader::Forwarded, "10.0.0.1", &lines, expected);
        };
        check("for=192.0.2.1;proto=https;by=10.0.0.1", "192.0.2.1");
        check("For=\"[2001:db8::7]:4711\"", "2001:db8::7");
        check("for=6.6.6.6, for=192.0.2.1, for=10.0.0.2", "192.0.2.1");
        check("for=6.6.6.6, for=unknown, for=10.0.0.2", "10.0.0.2");
        check("for=_hidden", "10.0.0.1");
        check("for=192.0.2.1;host=\"a,b;for=6.6.6.6\"", "192.0.2.1");
        check("proto=https", "10.0.0.1");
        check("for=6.6.6.6;x=\", for=192.0.2.1", "10.0.0.1");
        check("for=6.6.6.6;x=\", for=\"192.0.2.1\"", "10.0.0.1");
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.1")];
        super::tests::check(ForwardedHeader::XForwardedFor, "10.0.0.1", &both, "192.0.2.1");
    }
}
