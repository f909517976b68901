//! The sections of the configuration: every key with its default, its bounds and its meaning. The doc comments are the
//! manual.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tidings_broker::{DedupeWindow, Retention, Wait};
use tidings_limits::Rate;
use tidings_protocol::limits::{self, EventLimits};
use tidings_protocol::settings::Ceilings;

use super::auth::Address;
use super::section::section;
use super::value::{ForwardedHeader, KeyPrefix, LogFilter, LogFormat, Networks, Origins, Password, RedisUrl};
use super::{descriptors, memory};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bytes of events that wait to be written, for each byte of the request that brought them.
pub(super) const EVENTS_PER_BYTES: usize = 2;

/// What may wait in one project unless its requests are larger.
const PROJECT_BYTES_USUAL: usize = 16 * MIB;

/// After a quiet time so many seconds' worth of a rate may come at once.
const BURST_SECONDS: u64 = 4;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port)
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

section! {
    /// Viewers: where they connect, and what they may hold.
    "gateway" => GatewayConfig {
        /// Where viewers connect. Port 0 takes a free one. Must be loopback as long as the service runs open.
        "listen" => listen: SocketAddr = loopback(8000);
        /// Where `/livez`, `/readyz` and `/metrics` are. Must be loopback, too.
        "admin_listen" => admin_listen: SocketAddr = loopback(9464);
        /// The certificate chain, PEM, the service's own first. With it the service speaks TLS (1.2 and 1.3) and nothing
        /// else. Read again when a file changes, and on SIGHUP.
        "tls_cert_file" => tls_cert_file: Option<PathBuf> = None;
        /// The certificate's private key, PEM.
        "tls_key_file" => tls_key_file: Option<PathBuf> = None;
        /// At least 32 bytes that all of its kind share, so that a TLS session goes on at any of them: keys of tickets are
        /// made from it and the time. Without it each process has keys of its own.
        "tls_ticket_secret_file" => tls_ticket_secret_file: Option<PathBuf> = None;
        /// Proxies that are believed when they say who the client is: addresses and networks, as in `10.0.0.0/8`.
        "trusted_proxies" => trusted_proxies: Networks = Networks::default();
        /// The one header that they set: `x-forwarded-for` or `forwarded`. The other one is never read.
        "forwarded_header" => forwarded_header: ForwardedHeader = ForwardedHeader::default();
        /// Whether connections begin with a PROXY header of version 2. Then they must, and come from trusted proxies only.
        "proxy_protocol" => proxy_protocol: bool = false;
        /// Web sites whose pages may use the service: `https://example.com`, `https://*.example.com`, or `*` for any. While
        /// it runs open, pages of this machine may, and no other.
        "origins" => origins: Origins = Origins::default();
        /// Connections open at once. Whoever comes beyond it is answered `busy`, and when to come back.
        "connections_max" => connections_max: usize = descriptors::connections(),
            noted "65,536, or three quarters of the descriptors that the process may have", within 1..=1 << 24;
        /// How much of that, and of the rate below, one client address (with IPv6 one network of 64 bits) may have, in
        /// percent; it is answered `busy` beyond it. Trusted proxies have no such bound, and behind the PROXY protocol the
        /// rate has none. Behind a balancer that is neither, all clients are one address.
        "client_connections_percent" => client_connections_percent: usize = 50, within 1..=100;
        /// Connections that are taken in a second. Whoever comes faster is answered `busy`, and when to come back.
        "accepts_per_second" => accepts_per_second: u64 = 2_000, within 1..=1_000_000;
        /// Connections that are taken at once after a quiet time.
        "accepts_burst" => accepts_burst: u64 = 2_000, within 1..=1_000_000;
        /// The longest time that they are told to stay away.
        "accept_delay_max_ms" => accept_delay_max: Duration = ms(30_000), within 1_000..=600_000;
        /// Memory of the process, in bytes, above which no new connection is taken.
        "resident_bytes_max" => resident_bytes_max: usize = memory::nine_tenths_of_limit(),
            noted "nine tenths of the memory limit", within 1 << 20..=1 << 46;
        /// The budget of all rings, pages and encodings together, in bytes.
        "memory_bytes_max" => memory_bytes_max: usize = memory::quarter_of_limit(),
            noted "a quarter of the memory limit", within 4 * 1024 * 1024..=1 << 46;
        /// The newest events of one project that are held in memory, in bytes.
        "ring_bytes_max" => ring_bytes_max: usize = 4 * MIB, within 64 * 1024..=1 << 40;
        /// Pages of the log that viewers off the ring share, in bytes. Part of the budget.
        "pages_bytes_max" => pages_bytes_max: usize = 64 * MIB, within 512 * 1024..=1 << 40;
        /// How long a project without viewers stays warm.
        "linger_ms" => linger: Duration = ms(30_000), within 0..=3_600_000;
        /// How long the viewers of a gateway that died are still shown as present, and how long its word on how many it has
        /// is kept.
        "presence_lease_ms" => presence_lease: Duration = ms(15_000), within 1_000..=600_000;
        /// How often a gateway looks who is present elsewhere, in projects where a viewer asked for it, and how many viewers
        /// other gateways have. A third of the lease at most.
        "presence_round_ms" => presence_round: Duration = ms(2_000), within 100..=200_000;
        /// How many viewers a gateway sends on in a second while it has far more than the mean of all gateways, so that those
        /// that were added get their part; 0: none. They are told as in a drain.
        "shed_per_second" => shed_per_second: u64 = 5, within 0..=10_000;
        /// By how much a gateway must be above the mean for that, in percent of the mean. It goes on down to half of it.
        "shed_tolerance_percent" => shed_tolerance_percent: u64 = 25, within 2..=1_000;
        /// And by how many viewers at least.
        "shed_excess_min" => shed_excess_min: u64 = 50, within 1..=1 << 24;
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
        /// Viewers that a gateway which shuts down makes come back elsewhere in a second, at most: they are served until their
        /// turn comes. Those whose turn would come after four fifths of what `drain_notice_ms` leaves of `drain_ms` are told
        /// then, and stay away until it does, but no longer than `accept_delay_max_ms`.
        "drain_reconnects_per_second" => drain_reconnects_per_second: u64 = 500, within 1..=1_000_000;
    }
}

