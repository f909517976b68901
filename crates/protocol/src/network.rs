//! Networks of addresses, as operators write them. No address is looked up here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits: `10.0.0.0/8`, or one address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix_bits: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a network")]
pub struct NoNetwork;

impl Network {
    /// Whether the address is in it. Addresses of the other family are not.
    pub fn contains(&self, address: IpAddr) -> bool {
        first_of(address, self.prefix_bits) == Some(self.first)
    }
}

/// The first address of the network of so many bits that holds this one; none: an address has fewer bits.
fn first_of(address: IpAddr, prefix_bits: u8) -> Option<IpAddr> {
    let bits = u32::from(prefix_bits);
    match address {
        IpAddr::V4(address) => {
            let low = Ipv4Addr::BITS.checked_sub(bits)?;
            let mask = u32::MAX.checked_shl(low).unwrap_or(0);
            Some(Ipv4Addr::from(u32::from(address) & mask).into())
        }
        IpAddr::V6(address) => {
            let low = Ipv6Addr::BITS.checked_sub(bits)?;
            let mask = u128::MAX.checked_shl(low).unwrap_or(0);
            Some(Ipv6Addr::from(u128::from(address) & mask).into())
        }
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Network, NoNetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_| NoNetwork)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let prefix_bits = prefix.unwrap_or(if address.is_ipv4() { 32 } else { 128 });
        let first = first_of(address, prefix_bits).ok_or(NoNetwork)?;
        // Bits behind the prefix are more likely a slip than meant.
        if first == address { Ok(Network { first, prefix_bits }) } else { Err(NoNetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

/// Several networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(pub Vec<Network>);

impl Networks {
    /// Whether one of them holds the address.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(network: &str, inside: &[&str], outside: &[&str]) {
        let network: Network = network.parse().expect("a network");
        let contains = |address: &&str| network.contains(address.parse().expect("an address"));
        assert!(inside.iter().all(contains), "{network} {inside:?}");
        assert!(!outside.iter().any(contains), "{network} {outside:?}");
    }

    #[test]
    fn a_network_holds_what_begins_alike() {
        check("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["11.0.0.0", "9.255.255.255", "::a00:1"]);
        check("192.0.2.7", &["192.0.2.7"], &["192.0.2.6"]);
        check("0.0.0.0/0", &["255.1.2.3"], &["::1"]);
        check("2001:db8::/33", &["2001:db8:7fff::1"], &["2001:db8:8000::"]);
        check("::/0", &["ffff::"], &["1.2.3.4"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.1/8", "::/129", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1", "example.com"] {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
