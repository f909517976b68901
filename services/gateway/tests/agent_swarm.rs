//! Agent Swarm's REST routes, by their tables: bodies, refusals, and what makes polling cheap.

mod support;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::log::Writer;
use support::{Rig, within};
use tidings_auth::{Authenticator, Closed, Config as AuthConfig, KeyId, KeyRecord, Keys, NewKey, StoreAway, Stores};
use tidings_dialects::agent_swarm::orchestrate;
use tidings_protocol::grant::Scope;
use tidings_protocol::intake::{Intake, parse_body};
use tidings_protocol::limits::EventLimits;
use tidings_protocol::wire;
use tidings_runtime::config::{Config, DialectNames, DialectsConfig};
use tidings_runtime::http::rights::Rights;
use tidings_runtime::service::Service as _;
use tower::ServiceExt as _;

const PREFIXES: [&str; 2] = ["/v1/public/agent-swarms", "/api/v1/public/agent-swarms"];
const ADMIN_PREFIXES: [&str; 2] = ["/api/v1/admin/agent-swarm", "/api/v1/admin/agent-swarms"];
const BASE: &str = PREFIXES[0];

/// Events as ingest makes them.
fn events(text: &str) -> Vec<wire::Event> {
    let mut next = 0..;
    let mut intake = Intake {
        limits: &EventLimits::default(),
        received_ms: 1_769_767_200_000,
        next_id: &mut || format!("id-{}", next.next().unwrap_or_default()),
        default_runner: None,
        default_traceparent: None,
        idempotency_key: None,
    };
    parse_body(text.as_bytes(), &mut intake).expect("good events")
}

const BUILD: &str = r#"[
    {"type":"session.started","time":"2026-01-30T10:00:00Z","session":"s-7","data":{"title":"Todo app"}},
    {"type":"agent.status","session":"s-7","agent":"architect","data":{"status":"working","progress":40,"task":"Draw"}},
    {"type":"session.progress","session":"s-7","data":{"progress":18,"message":"On its way"}},
    {"type":"log","session":"s-7","agent":"architect","data":{"level":"info","message":"one"}},
    {"type":"log","session":"s-7","data":{"level":"warning","message":"two"}},
    {"type":"output","session":"s-7","data":{"kind":"readme","content":"Read me"}},
    {"type":"log","session":"s-7","data":{"level":"debug","message":"three"}}
]"#;

