//! Which hosts and which web pages may talk to a service.
//!
//! A service that asks for credentials answers to any host name, and to pages of the sites on its list. Nobody but browsers
//! sends `Origin`, so the list keeps nobody else out; rights do.
//!
//! A service that runs open talks to nobody but this machine. The socket listens on loopback only; what is left is the
//! browser, which any web site can make talk to loopback:
//!
//! - `Host` must be a loopback name, else a site could name its own domain `127.0.0.1` and read everything as its own
//!   origin (DNS rebinding).
//! - `Origin`, where there is one, must be a page from loopback. This covers WebSockets too, to which the same-origin
//!   policy does not apply.
//!
//! With both, requests that browsers send without `Origin` (images, scripts, frames of another site) say `Sec-Fetch-Site:
//! cross-site` and are refused, but for a person following a link, which tells the site nothing.
//!
//! Pages that are let in are answered with CORS headers. Refusals carry none.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use tidings_protocol::codes::ErrorCode;

use super::problem::Refused;
use crate::config::{OriginVerdict, Origins};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
/// The star covers what CloudEvents put into headers (`ce-*`); it does not cover `Authorization`, and old browsers do
/// not know it.
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "*, Accept, Authorization, Content-Encoding, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID, \
     traceparent, tracestate",
);
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "Allow, Content-Disposition, ETag, Link, Location, Retry-After, X-Poll-Interval, X-RateLimit-Limit, \
     X-RateLimit-Remaining, X-RateLimit-Reset, traceparent",
);
/// How long a browser may remember a preflight's answer, in seconds: the longest that Chromium takes.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const VARY_ON: HeaderValue = HeaderValue::from_static("Origin");
const ANY_PAGE: HeaderValue = HeaderValue::from_static("*");

/// Who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// This machine, by a loopback name, and its pages.
    Open,
    /// By any name; pages of these sites. Credentials are asked for elsewhere.
    Closed(Origins),
}

/// By whom a browser lets an answer be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Readable {
    /// This page may read it.
    Page,
    /// This page may read it, and may send what the browser keeps for this host: cookies of a proxy before it, or
    /// certificates.
    PageWithCredentials,
    /// Any page may read it, but send nothing of the kind.
    AnyPage,
}

/// Middleware around every route: refuses with 403 what may not come in, answers preflights, and adds CORS headers for
/// pages that may.
pub(super) async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let readable = match guard.admit(request.method(), request.uri(), request.headers()) {
        Ok(readable) => readable,
        Err(refused) => {
            let mut response = refused.into_response();
            response.headers_mut().append(header::VARY, VARY_ON);
            return response;
        }
    };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = request.method() == Method::OPTIONS
        && origin.is_some()
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(header::VARY, VARY_ON);
    if let Some(origin) = origin {
        let page = if readable == Readable::AnyPage { ANY_PAGE } else { origin };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
        if readable == Readable::PageWithCredentials {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        if preflight {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, ALLOW_METHODS);
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        } else {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSE_HEADERS);
        }
    }
    response
}

impl Guard {
    fn admit(&self, method: &Method, target: &Uri, headers: &HeaderMap) -> Result<Readable, Refused> {
        match self {
            Guard::Open => judge(method, target, headers).map(|()| Readable::Page),
            Guard::Closed(origins) => judge_page(method, headers, |origin| {
                match origin.to_str().map_or(OriginVerdict::Refused, |origin| origins.judge(origin)) {
                    OriginVerdict::Listed => Ok(Readable::PageWithCredentials),
                    OriginVerdict::Any => Ok(Readable::AnyPage),
                    OriginVerdict::Refused => Err("the page's site is not on the list of origins"),
                }
            }),
        }
    }
}

/// Whether a request may come in to a service that runs open, by its target and header fields alone.
pub fn judge(method: &Method, target: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    judge_host(target, headers)?;
    let local = |origin: &HeaderValue| {
        if is_loopback_page(origin) { Ok(Readable::Page) } else { Err("the page is not from this machine") }
    };
    judge_page(method, headers, local).map(|_| ())
}

/// The host is named in the target (HTTP/2, absolute form), in `Host`, or in both; each name must be a loopback one.
fn judge_host(target: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    let refuse = |detail| Err(Refused::new(ErrorCode::HostRefused, detail));
    let mut named = false;
    if let Some(authority) = target.authority() {
        if !is_loopback_authority(authority) {
            return refuse("the target is not a loopback name");
        }
        named = true;
    }
    for host in headers.get_all(header::HOST) {
        let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
            return refuse("the Host header is not readable");
        };
        if !is_loopback_authority(&authority) {
            return refuse("the Host header is not a loopback name (localhost, 127.0.0.1, [::1])");
        }
        named = true;
    }
    if named { Ok(()) } else { refuse("the request names no host") }
}

/// Judges by the page that asks, if there is one.
fn judge_page(
    method: &Method,
    headers: &HeaderMap,
    page: impl FnOnce(&HeaderValue) -> Result<Readable, &'static str>,
) -> Result<Readable, Refused> {
    let refuse = |detail| Refused::new(ErrorCode::OriginRefused, detail);
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => page(origin).map_err(refuse),
        (Some(_), Some(_)) => Err(refuse("there is more than one Origin header")),
        // The browser's own word, which a page cannot forge; whoever is no browser does not send it.
        (None, _) if headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site") => {
            if is_followed_link(method, headers) {
                Ok(Readable::Page)
            } else {
                Err(refuse("another site's page asked for this"))
            }
        }
        (None, _) => Ok(Readable::Page),
    }
}

/// A person follows a link from another site: the whole tab goes, and the site sees nothing of the answer.
fn is_followed_link(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET
        && headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate")
        && headers.get(SEC_FETCH_DEST).is_some_and(|dest| dest == "document")
}

/// `http://` or `https://`, a loopback name, perhaps a port, and nothing else. `null` is nobody's page.
fn is_loopback_page(origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let Some(rest) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else { return false };
    rest.parse::<Authority>().is_ok_and(|authority| is_loopback_authority(&authority))
}

fn is_loopback_authority(authority: &Authority) -> bool {
    // User information has no place in a Host or Origin, and makes readers disagree about where the host begins.
    if authority.as_str().contains('@') {
        return false;
    }
    let port_is_sound = authority
        .as_str()
        .strip_prefix(authority.host())
        .is_some_and(|port| port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()));
    port_is_sound && is_loopback_name(authority.host())
}

/// `localhost` and names below it, all of 127.0.0.0/8 in the usual notation, and `[::1]`.
fn is_loopback_name(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    if let Ok(address) = host.parse::<std::net::Ipv4Addr>() {
        return address.is_loopback();
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost" || host.strip_suffix(".localhost").is_some_and(|label| !label.is_empty())
}

#[cfg(test)]
mod tests;
