//! How many connections a listener takes, and how fast. Whoever comes beyond it is let in just far enough to be told so:
//! its first request is answered 503 with the time to come back at, spread so that a whole fleet does not come back
//! together. When even those are too many, connections are closed without a word.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use tidings_limits::accept::AcceptLimit;
use tidings_limits::{Decision, Metrics as LimitsMetrics, Rate, Settings as LimitsSettings};
use tidings_protocol::codes::ErrorCode;
use tokio::time::Instant;

use super::buckets::Buckets;
use super::client::ClientAddress;
use super::problem::Refused;
use super::shares::{Share, Shares};

/// Connections that are being told to come back later, at most.
const REFUSALS_MAX: usize = 4_096;

/// The same as a part of the open connections, where those are few.
const REFUSALS_PART: usize = 4;

/// How old the last look at the process's memory may be.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// As long a delay as is told to those who found no place: places come free at any time.
const FULL_DELAY: std::ops::RangeInclusive<u32> = 2..=10;

/// How much of a refused request's body is read, so that its sender gets to read the answer, and for how long.
const DISCARD_BYTES_MAX: usize = 256 * 1024;
const DISCARD_TIME_MAX: Duration = Duration::from_millis(500);

/// How many connections are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// Open at once, upgraded ones too.
    pub connections_max: usize,
    /// Of one client address (of a network of 64 bits, with IPv6) at once.
    pub client_connections_max: usize,
    /// In a second.
    pub accepts_per_second: u64,
    /// At once after a quiet time.
    pub accepts_burst: u64,
    /// Of one client address in a second, and at once after a quiet time. As many as of all: they have no bound of their own.
    pub client_accepts: (u64, u64),
    /// The longest time that anybody is told to stay away.
    pub delay_max: Duration,
    /// Memory of this process above which nobody new is taken, in bytes.
    pub resident_bytes_max: usize,
}

impl Default for AdmissionSettings {
    /// No limit but that of refusals.
    fn default() -> AdmissionSettings {
        AdmissionSettings {
            connections_max: usize::MAX,
            client_connections_max: usize::MAX,
            accepts_per_second: 1_000_000,
            accepts_burst: 1_000_000,
            client_accepts: (1_000_000, 1_000_000),
            delay_max: Duration::from_secs(30),
            resident_bytes_max: usize::MAX,
        }
    }
}

/// What an admission counts.
#[derive(Debug, Clone)]
pub(super) struct AdmissionMetrics {
    open: IntGauge,
    rate: IntCounter,
    connections: IntCounter,
    client: IntCounter,
    memory: IntCounter,
    silent: IntCounter,
}

impl AdmissionMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<AdmissionMetrics> {
        let refused = IntCounterVec::new(
            Opts::new("tidings_http_connections_refused_total", "Connections refused, by the limit that they met."),
            &["limit"],
        )?;
        let open = IntGauge::new("tidings_http_sockets_open", "Sockets of clients open, upgraded ones too.")?;
        registry.register(Box::new(refused.clone()))?;
        registry.register(Box::new(open.clone()))?;
        let of = |limit: &str| refused.with_label_values(&[limit]);
        Ok(AdmissionMetrics {
            open,
            rate: of("rate"),
            connections: of("connections"),
            client: of("client"),
            memory: of("memory"),
            silent: of("refusals"),
        })
    }
}

/// The limits of one listener.
#[derive(Debug)]
pub(super) struct Admission {
    settings: AdmissionSettings,
    rate: AcceptLimit,
    /// Of each client, drawn from before the rate of all; none: one client may have that alone.
    client_rates: Option<Buckets<IpAddr>>,
    open: Arc<Count>,
    shares: Shares,
    refusals: Arc<Count>,
    refusals_max: usize,
    refusal_shares: Shares,
    memory: Resident,
    metrics: AdmissionMetrics,
}

/// Why, and for how long. The extension of a refused connection's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    detail: &'static str,
    retry_after_seconds: u32,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(super) enum Admitted {
    /// It is served.
    Yes(Place),
    /// It is told why not.
    No(Place, Refusal),
    /// It is closed.
    Closed,
}

impl Admission {
    pub(super) fn new(settings: AdmissionSettings, metrics: AdmissionMetrics) -> Admission {
        let limits = LimitsSettings {
            accepts: Rate::per_second(settings.accepts_per_second, settings.accepts_burst),
            accept_delay_max: settings.delay_max,
            ..LimitsSettings::default()
        };
        let (client_rate, client_burst) = settings.client_accepts;
        let is_bounded = client_rate < settings.accepts_per_second || client_burst < settings.accepts_burst;
        let refusals_max = REFUSALS_MAX.min(settings.connections_max.div_ceil(REFUSALS_PART));
        Admission {
            client_rates: is_bounded.then(|| Buckets::new(Rate::per_second(client_rate, client_burst))),
            refusal_shares: Shares::new(refusals_max.min(settings.client_connections_max.div_ceil(REFUSALS_PART))),
            refusals_max,
            // Counted here, by listener, and not once more among the shared limits.
            rate: AcceptLimit::new(&limits, LimitsMetrics::default()),
            shares: Shares::new(settings.client_connections_max),
            settings,
            open: Arc::default(),
            refusals: Arc::default(),
            memory: Resident::default(),
            metrics,
        }
    }

