//! How long requests take, by route: from their head to the head of their answer. Bodies and streams come behind that.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use prometheus::{HistogramOpts, HistogramVec, Registry};

/// Upper bounds, in seconds. Polls that wait are in the last ones.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 25.0];

/// The kinds of status that every route may answer with.
const EXPECTED: [&str; 3] = ["2xx", "4xx", "5xx"];

/// The route of requests that no route answers.
const NO_ROUTE: &str = "other";

/// Times of requests. Cheap to clone; every request of a listener carries it as an extension.
#[derive(Debug, Clone)]
pub(super) struct RequestMetrics(HistogramVec);

impl RequestMetrics {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<RequestMetrics> {
        let help = "From a request's head to the head of its answer, by route and kind of status.";
        let options = HistogramOpts::new("tidings_http_request_seconds", help).buckets(SECONDS.to_vec());
        let seconds = HistogramVec::new(options, &["route", "status"])?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(RequestMetrics(seconds))
    }

    /// These routes will be asked for: their series are there from the start, so that the first request counts.
    pub(super) fn expect<'r>(&self, routes: impl IntoIterator<Item = &'r str>) {
        for route in routes.into_iter().chain([NO_ROUTE]) {
            for status in EXPECTED {
                self.0.with_label_values(&[route, status]);
            }
        }
    }
}

/// Middleware: times a request. Labels are the routes' templates and the five kinds of status, so there are few.
pub(super) async fn timed(request: Request, next: Next) -> Response {
    let Some(metrics) = request.extensions().get::<RequestMetrics>().cloned() else { return next.run(request).await };
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    metrics.0.with_label_values(&[route, kind(response.status())]).observe(began.elapsed().as_secs_f64());
    response
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
