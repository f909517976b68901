//! Claude Code's hooks, as the tool sends them: a session's state, and permissions that a dashboard answers.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http::{self, Answer};
use tidings_tests::tokens::token;

use crate::dashboard::{self, Dashboard};
use crate::folder;

const SESSION: &str = "5f9c2d1e";

/// A hook of a session.
fn hook(name: &str, more: &Value) -> Value {
    let mut hook = json!({"session_id": SESSION, "hook_event_name": name, "cwd": "/home/u/src/shop",
        "transcript_path": "/home/u/.claude/projects/p/5f9c2d1e.jsonl", "permission_mode": "default"});
    let members = more.as_object().cloned().unwrap_or_default();
    hook.as_object_mut().expect("an object").extend(members);
    hook
}

/// The path that the settings of the example have, in the test's project.
fn path() -> String {
    let settings =
        std::fs::read_to_string(folder::root().join("examples/claude-code/settings.json")).expect("settings");
    let settings: Value = serde_json::from_str(&settings).expect("JSON");
    let url = settings["hooks"]["Stop"][0]["hooks"][0]["url"].as_str().expect("a URL").to_owned();
    let at = url.find("/v1/").expect("a path");
    url[at..].replace("/demo/", &format!("/{PROJECT}/"))
}

async fn send(ingest: SocketAddr, query: &str, hook: &Value) -> reqwest::Result<Answer> {
    let bearer = format!("Bearer {}", token("laptop", PROJECT, "publish"));
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    http::post(ingest, &format!("{}{query}", path()), &headers, hook.to_string()).await
}

/// Sends a hook that is answered at once.
async fn tell(ingest: SocketAddr, name: &str, more: &Value) {
    let answer = send(ingest, "", &hook(name, more)).await.expect("ingest answers");
    assert_eq!((answer.status, answer.json()), (200, json!({})), "{name}");
}

/// The hook that asks for a permission, for this call.
fn permission(call: &str) -> Value {
    let rules = json!([{"type": "addRules", "rules": [{"toolName": "Bash", "ruleContent": "rm -rf build"}], "behavior": "allow"}]);
    let input = json!({"command": "rm -rf build"});
    let more = json!({"tool_name": "Bash", "tool_input": input, "tool_use_id": call, "permission_suggestions": rules});
    hook("PermissionRequest", &more)
}

