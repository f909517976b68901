//! docs/migrate/agentcraft.md: its lines, run as they stand but for their port, with a front end watching.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tidings_tests::service::{Launch, Role, command};

use super::client::Client;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/migrate/agentcraft.md");
    std::fs::read_to_string(path).expect("there is a page")
}

/// All blocks of this language.
fn blocks(language: &str) -> Vec<String> {
    let (page, fence) = (page(), format!("```{language}\n"));
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// What a line of curl prints.
fn run(line: &str) -> Value {
    let output = Command::new("sh").arg("-c").arg(line).output().expect("there is a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_does_what_the_page_says() {
    let [start, report, look] = <[String; 3]>::try_from(blocks("sh")).expect("three blocks of shell");
    assert_eq!(start, "tidings dev\n");
    let dev = Launch::new(Role::Dev, None, Vec::new()).start().await;
    let here = |line: &str| line.replace("127.0.0.1:8000", &dev.address().to_string());
    let mut front_end = Client::named(dev.address(), "client_1700000000000_k3f9a7c2m").await;
    assert_eq!(front_end.hears("active_sessions").await["data"]["total_sessions"], 0);
    for line in report.lines() {
        assert_eq!(run(&here(line))["results"][0]["status"], "appended", "{line}");
    }
    let status = loop {
        let status = front_end.hears("agent_status").await;
        if status["status"] == "PROCESSING" {
            break status;
        }
    };
    assert_eq!((&status["agent_id"], &status["progress"]), (&json!("agent-1"), &json!(65)));
    let looks: Vec<Value> = look.lines().map(|line| run(&here(line))).collect();
    let [stats, state, logs, health, broadcast] = &looks[..] else { panic!("five looks: {look}") };
    assert_eq!(stats["stats"]["connections"][0]["client_id"], "client_1700000000000_k3f9a7c2m");
    assert_eq!(state["state"]["active_agents"][0]["progress"], 65.0);
    assert_eq!((&logs["success"], &logs["total_logs"]), (&json!(true), &json!(0)));
    assert_eq!(health["overall_status"], "healthy");
    assert_eq!(broadcast, &json!({ "success": true, "message": "Broadcast sent" }));
    assert_eq!(front_end.hears("maintenance").await["in_minutes"], 5);
}

#[test]
fn the_configuration_of_the_page_is_a_good_one() {
    let [toml] = <[String; 1]>::try_from(blocks("toml")).expect("one block of configuration");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tidings.toml");
    std::fs::write(&file, &toml).expect("it can be written");
    let mut show = command();
    let output = show.args(["config", "show", "--config"]).arg(&file).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in toml.lines().filter(|line| line.contains('=')) {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}
