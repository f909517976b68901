//! What the store keeps of a webhook: how far its receiver has taken the log, and how its deliveries fare.
//!
//! Members are only ever added: a record that an older service wrote is read by a newer one, and the other way round.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_protocol::position::Position;
use tidings_protocol::settings::hooks::{CommandWebhook, Secret, Webhook};

use super::Rhythm;

/// Hex digits of a digest: enough to tell settings of one webhook apart.
const DIGEST_DIGITS: usize = 16;

/// A webhook's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Everything up to here was taken, or is not for it.
    #[serde(with = "text")]
    pub(crate) at: Position,
    /// The running count at which the delivery that is under way ends: it is put together the same way again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<u64>,
    /// Deliveries that failed since the last one that was taken.
    #[serde(default)]
    pub(crate) failures: u32,
    /// When the first of these failed, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub(crate) since_ms: u64,
    /// Not tried again before.
    #[serde(default)]
    pub(crate) next_ms: u64,
    /// Digest of the settings that it is for.
    #[serde(default)]
    pub(crate) made_of: String,
    /// Its receiver wants nothing more, as long as these settings are the same.
    #[serde(default)]
    pub(crate) gone: bool,
}

impl Record {
    /// A webhook that begins behind `at`.
    pub(crate) fn new(at: Position, made_of: String) -> Record {
        Record { at, until: None, failures: 0, since_ms: 0, next_ms: 0, made_of, gone: false }
    }

    /// A record as it was stored; none: it is nothing that can be read.
    pub(crate) fn read(bytes: &[u8]) -> Option<Record> {
        serde_json::from_slice(bytes).ok()
    }

    /// As it is stored.
    pub(crate) fn write(&self) -> Bytes {
        serde_json::to_vec(self).expect("its members have string keys").into()
    }

    /// The settings are others: whoever wanted nothing more may want it now, and it is tried at once. Failures are counted
    /// on, so that nobody makes himself healthy by a change.
    pub(crate) fn renew(&mut self, made_of: &str) -> bool {
        let is_new = self.made_of != made_of;
        if is_new {
            made_of.clone_into(&mut self.made_of);
            self.gone = false;
            self.next_ms = 0;
        }
        is_new
    }

    /// A delivery that ends at `to` was taken.
    pub(crate) fn taken(&mut self, to: Position) {
        (self.at, self.until, self.failures, self.since_ms, self.next_ms) = (to, None, 0, 0, 0);
    }

    /// Nothing up to `at` is for the webhook; what is behind it the store did not give, if it `is_cut`. Whether that says
    /// anything new.
    pub(crate) fn passed(&mut self, at: Position, is_cut: bool) -> bool {
        let before = (self.at, self.until);
        self.at = at;
        // A delivery that was under way is nothing by now, what it held was deleted, or the settings are others; unless it
        // lies in what was not given.
        self.until = self.until.filter(|until| is_cut && at.n() < *until);
        (self.at, self.until) != before
    }

    /// A delivery failed, and this is how long to wait.
    pub(crate) fn failed(&mut self, now_ms: u64, wait_ms: u64) {
        if self.failures == 0 {
            self.since_ms = now_ms;
        }
        self.failures = self.failures.saturating_add(1);
        self.next_ms = now_ms.saturating_add(wait_ms);
    }

    /// How long to wait before it may be tried; a clock that is far off makes nobody wait for longer than there are pauses.
    pub(crate) fn wait_ms(&self, now_ms: u64, rhythm: &Rhythm) -> u64 {
        self.next_ms.saturating_sub(now_ms).min(u64::try_from(rhythm.pause_max.as_millis()).unwrap_or(u64::MAX))
    }
}

/// What tells settings of a webhook apart from those before.
pub(crate) fn digest_of(hook: &Webhook) -> String {
    let types = hook.types.iter().map(String::as_str);
    let secrets = [Some(&hook.secret), hook.previous_secret.as_ref()].map(|secret| secret.map_or("", Secret::expose));
    digest([hook.url.as_url().as_str()].into_iter().chain(secrets).chain(types))
}

