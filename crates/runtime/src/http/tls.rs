//! TLS on a listener: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, certificates that are read again when they change.
//!
//! A handshake never holds up the accept loop or another handshake. Open connections keep what they were opened with;
//! a change is for new ones. The cryptography is aws-lc-rs and is named at every use, so nothing global is installed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

mod follow;
mod handshakes;
mod material;
mod tickets;

pub use material::TlsError;

use handshakes::Handshakes;
use material::{Expired, Material};

/// How long a handshake may take, from the accepted connection on.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Handshakes under way at once, at most. Each holds about 20 KiB.
const HANDSHAKES_MAX: usize = 2_048;

/// How old a handshake may be without being given up for a newer one when there are too many.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);

/// Upper bounds of a handshake's time, in seconds.
const SECONDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// What one connection may hold encrypted and unsent; the library's own default is four times as much.
const BUFFER_BYTES_MAX: usize = 16 * 1024;

/// The files that a listener's TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the listener's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who signs the certificates that clients must have; none: they need none.
    pub client_ca: Option<PathBuf>,
    /// What the keys of tickets are made from; none: something of this process's own.
    pub ticket_secret: Option<PathBuf>,
}

/// What TLS counts.
#[derive(Debug, Clone)]
pub(super) struct TlsMetrics {
    done: IntCounter,
    failed: IntCounter,
    late: IntCounter,
    crowded: IntCounter,
    seconds: Histogram,
    reloaded: IntCounter,
    reload_failed: IntCounter,
    faulty: IntGauge,
    not_after: IntGauge,
}

impl TlsMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<TlsMetrics> {
        let by_outcome = |name: &str, help: &str| {
            let made = IntCounterVec::new(Opts::new(name, help), &["outcome"])?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let gauge = |name: &str, help: &str| {
            let made = IntGauge::new(name, help)?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let handshakes = by_outcome("tidings_tls_handshakes_total", "TLS handshakes, by how they ended.")?;
        let reloads = by_outcome("tidings_tls_reloads_total", "Changed TLS files, by whether they could be used.")?;
        let seconds = HistogramOpts::new("tidings_tls_handshake_seconds", "Time that completed handshakes took.");
        let seconds = Histogram::with_opts(seconds.buckets(SECONDS.to_vec()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(TlsMetrics {
            seconds,
            done: handshakes.with_label_values(&["done"]),
            failed: handshakes.with_label_values(&["failed"]),
            late: handshakes.with_label_values(&["timeout"]),
            crowded: handshakes.with_label_values(&["crowded"]),
            reloaded: reloads.with_label_values(&["done"]),
            reload_failed: reloads.with_label_values(&["failed"]),
            faulty: gauge(
                "tidings_tls_files_faulty",
                "1 while the TLS files cannot be used and older ones are served.",
            )?,
            not_after: gauge(
                "tidings_tls_certificate_not_after_seconds",
                "When the served certificate expires, in seconds since 1970; 0: not known.",
            )?,
        })
    }
}

/// TLS of one listener.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    handshakes: Handshakes,
    metrics: TlsMetrics,
    /// Of the material in use.
    digest: ArcSwap<[u8; 32]>,
    /// Where no secret is shared.
    own_secret: [u8; 32],
}

impl Tls {
    /// Reads the files. An expired certificate is served, and said so: it is for whoever starts the service to judge.
    pub(super) fn load(files: TlsFiles, metrics: TlsMetrics) -> Result<Tls, TlsError> {
        let mut own_secret = [0; 32];
        aws_lc_rs::rand::fill(&mut own_secret).map_err(|_| TlsError::Random)?;
        let read = material::read(&files)?;
        let digest = read.digest();
        let made = material::made(&files, &read, &own_secret, Expired::Taken)?;
        metrics.on_served(&made);
        Ok(Tls {
            files,
            current: ArcSwap::from(made.config),
            handshakes: Handshakes::new(HANDSHAKES_MAX, HANDSHAKE_GRACE),
            metrics,
            digest: ArcSwap::from_pointee(digest),
            own_secret,
        })
    }

    /// Shakes hands. None: it did not come about; the reason is counted.
    pub(super) async fn accept(&self, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
        let Some(handshake) = self.handshakes.begin() else {
            self.metrics.crowded.inc();
            return None;
        };
        let began = Instant::now();
        let acceptor = TlsAcceptor::from(self.current.load_full());
        let accept = acceptor.accept_with(socket, |session| session.set_buffer_limit(Some(BUFFER_BYTES_MAX)));
        tokio::select! {
            outcome = tokio::time::timeout(HANDSHAKE_WITHIN, accept) => match outcome {
                Ok(Ok(stream)) => {
                    self.metrics.done.inc();
                    self.metrics.seconds.observe(began.elapsed().as_secs_f64());
                    Some(stream)
                }
                Ok(Err(error)) => {
                    self.metrics.failed.inc();
                    tracing::debug!(%error, "a handshake failed");
                    None
                }
                Err(_) => {
                    self.metrics.late.inc();
                    None
                }
            },
            () = handshake.given_up() => {
                self.metrics.crowded.inc();
                None
            }
        }
    }
}

impl TlsMetrics {
    fn on_served(&self, made: &Material) {
        self.faulty.set(0);
        let seconds = made.not_after.map_or(0, |time| time.as_secs());
        self.not_after.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
