//! A Prometheus of the test's own, that scrapes services each second and is asked by its HTTP API.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tidings_tests::cluster::Cluster;
use tidings_tests::http;
use tidings_tests::process::{Process, free_port};
use tidings_tests::service::Service;

use crate::repository;

/// A running Prometheus.
pub(crate) struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one with the chart's rules, which scrapes all services of a cluster, and waits until it answers.
    pub(crate) async fn watching(cluster: &Cluster) -> Prometheus {
        let folder = TempDir::new().expect("a temporary folder");
        let config = folder.path().join("prometheus.yaml");
        std::fs::write(&config, configuration(cluster)).expect("a file can be written");
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start("prometheus", command);
        let ready = |line: &str| line.contains("Server is ready to receive web requests").then_some(());
        process.line("ready to receive requests", ready).await;
        Prometheus { address, _process: process, _folder: folder }
    }

    /// What an expression comes to now: the values of its series.
    ///
    /// # Panics
    /// When it cannot be evaluated.
    pub(crate) async fn ask(&self, expression: &str) -> Vec<f64> {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let answer = http::get(self.address, &path).await.expect("Prometheus answers").json();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let value = |sample: &Value| sample[1].as_str().and_then(|text| text.parse().ok());
        match answer["data"]["resultType"].as_str() {
            Some("vector") => {
                let series = answer["data"]["result"].as_array().expect("a list");
                series.iter().filter_map(|series| value(&series["value"])).collect()
            }
            _ => value(&answer["data"]["result"]).into_iter().collect(),
        }
    }
}

/// The jobs have the names that the chart gives them.
fn configuration(cluster: &Cluster) -> String {
    let rules = repository("helm/tidings/files/rules.yaml");
    let mut text = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nrule_files: [{}]\nscrape_configs:\n",
        rules.canonicalize().expect("the rules are there").display()
    );
    for (job, services) in [("gateway", &cluster.gateways), ("ingest", &cluster.ingests)] {
        let targets: Vec<String> = services.iter().map(Service::admin).map(|admin| format!("\"{admin}\"")).collect();
        let targets = targets.join(", ");
        for (suffix, path) in [("", "/metrics"), ("-projects", "/metrics/projects")] {
            let _ = writeln!(
                text,
                "  - {{job_name: {job}{suffix}, metrics_path: {path}, static_configs: [{{targets: [{targets}]}}]}}"
            );
        }
    }
    text
}

/// As a query's value stands in an address.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