/// The same of the webhook of commands.
pub(crate) fn digest_of_commands(hook: &CommandWebhook) -> String {
    let capabilities = hook.capabilities.iter().map(String::as_str);
    let in_hand = hook.in_hand.map_or_else(String::new, |in_hand| in_hand.to_string());
    let secrets = [Some(&hook.secret), hook.previous_secret.as_ref()].map(|secret| secret.map_or("", Secret::expose));
    digest([hook.url.as_url().as_str(), &in_hand].into_iter().chain(secrets).chain(capabilities))
}

/// A digest of texts, each apart from its neighbours.
pub(crate) fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    hex(texts.into_iter().map(str::as_bytes))
}

/// The same of bytes, with as many digits.
pub(crate) fn hex<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    use std::fmt::Write as _;
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut text = String::with_capacity(DIGEST_DIGITS);
    for byte in &context.finish().as_ref()[..DIGEST_DIGITS / 2] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Positions as text.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use tidings_protocol::position::Position;

    pub(super) fn serialize<S: Serializer>(position: &Position, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(position)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Position, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("expected a position"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_by_what_comes_later() {
        let at = "1763630000123-7.k3f9a7c2m4xq".parse().expect("a position");
        let mut record = Record::new(at, "d".into());
        record.failed(1_000, 500);
        record.until = Some(9);
        assert_eq!(Record::read(&record.write()), Some(record));
        let first = Record::read(br#"{"at":"0-0"}"#).expect("what is missing is as at the beginning");
        assert_eq!(first, Record::new(Position::ZERO, String::new()));
        assert!(Record::read(br#"{"at":"0-0","later":1}"#).is_some());
        assert_eq!((Record::read(b""), Record::read(br#"{"at":"x"}"#)), (None, None));
    }

    #[test]
    fn what_fails_waits_and_what_is_taken_begins_anew() {
        let rhythm = Rhythm::default();
        let mut record = Record::new(Position::ZERO, "d".into());
        record.failed(1_000, 500);
        record.failed(1_600, 2_000);
        assert_eq!((record.failures, record.since_ms, record.wait_ms(1_700, &rhythm)), (2, 1_000, 1_900));
        let longest = u64::try_from(rhythm.pause_max.as_millis()).expect("it fits");
        assert_eq!(record.wait_ms(0, &Rhythm { pause_max: rhythm.pause_max, ..rhythm }), 3_600.min(longest));
        record.next_ms = u64::MAX;
        assert_eq!(record.wait_ms(0, &rhythm), longest, "a clock that is far off");
        let to = "9-9.k3f9a7c2m4xq".parse().expect("a position");
        record.taken(to);
        assert_eq!(record, Record { at: to, ..Record::new(Position::ZERO, "d".into()) });
    }

    #[test]
    fn a_delivery_that_the_store_does_not_give_stays_the_same_one() {
        let at = |n: u64| format!("9-{n}.k3f9a7c2m4xq").parse::<Position>().expect("a position");
        let mut record = Record { until: Some(at(9).n()), ..Record::new(at(4), "d".into()) };
        let claimed = record.until;
        assert!(!record.passed(at(4), true), "nothing is known");
        assert!(record.passed(at(6), true) && record.until == claimed && record.at == at(6));
        assert!(record.passed(at(9), true) && record.until.is_none(), "nothing of it is left");
        record.until = Some(at(12).n());
        assert!(record.passed(at(9), false) && record.until.is_none(), "the log ends here");
        assert!(!record.passed(at(9), false));
    }

    #[test]
    fn a_change_of_settings_opens_what_was_gone() {
        let mut record = Record::new(Position::ZERO, "d".into());
        record.failed(1_000, 500);
        record.gone = true;
        assert!(!record.renew("d") && record.gone);
        assert!(record.renew("e") && !record.gone);
        assert_eq!((record.next_ms, record.failures, record.made_of.as_str()), (0, 1, "e"));
    }

    #[test]
    fn texts_are_apart_in_a_digest() {
        assert_ne!(digest(["ab", "c"]), digest(["a", "bc"]));
        assert_ne!(digest(["a", ""]), digest(["a"]));
        assert_eq!((digest(["a"]), digest(["a"]).len()), (digest(["a"]), DIGEST_DIGITS));
    }
}