/// Asks for a permission, and meanwhile does something else.
async fn held(cluster: &Cluster, call: &str, query: &str, meanwhile: impl Future<Output = ()>) -> Value {
    let ingest = cluster.ingests[0].address();
    let hook = permission(call);
    let (answer, ()) = tokio::join!(send(ingest, query, &hook), meanwhile);
    let answer = answer.expect("ingest answers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// The decision in an answer.
fn decision(answer: &Value) -> &Value {
    assert_eq!(answer["hookSpecificOutput"]["hookEventName"], "PermissionRequest", "{answer}");
    &answer["hookSpecificOutput"]["decision"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_hooks_becomes_its_state() {
    let cluster = dashboard::cluster().await;
    let (ingest, alice) = (cluster.ingests[0].address(), Dashboard::of(&cluster));
    tell(ingest, "SessionStart", &json!({"source": "startup", "model": "opus"})).await;
    tell(ingest, "UserPromptSubmit", &json!({"prompt": "clean up\nplease"})).await;
    let call = json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "t-1"});
    tell(ingest, "PreToolUse", &call).await;
    tell(ingest, "PostToolUse", &json!({"tool_name": "Bash", "tool_use_id": "t-1", "tool_response": {"stdout": "a"}}))
        .await;
    tell(ingest, "SubagentStart", &json!({"agent_id": "a-1", "agent_type": "Explore"})).await;
    let failed = json!({"tool_name": "Read", "tool_use_id": "t-2", "error": "no such file", "agent_id": "a-1"});
    tell(ingest, "PreToolUse", &failed).await;
    tell(ingest, "PostToolUseFailure", &failed).await;
    tell(ingest, "SubagentStop", &json!({"agent_id": "a-1", "last_assistant_message": "nothing there"})).await;
    tell(ingest, "Notification", &json!({"message": "look here", "notification_type": "other"})).await;
    tell(ingest, "Stop", &json!({"last_assistant_message": "all clean"})).await;
    tell(ingest, "SomethingNew", &json!({})).await;
    let said = alice.until("what was said", |events| {
        let said: Vec<Value> = events.iter().filter(|event| event["type"] == "message.completed").cloned().collect();
        (said.len() == 2).then_some(said)
    });
    let said: Vec<Value> = said.await.iter().map(|event| event["data"]["text"].clone()).collect();
    assert_eq!(said, ["clean up\nplease", "all clean"]);
    alice
        .until("the last hook", |events| {
            events.iter().any(|event| event["data"]["message"] == "hook SomethingNew").then_some(())
        })
        .await;
    let state = alice.get("/snapshot").await["state"]["sessions"][SESSION].clone();
    assert_eq!((&state["title"], &state["status"]), (&json!("shop"), &json!("running")), "{state}");
    let (main, explorer) = (&state["agents"]["main"], &state["agents"]["a-1"]);
    assert_eq!(
        (&main["status"], &explorer["status"], &explorer["parent"]),
        (&json!("idle"), &json!("completed"), &json!("main")),
        "{state}"
    );
    let figures = (&state["tools"]["Bash"]["calls"], &state["tools"]["Read"]["failures"], &state["running_tools"]);
    assert_eq!(figures, (&json!(1), &json!(1), &Value::Null), "{state}");
    tell(ingest, "SessionEnd", &json!({"reason": "prompt_input_exit"})).await;
    alice.event("session.completed", SESSION).await;
    assert_eq!(alice.get("/snapshot").await["state"]["sessions"][SESSION]["status"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_held_until_a_dashboard_decides() {
    let cluster = dashboard::cluster().await;
    let alice = Dashboard::of(&cluster);
    let deciding = |call: &'static str, word: &'static str, reason: Option<&'static str>| {
        let alice = &alice;
        async move {
            let approval = format!("claude-code-{call}");
            let is_it =
                |event: &&Value| event["type"] == "approval.requested" && event["data"]["approval_id"] == approval;
            let asked = alice.until("the question", |events| events.iter().find(is_it).cloned()).await;
            assert_eq!(
                (&asked["data"]["tool"], &asked["data"]["input"]["command"]),
                (&json!("Bash"), &json!("rm -rf build"))
            );
            let waits = alice.get("/snapshot").await["state"]["approvals"].clone();
            assert!(
                waits.as_array().is_some_and(|waits| waits.iter().any(|waits| waits["approval_id"] == approval)),
                "{waits}"
            );
            let answer = alice.decide(&approval, SESSION, word, reason).await;
            assert_eq!(answer["type"], "command.completed", "{answer}");
        }
    };
    let allowed = held(&cluster, "t-1", "?hold=60", deciding("t-1", "allow", None)).await;
    assert_eq!(decision(&allowed), &json!({"behavior": "allow"}));
    let denied = held(&cluster, "t-2", "", deciding("t-2", "deny", Some("not today"))).await;
    assert_eq!(decision(&denied), &json!({"behavior": "deny", "message": "not today"}));
    let always = held(&cluster, "t-3", "?hold=60", deciding("t-3", "allow_always", None)).await;
    assert_eq!(decision(&always)["updatedPermissions"], permission("")["permission_suggestions"]);
    // Sent again it is the same question, and the decision stands.
    assert_eq!(held(&cluster, "t-2", "?hold=60", async {}).await, denied);
    let expired = held(&cluster, "t-4", "?hold=1", async {}).await;
    assert_eq!(expired, json!({}), "the tool asks its user");
    let is_it =
        |event: &&Value| event["type"] == "approval.resolved" && event["data"]["approval_id"] == "claude-code-t-4";
    let resolved = alice.until("it expires", |events| events.iter().find(is_it).cloned()).await;
    assert_eq!(resolved["data"]["decision"], "expired");
    assert_eq!(alice.get("/snapshot").await["state"]["approvals"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_outlives_the_ingest_that_holds_it() {
    let mut cluster = dashboard::cluster().await;
    let alice = Dashboard::of(&cluster);
    let ingest = cluster.ingests[0].address();
    let first = tokio::spawn(async move { send(ingest, "?hold=60", &permission("t-1")).await });
    alice.event("approval.requested", SESSION).await;
    cluster.ingests[0].kill_and_restart().await;
    first.await.expect("it does not panic").expect_err("the ingest that held it is gone");
    // One that shuts down says that nobody decided.
    let second = tokio::spawn(async move { send(ingest, "?hold=60", &permission("t-1")).await });
    // The first hook's events are known, so the metric alone tells that the second one is there.
    tidings_tests::wait::eventually("it is held", async || {
        (cluster.ingests[0].metric("tidings_ingest_stage_seconds_count{stage=\"append\"}").await > 0.0).then_some(())
    })
    .await;
    cluster.ingests[0].process.signal("TERM");
    let answer = second.await.expect("it does not panic").expect("it is answered");
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert!(cluster.ingests[0].process.ended().await.success());
    cluster.ingests[0] = cluster.ingests[0].launch().start().await;
    let decide = async {
        let answer = alice.decide("claude-code-t-1", SESSION, "allow", None).await;
        assert_eq!(answer["type"], "command.completed", "{answer}");
    };
    let allowed = held(&cluster, "t-1", "?hold=60", decide).await;
    assert_eq!(decision(&allowed), &json!({"behavior": "allow"}));
    let asked = alice.get("/events?after=start&limit=1000").await["events"].as_array().cloned().unwrap_or_default();
    assert_eq!(asked.iter().filter(|event| event["type"] == "approval.requested").count(), 1);
}
