//! The sections of the configuration: every key with its default, its bounds and its meaning. The doc comments are the
//! manual.

use std::net::SocketAddr;
use std::time::Duration;

use tidings_broker::{DedupeWindow, Retention};
use tidings_protocol::limits::{self, EventLimits};

use super::memory;
use super::section::section;
use super::value::{KeyPrefix, LogFilter, LogFormat, RedisUrl};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of events that wait to be written, for each byte of the request that brought them.
pub(super) const EVENTS_PER_BYTES: usize = 2;

/// What may wait in one project unless its requests are larger.
const PROJECT_BYTES_USUAL: usize = 16 * MIB;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

section! {
    /// Viewers: where they connect, and what they may hold.
    "gateway" => GatewayConfig {
        /// Where viewers connect. Port 0 takes a free one. Must be loopback until there are rights.
        "listen" => listen: SocketAddr = loopback(8000);
        /// Where `/livez`, `/readyz` and `/metrics` are. Must be loopback, too.
        "admin_listen" => admin_listen: SocketAddr = loopback(9464);
        /// The budget of all rings, pages and encodings together, in bytes.
        "memory_bytes_max" => memory_bytes_max: usize = memory::quarter_of_limit(),
            noted "a quarter of the memory limit", within 4 * 1024 * 1024..=1 << 46;
        /// The newest events of one project that are held in memory, in bytes.
        "ring_bytes_max" => ring_bytes_max: usize = 4 * MIB, within 64 * 1024..=1 << 40;
        /// Pages of the log that viewers off the ring share, in bytes. Part of the budget.
        "pages_bytes_max" => pages_bytes_max: usize = 64 * MIB, within 512 * 1024..=1 << 40;
        /// How long a project without viewers stays warm.
        "linger_ms" => linger: Duration = ms(30_000), within 0..=3_600_000;
        /// How often a quiet project is compared with its log, in case a message was lost.
        "tail_check_ms" => tail_check: Duration = ms(5_000), within 100..=600_000;
        /// How often connections are pinged. Below the time after which proxies close idle ones.
        "ping_ms" => ping: Duration = ms(25_000), within 1_000..=600_000;
        /// How long a viewer's socket may take nothing before it is closed with a hint to resume.
        "stalled_ms" => stalled: Duration = ms(30_000), within 1_000..=600_000;
        /// After the signal to stop: how long traffic still may come, until load balancers have noticed.
        "drain_notice_ms" => drain_notice: Duration = ms(0), within 0..=300_000;
        /// How long a shutdown may take, from the signal on. What is still open then is cut.
        "drain_ms" => drain: Duration = ms(30_000), within 100..=3_600_000;
    }
}

section! {
    /// Runners: where they post.
    "ingest" => IngestConfig {
        /// Where runners post. Port 0 takes a free one. Must be loopback until there are rights.
        "listen" => listen: SocketAddr = loopback(8010);
        /// Where `/livez`, `/readyz` and `/metrics` are. Must be loopback, too.
        "admin_listen" => admin_listen: SocketAddr = loopback(9465);
        /// How long a request may wait for the store before it is answered `outcome_unknown`.
        "deadline_ms" => deadline: Duration = ms(10_000), within 100..=300_000;
        /// Bytes of requests in work, over all projects; beyond it the answer is `busy`. Half of it is for the windows of
        /// zstd bodies, 8 MiB for each that is open; when they are taken, only zstd waits.
        "memory_bytes_max" => memory_bytes_max: usize = 128 * MIB, within 16 * 1024 * 1024..=1 << 46;
        /// How long what was acknowledged is kept, to be put back if a failover took it. What is older is told as lost.
        "healing_ms" => healing: Duration = ms(60_000), within 0..=3_600_000;
        /// Bytes that are kept for that, over all projects; one may take three quarters of them. Beside `memory_bytes_max`.
        "healing_bytes_max" => healing_bytes_max: usize = 64 * MIB, within 0..=1 << 46;
        /// After the signal to stop: how long traffic still may come, until load balancers have noticed.
        "drain_notice_ms" => drain_notice: Duration = ms(0), within 0..=300_000;
        /// How long a shutdown may take, from the signal on. What is still open then is cut.
        "drain_ms" => drain: Duration = ms(30_000), within 100..=3_600_000;
    }
}

section! {
    /// The store that all services share.
    "redis" => RedisConfig {
        /// Where Redis is: `redis://user:password@host:6379/0`.
        "url" => url: RedisUrl = RedisUrl::default();
        /// What all keys begin with, so that several fleets can share a Redis.
        "prefix" => prefix: KeyPrefix = KeyPrefix::default();
        /// How long a command may take before its outcome is unknown.
        "response_timeout_ms" => response_timeout: Duration = ms(2_000), within 50..=60_000;
        /// How long opening a connection may take.
        "connect_timeout_ms" => connect_timeout: Duration = ms(2_000), within 50..=60_000;
        /// How often each connection is asked whether it still is one.
        "ping_ms" => ping: Duration = ms(1_000), within 50..=60_000;
    }
}