section! {
    /// Runners: where they post.
    "ingest" => IngestConfig {
        /// Where runners post. Port 0 takes a free one. Must be loopback as long as the service runs open.
        "listen" => listen: SocketAddr = loopback(8010);
        /// Where `/livez`, `/readyz` and `/metrics` are. Must be loopback, too.
        "admin_listen" => admin_listen: SocketAddr = loopback(9465);
        /// The certificate chain, PEM, the service's own first. With it the service speaks TLS (1.2 and 1.3) and nothing
        /// else. Read again when a file changes, and on SIGHUP.
        "tls_cert_file" => tls_cert_file: Option<PathBuf> = None;
        /// The certificate's private key, PEM.
        "tls_key_file" => tls_key_file: Option<PathBuf> = None;
        /// Certificates (PEM) of who signs runners' certificates. With it, whoever has none from there is refused.
        "tls_client_ca_file" => tls_client_ca_file: Option<PathBuf> = None;
        /// At least 32 bytes that all of its kind share, so that a TLS session goes on at any of them: keys of tickets are
        /// made from it and the time. Without it each process has keys of its own.
        "tls_ticket_secret_file" => tls_ticket_secret_file: Option<PathBuf> = None;
        /// Proxies that are believed when they say who the client is: addresses and networks, as in `10.0.0.0/8`.
        "trusted_proxies" => trusted_proxies: Networks = Networks::default();
        /// The one header that they set: `x-forwarded-for` or `forwarded`. The other one is never read.
        "forwarded_header" => forwarded_header: ForwardedHeader = ForwardedHeader::default();
        /// Whether connections begin with a PROXY header of version 2. Then they must, and come from trusted proxies only.
        "proxy_protocol" => proxy_protocol: bool = false;
        /// Connections open at once. Whoever comes beyond it is answered `busy`, and when to come back.
        "connections_max" => connections_max: usize = descriptors::connections(),
            noted "65,536, or three quarters of the descriptors that the process may have", within 1..=1 << 24;
        /// How much of that, and of the rate below, one client address (with IPv6 one network of 64 bits) may have, in
        /// percent; it is answered `busy` beyond it. Trusted proxies have no such bound, and behind the PROXY protocol the
        /// rate has none. Behind a balancer that is neither, all clients are one address.
        "client_connections_percent" => client_connections_percent: usize = 50, within 1..=100;
        /// Connections that are taken in a second. Whoever comes faster is answered `busy`, and when to come back.
        "accepts_per_second" => accepts_per_second: u64 = 2_000, within 1..=1_000_000;
        /// Connections that are taken at once after a quiet time.
        "accepts_burst" => accepts_burst: u64 = 2_000, within 1..=1_000_000;
        /// The longest time that they are told to stay away.
        "accept_delay_max_ms" => accept_delay_max: Duration = ms(30_000), within 1_000..=600_000;
        /// Memory of the process, in bytes, above which no new connection is taken.
        "resident_bytes_max" => resident_bytes_max: usize = memory::nine_tenths_of_limit(),
            noted "nine tenths of the memory limit", within 1 << 20..=1 << 46;
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
        /// Where Redis is: `redis://user:password@host:6379/0`, or the sentinels that know and the name by which they know it:
        /// `redis+sentinel://user:password@host:26379,host:26379/name/0`, or some nodes of a cluster:
        /// `redis+cluster://user:password@host:6379,host:6379`. `rediss` instead of `redis`: by TLS.
        "url" => url: RedisUrl = RedisUrl::default();
        /// The account at the sentinels; empty: the default user. The one in the URL is that at Redis.
        "sentinel_username" => sentinel_username: String = String::new();
        /// Its password; empty: the sentinels want none.
        "sentinel_password" => sentinel_password: Password = Password::default();
        /// By whom the certificates of Redis and of the sentinels are signed, PEM; empty: the system's authorities. The files
        /// are read again for every new connection.
        "tls_ca_file" => tls_ca_file: Option<PathBuf> = None;
        /// The certificate that Redis and the sentinels are shown, PEM; empty: none.
        "tls_cert_file" => tls_cert_file: Option<PathBuf> = None;
        /// The certificate's private key, PEM.
        "tls_key_file" => tls_key_file: Option<PathBuf> = None;
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
        /// Events that a project's own settings may have its log keep at most. No ceiling lies below the service's own value.
        "retention_events_max" => retention_events_max: u64 = 10_000_000, within 1..=1 << 40;
        /// Encoded bytes that a project's own settings may have its log keep at most.
        "retention_bytes_max" => retention_bytes_max: u64 = 4 << 30, within 64 * 1024..=1 << 46;
        /// How long a project's own settings may have its log keep an event at most.
        "retention_age_max_ms" => retention_age_max: Duration = ms(90 * 24 * 3_600_000), within 1_000..=1 << 40;
        /// Percent of Redis' `maxmemory`: above it, projects that hold more than their share are trimmed and refused first.
        "memory_watermark_percent" => memory_watermark_percent: u64 = 85, within 10..=100;
        /// How long an event's id is remembered, so that sending it again is harmless.
        "dedupe_ms" => dedupe: Duration = ms(10 * 60_000), within 0..=7 * 24 * 3_600_000;
        /// How many ids a project remembers at most.
        "dedupe_ids" => dedupe_ids: u64 = 200_000, within 0..=10_000_000;
        /// How many replicas of Redis must have what is acknowledged; 0: none.
        "wait_replicas" => wait_replicas: u64 = 0, within 0..=10;
        /// How many replicas a project's own settings may ask for at most.
        "wait_replicas_max" => wait_replicas_max: u64 = 3, within 0..=5;
        /// How long one try waits for them. An event that too few of them have at its deadline is answered `outcome_unknown`.
        "wait_timeout_ms" => wait_timeout: Duration = ms(1_000), within 1..=60_000;
        /// When a command is due that does not say so itself: from then on an answer is of no use.
        "command_deadline_ms" => command_deadline: Duration = ms(60_000), within 1_000..=3_600_000;
        /// How long a runner has to accept a command that it took, before another one gets it.
        "command_lease_ms" => command_lease: Duration = ms(30_000), within 1_000..=600_000;
        /// Commands of one capability that may be open in a project; whoever asks beyond it is answered `inbox_full`.
        "inbox_max" => inbox_max: usize = 1_000, within 1..=100_000;
    }
}

