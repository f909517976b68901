//! Server-sent events: a viewer whose socket is an HTTP body. The `id` of each block is the position to resume behind.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use tidings_limits::connections::Connection;
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_presence::Present;
use tidings_protocol::frames::After;
use tidings_protocol::grant::Grant;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::{Accepted, Parting};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::params::{self, Read};
use crate::bodies::Ends;
use crate::connections::Registered;
use crate::encodings::Sse;
use crate::metrics::{Metrics, OpenGuard, Sampler, Transport};
use crate::shared::Shared;
use crate::start;
use crate::traced::Deliveries;

/// Bytes of events that are taken for one chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// How often the stream looks at its clocks.
const TICK: Duration = Duration::from_secs(4);

/// A comment after so much silence, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Milliseconds after which a client reconnects by itself.
const RETRY_MS: u64 = 1_000;

/// What a request says of the socket that it came by.
pub(crate) struct Socket {
    /// When that was accepted, if nothing else was asked on it before.
    accepted: Option<Accepted>,
    /// Lets it end behind the stream.
    parting: Option<Parting>,
}

impl<S: Sync> FromRequestParts<S> for Socket {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Socket, Infallible> {
        let extensions = &parts.extensions;
        Ok(Socket { accepted: extensions.get().copied(), parting: extensions.get().cloned() })
    }
}

/// A stream of the project's events.
pub(super) async fn stream(
    shared: Arc<Shared>,
    project: Project,
    read: Read,
    grant: Grant,
    (place, socket): (Connection, Socket),
) -> Result<Response<Body>, Refused> {
    let topic = shared.topic(&project)?;
    params::started(&topic).await?;
    let after = read.after.unwrap_or(After::Now);
    let at = params::within(start::locate(&topic, shared.hub.broker(), after)).await?;
    let wake = Arc::new(Wake::default());
    let wants =
        Wants { at, newcomer: after == After::Now, filter: read.filter, lag: read.lag, snapshot: read.snapshot, grant };
    let mut tick = tokio::time::interval_at(Instant::now() + TICK, TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let present = shared.enter(&project, &wants.grant, tidings_presence::Transport::Sse);
    let registered = shared.register(wake.clone(), wants.grant.clone(), &[&project]).of_viewer();
    let mut viewer = Viewer::new(topic, wants, wake);
    if matches!(after, After::Position(_)) {
        viewer.resumes();
    }
    let events = Events {
        _present: present,
        registered,
        viewer,
        _place: place,
        _open: shared.metrics.open(Transport::Sse),
        metrics: shared.metrics.clone(),
        accepted: socket.accepted,
        parting: socket.parting,
        sampler: Sampler::default(),
        deliveries: Deliveries::new(shared.traces.clone()),
        handed_over: None,
        tick,
        wrote_at: Instant::now(),
        ready: vec![Bytes::from(format!("retry: {RETRY_MS}\nid: {at}\n\n"))],
        told_degraded: false,
        over: false,
    };
    Response::builder()
        .header(CONTENT_TYPE, "text/event-stream")
        .header(CACHE_CONTROL, "no-store")
        .header("x-accel-buffering", "no")
        .body(Body::from_stream(shared.bodies.watch(events)))
        .map_err(|error| Refused::new(tidings_protocol::codes::ErrorCode::Internal, error.to_string()))
}

/// The body of the answer.
struct Events {
    viewer: Viewer,
    registered: Registered,
    /// While it is held, the viewer is there.
    _present: Present,
    _place: Connection,
    _open: OpenGuard,
    metrics: Metrics,
    accepted: Option<Accepted>,
    parting: Option<Parting>,
    sampler: Sampler,
    deliveries: Deliveries,
    /// A chunk was handed over, and nobody asks for the next: the socket takes nothing.
    handed_over: Option<OpenGuard>,
    tick: Interval,
    wrote_at: Instant,
    /// Blocks that were taken and not yet handed over.
    ready: Vec<Bytes>,
    told_degraded: bool,
    over: bool,
}

impl Events {
    /// Somebody asks for a chunk: the one before was taken.
    fn on_asked(&mut self) {
        if self.handed_over.take().is_some() {
            if let Some(Accepted(at)) = self.accepted.take() {
                self.metrics.on_connected(at.elapsed());
            }
            self.sampler.written(&self.metrics);
            self.deliveries.written();
        }
    }

    fn on_tick(&mut self) {
        self.viewer.tell_at(&Sse, &mut self.ready);
        if self.ready.is_empty() && self.wrote_at.elapsed() >= KEEP_ALIVE {
            self.ready.push(Bytes::from_static(b":\n\n"));
        }
    }

    fn tell_news_of_the_gateway(&mut self) {
        let degraded = self.registered.is_degraded();
        if degraded != self.told_degraded {
            self.told_degraded = degraded;
            self.ready.push(format!("event: degraded\ndata: {{\"active\":{degraded}}}\n\n").into());
        }
        if let Some(retry_after_ms) = self.registered.control.draining() {
            self.over = true;
            if let Some(parting) = self.parting.as_ref().filter(|_| self.registered.control.is_shed()) {
                // Whoever comes back by the same socket comes back here.
                parting.part();
            }
            let block =
                format!("retry: {retry_after_ms}\nevent: draining\ndata: {{\"retry_after_ms\":{retry_after_ms}}}\n\n");
            self.ready.push(block.into());
        }
    }
}

impl Ends for Events {
    fn is_over(&mut self, _: Instant) -> bool {
        self.over || self.registered.is_refused() || self.registered.control.draining().is_some()
    }

    fn cut() -> Option<Self::Item> {
        None
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        // ORDER: register before looking, or news in between would be missed.
        this.registered.control.wake.register(cx.waker());
        this.registered.control.wake.take();
        this.on_asked();
        if this.over && this.ready.is_empty() {
            return Poll::Ready(None);
        }
        if this.registered.refused().is_some() {
            // The client comes back by itself, and is told why it may not.
            return Poll::Ready(None);
        }
        while this.tick.poll_tick(cx).is_ready() {
            this.on_tick();
        }
        if !this.over {
            this.tell_news_of_the_gateway();
        }
        if this.ready.is_empty() {
            let mut pull = Pull {
                encoding: &Sse,
                out: &mut this.ready,
                bytes_left: CHUNK_BYTES,
                events_left: usize::MAX,
                until: u64::MAX,
            };
            let wanted = this.sampler.wants();
            if wanted {
                this.viewer.want_sample();
            }
            if this.deliveries.is_on() {
                this.viewer.want_traced();
            }
            if this.viewer.poll_pull(cx, &mut pull).is_pending() {
                return Poll::Pending;
            }
            if this.deliveries.is_on() {
                this.deliveries.take(this.viewer.take_traced());
            }
            this.sampler.taken(wanted.then(|| this.viewer.take_sample()).flatten());
        }
        this.wrote_at = Instant::now();
        this.handed_over = Some(this.metrics.block());
        // One chunk for all that is ready; a single block is handed over without a copy.
        let chunk = match this.ready.len() {
            1 => this.ready.pop().unwrap_or_default(),
            _ => Bytes::from(this.ready.drain(..).fold(Vec::new(), |mut all, block| {
                all.extend_from_slice(&block);
                all
            })),
        };
        Poll::Ready(Some(Ok(chunk)))
    }
}
