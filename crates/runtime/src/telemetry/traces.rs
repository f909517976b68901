//! Traces: a runner's `traceparent` (W3C Trace Context) leads through ingest, the append and Redis to the deliveries, each a
//! span that is sent to a collector over OTLP (HTTP, protobuf).
//!
//! Nothing is sampled here but what the runner sampled, and a part of the requests that bring no trace. Who publishes could
//! say of everything that it is sampled, so no more than a rate of that is recorded, in each process. What is not sampled,
//! and everything while no collector is named, costs one comparison. Spans wait in a bounded queue for a thread of their own
//! that sends them; what does not fit is dropped: traces never hold up events.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId,
    TraceState, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use parking_lot::Mutex;
use prometheus::{IntCounter, Registry};
use tidings_limits::Rate;
use tidings_limits::local::LocalLimit;
use tidings_protocol::intake::{is_sampled, valid_traceparent};
use tracing::Subscriber;
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::filter::{Directive, LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

use crate::config::TelemetryConfig;

/// The target of spans that are exported.
const TARGET: &str = "tidings_trace";

/// Who records the spans.
const SCOPE: &str = "tidings";

/// Spans that wait to be sent; more are dropped.
const QUEUE_SPANS_MAX: usize = 4_096;

/// How long one sending may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// How often what waits is sent.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// Spans that one span may link to.
pub const LINKS_MAX: usize = 16;

/// Where spans go. Cheap to clone; off unless it was started.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Inner>>);

struct Inner {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    begun_permille: u64,
    foreign: Mutex<LocalLimit>,
    over_rate: IntCounter,
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.otlp_url: {0}")]
pub struct TracesError(String);

/// A span that is over.
#[derive(Debug)]
pub struct Done<'a> {
    /// What was done.
    pub name: &'static str,
    /// Between which two moments.
    pub times: (SystemTime, SystemTime),
    /// What it was part of.
    pub parent: &'a str,
    /// What else it was for; of more than [`LINKS_MAX`] the first.
    pub links: &'a [&'a str],
    /// Why it failed; none: it did not.
    pub error: Option<&'static str>,
}

/// The span of a request that is going on. Dropping it ends it.
#[derive(Debug)]
pub struct Request {
    span: tracing::Span,
    traceparent: String,
}

impl Traces {
    /// Starts to send spans of `service`, if the configuration names a collector. Fails where the address is none.
    pub fn start(config: &TelemetryConfig, service: &'static str) -> Result<Traces, TracesError> {
        let Some(url) = config.otlp_url.get() else { return Ok(Traces::default()) };
        let endpoint = format!("{}/v1/traces", url.trim_end_matches('/'));
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(SEND_TIMEOUT)
            .build()
            .map_err(|error| TracesError(error.to_string()))?;
        let batches =
            BatchConfigBuilder::default().with_max_queue_size(QUEUE_SPANS_MAX).with_scheduled_delay(SEND_EVERY);
        let about = [KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
        let resource = Resource::builder().with_service_name(format!("tidings-{service}")).with_attributes(about);
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build())
            // Only what is sampled gets here.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer(SCOPE);
        Ok(Traces(Some(Arc::new(Inner {
            provider,
            tracer,
            begun_permille: config.trace_permille as u64,
            foreign: Mutex::new(LocalLimit::new(Rate::per_second(config.traces_per_second, config.traces_per_second))),
            over_rate: over_rate(),
        }))))
    }

    /// Registers what it counts.
    ///
    /// # Errors
    /// When the registry has another one's.
    pub fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.0.as_deref().map_or_else(over_rate, |inner| inner.over_rate.clone())))
    }

    /// Whether what comes from outside and says that it is sampled may be recorded now. Counts it: to be asked once for
    /// each thing that was done.
    pub fn admits(&self) -> bool {
        let Some(inner) = self.0.as_deref() else { return false };
        let admitted = inner.foreign.lock().check(1).is_allowed();
        if !admitted {
            inner.over_rate.inc();
        }
        admitted
    }

    /// Whether spans go anywhere.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether what carries this is to be recorded.
    pub fn samples(&self, traceparent: &str) -> bool {
        self.is_on() && is_sampled(traceparent)
    }

    /// Begins the span of a request that a client made; none if it is not sampled, or too many are. Without a trace of its
    /// own it may begin one.
    pub fn request(&self, name: &'static str, traceparent: Option<&str>) -> Option<Request> {
        let inner = self.0.as_deref()?;
        let parent = match traceparent {
            Some(traceparent) => {
                let parent = sampled(traceparent)?;
                if !self.admits() {
                    return None;
                }
                Context::new().with_remote_span_context(parent)
            }
            None if rand::random_range(0..1_000) < inner.begun_permille => Context::new(),
            None => return None,
        };
        let span = tracing::info_span!(
            target: TARGET,
            "request",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            trace_id = tracing::field::Empty,
        );
        span.set_parent(parent).ok()?;
        let context = span.context();
        let context = context.span().span_context().clone();
        if !context.is_valid() {
            return None;
        }
        span.record("trace_id", context.trace_id().to_string());
        Some(Request { span, traceparent: written(&context) })
    }

    /// Records a span. Its `traceparent`, for what follows from it; none if its parent is not sampled.
    pub fn record(&self, done: &Done<'_>) -> Option<String> {
        let inner = self.0.as_deref()?;
        let parent = Context::new().with_remote_span_context(sampled(done.parent)?);
        let links = done.links.iter().filter_map(|link| sampled(link)).take(LINKS_MAX);
        let builder = SpanBuilder::from_name(done.name)
            .with_kind(SpanKind::Internal)
            .with_start_time(done.times.0)
            .with_links(links.map(Link::with_context).collect());
        let mut span = inner.tracer.build_with_context(builder, &parent);
        if let Some(error) = done.error {
            span.set_status(Status::error(error));
        }
        let traceparent = written(span.span_context());
        span.end_with_timestamp(done.times.1);
        Some(traceparent)
    }

    /// Sends what waits, and ends. Blocks for as long as a sending may take: not on a runtime's thread.
    pub fn finish(&self) {
        if let Some(Err(error)) = self.0.as_deref().map(|inner| inner.provider.shutdown()) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }

    /// What turns spans of requests into exported ones; none where nothing is exported.
    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> Option<OpenTelemetryLayer<S, SdkTracer>> {
        let tracer = self.0.as_deref()?.tracer.clone();
        let layer = OpenTelemetryLayer::new(tracer).with_location(false).with_threads(false).with_target(false);
        Some(layer.with_tracked_inactivity(false))
    }
}