    /// Judges one more connection, of this client if that is known yet. Never waits.
    pub(super) fn admit(&self, client: Option<ClientAddress>) -> Admitted {
        match self.judge(client) {
            Ok(place) => Admitted::Yes(place),
            Err(refusal) => self.refuse(refusal, client),
        }
    }

    /// Judges a connection that has a place once more, when it is known whose it is. Never waits.
    pub(super) fn admit_client(&self, mut place: Place, client: ClientAddress) -> Admitted {
        let Some(share) = self.shares.take(client) else {
            self.metrics.client.inc();
            drop(place);
            return self.refuse(self.full("there are as many connections of one address as may be"), Some(client));
        };
        place.share = Some(share);
        Admitted::Yes(place)
    }

    fn refuse(&self, refusal: Refusal, client: Option<ClientAddress>) -> Admitted {
        let share = client.map(|client| self.refusal_shares.take(client));
        // One client's refusals leave places for those of others.
        if let None | Some(Some(_)) = share
            && let Some(mut place) = Place::take(&self.refusals, self.refusals_max, None)
        {
            place.share = share.flatten();
            return Admitted::No(place, refusal);
        }
        self.metrics.silent.inc();
        Admitted::Closed
    }

    fn judge(&self, client: Option<ClientAddress>) -> Result<Place, Refusal> {
        let Some(place) = Place::take(&self.open, self.settings.connections_max, Some(self.metrics.open.clone()))
        else {
            self.metrics.connections.inc();
            return Err(self.full("there are as many connections as may be"));
        };
        if self.memory.bytes() > self.settings.resident_bytes_max as u64 {
            self.metrics.memory.inc();
            return Err(self.full("the service is short of memory"));
        }
        // ORDER: before the rate of all, or one client alone could take it from everybody.
        if let (Some(client), Some(rates)) = (client, &self.client_rates)
            && !rates.draw(&client.network())
        {
            self.metrics.client.inc();
            return Err(self.full("too many connections of one address at once"));
        }
        let decision = self.rate.admit();
        match decision {
            Decision::Allowed => Ok(place),
            Decision::Refused { .. } => {
                self.metrics.rate.inc();
                let retry_after_seconds = decision.retry_after_seconds().unwrap_or(1);
                Err(Refusal { detail: "too many connections at once", retry_after_seconds })
            }
        }
    }

    fn full(&self, detail: &'static str) -> Refusal {
        let most = u32::try_from(self.settings.delay_max.as_secs()).unwrap_or(u32::MAX).max(1);
        Refusal { detail, retry_after_seconds: rand::random_range(FULL_DELAY).min(most) }
    }
}

/// So many of something.
#[derive(Debug, Default)]
struct Count(AtomicU64);

/// One of a bounded number; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    count: Arc<Count>,
    gauge: Option<IntGauge>,
    share: Option<Share>,
}

impl Place {
    fn take(count: &Arc<Count>, most: usize, gauge: Option<IntGauge>) -> Option<Place> {
        // Counted first: two that come together at the last place must not both get it.
        if count.0.fetch_add(1, Ordering::Relaxed) >= most as u64 {
            count.0.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if let Some(gauge) = &gauge {
            gauge.inc();
        }
        Some(Place { count: count.clone(), gauge, share: None })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count.0.fetch_sub(1, Ordering::Relaxed);
        if let Some(gauge) = &self.gauge {
            gauge.dec();
        }
    }
}

/// Memory of this process, looked up no more often than is worth it.
#[derive(Debug, Default)]
struct Resident {
    seen: Mutex<Option<(Instant, u64)>>,
}

impl Resident {
    fn bytes(&self) -> u64 {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        match *seen {
            Some((at, bytes)) if now.duration_since(at) < LOOK_EVERY => bytes,
            _ => {
                let bytes = resident_bytes();
                *seen = Some((now, bytes));
                bytes
            }
        }
    }
}

/// 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Middleware: answers the requests of connections that were refused.
pub(super) async fn told(request: Request, next: Next) -> Response {
    match request.extensions().get::<Refusal>().copied() {
        Some(refusal) => {
            discard(request.into_body()).await;
            let refused = Refused::new(ErrorCode::Busy, refusal.detail).retry_after(refusal.retry_after_seconds);
            refused.into_response()
        }
        None => next.run(request).await,
    }
}

/// Asks for the end of an HTTP/1 connection behind this answer.
pub(super) fn last_answer(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

async fn discard(mut body: Body) {
    let all = async {
        let mut left = DISCARD_BYTES_MAX;
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, bytes::Bytes::len)) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Whoever sends more, or later, may lose the answer.
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, all).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(settings: AdmissionSettings) -> Admission {
        Admission::new(settings, AdmissionMetrics::register(&Registry::new()).expect("a fresh registry"))
    }

