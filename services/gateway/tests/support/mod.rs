//! A gateway on a store in memory, asked without sockets, so that its clock may be paused.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod log;
pub(crate) mod store;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use log::{Writer, event};
use prometheus::Registry;
use serde_json::Value;
use store::Store;
use tidings_gateway::Gateway;
use tidings_protocol::position::Position;
use tidings_runtime::config::{Config, GatewayConfig};
use tidings_runtime::http::rights::Rights;
use tidings_runtime::service::Service as _;
use tower::ServiceExt as _;

/// Longer than anything here takes, by the paused clock.
const HANG: Duration = Duration::from_mins(5);

/// Where the events of the project are.
pub(crate) const EVENTS: &str = "/v1/projects/demo/events";

/// A gateway and the log of the project `demo`.
pub(crate) struct Rig {
    pub(crate) store: Store,
    pub(crate) gateway: Gateway,
    pub(crate) writer: Writer,
    events: u64,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    async fn read(response: Response) -> Answer {
        let (head, body) = response.into_parts();
        let body = within(body.collect()).await.expect("a whole answer").to_bytes();
        let body = String::from_utf8(body.to_vec()).expect("answers are text");
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// Ids of events, and causes of gaps.
    pub(crate) fn told(&self) -> Vec<String> {
        told(self.json()["events"].as_array().unwrap_or_else(|| panic!("no events in {}", self.body)))
    }

    /// Asserts that this is a problem of this code; its first field.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> String {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self.json()["errors"][0]["field"].as_str().unwrap_or_default().to_owned()
    }
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::start_with(GatewayConfig::default()).await
    }

    /// A gateway whose topics hold the newest entry only: what is older comes from the store.
    pub(crate) async fn start_with_small_rings() -> Rig {
        Rig::start_with(GatewayConfig { ring_bytes_max: 1, ..GatewayConfig::default() }).await
    }

    async fn start_with(config: GatewayConfig) -> Rig {
        Rig::start_on(Config { gateway: config, ..Config::default() }).await
    }

    pub(crate) async fn start_on(config: Config) -> Rig {
        Rig::start_for(config, Rights::open()).await
    }

    /// For those who have these rights.
    pub(crate) async fn start_for(config: Config, rights: Rights) -> Rig {
        let store = Store::default();
        let (broker, limits) = (Arc::new(store.clone()), tidings_limits::Metrics::default());
        let gateway = Gateway::new(
            &config,
            broker,
            rights,
            limits,
            tidings_runtime::telemetry::traces::Traces::default(),
            &Registry::new(),
        )
        .expect("a fresh registry");
        let writer = Writer::new(&store.memory, "demo").await;
        Rig { store, gateway, writer, events: 0 }
    }

    /// Appends `count` entries of one event, `e1`, `e2` and so on; the position of the last one.
    pub(crate) async fn say(&mut self, count: u64) -> Position {
        let mut last = Position::ZERO;
        for _ in 0..count {
            self.events += 1;
            last = self.writer.append(vec![event(&format!("e{}", self.events), 10)]).await;
        }
        last
    }

    /// Asks, and leaves the body to the test.
    pub(crate) async fn open(&self, path: &str, accept: &str) -> Response {
        let request = Request::get(path).header("accept", accept).body(Body::empty()).expect("a request");
        within(self.gateway.router().oneshot(request)).await.expect("routers answer")
    }

    /// Asks for JSON and reads the whole answer.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(path, "application/json").await
    }

    /// Asks for JSON with this credential.
    pub(crate) async fn get_shown(&self, path: &str, credential: &str) -> Answer {
        let request = Request::get(path).header("authorization", format!("Bearer {credential}"));
        let request = request.body(Body::empty()).expect("a request");
        let response = within(self.gateway.router().oneshot(request)).await.expect("routers answer");
        Answer::read(response).await
    }

    /// Asks and reads the whole answer.
    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        Answer::read(self.open(path, accept).await).await
    }
}

/// Ids of events, and causes of gaps.
pub(crate) fn told(events: &[Value]) -> Vec<String> {
    let name = |event: &Value| event["id"].as_str().or(event["data"]["cause"].as_str()).unwrap_or("?").to_owned();
    events.iter().map(name).collect()
}

/// Waits with a limit that tells a hang.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, what).await.expect("it comes to an end")
}
