//! One call of a receiver: signed, within a time limit, to an address that may be called, and what became of it.
//!
//! Redirects are not followed and no proxy is used: whoever answers for an address, or sets the environment, must not be able
//! to send us elsewhere. What an answer says is read up to a bound and never told on; errors name no path, no query and no
//! secret.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tidings_protocol::network::Networks;
use tidings_protocol::settings::hooks::{CommandWebhook, HookUrl, Secret, Webhook};
use tokio::time::{Instant, timeout_at};

use crate::addresses::{Addresses, NoneCalled};
use crate::signature::{self, sign};

/// The header with the delivery's id: the same for every attempt.
pub const DELIVERY: HeaderName = HeaderName::from_static("tidings-delivery");

/// The header with the number of the attempt, from 1.
pub const ATTEMPT: HeaderName = HeaderName::from_static("tidings-attempt");

/// The header with the signature.
pub const SIGNATURE: HeaderName = HeaderName::from_static(signature::HEADER);

/// Most of an answer's body that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Idle connections that are kept to one receiver: its webhooks are called one after the other.
const IDLE_PER_HOST: usize = 2;

/// How long a connection is kept without a call.
const IDLE: Duration = Duration::from_secs(30);

/// Longest text about a failure, in bytes.
const TOLD_BYTES_MAX: usize = 256;

/// How calls are made.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Networks that are called beside public addresses.
    pub allowed_networks: Networks,
    /// How long a call may take, from resolving the name to the end of the answer.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { allowed_networks: Networks::default(), timeout: Duration::from_secs(10) }
    }
}

/// Why there is no caller.
#[derive(Debug, thiserror::Error)]
#[error("webhooks cannot be called: {0}")]
pub struct CallerError(String);

/// Who is called, and what is signed with. Prints neither secrets nor what is behind the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub url: HookUrl,
    /// What the body is signed with.
    pub secret: Secret,
    /// What it is signed with as well.
    pub previous_secret: Option<Secret>,
}

impl From<&Webhook> for Target {
    fn from(webhook: &Webhook) -> Target {
        let Webhook { url, secret, previous_secret, .. } = webhook.clone();
        Target { url, secret, previous_secret }
    }
}

impl From<&CommandWebhook> for Target {
    fn from(webhook: &CommandWebhook) -> Target {
        let CommandWebhook { url, secret, previous_secret, .. } = webhook.clone();
        Target { url, secret, previous_secret }
    }
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// 2xx: the receiver has it.
    Taken {
        /// The status.
        status: u16,
        /// The answer, at most [`ANSWER_BYTES_MAX`] of it.
        body: Bytes,
        /// Whether there was more, or the rest did not come.
        is_cut: bool,
    },
    /// 410: the receiver wants no more of this webhook.
    Gone,
    /// 400, 413, 415 or 422: the receiver read it, and sent again it will be refused again.
    Refused {
        /// The status.
        status: u16,
    },
    /// Anything else; it may be better later. Redirects, 401, 403 and 404 among it: somebody has to set something right, and
    /// then nothing should be missing.
    Failed {
        /// Why, as a label.
        why: Why,
        /// Why, for people: without path, query and secrets.
        told: String,
        /// When the receiver wants to be called again (`Retry-After`).
        retry_after: Option<Duration>,
    },
}

/// Why a call failed. The words are labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The address may not be called.
    Address,
    /// No connection, or none that is encrypted as it must be.
    Connect,
    /// The name does not resolve.
    Dns,
    /// 429.
    Limited,
    /// 3xx.
    Redirect,
    /// 5xx.
    Server,
    /// Another status.
    Status,
    /// Nothing within the time limit.
    Timeout,
    /// The connection broke, or what came is no HTTP.
    Transport,
}

impl Why {
    /// All of them.
    pub const ALL: [Why; 9] = [
        Why::Address,
        Why::Connect,
        Why::Dns,
        Why::Limited,
        Why::Redirect,
        Why::Server,
        Why::Status,
        Why::Timeout,
        Why::Transport,
    ];

