use crate::replay::recording::Recording;
use crate::replay::tests::told;

const TRAJECTORY: &str = r#"{
  "environment": "main",
  "trajectory": [
    {"action": "create fix.py\n", "observation": "[File: fix.py (1 lines total)]", "response": "r",
     "thought": "First a file.\n", "execution_time": 0.25, "state": {"open_file": "n/a"}},
    {"action": "submit", "observation": null, "response": "Done, I submit.", "thought": ""}
  ],
  "history": [
    {"role": "system", "content": "SETTING", "agent": "primary"},
    {"role": "user", "content": "a demonstration", "agent": "primary", "is_demo": true},
    {"role": "user", "content": "We solve this.\nISSUE:\nTimeDelta is off by one\nmore", "agent": "primary"}
  ],
  "info": {"exit_status": "submitted", "submission": "\ndiff --git a b\n",
           "model_stats": {"instance_cost": 0.5, "tokens_sent": 100, "tokens_received": 7}}
}"#;

#[test]
fn a_trajectory_is_a_session_with_thoughts_tools_and_a_submission() {
    let recording = Recording::read(TRAJECTORY.as_bytes(), "issue-7.traj").expect("it is sound");
    let expected = [
        r#"session.started {"agents":["primary"],"metadata":{"environment":"main"},"mode":"swe-agent","title":"TimeDelta is off by one"}"#,
        r#"agent.started {"name":"primary","role":"software engineer"}"#,
        r#"... message.completed {"message_id":"task","role":"user","text":"We solve this.\nISSUE:\nTimeDelta is off by one\nmore"}"#,
        r#"... reasoning.step {"content":"First a file.","step":1,"total_steps":2}"#,
        r#"... agent.status {"message":"create fix.py","progress":0,"status":"working"}"#,
        r#"tool.started {"call_id":"call-1","input":{"command":"create fix.py"},"name":"create"}"#,
        r#"250ms tool.completed {"call_id":"call-1","duration_ms":250,"name":"create","output":"[File: fix.py (1 lines total)]"}"#,
        r#"session.progress {"message":"step 1 of 2","progress":50}"#,
        r#"... reasoning.step {"content":"Done, I submit.","step":2,"total_steps":2}"#,
        r#"... agent.status {"message":"submit","progress":50,"status":"working"}"#,
        r#"tool.started {"call_id":"call-2","input":{"command":"submit"},"name":"submit"}"#,
        r#"... tool.completed {"call_id":"call-2","name":"submit","output":""}"#,
        r#"session.progress {"message":"step 2 of 2","progress":100}"#,
        r#"usage {"cost_usd":0.5,"input_tokens":100,"output_tokens":7}"#,
        r#"... output {"content":"diff --git a b","kind":"submission"}"#,
        r#"agent.finished {"outcome":"completed","summary":"submitted"}"#,
        r#"session.completed {"summary":"submitted"}"#,
    ];
    assert_eq!(told(&recording), expected);
    assert!(recording.steps.iter().all(|step| step.event.session.as_deref() == Some("issue-7")));
}

#[test]
fn how_it_ended_is_told_as_it_was() {
    let check = |status: &str, kind: &str| {
        let file = format!(
            r#"{{"trajectory":[{{"action":"ls","observation":""}}],"history":[],"info":{{"exit_status":{status}}}}}"#
        );
        let recording = Recording::read(file.as_bytes(), "f").expect("it is sound");
        assert_eq!(recording.steps.last().map(|step| step.event.kind.as_str()), Some(kind), "{status}");
    };
    check(r#""submitted""#, "session.completed");
    check(r#""submitted (exit_cost)""#, "session.completed");
    check(r#""exit_format""#, "session.failed");
    check("null", "session.cancelled");
}

#[test]
fn a_long_observation_is_cut_with_a_mark() {
    let observation = "\\u001b[31mred".repeat(60_000);
    let file = format!(r#"{{"trajectory":[{{"action":"cat\tbig","observation":"{observation}"}}],"info":{{}}}}"#);
    let recording = Recording::read(file.as_bytes(), "f").expect("what is too long is cut, not refused");
    assert_eq!(recording.cut, 1);
    assert!(told(&recording).iter().any(|event| event.contains(" bytes cut]")));
}