section! {
    /// What one request may bring, and how much may come in a second. Give all services the same: rates hold for all ingests
    /// together. Four times a rate may come at once after a quiet time.
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
        /// Events that a project takes in a second, unless its settings say otherwise.
        "project_events_per_second" => project_events_per_second: u64 = 50_000, within 1..=1_000_000;
        /// Bytes of events that a project takes in a second, as they are stored, unless its settings say otherwise.
        "project_bytes_per_second" => project_bytes_per_second: u64 = 64 << 20, within 1_024..=1 << 30;
        /// Events in a second that a project's own settings may allow at most. No ceiling lies below the service's own value.
        "project_events_per_second_max" => project_events_per_second_max: u64 = 200_000, within 1..=1_000_000;
        /// Bytes of events in a second that a project's own settings may allow at most.
        "project_bytes_per_second_max" => project_bytes_per_second_max: u64 = 256 << 20, within 1_024..=1 << 30;
        /// Events that an API key may publish in a second, unless it has a limit of its own.
        "key_events_per_second" => key_events_per_second: u64 = 50_000, within 1..=1_000_000;
        /// Bytes of events that an API key may publish in a second, unless it has a limit of its own.
        "key_bytes_per_second" => key_bytes_per_second: u64 = 64 << 20, within 1_024..=1 << 30;
        /// Requests to gateways, connections included, and to ingests with the scope `admin`, that a user or an API key may
        /// make in a second; where nobody shows a credential, a client's address.
        "requests_per_second" => requests_per_second: u64 = 10_000, within 1..=1_000_000;
        /// Commands that a user may send in a second; where nobody shows a credential, a client's address.
        "commands_per_second" => commands_per_second: u64 = 20, within 1..=1_000_000;
        /// Messages that a WebSocket's client may send in a second. Whoever sends more is closed with 4203.
        "messages_per_second" => messages_per_second: u64 = 200, within 1..=1_000_000;
        /// WebSockets and streams of server-sent events that one of them may have open, over all gateways.
        "user_connections_max" => user_connections_max: u64 = 20_000, within 1..=1 << 24;
        /// Services of a kind that are expected to share these limits: while Redis is away each lets one part in so many
        /// through, and at least one.
        "services_expected" => services_expected: u64 = 2, within 1..=10_000;
        /// How long the connections of a gateway that died count.
        "connections_lease_ms" => connections_lease: Duration = ms(15_000), within 1_000..=600_000;
    }
}

