//! Agent Swarm's dashboard, unchanged, over two gateways behind a balancer without stickiness, on a real Redis; and a runner
//! that builds. `tests/browser/agent-swarm` has the dashboard.

mod carries_on;
mod refused;

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tidings_tests::balancer::Balancer;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::process::{Process, free_port};
use tidings_tests::redis::{Durability, Redis};
use tidings_tests::service::binary;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::wait::eventually;

/// What its clients are called in the gateways' figures.
const CONNECTIONS: &str = "tidings_gateway_connections";

fn folder(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

async fn cluster() -> Cluster {
    let plan = Cluster::on_redis().gateways(2).set(SECRET_VARIABLE, SECRET).set("TIDINGS_GATEWAY__ORIGINS", "*");
    let plan = plan.set("TIDINGS_DIALECTS__SERVE", "agent_swarm");
    plan.set("TIDINGS_DIALECTS__AGENT_SWARM_PROJECT", PROJECT).start().await
}

fn dashboard(clients_go: &Balancer, cluster: &Cluster) -> Process {
    let mut node = Command::new("node");
    node.arg("agent-swarm/client.mjs").current_dir(folder("browser"));
    node.env("TIDINGS_URL", format!("http://{}", clients_go.address())).env("TIDINGS_PROJECT", PROJECT);
    node.env("TIDINGS_INGEST", format!("http://{}", cluster.ingests[0].address()));
    node.env("TIDINGS_VIEWER", token("alice", PROJECT, "read command"));
    node.env("TIDINGS_STRANGER", token("mallory", "elsewhere", "read command"));
    node.env("TIDINGS_RUNNER", token("builder", PROJECT, "publish"));
    Process::start("the dashboard", node)
}

fn builder(cluster: &Cluster) -> Process {
    let mut python = Command::new("python3");
    python.arg("agent-swarm/build.py").args([PROJECT, "--seconds-per-stage", "0.2"]);
    python.current_dir(folder("../examples")).env("PYTHONDONTWRITEBYTECODE", "1");
    python.env("TIDINGS_URL", format!("http://{}", cluster.ingests[0].address()));
    python.env("TIDINGS_TOKEN", token("builder", PROJECT, "publish work"));
    Process::start("the builder", python)
}

/// Kills the gateway that has the dashboard.
async fn kill_its_gateway(cluster: &mut Cluster) {
    let mut most = (0.0, 0);
    for (index, gateway) in cluster.gateways.iter().enumerate() {
        let open = gateway.metric(CONNECTIONS).await;
        if open > most.0 {
            most = (open, index);
        }
    }
    assert!(most.0 > 0.0, "some gateway has the dashboard");
    cluster.gateways[most.1].kill_and_restart().await;
}

#[tokio::test]
async fn a_dashboard_sees_everything_and_survives_its_gateway_and_its_socket() {
    let mut cluster = cluster().await;
    let clients_go =
        Balancer::over(cluster.gateways.iter().map(tidings_tests::service::Service::address).collect()).await;
    let mut dashboard = dashboard(&clients_go, &cluster);
    dashboard.line("that its gateway may go", |line| (line == "lose it").then_some(())).await;
    kill_its_gateway(&mut cluster).await;
    dashboard.line("that a runner may come", |line| (line == "runner").then_some(())).await;
    let _builder = builder(&cluster);
    let ended = dashboard.ended().await;
    assert!(ended.success(), "{}", dashboard.output());
}

/// The lines of the guide, block by block.
fn blocks() -> Vec<Vec<String>> {
    let guide = std::fs::read_to_string(folder("../docs/migrate/agent-swarm.md")).expect("there is a guide");
    let blocks = guide.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.map(|block| block.lines().map(str::to_owned).collect()).collect()
}

/// A line as the shell runs it, with the binary under test as `tidings`, and these variables.
fn shell(line: &str, variables: &[(&str, String)]) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {line}")).envs(variables.iter().cloned());
    let folder = binary().parent().expect("it lies in a folder").display().to_string();
    shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    shell
}

fn output(line: &str, variables: &[(&str, String)]) -> String {
    let output = shell(line, variables).output().expect("it starts");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is text").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_leads_from_an_old_backend_to_this_one() {
    let [services, tokens, events, looks] = &blocks()[..] else { panic!("four blocks of lines") };
    let redis = Redis::start(Durability::Memory).await;
    let (address, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let (start, exports) = services.split_last().expect("lines");
    let set = |line: &String| {
        let (name, value) = line.strip_prefix("export ").and_then(|line| line.split_once('=')).expect("an export");
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    let exported: Vec<(String, String)> = exports.iter().map(set).collect();
    let mut variables: Vec<(&str, String)> =
        exported.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    variables.push(("TIDINGS_GATEWAY__ADMIN_LISTEN", admin.clone()));
    let start = start.replace("127.0.0.1:8000", &address).replace("redis://127.0.0.1:6379", &redis.url());
    let _running = Process::start("the services", shell(&start, &variables));
    let admin = admin.parse().expect("an address");
    eventually("ready", || async move { (http::get(admin, "/readyz").await.ok()?.status == 200).then_some(()) }).await;
    let [viewer, runner] = &tokens[..] else { panic!("two tokens") };
    variables.push(("VIEWER", output(viewer, &variables)));
    variables.push(("RUNNER", output(runner, &variables)));
    let here = |line: &String| line.replace("127.0.0.1:8000", &address);
    for line in events {
        let answer: Value = serde_json::from_str(&output(&here(line), &variables)).expect("JSON");
        assert!(answer["results"].as_array().is_some_and(|results| results.len() == 3), "{answer}");
    }
    let [status, logs] = &looks[..] else { panic!("two looks") };
    let ask = |line: &String| serde_json::from_str::<Value>(&output(&here(line), &variables)).expect("JSON");
    let status = ask(status);
    assert_eq!((&status["status"], &status["progress"]), (&"in_progress".into(), &42.into()), "{status}");
    let logs = ask(logs);
    assert_eq!(
        (logs["logs"].as_array().map(Vec::len), &logs["logs"][0]["message"]),
        (Some(1), &"Choosing a stack".into())
    );
}
