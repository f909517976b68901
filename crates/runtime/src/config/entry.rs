//! What a listener's keys say together: how connections come in.

use super::{Config, GatewayConfig, IngestConfig, Origins};
use crate::http::admission::AdmissionSettings;
use crate::http::client::Proxies;
use crate::http::entry::EntrySettings;
use crate::http::guard::Guard;
use crate::http::tls::TlsFiles;

/// So many percent of them, and never none.
fn part(connections: usize, percent: usize) -> usize {
    (connections.saturating_mul(percent) / 100).max(1)
}

/// What one client has of so many connections in a second and at once.
fn client_accepts((rate, burst): (u64, u64), percent: usize) -> (u64, u64) {
    let part = |accepts: u64| (accepts.saturating_mul(percent as u64) / 100).max(1);
    (part(rate), part(burst))
}

impl Config {
    /// How connections come in to a gateway, or to both services on one listener.
    pub fn gateway_entry(&self) -> EntrySettings {
        let GatewayConfig { tls_cert_file, tls_key_file, tls_ticket_secret_file, .. } = &self.gateway;
        let tls = tls_cert_file.clone().zip(tls_key_file.clone()).map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_ca: None,
            ticket_secret: tls_ticket_secret_file.clone(),
        });
        let gateway = &self.gateway;
        EntrySettings {
            tls,
            proxies: Proxies {
                trusted: gateway.trusted_proxies.clone(),
                header: gateway.forwarded_header,
                proxy_protocol: gateway.proxy_protocol,
            },
            admission: AdmissionSettings {
                connections_max: gateway.connections_max,
                client_connections_max: part(gateway.connections_max, gateway.client_connections_percent),
                accepts_per_second: gateway.accepts_per_second,
                accepts_burst: gateway.accepts_burst,
                client_accepts: client_accepts(
                    (gateway.accepts_per_second, gateway.accepts_burst),
                    gateway.client_connections_percent,
                ),
                delay_max: gateway.accept_delay_max,
                resident_bytes_max: gateway.resident_bytes_max,
            },
            guard: self.guard(&gateway.origins),
        }
    }

    /// How connections come in to an ingest.
    pub fn ingest_entry(&self) -> EntrySettings {
        let IngestConfig { tls_cert_file, tls_key_file, tls_client_ca_file, tls_ticket_secret_file, .. } = &self.ingest;
        let tls = tls_cert_file.clone().zip(tls_key_file.clone()).map(|(certificate, key)| TlsFiles {
            certificate,
            key,
            client_ca: tls_client_ca_file.clone(),
            ticket_secret: tls_ticket_secret_file.clone(),
        });
        let ingest = &self.ingest;
        EntrySettings {
            tls,
            proxies: Proxies {
                trusted: ingest.trusted_proxies.clone(),
                header: ingest.forwarded_header,
                proxy_protocol: ingest.proxy_protocol,
            },
            admission: AdmissionSettings {
                connections_max: ingest.connections_max,
                client_connections_max: part(ingest.connections_max, ingest.client_connections_percent),
                accepts_per_second: ingest.accepts_per_second,
                accepts_burst: ingest.accepts_burst,
                client_accepts: client_accepts(
                    (ingest.accepts_per_second, ingest.accepts_burst),
                    ingest.client_connections_percent,
                ),
                delay_max: ingest.accept_delay_max,
                resident_bytes_max: ingest.resident_bytes_max,
            },
            // Runners are no web pages.
            guard: self.guard(&Origins::default()),
        }
    }

    /// Who may ask, by host and page.
    fn guard(&self, origins: &Origins) -> Guard {
        if self.is_open() { Guard::Open } else { Guard::Closed(origins.clone()) }
    }

    /// Who may ask the admin port.
    pub fn admin_guard(&self) -> Guard {
        self.guard(&Origins::default())
    }
}