section! {
    /// What the services say about themselves.
    "telemetry" => TelemetryConfig {
        /// `json`, `text`, or `auto`: text on a terminal, JSON elsewhere.
        "log_format" => log_format: LogFormat = LogFormat::default();
        /// Which log lines are written: a level, or levels by target, as in `info,tidings_gateway=debug`.
        "log_filter" => log_filter: LogFilter = LogFilter::default();
        /// Where traces are sent: the address of an OpenTelemetry collector that takes OTLP over HTTP, as in
        /// `http://collector:4318`. Empty: nowhere.
        "otlp_url" => otlp_url: Address = Address::default();
        /// Of requests that bring no `traceparent`, so many in a thousand begin a trace. Those that bring one are traced if
        /// it says so.
        "trace_permille" => trace_permille: usize = 0, within 0..=1_000;
        /// Of what brings a `traceparent` that says that it is sampled, so much is traced in a second, in each process: a
        /// request, the events of one, and an entry that is delivered count for one each.
        "traces_per_second" => traces_per_second: u64 = 100, within 1..=1_000_000;
        /// So many projects, the busiest ones, are told apart by name at `/metrics/projects` on the admin port, to whoever
        /// reaches it. 0: no names, all projects together.
        "projects_shown" => projects_shown: usize = 50, within 0..=1_000;
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

    /// The replicas that acknowledgements wait for.
    pub fn wait(&self) -> Option<Wait> {
        let replicas = u32::try_from(self.wait_replicas).unwrap_or(u32::MAX);
        let timeout_ms = u64::try_from(self.wait_timeout.as_millis()).unwrap_or(u64::MAX);
        (replicas > 0).then_some(Wait { replicas, timeout_ms })
    }

    /// What projects may set for themselves at most: never less than the service's own values.
    pub fn ceilings(&self, limits: &LimitsConfig) -> Ceilings {
        let own = self.retention();
        let age_ms = u64::try_from(self.retention_age_max.as_millis()).unwrap_or(u64::MAX);
        let replicas = self.wait_replicas_max.max(self.wait_replicas);
        let events_per_second = limits.project_events_per_second_max.max(limits.project_events_per_second);
        Ceilings {
            retention_events: self.retention_events_max.max(own.events),
            retention_bytes: self.retention_bytes_max.max(own.bytes),
            retention_age_ms: age_ms.max(own.age_ms),
            replicas: u8::try_from(replicas).unwrap_or(u8::MAX),
            events_per_second: u32::try_from(events_per_second).unwrap_or(u32::MAX),
            bytes_per_second: limits.project_bytes_per_second_max.max(limits.project_bytes_per_second),
        }
    }

    /// How long and how many ids are remembered.
    pub fn dedupe_window(&self) -> DedupeWindow {
        DedupeWindow { ms: u64::try_from(self.dedupe.as_millis()).unwrap_or(u64::MAX), ids: self.dedupe_ids }
    }
}

impl LimitsConfig {
    /// So much in a second, and four times as much at once.
    pub fn rate(per_second: u64) -> Rate {
        Rate::per_second(per_second, per_second.saturating_mul(BURST_SECONDS))
    }

    /// The shared limits.
    pub fn shared(&self) -> tidings_limits::Settings {
        let rate = LimitsConfig::rate;
        tidings_limits::Settings {
            rates: tidings_limits::Rates {
                commands: rate(self.commands_per_second),
                key_bytes: rate(self.key_bytes_per_second),
                key_events: rate(self.key_events_per_second),
                project_bytes: rate(self.project_bytes_per_second),
                project_events: rate(self.project_events_per_second),
                requests: rate(self.requests_per_second),
            },
            holders_expected: u32::try_from(self.services_expected).unwrap_or(u32::MAX),
            user_connections_max: u32::try_from(self.user_connections_max).unwrap_or(u32::MAX),
            connections_ttl: self.connections_lease,
            messages: rate(self.messages_per_second),
            ..tidings_limits::Settings::default()
        }
    }

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