    /// The label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Address => "address",
            Why::Connect => "connect",
            Why::Dns => "dns",
            Why::Limited => "limited",
            Why::Redirect => "redirect",
            Why::Server => "server",
            Why::Status => "status",
            Why::Timeout => "timeout",
            Why::Transport => "transport",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Calls receivers. One for a process; how many calls are under way at a time is its user's matter.
#[derive(Debug)]
pub struct Caller {
    addresses: Addresses,
    /// By https: public addresses and allowed ones.
    encrypted: Client,
    /// By http: allowed ones alone.
    plain: Client,
    timeout: Duration,
}

impl Caller {
    /// A caller with these settings.
    ///
    /// # Errors
    /// When the system's roots of trust cannot be read.
    pub fn new(settings: Settings) -> Result<Caller, CallerError> {
        let Settings { allowed_networks, timeout } = settings;
        let addresses = Addresses::new(allowed_networks);
        let client = |encrypted: bool| {
            Client::builder()
                .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_proxy()
                .https_only(encrypted)
                .dns_resolver(addresses.resolver(encrypted))
                .pool_max_idle_per_host(IDLE_PER_HOST)
                .pool_idle_timeout(IDLE)
                .build()
                .map_err(|error| CallerError(chain(&error)))
        };
        let (encrypted, plain) = (client(true)?, client(false)?);
        Ok(Caller { addresses, encrypted, plain, timeout })
    }

    /// Makes one call. `id` is the delivery's, the same for every attempt, of visible ASCII (else
    /// `?` stands in a character's place); `attempt` counts from 1. Signed with the time of the call.
    ///
    /// Dropped before it is ready the receiver may have it, or may not.
    pub async fn deliver(&self, target: &Target, id: &str, attempt: u32, body: Bytes) -> Delivered {
        let url = target.url.as_url();
        if let Err(forbidden) = self.addresses.check(url) {
            return failed(Why::Address, forbidden.to_string());
        }
        let until = Instant::now() + self.timeout;
        let client = if url.scheme() == "https" { &self.encrypted } else { &self.plain };
        let headers = headers(target, id, attempt, &body);
        let call = client.post(url.clone()).headers(headers).body(body).send();
        match timeout_at(until, call).await {
            Err(_) => failed(Why::Timeout, format!("no answer within {} ms", self.timeout.as_millis())),
            Ok(Err(error)) => unanswered(error),
            Ok(Ok(answer)) => answered(answer, until).await,
        }
    }
}

fn headers(target: &Target, id: &str, attempt: u32, body: &[u8]) -> HeaderMap {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let signed = sign([&target.secret].into_iter().chain(&target.previous_secret), now_s, body);
    let visible = id.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect::<String>();
    let value = |text: String| HeaderValue::try_from(text).expect("visible ASCII");
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (DELIVERY, value(visible)),
        (ATTEMPT, attempt.into()),
        (SIGNATURE, value(signed)),
    ])
}

/// What an answer says. Only that of a receiver that took it is read.
async fn answered(mut answer: Response, until: Instant) -> Delivered {
    let status = answer.status();
    if status.is_success() {
        let (body, is_cut) = read(&mut answer, until).await;
        return Delivered::Taken { status: status.as_u16(), body, is_cut };
    }
    let why = match status {
        StatusCode::GONE => return Delivered::Gone,
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => return Delivered::Refused { status: status.as_u16() },
        StatusCode::TOO_MANY_REQUESTS => Why::Limited,
        _ if status.is_redirection() => Why::Redirect,
        _ if status.is_server_error() => Why::Server,
        _ => Why::Status,
    };
    let wish = answer.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
    Delivered::Failed { why, told: format!("answered with status {}", status.as_u16()), retry_after: wish }
}

/// The body up to its bound, and whether there was more. What breaks off or takes too long was taken all the same: the status
/// said so.
async fn read(answer: &mut Response, until: Instant) -> (Bytes, bool) {
    let mut body = Vec::new();
    loop {
        match timeout_at(until, answer.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let room = ANSWER_BYTES_MAX - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return (body.into(), true);
                }
            }
            Ok(Ok(None)) => return (body.into(), false),
            Ok(Err(_)) | Err(_) => return (body.into(), true),
        }
    }
}

/// Seconds, or a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // What is too large for a number is long enough.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

fn unanswered(error: reqwest::Error) -> Delivered {
    let error = error.without_url();
    let why = if causes(&error).any(<dyn std::error::Error>::is::<NoneCalled>) {
        return failed(Why::Address, NoneCalled.to_string());
    } else if error.is_timeout() {
        Why::Timeout
    } else if error.is_dns() {
        Why::Dns
    } else if error.is_connect() {
        Why::Connect
    } else {
        Why::Transport
    };
    failed(why, chain(&error))
}

fn failed(why: Why, told: String) -> Delivered {
    Delivered::Failed { why, told, retry_after: None }
}

fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// An error with its causes, in one short line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ");
    told.truncate(told.floor_char_boundary(TOLD_BYTES_MAX));
    told
}

#[cfg(test)]
mod tests;