impl Request {
    /// What follows from it carries this.
    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Log lines of what runs in it have its trace id.
    pub fn span(&self) -> &tracing::Span {
        &self.span
    }

    /// It was refused, or failed.
    pub fn fail(&self) {
        self.span.record("otel.status_code", "ERROR");
    }
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Traces").field(&self.is_on()).finish()
    }
}

/// Lets spans of requests pass whatever lines are wanted, so that lines in them have the trace id.
pub(super) fn directive() -> Directive {
    format!("{TARGET}=info").parse().expect("a directive")
}

/// Spans that are exported.
pub(super) fn of_requests() -> Targets {
    Targets::new().with_target(TARGET, LevelFilter::INFO)
}

/// The context that a `traceparent` names, if it is sampled.
fn sampled(traceparent: &str) -> Option<SpanContext> {
    let mut parts = valid_traceparent(traceparent)?.split('-').skip(1);
    let (trace, span) = (parts.next()?, parts.next()?);
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    flags.is_sampled().then(|| SpanContext::new(trace, span, TraceFlags::SAMPLED, true, TraceState::default()))
}

fn over_rate() -> IntCounter {
    IntCounter::new("tidings_traces_over_rate_total", "Sampled things that were not traced: too many at once.")
        .expect("a good name")
}

fn written(context: &SpanContext) -> String {
    format!("00-{}-{}-01", context.trace_id(), context.span_id())
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::config::value::Setting;

    const RUNNER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_what_was_sampled_is() {
        let context = sampled(RUNNER).expect("sampled");
        assert_eq!(written(&context), RUNNER);
        for none in [RUNNER.replace("-01", "-00"), RUNNER.to_uppercase(), String::new()] {
            assert!(sampled(&none).is_none(), "{none}");
        }
        assert!(sampled(&RUNNER.replace("-01", "-03")).is_some(), "other flags do not matter");
    }

    #[tokio::test(start_paused = true)]
    async fn who_samples_everything_is_traced_at_a_rate() {
        let mut config = TelemetryConfig { traces_per_second: 5, ..TelemetryConfig::default() };
        config.otlp_url = Setting::read(&"http://127.0.0.1:9".into()).expect("an address");
        let traces = Traces::start(&config, "ingest").expect("an address");
        let registry = Registry::new();
        traces.register(&registry).expect("a fresh registry");
        let _layered = tracing::subscriber::set_default(tracing_subscriber::registry().with(traces.layer()));
        let begun = || (0..100).filter(|_| traces.request("publish", Some(RUNNER)).is_some()).count();
        assert_eq!(begun(), 5);
        let over_rate = || traces.0.as_deref().expect("it is on").over_rate.get();
        assert_eq!((over_rate(), registry.gather()[0].name()), (95, "tidings_traces_over_rate_total"));
        let unsampled = RUNNER.replace("-01", "-00");
        assert!(traces.request("publish", Some(&unsampled)).is_none());
        assert_eq!(over_rate(), 95, "it asked for nothing");
        tokio::time::advance(Duration::from_millis(600)).await;
        assert!(traces.admits(), "what events say draws from the same");
        assert_eq!(begun(), 2);
        tokio::task::spawn_blocking(move || traces.finish()).await.expect("no panic");
    }

    #[test]
    fn off_it_records_nothing() {
        let traces = Traces::start(&TelemetryConfig::default(), "gateway").expect("off");
        assert!(!traces.is_on() && !traces.samples(RUNNER));
        assert!(traces.request("publish", Some(RUNNER)).is_none());
        let now = SystemTime::now();
        let done = Done { name: "append", times: (now, now), parent: RUNNER, links: &[], error: None };
        assert_eq!(traces.record(&done), None);
        traces.finish();
    }
}