    #[test]
    fn places_are_given_back() {
        let admission = admission(AdmissionSettings { connections_max: 2, ..AdmissionSettings::default() });
        let Admitted::Yes(first) = admission.admit(None) else { panic!("there are places") };
        let Admitted::Yes(_second) = admission.admit(None) else { panic!("there are places") };
        let Admitted::No(refused, refusal) = admission.admit(None) else { panic!("it is full") };
        assert!(FULL_DELAY.contains(&refusal.retry_after_seconds), "{refusal:?}");
        // One refusal is being told, which is as many as may be here.
        assert!(matches!(admission.admit(None), Admitted::Closed));
        drop(refused);
        assert!(matches!(admission.admit(None), Admitted::No(..)));
        assert_eq!(admission.metrics.open.get(), 2);
        drop(first);
        assert!(matches!(admission.admit(None), Admitted::Yes(_)));
        assert_eq!((admission.metrics.connections.get(), admission.metrics.silent.get()), (3, 1));
    }

    #[test]
    fn whoever_comes_too_fast_is_told_when_to_come_back() {
        let settings = AdmissionSettings { accepts_per_second: 1, accepts_burst: 3, ..AdmissionSettings::default() };
        let admission = admission(settings);
        let admitted: Vec<Admitted> = (0..40).map(|_| admission.admit(None)).collect();
        let taken = admitted.iter().filter(|admitted| matches!(admitted, Admitted::Yes(_))).count();
        assert!((3..=4).contains(&taken), "{taken}");
        let delays: Vec<u32> = admitted
            .iter()
            .filter_map(|admitted| match admitted {
                Admitted::No(_, refusal) => Some(refusal.retry_after_seconds),
                _ => None,
            })
            .collect();
        assert_eq!(delays.len(), 40 - taken);
        assert!(delays.iter().all(|delay| (1..=30).contains(delay)), "{delays:?}");
        let mut kinds = delays.clone();
        kinds.sort_unstable();
        kinds.dedup();
        assert!(kinds.len() > 10, "they come back one by one: {delays:?}");
        // Refused connections take no place.
        assert_eq!(admission.metrics.open.get(), i64::try_from(taken).expect("few"));
    }

    #[test]
    fn one_client_leaves_places_for_others() {
        let admission = admission(AdmissionSettings {
            connections_max: 3,
            client_connections_max: 2,
            ..AdmissionSettings::default()
        });
        let come = |address: &str| match admission.admit(None) {
            Admitted::Yes(place) => admission.admit_client(place, ClientAddress(address.parse().expect("an address"))),
            other => other,
        };
        let Admitted::Yes(first) = come("192.0.2.1") else { panic!("it has none") };
        let Admitted::Yes(_second) = come("192.0.2.1") else { panic!("it has one") };
        let Admitted::No(..) = come("192.0.2.1") else { panic!("it has two") };
        assert_eq!((admission.metrics.client.get(), admission.metrics.open.get()), (1, 2), "it took no place");
        let Admitted::Yes(_other) = come("192.0.2.2") else { panic!("there is a place") };
        drop(first);
        assert!(matches!(come("192.0.2.1"), Admitted::Yes(_)));
    }

    #[test]
    fn one_client_leaves_others_their_part_of_the_rate_and_of_the_refusals() {
        let admission = admission(AdmissionSettings {
            connections_max: 160,
            client_connections_max: 80,
            accepts_per_second: 1,
            accepts_burst: 20,
            client_accepts: (1, 10),
            ..AdmissionSettings::default()
        });
        let come = |address: &str| admission.admit(Some(ClientAddress(address.parse().expect("an address"))));
        let storm: Vec<Admitted> = (0..100).map(|at| come(&format!("2001:db8::{at:x}"))).collect();
        let taken = storm.iter().filter(|admitted| matches!(admitted, Admitted::Yes(_))).count();
        assert!((10..=11).contains(&taken), "{taken}");
        let told = storm.iter().filter(|admitted| matches!(admitted, Admitted::No(..))).count();
        assert_eq!(told, 20, "half of the forty that may be told");
        let others: Vec<Admitted> = (0..4).map(|_| come("192.0.2.1")).collect();
        assert!(others.iter().all(|admitted| matches!(admitted, Admitted::Yes(_))), "{others:?}");
        let rest: Vec<Admitted> = (2..42).map(|at| come(&format!("192.0.2.{at}"))).collect();
        let told = rest.iter().filter(|admitted| matches!(admitted, Admitted::No(..))).count();
        assert_eq!(told, 20, "the other half");
        drop((storm, others, rest));
        assert!(matches!(admission.refuse(admission.full("full"), None), Admitted::No(..)), "they are given back");
    }

    #[test]
    fn nobody_is_taken_above_the_bound_on_memory() {
        assert!(resident_bytes() > 1024 * 1024);
        let admission =
            admission(AdmissionSettings { resident_bytes_max: 1024 * 1024, ..AdmissionSettings::default() });
        assert!(matches!(admission.admit(None), Admitted::No(..)));
        assert_eq!((admission.metrics.memory.get(), admission.metrics.open.get()), (1, 0));
    }
}
