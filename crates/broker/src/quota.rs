//! Shared limits: how much a key may use per time, and how many things a name may hold at once, over all services.
//!
//! Two mechanisms. A *bucket* lets a rate through ([`bucket`]: GCRA by the store's clock); a service takes a portion of it
//! ahead, so that it need not ask for every unit. A *hold* counts what is held (connections) by each service that holds
//! some, under a lease of the service: one that dies gives its holds back by not renewing ([`holds`]).
//!
//! Neither is remembered for long or survives the loss of a store: a bucket that is gone is full, and holders declare
//! again what they hold. What a service does while the store is away is not decided here.

pub mod bucket;
pub mod holds;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::index::crc16;
use crate::{CallError, NothingWhy};

/// Holds that one call may name.
pub const HOLDS_MAX: usize = 1_000;

/// Shards that names of holds are divided into, by their hash. A holder renews a shard, not a name, so that its lease
/// costs the same however many names it holds.
pub const HOLD_SHARDS: u16 = 64;

/// Longest name of a holder, in bytes.
pub const HOLDER_MAX: usize = 64;

/// Largest product of units and the microseconds of a rate: below 2^53, scripts count exactly.
const EXACT_MAX: u64 = 1 << 52;

/// What buckets and holds are kept in. Nothing here is retried, and every call may be made again: a take whose outcome is
/// unknown may have been charged, a hold says what is held and not what changed.
pub trait Quotas: Send + Sync + 'static {
    /// Takes from buckets, each by itself: the answers stand in the order asked, and one that fails fails alone. Bounded
    /// in time as all calls of the store are. Dropping the future leaves it unknown which takes were charged.
    fn take(&self, takes: Vec<Take>) -> BoxFuture<'_, Vec<Result<Taken, CallError>>>;

    /// Says what a holder holds in one shard, asks for more, and renews its lease there; one atomic step. At most one
    /// call per (holder, shard) may be in flight. Dropped or [`CallError::Unknown`]: it may have happened; the next call
    /// that names the same names puts it right.
    ///
    /// # Panics
    /// If the call names more than [`HOLDS_MAX`] names.
    fn hold(&self, shard: u16, call: HoldCall) -> BoxFuture<'_, Result<Held, CallError>>;
}

/// Quotas that are always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoQuotas;

impl Quotas for NoQuotas {
    fn take(&self, takes: Vec<Take>) -> BoxFuture<'_, Vec<Result<Taken, CallError>>> {
        let away = takes.into_iter().map(|_| Err(CallError::Nothing(NothingWhy::Away))).collect();
        Box::pin(std::future::ready(away))
    }

    fn hold(&self, _: u16, _: HoldCall) -> BoxFuture<'_, Result<Held, CallError>> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }
}

/// A rate, and how much of it may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    units: u64,
    per_us: u64,
    burst: u64,
}

impl Rate {
    /// `units` per `per`, `burst` of them at once after a rest. Brought within what can be counted exactly: `per` to one
    /// millisecond to one day, the others to at least 1 and to about 4.5e15 / microseconds of `per` (4.5e9 for a
    /// second).
    pub fn new(units: u64, per: Duration, burst: u64) -> Rate {
        let per_us = u64::try_from(per.as_micros()).unwrap_or(u64::MAX).clamp(1_000, 24 * 3_600 * 1_000_000);
        let most = EXACT_MAX / per_us;
        Rate { units: units.clamp(1, most), per_us, burst: burst.clamp(1, most) }
    }

    /// `units` per second.
    pub fn per_second(units: u64, burst: u64) -> Rate {
        Rate::new(units, Duration::from_secs(1), burst)
    }

    /// How much may come at once.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// What the rate lets through in so long a time, rounded down.
    pub fn within(&self, time: Duration) -> u64 {
        let units = time.as_micros().saturating_mul(self.units.into()) / u128::from(self.per_us);
        u64::try_from(units).unwrap_or(u64::MAX)
    }

    /// How long one unit takes, rounded up to a microsecond.
    pub fn interval(&self) -> Duration {
        Duration::from_micros(self.per_us.div_ceil(self.units))
    }

