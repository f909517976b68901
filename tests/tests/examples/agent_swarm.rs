//! `examples/agent-swarm/build.py`: builds that viewers start, stop and start again.

use serde_json::{Value, json};

use crate::dashboard::{self, Dashboard};
use crate::folder;

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_started_stopped_and_started_again() {
    let cluster = dashboard::cluster().await;
    let alice = Dashboard::of(&cluster);
    let _runner = folder::start("agent-swarm/build.py", &cluster, &["--seconds-per-stage", "0.1"], &[]);
    // So slow that it is still under way when it is stopped, whatever the machine.
    let shop = json!({"description": "a shop", "session": "shop", "seconds_per_stage": 600});
    let create = json!({"type": "session.create", "data": shop});
    let answer = alice.ask(create).await;
    assert_eq!((&answer["type"], &answer["data"]["result"]["session"]), (&json!("command.completed"), &json!("shop")));
    alice.event("session.stage", "shop").await;
    let stopped = alice.ask(json!({"type": "session.stop", "session": "shop"})).await;
    assert_eq!(stopped["type"], "command.completed", "{stopped}");
    alice.event("session.cancelled", "shop").await;
    let again = alice.ask(json!({"type": "session.restart", "session": "shop"})).await;
    let second = again["data"]["result"]["session"].as_str().expect("a session").to_owned();
    assert_ne!(second, "shop");
    alice.event("session.completed", &second).await;
    let state = alice.get("/snapshot").await["state"].clone();
    let status = |session: &str| state["sessions"][session]["status"].clone();
    assert_eq!((status("shop"), status(&second)), (json!("cancelled"), json!("completed")), "{state}");
    let agents = state["sessions"][&second]["agents"].as_object().map(serde_json::Map::len);
    assert_eq!((agents, &state["sessions"][&second]["progress"]), (Some(5), &Value::from(100)), "{state}");
}
