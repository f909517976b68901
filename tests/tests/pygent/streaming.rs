//! A gateway is killed while answers are on their way; `tests/pygent/streaming.mjs` says what goes on then, link by link.

use std::process::Command;

use tidings_tests::balancer::Balancer;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::process::Process;
use tidings_tests::service::Service;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};

use crate::{Goes, end_its_gateway, folder};

async fn loses_its_gateway(link: &str, viewer: Option<&str>) {
    let plan = Cluster::on_redis().gateways(2).set(SECRET_VARIABLE, SECRET).set("TIDINGS_DIALECTS__SERVE", "pygent");
    let plan = plan.set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT);
    let mut cluster = plan.set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read,command").start().await;
    let clients_go = Balancer::over(cluster.gateways.iter().map(Service::address).collect()).await;
    let files = tempfile::tempdir().expect("there is room");
    let lost = files.path().join("lost");
    let mut node = Command::new("node");
    node.arg("streaming.mjs").current_dir(folder("pygent")).env("TIDINGS_LINK", link).env("TIDINGS_LOST", &lost);
    node.env("TIDINGS_URL", format!("http://{}", clients_go.address())).env("TIDINGS_PROJECT", PROJECT);
    node.env("TIDINGS_INGEST", format!("http://{}", cluster.ingests[0].address()));
    node.env("TIDINGS_RUNNER", token("runner", PROJECT, "publish work"));
    node.envs(viewer.map(|viewer| ("TIDINGS_VIEWER", token(viewer, PROJECT, "read command"))));
    let mut client = Process::start(format!("streaming.mjs {link}"), node);
    client.line("that answers are on their way", |line| (line == "lose it").then_some(())).await;
    end_its_gateway(&mut cluster, Goes::Killed).await;
    std::fs::write(lost, "").expect("there is room");
    let ended = client.ended().await;
    assert!(ended.success(), "{}", client.output());
}

#[tokio::test]
async fn over_socket_io_answers_that_were_on_their_way_come_whole() {
    loses_its_gateway("websocket", None).await;
}

#[tokio::test]
async fn a_native_client_with_a_token_hears_how_they_go_on() {
    loses_its_gateway("native", Some("ann")).await;
}

#[tokio::test]
async fn a_native_client_that_nobody_knows_is_told_what_is_open() {
    loses_its_gateway("native", None).await;
}