    /// An equal part of it for each of so many: at least 1 unit, at least 1 at once.
    #[must_use]
    pub fn share(&self, among: u32) -> Rate {
        let among = u64::from(among.max(1));
        let burst = (self.burst / among).max(1);
        // A small rate is divided by a longer time, which loses nothing; a large one by fewer units.
        let longer_us = self.per_us * among;
        if EXACT_MAX / longer_us >= self.units.max(burst) {
            return Rate { units: self.units, per_us: longer_us, burst };
        }
        Rate { units: (self.units / among).max(1), per_us: self.per_us, burst }
    }

    /// The most that one take may be.
    fn most(&self) -> u64 {
        EXACT_MAX / self.per_us
    }

    /// Units, the microseconds that they take, and the burst.
    pub(crate) fn parts(&self) -> (u64, u64, u64) {
        (self.units, self.per_us, self.burst)
    }
}

/// Takes from one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// Names the bucket; a bucket that nobody took from is full.
    pub bucket: String,
    /// Its rate, as the caller knows it.
    pub rate: Rate,
    /// How much is wanted.
    pub wanted: u64,
    /// With less than this nothing is taken. More than the burst is taken when the bucket is full, and charged in
    /// full: the bucket is empty for the longer.
    pub least: u64,
}

impl Take {
    /// Wanted and least, within what can be counted exactly.
    pub(crate) fn amounts(&self) -> (u64, u64) {
        (self.wanted.min(self.rate.most()), self.least.clamp(1, self.rate.most()))
    }
}

/// What a take got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// 0, or from the least to what was wanted (to the least, if that is more).
    pub granted: u64,
    /// How long until the least will be there, if nobody else takes; zero if something was granted.
    pub retry_after: Duration,
}

/// A holder's word on one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldCall {
    /// The holder: drawn by each process at its start, without blanks, at most [`HOLDER_MAX`] bytes.
    pub holder: Arc<str>,
    /// How long all that it holds in this shard counts if it does not call again, in milliseconds, at least 1.
    pub ttl_ms: u64,
    /// Names that changed, or that more is wanted of; distinct. Other names stay as they were.
    pub holds: Vec<Hold>,
}

/// One name in a [`HoldCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Whose holds are counted: a user, say.
    pub name: String,
    /// How many the holder has. Taken as it is, above the limit too: nothing that is held is taken away.
    pub kept: u32,
    /// How many more it wants.
    pub wanted: u32,
    /// How many there may be of all holders together.
    pub max: u32,
}

/// What a holder was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The lease had run out, or was never taken: others counted none of its holds. It should name all names that it has
    /// or had since, for what it said before may be forgotten or not.
    pub lapsed: bool,
    /// For each name in the order asked, how many of the wanted. They count as held from now on.
    pub granted: Vec<u32>,
}

/// The shard of a name: its CRC16 modulo [`HOLD_SHARDS`].
pub fn shard_of(name: &str) -> u16 {
    crc16(name.as_bytes()) % HOLD_SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_stay_within_what_is_exact() {
        let rate = Rate::new(u64::MAX, Duration::ZERO, 0);
        assert_eq!((rate.units, rate.per_us, rate.burst), (EXACT_MAX / 1_000, 1_000, 1));
        let slow = Rate::new(0, Duration::from_secs(u64::MAX), u64::MAX);
        assert_eq!((slow.units, slow.burst), (1, EXACT_MAX / 86_400_000_000));
        assert_eq!(Rate::new(10, Duration::from_mins(1), 5).within(Duration::from_secs(30)), 5);
    }

    #[test]
    fn a_share_is_an_equal_part() {
        let tenth = Rate::per_second(5, 30).share(10);
        assert_eq!(tenth.within(Duration::from_secs(100)), 50);
        assert_eq!(tenth.burst(), 3);
        let large = Rate::per_second(4_000_000_000, 4_000_000_000).share(4);
        assert_eq!((large.within(Duration::from_secs(1)), large.burst()), (1_000_000_000, 1_000_000_000));
        assert_eq!(Rate::per_second(1, 1).share(0), Rate::per_second(1, 1));
    }
}
