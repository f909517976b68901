//! A dialect as this gateway serves it: its variants, its manners, its figures.

use std::sync::Arc;
use std::time::Duration;

use tidings_dialects::{Dialect, VARIANTS_MAX};
use tidings_limits::Rate;
use tidings_protocol::codes::CloseCode;

use super::encoding::InDialect;
use crate::metrics::{DialectMetrics, Metrics};

/// Numbers of shared frames that each dialect has.
const VARIANT_NUMBERS: u16 = 8;

const _: () = assert!(VARIANT_NUMBERS as usize == VARIANTS_MAX, "a number for each variant");

/// A close frame in the words of a dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// The code.
    pub code: u16,
    /// The reason; may be empty.
    pub reason: &'static str,
}

/// What becomes of messages beyond a dialect's own limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// They are dropped without a word, and counted.
    Drop,
    /// The connection is closed, as [`Profile::talkative`] says.
    Close,
}

/// The manners of a dialect: what its clients expect of a server beside its messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Profile {
    /// How a client is sent away while the gateway drains. Its clients must come back after that: many do not after 1000.
    pub draining: Farewell,
    /// The credential ended, or was none.
    pub unauthenticated: Farewell,
    /// The right to read is not there, or was withdrawn.
    pub forbidden: Farewell,
    /// It has, or asks for, more than it may.
    pub flooded: Farewell,
    /// It says more than it may.
    pub talkative: Farewell,
    /// Messages that a client may send, and what becomes of others; none: what every connection may.
    pub messages: Option<(Rate, Excess)>,
    /// After how much silence of the client [`Dialect::ping`] is said, if the dialect has one.
    pub ping_after: Duration,
}

impl Profile {
    /// What the gateway's own reasons to close are in the dialect.
    pub(super) fn farewell(&self, code: CloseCode) -> Farewell {
        let plain = |code| Farewell { code, reason: "" };
        match code {
            CloseCode::Draining => self.draining,
            CloseCode::Unauthenticated => self.unauthenticated,
            CloseCode::Forbidden => self.forbidden,
            CloseCode::RateLimited => self.talkative,
            CloseCode::FrameTooLarge | CloseCode::InvalidUtf8 | CloseCode::ProtocolError | CloseCode::Normal => {
                plain(code.number())
            }
            // Try again later, and going away (RFC 6455, and the registry that it founded).
            CloseCode::Overloaded => plain(1013),
            CloseCode::PingTimeout | CloseCode::Stalled => plain(1001),
            CloseCode::Internal => plain(1011),
            // Binary messages, in a protocol of texts.
            CloseCode::TooManyErrors => plain(1003),
        }
    }
}

/// A dialect that this gateway serves.
pub(crate) struct Served {
    variants: Vec<Arc<InDialect>>,
    /// Its manners.
    pub profile: Profile,
    /// Its figures.
    pub metrics: DialectMetrics,
}

impl Served {
    /// Serves these variants, each under the number that it names, as the `index`th dialect of the process.
    ///
    /// # Panics
    /// Where there is no variant, or one out of its place, or more than [`VARIANTS_MAX`]: a fault of the program.
    pub(crate) fn new(index: u16, variants: Vec<Arc<dyn Dialect>>, profile: Profile, metrics: &Metrics) -> Served {
        assert!((1..=VARIANTS_MAX).contains(&variants.len()), "a dialect has 1 to {VARIANTS_MAX} variants");
        let name = variants[0].name();
        let variants = (0..).zip(variants).map(|(variant, dialect): (u8, _)| {
            assert!(dialect.variant() == variant && dialect.name() == name, "variants in their order");
            Arc::new(InDialect::new(dialect, index * VARIANT_NUMBERS + u16::from(variant)))
        });
        Served { variants: variants.collect(), profile, metrics: metrics.dialect(name) }
    }

    /// The same for one connection, with an instance of its own in the place of that variant: one that knows more of the
    /// connection, and says the same of events.
    pub(crate) fn with(&self, dialect: Arc<dyn Dialect>) -> Served {
        let mut variants = self.variants.clone();
        if let Some(place) = variants.get_mut(usize::from(dialect.variant())) {
            *place = Arc::new(InDialect::new(dialect, place.number));
        }
        Served { variants, profile: self.profile, metrics: self.metrics.clone() }
    }

    /// One of its variants, if there is one of this number.
    pub(crate) fn variant(&self, variant: u8) -> Option<&Arc<InDialect>> {
        self.variants.get(usize::from(variant))
    }
}
