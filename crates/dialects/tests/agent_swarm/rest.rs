//! The REST fallback: one golden file for each route and refusal.

use serde_json::{Value, json};
use tidings_dialects::agent_swarm::Target;
use tidings_dialects::agent_swarm::build::Build;
use tidings_dialects::agent_swarm::orchestrate::{self, BEGINS_WITHIN_MS, Orchestrate};
use tidings_dialects::agent_swarm::polling::{Allowance, etag, interval_s, is_unchanged};
use tidings_dialects::agent_swarm::refusals::{Fault, Refusal};
use tidings_dialects::agent_swarm::rest::{self, Shown};
use tidings_protocol::codes::ErrorCode;

use crate::story::{NOW_MS, Story, check, parsed};
use crate::wire_types::{
    ACTIVE_AGENT, AGENT, CREATED, HEALTH, Is, LOG, METRICS, PROJECT, PROJECT_STATUS, PROJECTS, check_fields,
};

fn shown(story: &Story) -> Shown<'_> {
    let build = Build::newest_live(&story.view()).unwrap_or(Build::NONE);
    Shown { id: "acme", build, updated_ms: NOW_MS - 10_000 }
}

const COMPLETED: &str = r#"{"type":"session.completed","time":"2026-01-30T10:00:50.250Z","session":"s-7",
    "data":{"url":"https://todo.example","deployment_url":"https://deploy.example/7"}}"#;

#[test]
fn bodies_are_as_their_golden_files_say() {
    let story = Story::under_way();
    let shown = shown(&story);
    check("rest/project.json", &rest::project(&shown));
    check("rest/projects.json", &rest::projects(&[shown], 1, 20, 0));
    check("rest/status.json", &rest::status(&shown));
    check("rest/agents.json", &rest::agents(&shown.build, false));
    check("rest/agents_admin.json", &rest::agents(&shown.build, true));
    check("rest/logs.json", &rest::logs(&story.lines(), false));
    check("rest/logs_admin.json", &rest::logs(&story.lines(), true));
    check("rest/logs.txt", &rest::logs_txt(&story.lines()));
    check("rest/logs.csv", &rest::logs_csv(&story.lines()));
    check("rest/health.json", &rest::health(true));
    check("rest/message.json", &rest::message("Project \"acme\" will stop"));
    let done = Story::going_on(COMPLETED);
    let done = self::shown(&done);
    check("rest/status_completed.json", &rest::status(&done));
    check("rest/metrics.json", &rest::metrics([shown.build, done.build, Build::NONE]));
}

#[test]
fn bodies_have_every_field_of_their_tables() {
    const TASK: &[(&str, Is)] = &[("current_task", Is::Name)];
    let failed = r#"{"type":"session.failed","session":"s-7","data":{"error":"out of memory"}}"#;
    let nothing = r#"[{"type":"heartbeat"}]"#;
    for story in [Story::under_way(), Story::going_on(COMPLETED), Story::going_on(failed), Story::of(nothing)] {
        let shown = shown(&story);
        let project = parsed(&rest::project(&shown));
        check_fields(&project, PROJECT, &[]);
        let projects = parsed(&rest::projects(&[shown], 7, 20, 3));
        check_fields(&projects, PROJECTS, &[]);
        assert_eq!(projects["projects"], json!([project]));
        let status = parsed(&rest::status(&shown));
        check_fields(&status, PROJECT_STATUS, &[]);
        status["active_agents"].as_array().expect("a list").iter().for_each(|row| check_fields(row, ACTIVE_AGENT, &[]));
        let agents = parsed(&rest::agents(&shown.build, false));
        agents["agents"].as_array().expect("a list").iter().for_each(|row| check_fields(row, AGENT, TASK));
        assert_eq!(parsed(&rest::agents(&shown.build, true)), agents["agents"]);
        let logs = parsed(&rest::logs(&story.lines(), false));
        logs["logs"].as_array().expect("a list").iter().for_each(|row| check_fields(row, LOG, &[]));
        assert_eq!(parsed(&rest::logs(&story.lines(), true)), logs["logs"]);
        check_fields(&parsed(&rest::metrics([shown.build])), METRICS, &[]);
    }
    for is_ready in [true, false] {
        check_fields(&parsed(&rest::health(is_ready)), HEALTH, &[]);
    }
}

#[test]
fn a_poll_and_the_socket_know_a_line_by_the_same_id() {
    let story = Story::going_on(COMPLETED);
    let polled = parsed(&rest::logs(&story.lines(), true));
    let polled: Vec<_> = polled.as_array().expect("a list").iter().map(|line| line["id"].clone()).collect();
    let live = story.live(&tidings_dialects::agent_swarm::AgentSwarm::default());
    let heard = live.iter().map(|text| parsed(text)).filter(|message| message["type"] == "workflow_log");
    assert_eq!(heard.map(|message| message["id"].clone()).collect::<Vec<_>>(), polled);
    assert_eq!(polled.len(), 4);
}

