//! All that clients may say beside their conversation, over each of their links; `tests/pygent/asking.mjs` says it.

use std::process::Command;

use tidings_tests::balancer::Balancer;
use tidings_tests::cluster::PROJECT;
use tidings_tests::process::Process;
use tidings_tests::service::Service;

use crate::{cluster, folder};

async fn asks(link: &str) {
    let cluster = cluster().await;
    let clients_go = Balancer::over(cluster.gateways.iter().map(Service::address).collect()).await;
    let mut node = Command::new("node");
    node.arg("asking.mjs").current_dir(folder("pygent")).env("TIDINGS_LINK", link);
    node.env("TIDINGS_URL", format!("http://{}", clients_go.address())).env("TIDINGS_PROJECT", PROJECT);
    node.env("TIDINGS_INGEST", format!("http://{}", cluster.ingests[0].address()));
    let mut client = Process::start(format!("asking.mjs {link}"), node);
    let ended = client.ended().await;
    assert!(ended.success(), "{}", client.output());
}

#[tokio::test]
async fn whatever_a_native_client_says_reaches_a_runner_and_is_answered() {
    asks("native").await;
}

#[tokio::test]
async fn whatever_is_said_over_a_websocket_of_socket_io_reaches_a_runner_and_is_answered() {
    asks("websocket").await;
}

#[tokio::test]
async fn whatever_is_said_by_polling_reaches_a_runner_and_is_answered() {
    asks("polling").await;
}
