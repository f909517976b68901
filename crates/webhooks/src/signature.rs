//! Signatures of deliveries: `Tidings-Signature: t=<Unix time in seconds>,v1=<hex>`, where `v1` is the HMAC-SHA256 of
//! `<t>.<body>`. While a secret is changed there are two `v1`, one for each secret.
//!
//! Signing and its check are pure: the time is passed in. Secrets are compared in constant time, and never printed.

use std::fmt::{self, Write as _};
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use tidings_protocol::settings::hooks::Secret;

/// The header, as HTTP/2 writes it.
pub const HEADER: &str = "tidings-signature";

/// How old a delivery may be when it is checked, unless a receiver decides otherwise: what is older may have been recorded and
/// sent again. As much is allowed for a clock that is behind.
pub const AGE_MAX: Duration = Duration::from_mins(5);

/// Longest header that is read, in bytes.
const HEADER_BYTES_MAX: usize = 1_024;

/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;

/// The header's value for a body sent at this time: signed with each of the secrets.
pub fn sign<'s>(secrets: impl IntoIterator<Item = &'s Secret>, at_s: u64, body: &[u8]) -> String {
    let mut value = format!("t={at_s}");
    for secret in secrets {
        value.push_str(",v1=");
        for byte in mac(secret, at_s, body).as_ref() {
            let _ = write!(value, "{byte:02x}");
        }
    }
    value
}

fn mac(secret: &Secret, at_s: u64, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&key(secret));
    context.update(at_s.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

fn key(secret: &Secret) -> hmac::Key {
    hmac::Key::new(HMAC_SHA256, secret.expose().as_bytes())
}

/// A header's value that was read. Members of later versions are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// When it was signed, in seconds since the Unix epoch, by the sender's clock.
    pub at_s: u64,
    macs: Vec<[u8; MAC_BYTES]>,
}

/// Why a delivery is not taken for what it says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The header is not of its form.
    #[error("the signature is malformed")]
    Malformed,
    /// It was signed too long ago, or in the future.
    #[error("the signature is of another time")]
    Age,
    /// None of the signatures is good for this body and secret.
    #[error("the signature is wrong")]
    Forged,
}

impl Signature {
    /// Reads a header's value: members of the form `name=value`, joined by commas; `t` once, and one `v1` at least.
    pub fn parse(value: &str) -> Result<Signature, Unverified> {
        if value.len() > HEADER_BYTES_MAX {
            return Err(Unverified::Malformed);
        }
        let (mut at_s, mut macs) = (None, Vec::new());
        for member in value.split(',') {
            let (name, value) = member.trim().split_once('=').ok_or(Unverified::Malformed)?;
            match name {
                "t" if at_s.is_none() => at_s = Some(seconds(value).ok_or(Unverified::Malformed)?),
                "t" => return Err(Unverified::Malformed),
                "v1" => macs.push(unhex(value).ok_or(Unverified::Malformed)?),
                _ => {}
            }
        }
        match at_s {
            Some(at_s) if !macs.is_empty() => Ok(Signature { at_s, macs }),
            _ => Err(Unverified::Malformed),
        }
    }

    /// Whether one of its signatures is good for this body and secret. Takes as long for a wrong one as for a right one.
    pub fn is_good(&self, secret: &Secret, body: &[u8]) -> bool {
        let key = key(secret);
        let mut signed = format!("{}.", self.at_s).into_bytes();
        signed.extend_from_slice(body);
        self.macs.iter().fold(false, |good, mac| good | hmac::verify(&key, &signed, mac).is_ok())
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t={}", self.at_s)?;
        for mac in &self.macs {
            f.write_str(",v1=")?;
            mac.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        }
        Ok(())
    }
}

/// What a receiver does with a delivery before it looks into it: the header is read, its time must be within `age_max` of
/// `now_s`, and it must be signed with the secret.
pub fn verify(secret: &Secret, value: &str, body: &[u8], now_s: u64, age_max: Duration) -> Result<(), Unverified> {
    let signature = Signature::parse(value)?;
    if signature.at_s.abs_diff(now_s) > age_max.as_secs() {
        return Err(Unverified::Age);
    }
    if signature.is_good(secret, body) { Ok(()) } else { Err(Unverified::Forged) }
}

/// Decimal digits alone: one way to write a number, since its text is signed.
fn seconds(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn unhex(text: &str) -> Option<[u8; MAC_BYTES]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * MAC_BYTES {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut mac = [0; MAC_BYTES];
    for (byte, pair) in mac.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(mac)
}

#[cfg(test)]
mod tests;