#[test]
fn status_words() {
    let of = |end: &str| parsed(&rest::status(&shown(&Story::going_on(end))))["status"].clone();
    assert_eq!(of(r#"{"type":"log","session":"s-7","data":{"level":"debug","message":"x"}}"#), "in_progress");
    assert_eq!(of(COMPLETED), "completed");
    assert_eq!(of(r#"{"type":"session.failed","session":"s-7","data":{"error":"x"}}"#), "failed");
    assert_eq!(of(r#"{"type":"session.cancelled","session":"s-7","data":{}}"#), "paused");
    assert_eq!(Build::NONE.status(), "initializing");
}

#[test]
fn builds_are_found_live_and_gone() {
    let row = |session: &str, live: bool, started: &str| json!({"session": session, "live": live, "title": session, "status": "completed", "started": started});
    let rows = json!([
        row("a-older", true, "2026-01-30T10:00:00.000Z"),
        row("s-7", true, "2026-01-30T11:00:00.000Z"),
        row("z-older", true, "2026-01-30T10:59:59.999Z"),
        row("s-3", false, "2026-01-30T12:00:00.000Z"),
        row("s-2", false, "2026-01-30T12:30:00.000Z"),
    ]);
    let find = |rows: &Value, session| Build::listed(rows, session).map(|build| build.session.to_owned());
    assert_eq!(find(&rows, None).as_deref(), Some("s-7"));
    assert_eq!(find(&rows, Some("s-2")).as_deref(), Some("s-2"));
    assert_eq!(find(&rows, Some("s-9")), None);
    let gone = json!(rows.as_array().expect("rows")[3..]);
    assert_eq!(find(&gone, None).as_deref(), Some("s-3"), "the list has the newest first");
    let newest = Build::listed(&gone, None).expect("one is gone");
    assert_eq!((newest.status(), newest.title(), newest.is_live()), ("completed", Some("s-3"), false));
    // The list of a real project.
    let story = Story::under_way();
    let build = Build::listed(&story.listed, None).expect("it is live");
    assert_eq!((build.session, build.status(), build.title()), ("s-7", "in_progress", Some("Todo app")));
    assert!(build.is_live() && build.started_ms().is_some());
}

#[test]
fn refusals_are_as_their_golden_files_say() {
    let invalid = Refusal::Invalid(vec![Fault::of("query", "limit", "int_parsing", "Input should be a valid integer")]);
    let refusals = [
        (401, Refusal::from_code(ErrorCode::Unauthenticated, "whatever", None)),
        (403, Refusal::from_code(ErrorCode::Forbidden, "Not authorized to access this project", None)),
        (404, Refusal::not_found("Project")),
        (422, invalid),
        (429, Refusal::from_code(ErrorCode::RateLimited, "whatever", Some(42))),
        (500, Refusal::from_code(ErrorCode::Internal, "The service failed", None)),
        (503, Refusal::from_code(ErrorCode::NoRunner, "No runner is there", Some(5))),
    ];
    for (status, refusal) in refusals {
        assert_eq!(refusal.status(), status);
        check(&format!("refusals/{status}.json"), &refusal.body().to_string());
    }
}

#[test]
fn every_code_is_a_refusal_with_a_json_body() {
    for code in ErrorCode::ALL {
        let refusal = Refusal::from_code(*code, "why", None);
        assert_eq!(refusal.status(), code.http_status());
        assert!(refusal.body()["detail"].is_string(), "{code}");
    }
}

#[test]
fn a_new_build_is_read_and_answered() {
    let body = br#"{"project_type":"web_app","description":"A todo list","features":["sync"],"extra":1}"#;
    let orchestrate = Orchestrate::parse(body).expect("it is good");
    let target = Target { project: "acme".parse().expect("a name"), session: Some("build-1".into()) };
    let created = orchestrate.created(&target, NOW_MS);
    check("rest/orchestrate.json", &created);
    let created = parsed(&created);
    check_fields(&created, CREATED, &[]);
    assert!(created["agents_config"].as_object().expect("agents").values().all(|agent| agent["enabled"] == true));
    let command = orchestrate.command("build-1");
    assert_eq!((command.kind.as_str(), command.session.as_deref()), ("session.create", Some("build-1")));
    let expected = json!({"project_type": "web_app", "description": "A todo list", "features": ["sync"], "extra": 1,
        "session": "build-1"});
    assert_eq!(command.data, expected);
}

#[test]
fn a_new_build_that_is_none_is_refused_with_every_fault() {
    let faults = |body: &str| match Orchestrate::parse(body.as_bytes()) {
        Err(Refusal::Invalid(faults)) => {
            faults.iter().map(|fault| format!("{}:{}", Value::from(fault.loc.clone()), fault.kind)).collect::<Vec<_>>()
        }
        other => panic!("{body} was {other:?}"),
    };
    assert_eq!(faults("{}"), [r#"["body","project_type"]:missing"#, r#"["body","description"]:missing"#]);
    assert_eq!(faults(r#"{"project_type":"a","description":7}"#), [r#"["body","description"]:string_type"#]);
    assert_eq!(faults(r#"{"project_type":" ","description":"d"}"#), [r#"["body","project_type"]:string_too_short"#]);
    let lists = r#"{"project_type":"a","description":"d","features":"x","technologies":null}"#;
    assert_eq!(faults(lists), [r#"["body","features"]:list_type"#]);
    assert_eq!(faults("[]"), [r#"["body"]:dict_type"#]);
    assert_eq!(faults("{"), [r#"["body"]:json_invalid"#]);
    assert_eq!(faults(""), [r#"["body"]:json_invalid"#]);
}

#[test]
fn a_build_that_was_asked_for_is_awaited_for_a_while() {
    // The time of this ULID is 1469918176385.
    let session = orchestrate::session_id("01ARYZ6S41TSV4RRFFQ69G5FAV");
    let asked_ms = 1_469_918_176_385;
    for now_ms in [asked_ms, asked_ms + BEGINS_WITHIN_MS, asked_ms - 1_000] {
        assert!(orchestrate::is_awaited(&session, now_ms), "{now_ms}");
    }
    for now_ms in [0, asked_ms + BEGINS_WITHIN_MS + 1] {
        assert!(!orchestrate::is_awaited(&session, now_ms), "{now_ms}");
    }
    for other in ["s-7", "build-", "build-01ARYZ6S41", "build-äääääääääääää", "01ARYZ6S41TSV4RRFFQ69G5FAV"]
    {
        assert!(!orchestrate::is_awaited(other, asked_ms), "{other}");
    }
}

#[test]
fn stopping_asks_the_runner_that_has_the_session() {
    let command = orchestrate::control("session.stop", "s-7");
    assert_eq!((command.kind.as_str(), command.session.as_deref()), ("session.stop", Some("s-7")));
}

#[test]
fn ids_of_projects_name_projects_and_sessions() {
    for (id, project, session) in
        [("acme", "acme", None), ("acme:s-7", "acme", Some("s-7")), ("a:b:c", "a", Some("b:c"))]
    {
        let target = Target::parse(id).unwrap_or_else(|| panic!("{id} names something"));
        assert_eq!((target.project.as_str(), target.session.as_deref()), (project, session));
        assert_eq!(target.id(), id);
    }
    for bad in ["", ":", "acme:", ":s", "a b", "a:\n", &format!("a:{}", "x".repeat(129))] {
        assert_eq!(Target::parse(bad), None, "{bad}");
    }
}

#[test]
fn polls_come_seldom_when_nothing_happens() {
    let after = |silence_ms: u64| interval_s(NOW_MS - silence_ms, NOW_MS);
    assert_eq!([0, 9_999, 10_000, 30_000, 59_999].map(after), [1, 1, 2, 5, 5]);
    assert_eq!([60_000, 299_999, 300_000, NOW_MS].map(after), [15, 15, 30, 30]);
    assert_eq!(interval_s(NOW_MS + 5, NOW_MS), 1, "clocks differ");
}

#[test]
fn what_did_not_change_is_known() {
    let tag = etag("1769767201000-10.aaaaaaaaaaaa".parse().expect("a position"));
    assert_eq!(tag, "\"1769767201000-10.aaaaaaaaaaaa\"");
    for said in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".into()] {
        assert!(is_unchanged(&said, &tag), "{said}");
    }
    for said in ["", "\"other\"", "1769767201000-10.aaaaaaaaaaaa", "W/\"1769767201000-11.aaaaaaaaaaaa\""] {
        assert!(!is_unchanged(said, &tag), "{said}");
    }
}

#[test]
fn what_is_left_of_a_limit_is_said() {
    let allowance = Allowance { limit: 1_000, remaining: 998, reset_s: 1_769_767_267 };
    let said = allowance.headers().map(|(name, value)| format!("{name}: {value}"));
    assert_eq!(said, ["X-RateLimit-Limit: 1000", "X-RateLimit-Remaining: 998", "X-RateLimit-Reset: 1769767267"]);
}
