//! The second phase: what each value allows, but the whole does not.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tidings_auth::Stores;

use super::sections::EVENTS_PER_BYTES;
use super::source::Origin;
use super::{Config, Fault};

/// Every impossible combination, and every address that may not be used.
pub(super) fn whole(config: &Config, origins: &BTreeMap<&'static str, Origin>) -> Vec<Fault> {
    let Config { gateway, ingest, limits, .. } = config;
    let mut faults = Vec::new();
    let mut refuse = |key: &'static str, message: String| {
        faults.push(Fault::new(origins.get(key).cloned(), key, message));
    };

    for (key, address) in [
        ("gateway.listen", gateway.listen),
        ("gateway.admin_listen", gateway.admin_listen),
        ("ingest.listen", ingest.listen),
        ("ingest.admin_listen", ingest.admin_listen),
    ] {
        if config.is_open() && !address.ip().is_loopback() {
            refuse(
                key,
                format!("{address} is not a loopback address: services run open, so only this machine may reach them"),
            );
        }
    }
    // Reads the files that it names, so that what is wrong in them is told with the rest.
    if let Err(faults) = config.auth.authenticator(Stores::default()) {
        for (key, message) in faults {
            refuse(key, message);
        }
    }
    for (key, part, whole) in tls_parts(config) {
        if part && !whole {
            refuse(key, "is of no use without tls_cert_file and tls_key_file together".into());
        }
    }
    for (key, required, trusted) in [
        ("gateway.proxy_protocol", gateway.proxy_protocol, &gateway.trusted_proxies),
        ("ingest.proxy_protocol", ingest.proxy_protocol, &ingest.trusted_proxies),
    ] {
        if required && trusted.0.is_empty() {
            refuse(key, "nobody is believed: trusted_proxies names no proxy".into());
        }
    }
    for (key, admin, listen) in [
        ("gateway.admin_listen", gateway.admin_listen, gateway.listen),
        ("ingest.admin_listen", ingest.admin_listen, ingest.listen),
    ] {
        if is_same(admin, listen) {
            refuse(key, format!("{admin} is the address of the service itself"));
        }
    }
    for (key, notice, drain) in [
        ("gateway.drain_notice_ms", gateway.drain_notice, gateway.drain),
        ("ingest.drain_notice_ms", ingest.drain_notice, ingest.drain),
    ] {
        if notice >= drain {
            refuse(key, "leaves nothing of drain_ms to close connections in".into());
        }
    }
    if gateway.presence_round.saturating_mul(3) > gateway.presence_lease {
        let lease_ms = gateway.presence_lease.as_millis();
        let why = format!("must be at most a third of gateway.presence_lease_ms = {lease_ms}");
        refuse("gateway.presence_round_ms", why);
    }
    for (key, part) in
        [("gateway.ring_bytes_max", gateway.ring_bytes_max), ("gateway.pages_bytes_max", gateway.pages_bytes_max)]
    {
        if part > gateway.memory_bytes_max {
            refuse(
                key,
                format!(
                    "{part} is more than the whole budget, gateway.memory_bytes_max = {}",
                    gateway.memory_bytes_max
                ),
            );
        }
    }
    for (key, limit) in
        [("limits.request_bytes_max", limits.request_bytes_max), ("limits.line_bytes_max", limits.line_bytes_max)]
    {
        if limit < limits.event_data_bytes_max {
            refuse(
                key,
                format!(
                    "{limit} is less than one event may have, limits.event_data_bytes_max = {}",
                    limits.event_data_bytes_max
                ),
            );
        }
    }
    let Config { projects, redis, .. } = config;
    if projects.wait_replicas > 0 && projects.wait_timeout >= redis.response_timeout {
        refuse(
            "projects.wait_timeout_ms",
            format!("must be less than redis.response_timeout_ms = {}", redis.response_timeout.as_millis()),
        );
    }
    let fits_max = ingest.requests_bytes_max() / EVENTS_PER_BYTES;
    for (key, limit) in
        [("limits.request_bytes_max", limits.request_bytes_max), ("limits.line_bytes_max", limits.line_bytes_max)]
    {
        if limit > fits_max {
            refuse(
                key,
                format!(
                    "{limit} is more than a quarter of ingest.memory_bytes_max: such a request would never be taken"
                ),
            );
        }
    }
    let of_sections = config.redis.faults().into_iter().chain(config.dialects.faults());
    faults.extend(of_sections.map(|(key, why)| Fault::new(origins.get(key).cloned(), key, why)));
    faults
}

/// Each file for TLS: (key, whether it is given, whether certificate and key are given).
fn tls_parts(config: &Config) -> [(&'static str, bool, bool); 7] {
    let Config { gateway, ingest, .. } = config;
    let gateway_whole = gateway.tls_cert_file.is_some() && gateway.tls_key_file.is_some();
    let ingest_whole = ingest.tls_cert_file.is_some() && ingest.tls_key_file.is_some();
    [
        ("gateway.tls_cert_file", gateway.tls_cert_file.is_some(), gateway_whole),
        ("gateway.tls_key_file", gateway.tls_key_file.is_some(), gateway_whole),
        ("gateway.tls_ticket_secret_file", gateway.tls_ticket_secret_file.is_some(), gateway_whole),
        ("ingest.tls_cert_file", ingest.tls_cert_file.is_some(), ingest_whole),
        ("ingest.tls_key_file", ingest.tls_key_file.is_some(), ingest_whole),
        ("ingest.tls_client_ca_file", ingest.tls_client_ca_file.is_some(), ingest_whole),
        ("ingest.tls_ticket_secret_file", ingest.tls_ticket_secret_file.is_some(), ingest_whole),
    ]
}

/// The same address with the same port; port 0 is a different one each time.
fn is_same(a: SocketAddr, b: SocketAddr) -> bool {
    a == b && a.port() != 0
}
