//! `examples/agentcraft/crew.py`: a real crew of `CrewAI`, whose model is a script. `scripts/setup test` installs what it needs
//! into `.venv-examples`.

use serde_json::json;

use crate::dashboard::{self, Dashboard};
use crate::folder;

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_is_watched_from_kickoff_to_its_result() {
    let cluster = dashboard::cluster().await;
    let alice = Dashboard::of(&cluster);
    let mut crew = folder::start("agentcraft/crew.py", &cluster, &[], &[]);
    let ended = crew.ended().await;
    assert!(ended.success(), "{}", crew.output());
    let done = alice.event("session.completed", "").await;
    let session = done["session"].as_str().expect("a session");
    let last = "So a reader goes on where it was, and misses nothing.";
    assert_eq!(done["data"]["result"], last);
    let outputs = alice
        .until("both outputs", |events| {
            let outputs: Vec<_> = events.iter().filter(|event| event["type"] == "output").cloned().collect();
            (outputs.len() == 2).then_some(outputs)
        })
        .await;
    let said: Vec<_> = outputs.iter().map(|event| (&event["agent"], &event["data"]["content"])).collect();
    assert_eq!(
        said,
        [(&json!("researcher"), &json!("A cursor is a place in a log.")), (&json!("writer"), &json!(last))]
    );
    assert_eq!(alice.event("agent.collaboration", session).await["data"]["secondary"], "writer");
    let state = alice.get("/snapshot").await["state"]["sessions"][session].clone();
    assert_eq!(
        (&state["status"], &state["agents"]["writer"]["status"]),
        (&json!("completed"), &json!("completed")),
        "{state}"
    );
}
