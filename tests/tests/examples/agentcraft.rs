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
    assert_eq!(alice.event("agent.collaboration", session).await["data"]["secondary"], "Writer");
    let all = alice.get("/events?after=start&limit=1000").await["events"].take();
    let told: Vec<_> = all.as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect();
    let begins = ["agent.started", "agent.status", "log"];
    let ends = ["agent.status", "output", "log", "agent.finished", "session.progress"];
    let order = [
        &["session.started", "session.progress", "log"],
        &begins[..],
        &ends,
        &begins,
        &["agent.collaboration"],
        &ends,
        &["session.completed"],
    ];
    assert_eq!(told, order.concat(), "in the order in which it happened");
    let state = alice.get("/snapshot").await["state"]["sessions"][session].clone();
    assert_eq!(
        (&state["status"], &state["agents"]["writer"]["status"]),
        (&json!("completed"), &json!("completed")),
        "{state}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crew_sets_out_on_a_command() {
    let cluster = dashboard::cluster().await;
    let alice = Dashboard::of(&cluster);
    let crews = folder::start("agentcraft/crew.py", &cluster, &["--serve"], &[]);
    crews.line("it takes commands", |line| line.contains("takes session.create").then_some(())).await;
    let create = json!({"type": "session.create", "data": {"query": "What is a cursor?", "session": "asked"}});
    let id = alice.begin(create).await;
    let answer = alice.answer(&id).await;
    assert_eq!((&answer["type"], &answer["data"]["result"]["session"]), (&json!("command.completed"), &json!("asked")));
    alice.event("session.completed", "asked").await;
    let state = alice.get("/snapshot").await["state"]["sessions"]["asked"].clone();
    assert_eq!((&state["title"], &state["status"]), (&json!("What is a cursor?"), &json!("completed")), "{state}");
    let lines: Vec<_> = state["logs"].as_array().expect("lines").iter().map(|line| line["message"].clone()).collect();
    assert!(lines.contains(&json!("Writer is done")), "{lines:?}");
    let id = alice.begin(json!({"type": "session.stop", "data": {}})).await;
    assert_eq!(alice.answer(&id).await["data"]["code"], "unknown_session", "nothing is at work any more");
}
