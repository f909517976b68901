//! The numbers: what bounds work and memory, and how soon a change takes effect.

use std::time::Duration;

/// Longest token, in bytes: common servers take 8 KiB of headers in all.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest subject of a token, in bytes, its issuer's prefix included.
pub const SUBJECT_BYTES_MAX: usize = 256;

/// Longest prefix of an issuer's subjects, in bytes.
pub const SUBJECT_PREFIX_BYTES_MAX: usize = 64;

/// How far the clocks of issuers and services may differ.
pub const LEEWAY: Duration = Duration::from_secs(30);

/// Shortest secret of HS256, in bytes (RFC 7518, 3.2).
pub const SECRET_BYTES_MIN: usize = 32;

/// Most keys in a key set.
pub const KEYS_MAX: usize = 64;

/// Most keys that one token is tried with, when it names none.
pub const KEYS_TRIED_MAX: usize = 8;

/// Largest key set, file or fetched, in bytes.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// Largest file of declared keys and members, in bytes.
pub const DECLARED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How often files are looked at for changes.
pub const FILE_POLL: Duration = Duration::from_secs(2);

/// How long a fetch of keys may take, connecting and reading included.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How much longer than a fetch may take somebody waits for it, so that its end is heard of.
pub const FETCH_GRACE: Duration = Duration::from_secs(1);

/// How often fetched keys are fetched again.
pub const KEYS_FRESH: Duration = Duration::from_mins(5);

/// How long fetched keys are good while they cannot be fetched again. Not for ever: a key that its issuer withdrew must
/// end even for who can keep us from hearing of it.
pub const KEYS_STALE: Duration = Duration::from_hours(24);

/// Least time between two fetches of a key set, however many tokens name keys that are not in it.
pub const FETCH_GAP: Duration = Duration::from_secs(10);

/// How long an API key or membership is held as it was found: a revocation takes effect within this.
pub const STORE_FRESH: Duration = Duration::from_secs(2);

/// How long what a store said is good while it does not answer.
pub const STORE_STALE: Duration = Duration::from_mins(1);

/// How long a store may take to answer.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// Most answers of a store that are held.
pub const STORE_ENTRIES_MAX: usize = 16 * 1024;

/// How long an authorizer's answer is held.
pub const WEBHOOK_FRESH: Duration = Duration::from_secs(30);

/// How long an authorizer's answer is good while it does not answer again.
pub const WEBHOOK_STALE: Duration = Duration::from_mins(5);

/// How long an authorizer may take to answer.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer of an authorizer, in bytes.
pub const WEBHOOK_BYTES_MAX: usize = 16 * 1024;

/// Most answers of an authorizer that are held.
pub const WEBHOOK_ENTRIES_MAX: usize = 16 * 1024;

/// Most questions to an authorizer at one time about users and projects of which it never said anything good. Those of which
/// it did have as many of their own, so that made-up projects cannot keep members waiting.
pub const WEBHOOK_CALLS_MAX: usize = 32;

/// How long a question to an authorizer may wait for its turn.
pub const WEBHOOK_TURN_WAIT: Duration = Duration::from_millis(500);

/// How long a question that failed is not asked again.
pub const FAILURE_REST: Duration = Duration::from_secs(1);

/// Most projects of one listing that memberships are looked up for at one time: clearly fewer than [`WEBHOOK_CALLS_MAX`], so
/// that listings leave turns for others.
pub const LOOKUPS_MAX: usize = 4;

/// How soon an open connection asks again whether its grant holds.
pub const REVALIDATE_EVERY: Duration = Duration::from_secs(2);
