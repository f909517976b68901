//! PyGent Factory's clients, unchanged, over two gateways behind a balancer without stickiness, on a real Redis: the native
//! WebSocket, and Socket.IO's own library. `tests/pygent` has the clients.

mod asking;
mod refusals;
mod socket_io;
mod streaming;
mod upgrade;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use tidings_tests::balancer::Balancer;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::process::{Process, free_port};
use tidings_tests::redis::{Durability, Redis};
use tidings_tests::service::{Service, command};
use tidings_tests::wait::eventually;

/// What its clients are called in the gateways' figures.
const CONNECTIONS: &str = "tidings_gateway_connections";

/// Requests that were answered.
const REQUESTS: &str = "tidings_http_request_seconds_count";

fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) async fn cluster() -> Cluster {
    let plan = Cluster::on_redis().gateways(2).set("TIDINGS_DIALECTS__SERVE", "pygent");
    let plan =
        plan.set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT).set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read,command");
    plan.start().await
}

fn node(link: &str, script: &str, clients_go: &Balancer, cluster: &Cluster, lost: &Path, goes: Goes) -> Process {
    let mut node = Command::new("node");
    node.arg(script).current_dir(folder("pygent"));
    node.env("TIDINGS_URL", format!("http://{}", clients_go.address())).env("TIDINGS_LINK", link);
    node.env("TIDINGS_INGEST", format!("http://{}", cluster.ingests[0].address())).env("TIDINGS_PROJECT", PROJECT);
    node.env("TIDINGS_GOLDEN", folder("../crates/dialects/tests")).env("TIDINGS_LOST", lost);
    node.env("TIDINGS_GOES", format!("{goes:?}"));
    Process::start(format!("{script} {link}"), node)
}

/// Ends the gateway that has the client; of one that polls, any.
async fn end_its_gateway(cluster: &mut Cluster, goes: Goes) {
    let mut most = (0.0, 0);
    for (index, gateway) in cluster.gateways.iter().enumerate() {
        let open = gateway.metric(CONNECTIONS).await;
        if open > most.0 {
            most = (open, index);
        }
    }
    let process = &mut cluster.gateways[most.1].process;
    match goes {
        Goes::Killed => process.kill(),
        Goes::Drained => {
            process.signal("TERM");
            process.ended().await;
        }
    }
}

/// How a gateway goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// It is killed.
    Killed,
    /// It is told to stop, and sends its clients away.
    Drained,
}

async fn lives(link: &str, goes: Goes) {
    let mut cluster = cluster().await;
    let clients_go = Balancer::over(cluster.gateways.iter().map(Service::address).collect()).await;
    let files = tempfile::tempdir().expect("there is room");
    let lost = files.path().join("lost");
    let mut client = node(link, "client.mjs", &clients_go, &cluster, &lost, goes);
    client.line("that it is ready to be cut off", |line| (line == "lose it").then_some(())).await;
    if link == "polling" {
        for gateway in &cluster.gateways {
            let asked = gateway.metric(REQUESTS).await;
            assert!(asked >= 20.0, "{asked} requests landed here");
        }
    }
    end_its_gateway(&mut cluster, goes).await;
    std::fs::write(lost, "").expect("there is room");
    let ended = client.ended().await;
    assert!(ended.success(), "{}", client.output());
}

#[tokio::test]
async fn a_native_client_sees_every_message_and_survives_its_gateway() {
    lives("native", Goes::Killed).await;
}

#[tokio::test]
async fn socket_ios_own_client_does_so_over_a_websocket() {
    lives("websocket", Goes::Killed).await;
}

#[tokio::test]
async fn and_by_polling_with_each_request_at_another_gateway() {
    lives("polling", Goes::Killed).await;
}

#[tokio::test]
async fn and_as_it_comes_by_polling_first_and_then_over_a_websocket() {
    lives("default", Goes::Killed).await;
}

#[tokio::test]
async fn a_gateway_that_stops_sends_a_native_client_on() {
    lives("native", Goes::Drained).await;
}

#[tokio::test]
async fn a_gateway_that_stops_sends_socket_ios_client_on() {
    lives("websocket", Goes::Drained).await;
}

#[tokio::test]
async fn a_gateway_that_stops_costs_a_polling_client_nothing() {
    lives("polling", Goes::Drained).await;
}

/// Lines of shell of the page for those who come from the system itself, in their order.
fn steps() -> Vec<String> {
    let page = std::fs::read_to_string(folder("../docs/migrate/pygent.md")).expect("there is such a page");
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_steps_for_those_who_come_from_the_system_do_what_they_say() {
    let redis = Redis::with(Durability::Memory, &[]).await;
    let address = format!("127.0.0.1:{}", free_port());
    let (mut settings, mut services, mut answers) = (Vec::new(), None, Vec::new());
    for line in steps() {
        let line = line.replace("127.0.0.1:8000", &address).replace("redis://127.0.0.1:6379", &redis.url());
        if let Some(setting) = line.strip_prefix("export ") {
            let (name, value) = setting.split_once('=').expect("a setting has a value");
            settings.push((name.to_owned(), value.trim_matches('"').to_owned()));
        } else if let Some(arguments) = line.strip_prefix("tidings ") {
            let mut started = command();
            started.args(arguments.split(' ')).args(["--admin-listen", &format!("127.0.0.1:{}", free_port())]);
            started.envs(settings.iter().map(|(name, value)| (name, value)));
            services = Some(Process::start("tidings all", started));
            let ready = || async { http::get(address.parse().expect("an address"), "/ws-test").await.ok() };
            eventually("the services answer", ready).await;
        } else {
            assert!(line.starts_with("curl ") && services.is_some(), "no test here runs this line: {line}");
            let shell = tokio::task::spawn_blocking(move || Command::new("sh").arg("-c").arg(&line).output());
            let output = shell.await.expect("it does not panic").expect("it starts");
            answers.push(String::from_utf8(output.stdout).expect("output is text"));
        }
    }
    let [test, poll, taken, posted @ ..] = answers.as_slice() else { panic!("{answers:?}") };
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(json(test)["endpoint"], "/ws");
    assert_eq!(json(poll.strip_prefix('0').expect("it opens a session"))["pingInterval"], 25_000);
    assert_eq!(json(taken)["commands"], Value::Array(Vec::new()));
    assert_eq!(posted.len(), 3);
    for answer in posted {
        assert_eq!(json(answer)["results"][0]["status"], "appended", "{answer}");
    }
}
