//! Bounds, and what is told where a build says little.

use serde_json::{Value, json};
use tidings_dialects::agent_swarm::build::Build;
use tidings_dialects::agent_swarm::rest::{self, Shown};
use tidings_dialects::agent_swarm::{AgentSwarm, Line, Target};
use tidings_dialects::{Ask, Dialect as _};

use crate::story::{NOW_MS, Story, parsed};

fn status(cells: &Value) -> Value {
    let build = Build { session: "s", value: cells };
    parsed(&rest::status(&Shown { id: "acme", build, updated_ms: NOW_MS }))
}

#[test]
fn a_status_lists_the_newest_twenty_of_each_kind_oldest_first() {
    let line = |n: u32, level: &str| json!({"level": level, "message": format!("{level} {n}")});
    let logs: Vec<Value> = (0..30).flat_map(|n| [line(n, "error"), line(n, "warning"), line(n, "info")]).collect();
    let status = status(&json!({"status": "running", "logs": logs}));
    for (member, level) in [("errors", "error"), ("warnings", "warning")] {
        let expected: Vec<String> = (10..30).map(|n| format!("{level} {n}")).collect();
        assert_eq!(status[member], json!(expected));
    }
}

#[test]
fn why_a_build_failed_is_told_once() {
    let failed = |logs: Value| json!({"status": "failed", "logs": logs, "outcome": {"error": "out of memory"}});
    let line = json!([{"level": "critical", "message": "out of memory"}]);
    assert_eq!(status(&failed(line))["errors"], json!(["out of memory"]));
    let other = json!([{"level": "error", "message": "disk"}]);
    assert_eq!(status(&failed(other))["errors"], json!(["disk", "out of memory"]));
}

#[test]
fn a_build_whose_runner_went_may_go_on() {
    for (ours, theirs) in
        [("lost", "paused"), ("cancelled", "paused"), ("running", "in_progress"), ("failed", "failed")]
    {
        assert_eq!(status(&json!({"status": ours}))["status"], theirs);
    }
}

#[test]
fn no_cell_of_a_table_is_a_formula() {
    let line = |message: &str| Line {
        id: "1".into(),
        time_ms: NOW_MS,
        level: "info",
        message: message.into(),
        emoji: "x".into(),
        agent: "a".into(),
    };
    for begin in ["=", "+", "-", "@", "\t", "\r"] {
        let csv = rest::logs_csv(&[line(&format!("{begin}cmd"))]);
        assert!(csv.ends_with(&format!(",\"'{begin}cmd\"\r\n")), "{csv:?}");
    }
    let plain = rest::logs_csv(&[line("1=1 \"so\"")]);
    assert!(plain.ends_with(",\"1=1 \"\"so\"\"\"\r\n"), "{plain:?}");
}

#[test]
fn ids_of_sessions_are_as_long_as_ours_may_be() {
    assert!(Target::parse(&format!("acme:{}", "x".repeat(128))).is_some());
    assert_eq!(Target::parse(&format!("acme:{}", "x".repeat(129))), None);
}

#[test]
fn what_an_end_does_not_say_of_its_addresses_is_filled_in() {
    let told = |data: Value| {
        let end = json!({"type": "session.completed", "session": "s-7", "data": data}).to_string();
        let told = Story::going_on(&end).live(&AgentSwarm::default()).pop().expect("the end is told");
        let told = parsed(&told);
        ["url", "completion_url", "deployment_url"].map(|name| told[name].as_str().map(str::to_owned).expect("a text"))
    };
    assert_eq!(told(json!({})), ["", "", ""]);
    assert_eq!(told(json!({"url": "u"})), ["u", "u", "u"]);
    assert_eq!(told(json!({"completion_url": "c", "deployment_url": "d"})), ["d", "c", "d"]);
    assert_eq!(told(json!({"completion_url": "c", "url": ""})), ["c", "c", "c"]);
    assert_eq!(told(json!({"url": "u", "completion_url": "c", "deployment_url": "d"})), ["u", "c", "d"]);
}

#[test]
fn an_agent_that_has_done_nothing_is_not_told_again() {
    let story = Story::of(
        r#"[{"type":"session.started","session":"s","data":{"title":"t"}},
        {"type":"agent.status","session":"s","agent":"a","data":{"status":"working"}},
        {"type":"agent.status","session":"s","agent":"b","data":{"status":"working","progress":0.5}}]"#,
    );
    let presented = |agent: &str| {
        let mut out = Vec::new();
        AgentSwarm::default().present(&Ask::Other(format!("s\n{agent}")), &story.view(), &mut out);
        out.iter().map(|text| parsed(text)["agent"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(presented("a"), [Value::Null; 0], "the event said as much");
    assert_eq!(presented("b"), ["b"]);
}
