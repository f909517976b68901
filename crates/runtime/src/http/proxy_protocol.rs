//! The PROXY protocol, version 2 (binary): what a load balancer that passes bytes on says first about the client behind
//! it. Version 1 is refused: text of unknown length before every connection is not worth a second parser.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const HEAD_BYTES: usize = 16;

/// Longest rest of a header that is read: addresses, and whatever extensions a balancer adds, which are skipped.
const REST_BYTES_MAX: usize = 4 * 1024;

const VERSION_2: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Why a header is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("the connection broke before its PROXY header was complete")]
    Cut(#[from] std::io::Error),
    #[error("the connection does not begin with a PROXY header of version 2")]
    NoHeader,
    #[error("the PROXY header has a command that is not known")]
    Command,
    #[error("the PROXY header names no client over TCP")]
    Family,
    #[error("the PROXY header is too long or too short")]
    Length,
}

/// Reads a header, and not a byte more. None: the balancer speaks for itself (a health check).
pub(super) async fn read(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    let mut head = [0; HEAD_BYTES];
    socket.read_exact(&mut head).await?;
    let [signature @ .., command, family, high, low] = &head;
    if signature[..] != SIGNATURE || command >> 4 != VERSION_2 {
        return Err(ProxyError::NoHeader);
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > REST_BYTES_MAX {
        return Err(ProxyError::Length);
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await?;
    match command & 0x0f {
        LOCAL => Ok(None),
        PROXY => client(*family, &rest).map(Some),
        _ => Err(ProxyError::Command),
    }
}

/// The source address; the destination follows it, then both ports.
fn client(family: u8, rest: &[u8]) -> Result<SocketAddr, ProxyError> {
    let (address, ports): (IpAddr, &[u8]) = match family {
        TCP_OVER_IPV4 => {
            let (source, rest) = rest.split_first_chunk::<4>().ok_or(ProxyError::Length)?;
            (Ipv4Addr::from(*source).into(), rest.get(4..8).ok_or(ProxyError::Length)?)
        }
        TCP_OVER_IPV6 => {
            let (source, rest) = rest.split_first_chunk::<16>().ok_or(ProxyError::Length)?;
            (Ipv6Addr::from(*source).into(), rest.get(16..20).ok_or(ProxyError::Length)?)
        }
        _ => return Err(ProxyError::Family),
    };
    Ok(SocketAddr::new(address, u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    /// What is read from these bytes, and what is left of them.
    async fn check(bytes: &[u8]) -> (Result<Option<String>, String>, Vec<u8>) {
        let mut input = bytes;
        let read = read(&mut input).await;
        (read.map(|client| client.map(|client| client.to_string())).map_err(|error| error.to_string()), input.to_vec())
    }

    #[tokio::test]
    async fn a_header_gives_the_client_and_leaves_the_rest() {
        let ipv4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x40, 0, 80];
        let with_extension = [&ipv4[..], &[4, 0, 1, 9]].concat();
        for rest in [&ipv4[..], &with_extension] {
            let (client, left) = check(&[header(0x21, 0x11, rest), b"GET".to_vec()].concat()).await;
            assert_eq!(client, Ok(Some("192.0.2.7:8000".into())));
            assert_eq!(left, b"GET");
        }
        let source = "2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets();
        let ipv6 = [&source[..], &[0; 16], &[0, 9, 0, 80]].concat();
        assert_eq!(check(&header(0x21, 0x21, &ipv6)).await.0, Ok(Some("[2001:db8::7]:9".into())));
        assert_eq!(check(&header(0x20, 0, &[])).await.0, Ok(None), "a health check");
    }

    #[tokio::test]
    async fn whatever_else_is_refused() {
        let ipv4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x40, 0, 80];
        let long = vec![0; REST_BYTES_MAX + 1];
        for (bytes, part) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8000 80\r\n".to_vec(), "does not begin"),
            (b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), "does not begin"),
            (header(0x11, 0x11, &ipv4), "does not begin"),
            (header(0x22, 0x11, &ipv4), "command"),
            (header(0x21, 0x31, &ipv4), "no client"),
            (header(0x21, 0x12, &ipv4), "no client"),
            (header(0x21, 0x11, &ipv4[..11]), "too long or too short"),
            (header(0x21, 0x21, &ipv4), "too long or too short"),
            (header(0x21, 0x11, &long), "too long or too short"),
            (header(0x21, 0x11, &ipv4)[..20].to_vec(), "broke"),
        ] {
            let refused = check(&bytes).await.0.expect_err("no header");
            assert!(refused.contains(part), "{bytes:?}: {refused}");
        }
    }
}