struct Asked {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Asked {
    fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.headers["content-type"], "application/json", "{text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    #[track_caller]
    fn assert_refused(&self, status: u16, detail: &str) {
        assert_eq!((self.status, self.json()["detail"].as_str()), (status, Some(detail)), "{}", self.json());
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

async fn ask(rig: &Rig, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Asked {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = within(rig.gateway.router().oneshot(request)).await.expect("routers answer");
    let (head, body) = response.into_parts();
    let body = within(body.collect()).await.expect("a whole answer").to_bytes().to_vec();
    Asked { status: head.status.as_u16(), headers: head.headers, body }
}

async fn get(rig: &Rig, path: &str) -> Asked {
    ask(rig, "GET", path, &[], "").await
}

/// A gateway that serves dialects, in a way of its own.
fn config(set: impl FnOnce(&mut DialectsConfig)) -> Config {
    let mut config = Config::default();
    config.dialects.serve = DialectNames::all();
    set(&mut config.dialects);
    config
}

/// New builds belong to `demo`.
fn at_home(dialects: &mut DialectsConfig) {
    dialects.agent_swarm_project = Some("demo".parse().expect("a name"));
}

/// A gateway with the build in the project `demo`.
async fn rig() -> Rig {
    let mut rig = Rig::start_on(config(|_| {})).await;
    rig.writer.append(events(BUILD)).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn a_build_is_shown_under_every_prefix() {
    let rig = rig().await;
    for prefix in PREFIXES {
        let project = get(&rig, &format!("{prefix}/projects/demo")).await.json();
        assert_eq!((&project["name"], &project["status"]), (&"Todo app".into(), &"in_progress".into()));
        let status = get(&rig, &format!("{prefix}/projects/demo/status")).await.json();
        assert_eq!((&status["progress"], &status["message"]), (&18.into(), &"On its way".into()));
        let agents = get(&rig, &format!("{prefix}/projects/demo/agents")).await.json();
        let architect = json!({"name": "architect", "status": "working", "progress": 40, "current_task": "Draw"});
        assert_eq!(agents, json!({"agents": [architect]}));
        let listed = get(&rig, &format!("{prefix}/projects?limit=50")).await.json();
        assert_eq!((&listed["total"], &listed["limit"], &listed["skip"]), (&1.into(), &50.into(), &0.into()));
        assert_eq!(listed["projects"][0], project);
        let metrics = get(&rig, &format!("{prefix}/metrics")).await.json();
        assert_eq!((&metrics["total_projects"], &metrics["active_projects"]), (&1.into(), &1.into()));
        assert_eq!(get(&rig, &format!("{prefix}/health")).await.json()["status"], "healthy");
    }
    for prefix in ADMIN_PREFIXES {
        let agents = get(&rig, &format!("{prefix}/projects/demo/agents")).await.json();
        assert_eq!(agents[0]["name"], "architect");
        let logs = get(&rig, &format!("{prefix}/projects/demo/logs?limit=1")).await.json();
        assert_eq!((logs.as_array().map(Vec::len), &logs[0]["message"]), (Some(1), &"three".into()));
        assert!(get(&rig, &format!("{prefix}/projects?limit=50")).await.json()["projects"].is_array());
    }
}

#[tokio::test(start_paused = true)]
async fn lines_are_the_newest_in_order_under_their_positions() {
    let mut rig = rig().await;
    let messages = |asked: &Asked| {
        let lines = asked.json()["logs"].as_array().expect("lines").clone();
        lines.iter().map(|line| line["message"].as_str().expect("a text").to_owned()).collect::<Vec<_>>()
    };
    let logs = get(&rig, &format!("{BASE}/projects/demo/logs")).await;
    assert_eq!(messages(&logs), ["one", "two", "three"]);
    let last = logs.json()["logs"][2].clone();
    assert_eq!((&last["level"], &last["agent"]), (&"info".into(), &"system".into()));
    assert_eq!(format!("{:?}", last["id"]), format!("String({:?})", logs.header("etag").trim_matches('"')));
    assert_eq!(messages(&get(&rig, &format!("{BASE}/projects/demo/logs?limit=2")).await), ["two", "three"]);
    // Behind many events that are no lines, over several reads of the log.
    let noise = format!(r#"{{"type":"note","data":"{}"}}"#, "x".repeat(60_000));
    for _ in 0..20 {
        rig.writer.append(events(&noise)).await;
    }
    assert_eq!(messages(&get(&rig, &format!("{BASE}/projects/demo/logs")).await), ["one", "two", "three"]);
    // One session alone, and the whole project.
    let other = r#"{"type":"log","session":"s-8","data":{"level":"info","message":"elsewhere"}}"#;
    rig.writer.append(events(other)).await;
    assert_eq!(messages(&get(&rig, &format!("{BASE}/projects/demo:s-7/logs?limit=1")).await), ["three"]);
    assert_eq!(messages(&get(&rig, &format!("{BASE}/projects/demo%3As-8/logs")).await), ["elsewhere"]);
    assert_eq!(messages(&get(&rig, &format!("{BASE}/projects/demo/logs?limit=1")).await), ["elsewhere"]);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_change_is_not_told_again() {
    let mut rig = rig().await;
    for route in ["", "/status", "/agents", "/logs"] {
        let path = format!("{BASE}/projects/demo{route}");
        let first = get(&rig, &path).await;
        assert_eq!((first.status, first.header("cache-control")), (200, "private, no-cache"));
        let tag = first.header("etag").to_owned();
        let again = ask(&rig, "GET", &path, &[("if-none-match", &tag)], "").await;
        assert_eq!((again.status, again.header("etag"), again.body.len()), (304, &*tag, 0), "{path}");
        assert!(!again.header("x-poll-interval").is_empty() && !again.header("x-ratelimit-remaining").is_empty());
        rig.writer.append(events(r#"{"type":"note"}"#)).await;
        let changed = async {
            loop {
                let changed = ask(&rig, "GET", &path, &[("if-none-match", &tag)], "").await;
                if changed.status == 200 {
                    break changed;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert_ne!(within(changed).await.header("etag"), tag);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_refused_in_the_clients_words() {
    let rig = rig().await;
    for route in ["", "/status", "/agents", "/logs", "/logs/export", "/download"] {
        for id in ["nobody", "demo:unknown", "-", "a%20b", "demo:"] {
            get(&rig, &format!("{BASE}/projects/{id}{route}")).await.assert_refused(404, "Project not found");
        }
    }
    get(&rig, &format!("{BASE}/projects/demo/github")).await.assert_refused(404, "GitHub repository not found");
    get(&rig, &format!("{BASE}/nothing")).await.assert_refused(404, "Not Found");
    ask(&rig, "DELETE", &format!("{BASE}/projects"), &[], "").await.assert_refused(405, "Method Not Allowed");
    for (query, kind) in [
        ("logs?limit=0", "greater_than_equal"),
        ("logs?limit=1001", "less_than_equal"),
        ("logs?limit=99999999999", "less_than_equal"),
        ("logs?limit=many", "int_parsing"),
        ("logs?limit=", "int_parsing"),
    ] {
        let refused = get(&rig, &format!("{BASE}/projects/demo/{query}")).await;
        let fault = refused.json()["detail"][0].clone();
        assert_eq!((refused.status, &fault["type"], &fault["loc"]), (422, &kind.into(), &json!(["query", "limit"])));
        assert!(fault["msg"].is_string());
    }
    // What never comes to a handler is refused in JSON, too.
    get(&rig, &format!("{BASE}/projects/%FF/status")).await.assert_refused(400, "the path is not UTF-8");
    let huge = " ".repeat(3 * 1024 * 1024);
    ask(&rig, "POST", &format!("{BASE}/orchestrate"), &[], &huge)
        .await
        .assert_refused(413, "the body has more than 65536 bytes");
    let both = get(&rig, &format!("{BASE}/projects?limit=x&skip=-1")).await.json();
    assert_eq!(both["detail"].as_array().map(Vec::len), Some(2));
    let format = get(&rig, &format!("{BASE}/projects/demo/logs/export?format=pdf")).await;
    assert_eq!((format.status, &format.json()["detail"][0]["type"]), (422, &"enum".into()));
}

/// A store of one key.
struct OneKey(KeyRecord);

impl Keys for OneKey {
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>> {
        std::future::ready(Ok((self.0.id == *id).then(|| self.0.clone()))).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_is_refused_in_the_clients_words() {
    let made = NewKey::make(vec!["demo".parse().expect("a pattern")], Scope::Read.into(), 1);
    let keys = Stores { keys: Some(Arc::new(OneKey(made.record))), members: None };
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), keys);
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let mut rig = Rig::start_for(config(|_| {}), rights).await;
    rig.writer.append(events(BUILD)).await;
    Writer::new(&rig.store.memory, "other").await.append(events(BUILD)).await;
    let bearer = format!("Bearer {}", made.key.expose());
    let shown: &[_] = &[("authorization", &*bearer)];
    let path = |route: &str| format!("{BASE}/{route}");
    for route in ["projects", "projects/demo", "projects/demo/logs", "metrics"] {
        let refused = get(&rig, &path(route)).await;
        refused.assert_refused(401, "Not authenticated");
        assert_eq!(refused.json(), json!({"detail": "Not authenticated"}));
        assert!(!refused.header("www-authenticate").is_empty());
        let wrong = ask(&rig, "GET", &path(route), &[("authorization", "Bearer nonsense")], "").await;
        wrong.assert_refused(401, "Not authenticated");
        assert_eq!(ask(&rig, "GET", &path(route), shown, "").await.status, 200, "{route}");
    }
    let forbidden = "Not authorized to access this project";
    for route in ["projects/other", "projects/other:s-7/logs", "projects/never/status", "projects/other/download"] {
        ask(&rig, "GET", &path(route), shown, "").await.assert_refused(403, forbidden);
    }
    for route in ["projects/demo/stop", "projects/demo/restart"] {
        ask(&rig, "POST", &path(route), shown, "").await.assert_refused(403, forbidden);
    }
    let listed = ask(&rig, "GET", &path("projects"), shown, "").await.json();
    assert_eq!((&listed["total"], &listed["projects"][0]["id"]), (&1.into(), &"demo".into()));
    assert_eq!(get(&rig, &path("health")).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let mut rig = Rig::start_on(config(|dialects| dialects.agent_swarm_requests_per_hour = 5)).await;
    rig.writer.append(events(BUILD)).await;
    let path = format!("{BASE}/projects/demo/status");
    for remaining in ["4", "3", "2", "1", "0"] {
        let asked = get(&rig, &path).await;
        assert_eq!((asked.status, asked.header("x-ratelimit-limit")), (200, "5"));
        assert_eq!(asked.header("x-ratelimit-remaining"), remaining);
        assert!(asked.header("x-ratelimit-reset").parse::<u64>().is_ok_and(|reset| reset > 1_700_000_000));
    }
    let refused = get(&rig, &path).await;
    let body = refused.json();
    let after = body["retry_after"].as_u64().expect("a number of seconds");
    refused.assert_refused(429, &format!("Rate limit exceeded. Try again in {after} seconds."));
    assert_eq!((refused.header("retry-after"), refused.header("x-ratelimit-remaining")), (&*after.to_string(), "0"));
    assert!((1..=720).contains(&after), "a fifth of an hour at most: {after}");
}

#[tokio::test(start_paused = true)]
async fn without_runners_nothing_is_promised() {
    let mut rig = Rig::start_on(config(at_home)).await;
    rig.writer.append(events(BUILD)).await;
    let good = r#"{"project_type":"web_app","description":"A todo list"}"#;
    for (route, body) in [("projects/demo/stop", ""), ("projects/demo:s-7/restart", ""), ("orchestrate", good)] {
        let refused = ask(&rig, "POST", &format!("{BASE}/{route}"), &[], body).await;
        assert_eq!(refused.status, 503, "{route}: {}", refused.json());
        assert!(
            refused.json()["detail"].as_str().is_some_and(|detail| detail.contains("runner")),
            "{}",
            refused.json()
        );
    }
    let refused = ask(&rig, "POST", &format!("{BASE}/orchestrate"), &[], "{}").await;
    assert_eq!((refused.status, refused.json()["detail"].as_array().map(Vec::len)), (422, Some(2)));
    for route in ["projects/nobody/stop", "projects/demo:unknown/restart"] {
        ask(&rig, "POST", &format!("{BASE}/{route}"), &[], "").await.assert_refused(404, "Project not found");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_and_failed_is_told_to_who_polls() {
    let mut rig = Rig::start_on(config(at_home)).await;
    rig.writer.append(events(BUILD)).await;
    let awaited = orchestrate::session_id(&ulid::Ulid::new().to_string());
    let route = |of: &str| format!("{BASE}/projects/demo:{awaited}/{of}");
    assert_eq!(get(&rig, &route("status")).await.json()["status"], "initializing");
    let failed = |session: &str, kind: &str| {
        let data = json!({"command_id": "c", "type": kind, "code": "deadline", "error": "nobody answered in time"});
        events(&json!({"type": "command.failed", "session": session, "data": data}).to_string())
    };
    rig.writer.append(failed(&awaited, "session.create")).await;
    rig.writer.append(failed("s-7", "session.stop")).await;
    let another = wire::Event { to: "somebody else".into(), ..failed("s-7", "session.restart").remove(0) };
    rig.writer.append(vec![another]).await;
    let status = get(&rig, &route("status")).await.json();
    assert_eq!((&status["status"], &status["errors"]), (&"failed".into(), &json!(["nobody answered in time"])));
    let project = get(&rig, &format!("{BASE}/projects/demo:{awaited}")).await.json();
    assert_eq!((&project["status"], &project["error"]), (&"failed".into(), &"nobody answered in time".into()));
    let line = "Project stop failed: nobody answered in time";
    for id in ["demo", "demo:s-7"] {
        let status = get(&rig, &format!("{BASE}/projects/{id}/status")).await.json();
        assert_eq!((&status["status"], &status["errors"]), (&"in_progress".into(), &json!([line])), "{id}");
        let logs = get(&rig, &format!("{BASE}/projects/{id}/logs")).await.json();
        let errors = logs["logs"].as_array().expect("lines").iter().filter(|line| line["level"] == "error");
        let errors: Vec<_> = errors.map(|line| line["message"].as_str().expect("a text")).collect();
        let of_all = ["Project start failed: nobody answered in time", line];
        assert_eq!(errors, if id == "demo" { &of_all[..] } else { &of_all[1..] }, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn builds_of_the_project_for_new_ones_are_listed_one_by_one() {
    let mut rig = Rig::start_on(config(at_home)).await;
    rig.writer.append(events(BUILD)).await;
    let newer = r#"{"type":"session.started","time":"2026-01-30T11:00:00Z","session":"s-8","data":{"title":"Newer"}}"#;
    rig.writer.append(events(newer)).await;
    Writer::new(&rig.store.memory, "another").await.append(events(BUILD)).await;
    let ids = |listed: &Value| {
        let rows = listed["projects"].as_array().expect("rows").clone();
        rows.iter().map(|row| row["project_id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let listed = get(&rig, &format!("{BASE}/projects")).await.json();
    assert_eq!(ids(&listed), ["demo:s-8", "demo:s-7", "another"]);
    let paged = get(&rig, &format!("{BASE}/projects?limit=1&skip=1")).await.json();
    assert_eq!((ids(&paged), &paged["total"]), (vec!["demo:s-7".to_owned()], &3.into()));
    let one = get(&rig, &format!("{BASE}/projects/demo:s-7")).await.json();
    assert_eq!(one, paged["projects"][0]);
    // Who asks for the project is shown the newest.
    assert_eq!(get(&rig, &format!("{BASE}/projects/demo")).await.json()["name"], "Newer");
}

#[tokio::test(start_paused = true)]
async fn few_downloads_are_on_their_way_at_once() {
    let rig = rig().await;
    let download = || async {
        let request = Request::builder().uri(format!("{BASE}/projects/demo:s-7/download"));
        let request = request.body(Body::empty()).expect("a request");
        within(rig.gateway.router().oneshot(request)).await.expect("routers answer")
    };
    let mut open = Vec::new();
    let refused = loop {
        let response = download().await;
        if response.status() != 200 {
            break response;
        }
        open.push(response);
        assert!(open.len() < 10, "as many as they like");
    };
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (503, &"5".parse().expect("a value")));
    // The place goes with the body, not with the answer's head.
    let length: usize = open[0].headers()["content-length"].to_str().expect("a number").parse().expect("a number");
    let body = within(open.remove(0).into_body().collect()).await.expect("all of it").to_bytes();
    assert_eq!(body.len(), length);
    open.push(download().await);
    assert_eq!(open.last().map(|response| response.status().as_u16()), Some(200));
    drop(open);
    assert_eq!(download().await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn logs_and_outputs_can_be_taken_home() {
    let rig = rig().await;
    for (format, media_type, beginning) in [
        ("json", "application/json", "[{\"id\":"),
        ("csv", "text/csv; charset=utf-8", "id,timestamp,level,agent,message\r\n"),
        ("txt", "text/plain; charset=utf-8", "2026-"),
    ] {
        let export = get(&rig, &format!("{BASE}/projects/demo/logs/export?format={format}")).await;
        assert_eq!((export.status, export.header("content-type")), (200, media_type));
        assert_eq!(export.header("content-disposition"), format!("attachment; filename=\"demo.logs.{format}\""));
        assert!(String::from_utf8_lossy(&export.body).starts_with(beginning));
    }
    let archive = get(&rig, &format!("{BASE}/projects/demo:s-7/download")).await;
    assert_eq!((archive.status, archive.header("content-type")), (200, "application/zip"));
    assert_eq!(archive.header("content-disposition"), "attachment; filename=\"demo-s-7.zip\"");
    let text = String::from_utf8_lossy(&archive.body);
    for name in ["project.json", "logs.json", "logs.txt", "outputs/0001-readme.txt"] {
        assert_eq!(text.matches(name).count(), 2, "{name}: once before the file and once in the directory");
    }
    assert!(archive.body.starts_with(b"PK\x03\x04") && text.contains("Read me"));
}
