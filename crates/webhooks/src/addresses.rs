//! Which addresses are called: public ones, and those that an operator allows. Whoever sets a webhook chooses where services
//! connect to; they must not reach what only the services can reach.
//!
//! Names are judged by what they resolve to, at the time of connecting ([`Resolver`]), so a name that points elsewhere a moment
//! later is of no use; addresses in URLs are judged as they stand ([`Addresses::check`]), however they are written, since the
//! URL parser knows one form of each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tidings_protocol::network::Networks;
use tokio::sync::Semaphore;
use url::{Host, Url};

/// Where clouds tell a machine its credentials: never called, whatever is allowed.
const METADATA: [IpAddr; 9] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 2)),
    IpAddr::V4(Ipv4Addr::new(169, 254, 170, 23)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

/// Names that are looked up at once. Each holds a thread until the system gives up, which may be long behind the call's own
/// limit, and other work needs such threads, too.
const LOOKUPS_MAX: usize = 64;

/// What is allowed beside public addresses. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Addresses {
    allowed: Arc<Networks>,
    lookups: Arc<Semaphore>,
}

impl Default for Addresses {
    fn default() -> Addresses {
        Addresses::new(Networks::default())
    }
}

/// Why an address is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is not public, and no allowed network has it.
    #[error("the address is not public, and not allowed")]
    NotPublic,
    /// It is public and the URL is of `http`: what is sent could be read on the way.
    #[error("an address outside of the allowed networks is called by https alone")]
    NotEncrypted,
}

/// How an address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Allowed,
    Public,
    Forbidden,
}

impl Addresses {
    /// Public addresses, and those of these networks.
    pub fn new(allowed: Networks) -> Addresses {
        Addresses { allowed: Arc::new(allowed), lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Whether a URL may be called as far as it can be said without resolving a name. What it says of a name is that of the
    /// scheme alone: the [`Resolver`] says the rest.
    ///
    /// # Errors
    /// It has an address in it that is not called, or not by `http`.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => {
                // Where nothing is allowed no name can lead there.
                let hopeless = url.scheme() != "https" && self.allowed.0.is_empty();
                return if hopeless { Err(Forbidden::NotEncrypted) } else { Ok(()) };
            }
            None => return Err(Forbidden::NotPublic),
        };
        match self.standing(address) {
            Standing::Allowed => Ok(()),
            Standing::Public if url.scheme() == "https" => Ok(()),
            Standing::Public => Err(Forbidden::NotEncrypted),
            Standing::Forbidden => Err(Forbidden::NotPublic),
        }
    }

    fn standing(&self, address: IpAddr) -> Standing {
        let meant = meant(address);
        if METADATA.contains(&meant) || METADATA.contains(&address) {
            Standing::Forbidden
        } else if self.allowed.contains(meant) || self.allowed.contains(address) {
            Standing::Allowed
        } else if is_public(meant) {
            Standing::Public
        } else {
            Standing::Forbidden
        }
    }

    /// A resolver that tells only what is called: by `https`, or with `encrypted` false by `http`.
    pub fn resolver(&self, encrypted: bool) -> Resolver {
        Resolver { addresses: self.clone(), encrypted }
    }

    /// Of these, those that are called.
    fn of(&self, encrypted: bool, found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let called = |address: &SocketAddr| match self.standing(address.ip()) {
            Standing::Allowed => true,
            Standing::Public => encrypted,
            Standing::Forbidden => false,
        };
        found.filter(called).collect()
    }
}

/// Resolves names by the system's means, and tells only addresses that are called.
#[derive(Debug, Clone)]
pub struct Resolver {
    addresses: Addresses,
    encrypted: bool,
}

/// No address of a name is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no address of the host may be called")]
pub struct NoneCalled;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Resolver { addresses, encrypted } = self.clone();
        Box::pin(async move {
            let turn = addresses.lookups.clone().acquire_owned().await?;
            let looking = tokio::task::spawn_blocking(move || {
                // It goes on when the call has long been given up, and holds its thread as long.
                let _turn = turn;
                (name.as_str(), 0).to_socket_addrs()
            });
            let called = addresses.of(encrypted, looking.await??);
            if called.is_empty() { Err(NoneCalled.into()) } else { Ok(Box::new(called.into_iter()) as Addrs) }
        })
    }
}

/// The address that is reached by this one: that of IPv4 which a translator or a tunnel takes out of it, else itself.
fn meant(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match six.segments() {
        // Mapped (RFC 4291), translated (RFC 2765), translated by NAT64 (RFC 6052), and 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        _ => address,
    }
}

/// Whether everybody on the Internet means the same machine by it.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Networks of IPv4 that are not public: what begins with these bits.
const NOT_PUBLIC_V4: [(Ipv4Addr, u32); 15] = [
    // This network, private, shared (RFC 6598), loopback, link-local.
    (Ipv4Addr::UNSPECIFIED, 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Of protocols, of 6to4 relays, of benchmarks, of documentation.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast; reserved, and broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// All that is given out as global unicast. What is outside of it is loopback, unspecified, IPv4-compatible, discard-only, a
/// local NAT64, unique local, link-local, site-local, multicast, or reserved.
const GLOBAL_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// What in it is not public: of protocols (Teredo, benchmarks, ORCHID), and of documentation.
const NOT_PUBLIC_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let begins =
        |(first, bits): &(Ipv4Addr, u32)| (address.to_bits() ^ first.to_bits()) >> (Ipv4Addr::BITS - bits) == 0;
    !NOT_PUBLIC_V4.iter().any(begins)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let begins =
        |(first, bits): &(Ipv6Addr, u32)| (address.to_bits() ^ first.to_bits()) >> (Ipv6Addr::BITS - bits) == 0;
    begins(&GLOBAL_V6) && !NOT_PUBLIC_V6.iter().any(begins)
}

#[cfg(test)]
mod tests;
