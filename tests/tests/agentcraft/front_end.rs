//! The front end of `tests/browser/agentcraft`, behind a balancer without stickiness.

use std::path::Path;
use std::process::Command;

use tidings_tests::balancer::Balancer;
use tidings_tests::http;
use tidings_tests::process::Process;
use tidings_tests::service::Service;
use tidings_tests::wait::eventually;

use super::{PROJECT, open};

/// Whether front ends are connected to this gateway.
async fn has_front_ends(gateway: &Service) -> bool {
    let metrics = http::get(gateway.admin(), "/metrics").await.expect("the admin port answers").text();
    let mut lines = metrics.lines().filter(|line| line.starts_with("tidings_gateway_connections{"));
    lines.any(|line| line.contains("dialect=\"agentcraft\"") && !line.ends_with(" 0"))
}

/// A front end's whole life, with messages of this shape.
async fn lives(frames: &str) {
    // What is the default needs no setting.
    let plan = match frames {
        "flat" => open().gateways(2),
        other => open().gateways(2).set("TIDINGS_DIALECTS__AGENTCRAFT_FRAMES", other),
    };
    let mut cluster = plan.start().await;
    let balancer = Balancer::over(cluster.gateways.iter().map(Service::address).collect()).await;
    let mut command = Command::new("node");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/agentcraft/client.mjs"));
    command.env("TIDINGS_URL", format!("http://{}", balancer.address())).env("TIDINGS_PROJECT", PROJECT);
    command.env("TIDINGS_FRAMES", frames);
    command.env("TIDINGS_INGEST", format!("http://{}", cluster.ingests[0].address()));
    let mut front_end = Process::start("front end", command);
    front_end.line("its gateway may go", |line| (line == "lose it").then_some(())).await;
    let gateways = &cluster.gateways;
    let its_own = eventually("the gateway that it is connected to", async || {
        for (index, gateway) in gateways.iter().enumerate() {
            if has_front_ends(gateway).await {
                return Some(index);
            }
        }
        None
    });
    let its_own = its_own.await;
    cluster.gateways[its_own].process.kill();
    front_end.line("all is well", |line| line.starts_with("done").then_some(())).await;
    assert!(front_end.ended().await.success(), "{}", front_end.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_meets_every_flat_message_and_loses_nothing_with_its_gateway() {
    lives("flat").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_meets_every_nested_message_and_knows_how_things_stand_behind_its_gateway() {
    lives("nested").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_front_end_may_be_told_both() {
    lives("both").await;
}
