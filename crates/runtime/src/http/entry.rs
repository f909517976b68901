//! What a new connection passes before HTTP: the listener's limits, the PROXY header, TLS. Each connection passes in a task
//! of its own, so the accept loop waits for nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, AdmissionMetrics, AdmissionSettings, Admitted, Place, Refusal};
use super::client::{ClientAddress, Proxies};
use super::guard::Guard;
use super::proxy_protocol;
use super::socket::Socket;
use super::tls::{Tls, TlsError, TlsFiles, TlsMetrics};

/// How long a PROXY header may take. It is the first thing that a balancer sends.
const PROXY_HEADER_WITHIN: Duration = Duration::from_secs(5);

/// How connections come in to a listener.
#[derive(Debug, Clone)]
pub struct EntrySettings {
    /// The files of its TLS; none: it speaks plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Who is believed about clients' addresses.
    pub proxies: Proxies,
    /// How many come in.
    pub admission: AdmissionSettings,
    /// Who may ask, by host and page.
    pub guard: Guard,
}

impl Default for EntrySettings {
    /// Plain HTTP for this machine, without limits.
    fn default() -> EntrySettings {
        EntrySettings {
            tls: None,
            proxies: Proxies::default(),
            admission: AdmissionSettings::default(),
            guard: Guard::Open,
        }
    }
}

/// What entries count.
#[derive(Debug, Clone)]
pub(super) struct EntryMetrics {
    admission: AdmissionMetrics,
    tls: TlsMetrics,
    proxy_untrusted: IntCounter,
    proxy_malformed: IntCounter,
    proxy_late: IntCounter,
}

impl EntryMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<EntryMetrics> {
        let proxy = IntCounterVec::new(
            Opts::new("tidings_http_proxy_headers_refused_total", "Connections closed for want of a PROXY header."),
            &["reason"],
        )?;
        registry.register(Box::new(proxy.clone()))?;
        Ok(EntryMetrics {
            admission: AdmissionMetrics::register(registry)?,
            tls: TlsMetrics::register(registry)?,
            proxy_untrusted: proxy.with_label_values(&["untrusted"]),
            proxy_malformed: proxy.with_label_values(&["malformed"]),
            proxy_late: proxy.with_label_values(&["timeout"]),
        })
    }
}

/// A connection that came in.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) socket: Socket,
    /// Where it came from: the peer, or the client that a PROXY header names.
    pub(super) source: SocketAddr,
    /// It is told to come back later, and why.
    pub(super) refusal: Option<Refusal>,
}

/// A listener's entry.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) proxies: Proxies,
    pub(super) admission: Admission,
    tls: Option<Arc<Tls>>,
    metrics: EntryMetrics,
}

impl Entry {
    /// Reads the files of TLS, where there are any.
    pub(super) fn load(settings: EntrySettings, metrics: EntryMetrics) -> Result<Entry, TlsError> {
        let tls = settings.tls.map(|files| Tls::load(files, metrics.tls.clone())).transpose()?;
        Ok(Entry {
            proxies: settings.proxies,
            admission: Admission::new(settings.admission, metrics.admission.clone()),
            tls: tls.map(Arc::new),
            metrics,
        })
    }

    /// Follows changes of the files until `stop`; ends at once where there are none.
    pub(super) fn follow(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
        let tls = self.tls.clone();
        async move {
            if let Some(tls) = tls {
                tls.follow(stop).await;
            }
        }
    }

    /// Judges one more connection. Never waits.
    pub(super) fn admit(&self, peer: SocketAddr) -> Admitted {
        let is_client = !self.proxies.proxy_protocol && !self.proxies.trusts(peer.ip());
        self.admission.admit(is_client.then(|| ClientAddress(peer.ip().to_canonical())))
    }

    /// Takes a connection in; it holds `place` as long as it lives, or one of those who are told to come back, if its
    /// client has too many. None: it did not come in, which is counted.
    pub(super) async fn take(
        &self,
        mut socket: TcpStream,
        peer: SocketAddr,
        place: Place,
        refusal: Option<Refusal>,
    ) -> Option<Taken> {
        let source = if self.proxies.proxy_protocol { self.proxy_header(&mut socket, peer).await? } else { peer };
        // Over a trusted proxy's own connections come requests of many clients.
        let (place, refusal) = if refusal.is_some() || self.proxies.trusts(source.ip()) {
            (place, refusal)
        } else {
            match self.admission.admit_client(place, ClientAddress(source.ip().to_canonical())) {
                Admitted::Yes(place) => (place, None),
                Admitted::No(place, refusal) => (place, Some(refusal)),
                Admitted::Closed => return None,
            }
        };
        let socket = match &self.tls {
            Some(tls) => Socket::encrypted(tls.accept(socket).await?, place),
            None => Socket::plain(socket, place),
        };
        Some(Taken { socket, source, refusal })
    }

    async fn proxy_header(&self, socket: &mut TcpStream, peer: SocketAddr) -> Option<SocketAddr> {
        if !self.proxies.trusts(peer.ip()) {
            self.metrics.proxy_untrusted.inc();
            return None;
        }
        match tokio::time::timeout(PROXY_HEADER_WITHIN, proxy_protocol::read(socket)).await {
            Ok(Ok(client)) => Some(client.unwrap_or(peer)),
            Ok(Err(error)) => {
                self.metrics.proxy_malformed.inc();
                tracing::debug!(%error, "a connection was closed");
                None
            }
            Err(_) => {
                self.metrics.proxy_late.inc();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
