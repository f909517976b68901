//! How many of a listener's connections one client may have: without a bound, one address could take every place.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::client::ClientAddress;

/// Connections by client. It holds as many addresses as there are connections at most.
#[derive(Debug)]
pub(super) struct Shares {
    most: usize,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection of a client; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    client: IpAddr,
    held: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Shares {
    /// At most so many for each.
    pub(super) fn new(most: usize) -> Shares {
        Shares { most, held: Arc::default() }
    }

    /// One more, unless it has as many as may be.
    pub(super) fn take(&self, client: ClientAddress) -> Option<Share> {
        let client = client.network();
        let mut held = self.held.lock();
        let count = held.entry(client).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { client, held: self.held.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        match held.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(held.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_gives_it_back() {
        let shares = Shares::new(2);
        let take = |address: &str| shares.take(ClientAddress(address.parse().expect("an address")));
        let (first, second) = (take("2001:db8::1"), take("2001:db8::2"));
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8::3").is_none(), "one network is one client");
        let other = take("2001:db8:0:1::1").expect("another network");
        drop(first);
        let third = take("2001:db8::3").expect("a place came free");
        drop((second, third, other));
        assert!(shares.held.lock().is_empty());
    }
}
