//! Tickets that every process with the same secret can read, so that a session goes on at any gateway. Nobody has to be
//! told a key: each epoch of time has one, made from the secret.
//!
//! A ticket is the epoch, a random nonce, and the session sealed with the epoch's key. It is good in its own epoch and in
//! the next one. Keys are bound to who may be a client (the authorities of client certificates): a ticket of a listener
//! that asks for none is nothing to one that does.

use std::time::{Duration, SystemTime};

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use rustls::server::ProducesTickets;

/// How long one key seals.
const EPOCH: Duration = Duration::from_hours(6);

const EPOCH_BYTES: usize = 8;

/// What keys are made with beside the secret, so that the same secret gives other keys elsewhere.
const SALT: &[u8] = b"tidings tls tickets 1";

pub(super) struct Tickets {
    secret: Prk,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets([redacted])")
    }
}

impl Tickets {
    /// Whoever has this secret reads them.
    pub(super) fn new(secret: &[u8]) -> Tickets {
        Tickets { secret: Salt::new(HKDF_SHA256, SALT).extract(secret) }
    }

    fn key(&self, epoch: [u8; EPOCH_BYTES]) -> Option<LessSafeKey> {
        let info: [&[u8]; 1] = [&epoch];
        let key: UnboundKey = self.secret.expand(&info, &AES_256_GCM_SIV).ok()?.into();
        Some(LessSafeKey::new(key))
    }

    fn seal(&self, epoch: u64, session: &[u8]) -> Option<Vec<u8>> {
        let epoch = epoch.to_be_bytes();
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut sealed = session.to_vec();
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.key(epoch)?.seal_in_place_append_tag(nonce_used, Aad::from(epoch), &mut sealed).ok()?;
        Some([&epoch[..], &nonce, &sealed].concat())
    }

    fn open(&self, now: u64, ticket: &[u8]) -> Option<Vec<u8>> {
        let (epoch, rest) = ticket.split_first_chunk::<EPOCH_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        // The next one: from a process whose clock is a little ahead.
        if u64::from_be_bytes(*epoch).abs_diff(now) > 1 {
            return None;
        }
        let mut session = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key(*epoch)?.open_in_place(nonce, Aad::from(*epoch), &mut session).ok()?.len();
        session.truncate(length);
        Some(session)
    }
}

fn epoch_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_secs() / EPOCH.as_secs()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(EPOCH.as_secs()).expect("six hours")
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(epoch_now(), plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(epoch_now(), cipher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

    #[test]
    fn whoever_has_the_secret_reads_tickets_of_this_epoch_and_the_one_before() {
        let (one, other) = (Tickets::new(SECRET), Tickets::new(SECRET));
        let ticket = one.seal(7, b"session").expect("sealed");
        for (now, good) in [(5, false), (6, true), (7, true), (8, true), (9, false)] {
            let opened = other.open(now, &ticket);
            assert_eq!(opened.as_deref(), good.then_some(&b"session"[..]), "epoch {now}");
        }
        assert_ne!(one.seal(7, b"session"), Some(ticket), "a nonce of its own");
        assert_eq!(other.decrypt(&one.encrypt(b"now").expect("sealed")).as_deref(), Some(&b"now"[..]));
    }

    #[test]
    fn nobody_else_does() {
        let ticket = Tickets::new(SECRET).seal(7, b"session").expect("sealed");
        assert_eq!(Tickets::new(b"another secret of thirty-two bytes!!").open(7, &ticket), None);
        let tickets = Tickets::new(SECRET);
        for index in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[index] ^= 1;
            assert_eq!(tickets.open(7, &forged), None, "byte {index}");
            assert_eq!(tickets.open(7, &ticket[..index]), None, "{index} bytes of it");
        }
    }
}
