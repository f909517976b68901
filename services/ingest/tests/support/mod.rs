//! An ingest on a store in memory, behind a real socket, and what tests say to it.
#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod raw;
pub(crate) mod store;

use std::io::Write as _;
use std::sync::Arc;

use prometheus::Registry;
use reqwest::header::HeaderMap;
use serde_json::Value;
use store::Store;
use tidings_ingest::Ingest;
use tidings_protocol::entry::Body;
use tidings_protocol::position::{LogId, Position};
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;
use tidings_runtime::http::{Listener, Server, ServerMetrics, app};
use tidings_runtime::service::Service;

/// A running ingest.
pub(crate) struct Rig {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) store: Store,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) registry: Registry,
    client: reqwest::Client,
    /// What [`Rig::call`] shows.
    credential: Option<String>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// The lines of a stream's answer.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Asserts that this is a problem of this code.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }
}

impl Rig {
    pub(crate) async fn start() -> Rig {
        Rig::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Rig {
        Rig::start_on(config, Store::default(), Rights::open()).await
    }

    #[allow(clippy::unused_async, reason = "a server starts within a runtime")]
    pub(crate) async fn start_on(config: Config, store: Store, rights: Rights) -> Rig {
        let registry = Registry::new();
        let limits = tidings_limits::Metrics::register(&registry).expect("a registry of its own");
        let ingest = Ingest::new(
            &config,
            Arc::new(store.clone()),
            rights,
            limits,
            tidings_runtime::telemetry::traces::Traces::default(),
            &registry,
        )
        .expect("a fresh registry");
        let ingest = Arc::new(ingest);
        let listener = Listener::bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let metrics = ServerMetrics::register(&Registry::new()).expect("a registry of its own");
        let services: [Arc<dyn Service>; 1] = [ingest.clone()];
        let server = Server::start(listener, app(&services), metrics).expect("a runtime");
        Rig { address: server.address(), store, ingest, registry, client: reqwest::Client::new(), credential: None }
    }

    /// The same, whose calls show this credential.
    pub(crate) fn shown(self, credential: &str) -> Rig {
        Rig { credential: Some(credential.to_owned()), ..self }
    }

    pub(crate) async fn post(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        self.post_to("/v1/projects/demo/events", headers, body).await
    }

    pub(crate) async fn post_to(&self, path: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let mut request = self.client.post(format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.expect("a whole answer") }
    }

    /// Any request; the body is JSON.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let method = method.parse().expect("a method");
        let request = self.client.request(method, format!("http://{}{path}", self.address));
        let request = self.credential.iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        let request = body.into_iter().fold(request, |request, body| request.json(&body));
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.expect("a whole answer") }
    }

    /// Posts JSON, which must be taken.
    pub(crate) async fn publish(&self, body: &str) -> Value {
        let answer = self.post(&[("content-type", "application/json")], body.to_owned()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// The events of the log, each with its position.
    pub(crate) fn log(&self) -> Vec<(Position, wire::Event)> {
        let page = self.store.memory.copy(&demo()).read("", tidings_broker::Span::After(LogId::ZERO), usize::MAX);
        let mut events = Vec::new();
        for entry in page.entries {
            if let Body::Events(batch) = &entry.body {
                events.extend(batch.iter().enumerate().map(|(i, event)| (entry.position_of(i), event.clone())));
            }
        }
        events
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.log().into_iter().map(|(_, event)| event.id).collect()
    }
}

pub(crate) fn demo() -> Project {
    "demo".parse().expect("a project's name")
}

pub(crate) fn event(id: &str) -> String {
    format!(r#"{{"type":"note","id":"{id}","data":{{"n":1}}}}"#)
}

pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).expect("a Vec takes all");
    encoder.finish().expect("a Vec takes all")
}

pub(crate) fn zstd(text: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(text, 1).expect("a slice can be read")
}

pub(crate) const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
