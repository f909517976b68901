use std::net::SocketAddr;

use super::*;
use crate::testing::Client;

struct Stage {
    subject: Subject,
    address: SocketAddr,
    admin: Admin,
}

impl Stage {
    fn new() -> Stage {
        let subject = Subject {
            heartbeat: Heartbeat::new(),
            readiness: Readiness::default(),
            registry: Registry::new(),
            projects: ProjectFigures::default(),
        };
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let address = listener.address();
        let admin = Admin::start(listener, subject.clone(), crate::http::guard::Guard::Open).expect("a thread");
        Stage { subject, address, admin }
    }

    async fn get(&self, path: &str) -> String {
        Client::connect(self.address).await.ask(&format!("GET {path}"), "").await
    }
}

#[tokio::test]
async fn readiness_and_metrics_are_told() {
    let stage = Stage::new();
    stage.subject.readiness.set("broker", false, "not reached yet");
    let unready = stage.get("/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503 ") && unready.contains(r#""detail":"not reached yet""#), "{unready}");
    stage.subject.readiness.set("broker", true, "");
    assert!(stage.get("/readyz").await.starts_with("HTTP/1.1 200 "));
    let counter = prometheus::IntCounter::new("tidings_example_total", "An example.").expect("a sound name");
    stage.subject.registry.register(Box::new(counter.clone())).expect("a fresh registry");
    counter.inc();
    let metrics = stage.get("/metrics").await;
    assert!(metrics.contains("text/plain") && metrics.contains("\ntidings_example_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn other_sites_are_refused_here_too() {
    let stage = Stage::new();
    let answer = Client::connect(stage.address).await.ask("GET /metrics", "origin: https://example.com\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[tokio::test]
async fn liveness_follows_the_heartbeat() {
    let mut stage = Stage::new();
    assert!(stage.get("/livez").await.starts_with("HTTP/1.1 200 "));
    // The same heartbeat as a machine that has run for longer would see it.
    let start = stage.subject.heartbeat.start.checked_sub(BEAT_AGE_MAX + BEAT_EVERY);
    stage.subject.heartbeat.start = start.expect("the machine runs for longer than half a minute");
    let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    stage.address = listener.address();
    stage.admin = Admin::start(listener, stage.subject.clone(), crate::http::guard::Guard::Open).expect("a thread");
    assert!(stage.get("/livez").await.starts_with("HTTP/1.1 503 "), "the main runtime is stuck");
    stage.subject.heartbeat.touch();
    assert!(stage.get("/livez").await.starts_with("HTTP/1.1 200 "));
}

/// The answer comes from a thread of its own: this test's whole runtime is busy with waiting for it.
#[tokio::test]
async fn a_blocked_main_runtime_does_not_silence_the_port() {
    use std::io::{Read, Write};
    let stage = Stage::new();
    let mut socket = std::net::TcpStream::connect(stage.address).expect("the port listens");
    socket.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