section! {
    /// What every project keeps. Ingests apply it; give all of them the same.
    "projects" => ProjectsConfig {
        /// Events that a project's log keeps.
        "retention_events" => retention_events: u64 = 100_000, within 1..=1 << 40;
        /// Encoded bytes that a project's log keeps.
        "retention_bytes" => retention_bytes: u64 = 64 << 20, within 64 * 1024..=1 << 46;
        /// How long a project's log keeps an event.
        "retention_age_ms" => retention_age: Duration = ms(24 * 3_600_000), within 1_000..=1 << 40;
        /// Percent of Redis' `maxmemory`: above it, projects that hold more than their share are trimmed and refused first.
        "memory_watermark_percent" => memory_watermark_percent: u64 = 85, within 10..=100;
        /// How long an event's id is remembered, so that sending it again is harmless.
        "dedupe_ms" => dedupe: Duration = ms(10 * 60_000), within 0..=7 * 24 * 3_600_000;
        /// How many ids a project remembers at most.
        "dedupe_ids" => dedupe_ids: u64 = 200_000, within 0..=10_000_000;
    }
}

section! {
    /// What one request may bring.
    "limits" => LimitsConfig {
        /// An event's `data`, in bytes, white space outside strings not counted.
        "event_data_bytes_max" => event_data_bytes_max: usize = limits::DATA_BYTES_MAX, within 1..=16 * 1024 * 1024;
        /// How deep `data` may nest.
        "event_data_depth_max" => event_data_depth_max: usize = limits::DATA_DEPTH_MAX,
            within 1..=limits::DATA_DEPTH_CEILING as u64;
        /// A request's body, in bytes, unpacked. NDJSON is streamed and has no such limit.
        "request_bytes_max" => request_bytes_max: usize = limits::REQUEST_BYTES_MAX, within 1..=64 * 1024 * 1024;
        /// Events in one array.
        "batch_events_max" => batch_events_max: usize = limits::BATCH_EVENTS_MAX, within 1..=10_000;
        /// One line of NDJSON, in bytes.
        "line_bytes_max" => line_bytes_max: usize = limits::LINE_BYTES_MAX, within 1..=32 * 1024 * 1024;
    }
}

section! {
    /// What the services say about themselves.
    "telemetry" => TelemetryConfig {
        /// `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
        "log_format" => log_format: LogFormat = LogFormat::default();
        /// Which log lines are written: a level, or levels by target, as in `info,tidings_gateway=debug`.
        "log_filter" => log_filter: LogFilter = LogFilter::default();
    }
}

impl IngestConfig {
    /// What the windows of zstd bodies may take, in bytes.
    pub fn windows_bytes_max(&self) -> usize {
        self.memory_bytes_max / 2
    }

    /// What all else may take, in bytes: bodies, lines, answers, and events that wait to be written.
    pub fn requests_bytes_max(&self) -> usize {
        self.memory_bytes_max - self.windows_bytes_max()
    }

    /// What may wait to be written in one project, in bytes: twice the largest request or line, so that each of them
    /// fits beside what is known of its events, and no less than 16 MiB where there is so much.
    pub fn project_bytes_max(&self, limits: &LimitsConfig) -> usize {
        let largest = limits.request_bytes_max.max(limits.line_bytes_max);
        largest.saturating_mul(EVENTS_PER_BYTES).max(PROJECT_BYTES_USUAL).min(self.requests_bytes_max())
    }
}

impl ProjectsConfig {
    /// What the log keeps.
    pub fn retention(&self) -> Retention {
        Retention {
            events: self.retention_events,
            bytes: self.retention_bytes,
            age_ms: u64::try_from(self.retention_age.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How long and how many ids are remembered.
    pub fn dedupe_window(&self) -> DedupeWindow {
        DedupeWindow { ms: u64::try_from(self.dedupe.as_millis()).unwrap_or(u64::MAX), ids: self.dedupe_ids }
    }
}

impl LimitsConfig {
    /// The limits as the intake takes them.
    pub fn events(&self) -> EventLimits {
        EventLimits {
            data_bytes_max: self.event_data_bytes_max,
            request_bytes_max: self.request_bytes_max,
            batch_events_max: self.batch_events_max,
            line_bytes_max: self.line_bytes_max,
            data_depth_max: self.event_data_depth_max,
        }
    }
}
