//! PyGent Factory: what its page gets for native events, byte for byte, and with the types that it relies on.
//!
//! `golden/pygent/<wrapping>/<message>.json` is one message each; `UPDATE_GOLDEN=1` writes them anew, to be reviewed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_dialects::pygent::{PyGent, Wrapping};
use tidings_dialects::{Action, Command, Dialect, Told, View};
use tidings_protocol::position::Position;
use tidings_protocol::timestamp;
use tidings_protocol::wire;

const WRAPPINGS: [(&str, Wrapping); 2] = [("native", Wrapping::Native), ("socket_io", Wrapping::SocketIo)];
const TIME: &str = "2026-11-20T09:00:00.123Z";

/// Fields of each message, by its type, as `path:kind`. Kinds: `s` text, `n` number, `b` bool, `a` list, `o` object, `t` time,
/// `v` any value, `i` a whole number; `?` behind one: it may be absent or null, since the
/// page merges what there is.
const FIELDS: [(&str, &str); 29] = [
    (
        "agent_activity",
        "id:s timestamp:t activity_type:s agent:s content:s metadata:o metadata.timestamp:t metadata.details:o",
    ),
    (
        "chat_response",
        "message.id:s message.type:s message.content:s message.timestamp:t message.agentId:s \
        message.metadata.agent_type:s message.metadata.processing_time:n message.metadata.confidence:n \
        message.metadata.reasoning_path:a message.error:b?",
    ),
    ("error", "message:s"),
    ("evolution_complete", EVOLUTION),
    ("evolution_progress", EVOLUTION),
    (
        "gpu_metrics",
        "timestamp:t name:s usage_percent:n memory_total_gb:n memory_used_gb:n memory_free_gb:n temperature:n power_usage:n",
    ),
    (
        "mcp_server_health",
        "server_id:s health.status:s health.last_check:t health.response_time:n health.uptime:n \
        health.error_message:s? status:s last_check:t response_time:n uptime:n",
    ),
    (
        "mcp_server_status",
        "id:s server_id:s name:s type:s status:s version:s description:s capabilities:a health:o \
        health.status:s health.last_check:t health.response_time:n health.uptime:n config:o stats:o online:b tools_count:n \
        server.id:s server.status:s server.capabilities:a timestamp:t",
    ),
    ("memory_update", "store:s operation:s count:n timestamp:t"),
    ("ollama_error", "error:s"),
    (
        "ollama_metrics",
        "metrics.total_models:n metrics.total_size:n metrics.memory_usage:n metrics.active_models:a \
        metrics.last_updated:t metrics.gpu_utilization:n?",
    ),
    (
        "ollama_model_update",
        "models:a models.*.name:s models.*.size:n models.*.digest:s models.*.modified_at:t \
        models.*.details:o?",
    ),
    (
        "ollama_status",
        "status.is_ready:b status.url:s status.available_models:a status.process_running:b status.executable_path:s?",
    ),
    ("pong", "timestamp:t"),
    (
        "reasoning_complete",
        "session_id:s total_steps:n processing_time:n paths_explored:n agent:s timestamp:t \
        state.isActive:b state.processingTime:n? state.confidence:n? state.pathsExplored:n state.mode:s? state.complexity:s? \
        state.thoughts:a?",
    ),
    ("reasoning_error", "error:s message:s session_id:s?"),
    ("reasoning_result", "session_id:s result:s confidence:n metadata:o reasoning_tree:a"),
    (
        "reasoning_started",
        "session_id:s problem:s mode:s config.generation_strategy:s config.search_method:s \
        config.max_depth:n config.n_generate:n",
    ),
    ("reasoning_stopped", "session_id:s reason:s"),
    (
        "reasoning_update",
        "session_id:s step:i total_steps:n content:s confidence:n step_type:s timestamp:t agent:s thought.id:s \
        thought.content:s thought.depth:i thought.parent_id:s? thought.children:a thought.value_score:n thought.confidence:n \
        thought.reasoning_step:s thought.timestamp:t state.isActive:b state.currentNode:o state.thoughts:a \
        state.processingTime:n? state.confidence:n? state.pathsExplored:n state.mode:s? state.complexity:s?",
    ),
    ("startup_log", ""),
    ("startup_service_status", ""),
    (
        "system_alert",
        "alert.id:s alert.level:s alert.component:s alert.message:s alert.timestamp:t alert.resolved:b \
        alert.metadata:o",
    ),
    ("system_metrics", METRICS),
    ("system_metrics_error", "error:s"),
    ("system_status", "status:s sessions:n active_sessions:n agents:n approvals:n timestamp:t"),
    (
        "tool_call_result",
        "call_id:s tool_name:s name:s server_id:s success:b result:v duration_ms:n timestamp:t error:s?",
    ),
    ("tool_discovered", "tool_name:s name:s event:s server_id:s description:s capabilities:a timestamp:t"),
    ("typing_indicator", "user_id:s typing:b"),
];

const EVOLUTION: &str = "generation:n fitness.generation:n fitness.average:n fitness.best:n fitness.worst:n \
    fitness.diversity:n fitness.timestamp:t state.isRunning:b state.currentGeneration:n state.maxGenerations:n? \
    state.populationSize:n? state.bestRecipes:a? state.fitnessHistory:a? state.convergenceMetrics.rate:n? \
    state.convergenceMetrics.plateau_generations:n? state.convergenceMetrics.improvement_threshold:n? \
    state.convergenceMetrics.is_converged:b? state.elapsedTime:n?";

const METRICS: &str = "timestamp:t cpu.usage_percent:n cpu.cores:n cpu.frequency:n cpu.temperature:n memory.total_gb:n \
    memory.used_gb:n memory.available_gb:n memory.usage_percent:n gpu:o? network.bytes_sent:n network.bytes_received:n \
    network.packets_sent:n network.packets_received:n network.connections:n ai_components.reasoning_requests:n \
    ai_components.evolution_requests:n ai_components.search_requests:n ai_components.average_response_time:n \
    ai_components.success_rate:n ai_components.error_count:n metrics.cpu.usage_percent:n metrics.memory.total_gb:n \
    metrics.network.bytes_sent:n metrics.ai_components.success_rate:n metrics.timestamp:t metrics.gpu:o?";

/// Types that the protocol's first document names, but for those that clients make for themselves (`connection_*`).
const NAMED_IN_THE_DOCUMENT: [&str; 18] = [
    "chat_response",
    "typing_indicator",
    "reasoning_update",
    "reasoning_complete",
    "evolution_progress",
    "evolution_complete",
    "system_metrics",
    "system_alert",
    "mcp_server_status",
    "mcp_server_health",
    "ollama_status",
    "ollama_model_update",
    "ollama_metrics",
    "ollama_error",
    "memory_update",
    "gpu_metrics",
    "tool_discovered",
    "tool_call_result",
];

/// An event as a runner posts it, and the names under which what it becomes is kept, in order.
#[derive(serde::Deserialize)]
struct Sample {
    r#type: String,
    #[serde(default)]
    agent: String,
    data: Value,
    becomes: Vec<String>,
}

/// Every event that is told, and some that are not. The end-to-end tests post them, too.
fn samples() -> Vec<Sample> {
    serde_json::from_str(include_str!("pygent/events.json")).expect("it is a list of samples")
}

fn told(dialect: PyGent, kind: &str, agent: &str, data: &Value) -> Vec<String> {
    let event = wire::Event {
        r#type: kind.to_owned(),
        id: "01JD3Z".to_owned(),
        session: "s1".to_owned(),
        agent: agent.to_owned(),
        received_ms: 1_000,
        ..wire::Event::default()
    };
    let envelope = json!({ "type": kind, "id": "01JD3Z", "time": TIME, "session": "s1", "agent": agent, "data": data });
    let project = "demo".parse().expect("a name of a project");
    let mut out = Vec::new();
    dialect.event(&Told { project: &project, position: Position::ZERO, event: &event, envelope: &envelope }, &mut out);
    out
}

/// What is said in answer to clients, in one wrapping.
fn answers(dialect: PyGent) -> Vec<(&'static str, String)> {
    const NOW_MS: u64 = 1_763_630_000_000;
    let say = |kind: &str, data: Value| match dialect.heard(&json!(kind), &data, NOW_MS).remove(0) {
        Action::Say(text) => text,
        other => panic!("{other:?}"),
    };
    let refuse = |kind: &str| {
        let command = Command { kind: kind.to_owned(), id: None, session: None, agent: None, data: Value::Null };
        dialect.refused(&command, "no_runner", "no runner is there for this").expect("refusals are told")
    };
    let state = json!({ "sessions": { "a": { "status": "running", "agents": { "x": {} } } }, "approvals": [] });
    let project = "demo".parse().expect("a name of a project");
    let view = View { project: &project, position: Position::ZERO, state: &state, now_ms: NOW_MS };
    let mut status = Vec::new();
    let Action::Present(ask) = dialect.heard(&json!("get_system_status"), &Value::Null, NOW_MS).remove(0) else {
        panic!()
    };
    dialect.present(&ask, &view, &mut status);
    vec![
        ("pong", say("ping", json!({}))),
        ("error.unknown_type", say("dance", json!({}))),
        ("error.processing", say("chat_message", json!({}))),
        ("error.no_runner", refuse("chat")),
        ("reasoning_error.no_runner", refuse("reasoning.start")),
        ("system_metrics_error.no_runner", refuse("metrics.request")),
        ("system_status", status.concat()),
    ]
}

/// All messages that the samples become, by the name under which each is kept.
fn messages(dialect: PyGent) -> BTreeMap<String, String> {
    let mut messages: BTreeMap<_, _> =
        answers(dialect).into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    for Sample { r#type: kind, agent, data, becomes } in samples() {
        let frames = told(dialect, &kind, &agent, &data);
        assert_eq!(frames.len(), becomes.len(), "{kind} becomes {frames:?}");
        for (name, frame) in becomes.into_iter().zip(frames) {
            let before = messages.insert(name, frame);
            assert!(before.is_none(), "there is one of this name: {before:?}");
        }
    }
    messages
}

/// A message's type and data, out of either wrapping.
fn unwrapped(frame: &str) -> (String, Value) {
    let message: Value = match frame.strip_prefix("42") {
        Some(list) => serde_json::from_str(list).expect("it is JSON"),
        None => serde_json::from_str(frame).expect("it is JSON"),
    };
    match message {
        Value::Array(list) => (list[0].as_str().expect("a type is a text").to_owned(), list[1].clone()),
        message => (message["type"].as_str().expect("a type is a text").to_owned(), message["data"].clone()),
    }
}

#[test]
fn messages_are_as_reviewed() {
    for (folder, wrapping) in WRAPPINGS {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pygent").join(folder);
        let messages = messages(PyGent(wrapping));
        for (name, frame) in &messages {
            assert_eq!(
                unwrapped(frame).0,
                name.split('.').next().expect("a split has a first part"),
                "the file is named by the type"
            );
            let path = folder.join(format!("{name}.json"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::create_dir_all(&folder).expect("the folder is there");
                std::fs::write(&path, format!("{frame}\n")).expect("the folder is there");
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(*frame, golden.trim_end(), "{}", path.display());
        }
        let files = std::fs::read_dir(&folder)
            .expect("the folder is there")
            .map(|file| file.expect("it is listed").file_name().into_string().expect("its name is a text"));
        let kept: BTreeSet<String> = files.collect();
        let made: BTreeSet<String> = messages.keys().map(|name| format!("{name}.json")).collect();
        assert_eq!(kept, made, "no file is left over");
    }
}

#[test]
fn every_type_of_the_document_is_there_with_every_field_of_its_table() {
    let mut seen = BTreeSet::new();
    for (_, wrapping) in WRAPPINGS {
        for (name, frame) in messages(PyGent(wrapping)) {
            let (kind, data) = unwrapped(&frame);
            conforms(&kind, &data).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            seen.insert(kind);
        }
    }
    for kind in NAMED_IN_THE_DOCUMENT {
        assert!(seen.contains(kind), "{kind} never comes");
    }
    // What may be absent is there once, too.
    let all: Vec<(String, Value)> = messages(PyGent(Wrapping::Native)).values().map(|frame| unwrapped(frame)).collect();
    for (kind, fields) in FIELDS {
        for field in fields.split_whitespace().filter(|field| field.ends_with('?')) {
            let sure = field.trim_end_matches('?');
            let (path, sort) = sure.split_once(':').expect("a path and a kind");
            let names: Vec<&str> = path.split('.').filter(|name| *name != "*").collect();
            let first = |value: &Value| value.as_array().map_or_else(|| value.clone(), |list| list[0].clone());
            let found = |data: &Value| names.iter().fold(data.clone(), |value, name| first(&value)[*name].clone());
            let mut of_kind = all.iter().filter(|(known, _)| known == kind);
            assert!(of_kind.any(|(_, data)| is(&found(data), sort)), "{kind}.{path} is never there");
        }
    }
    let listed: BTreeSet<String> = FIELDS.iter().map(|(kind, _)| (*kind).to_owned()).collect();
    assert_eq!(seen, listed);
}

#[test]
fn both_wrappings_say_the_same() {
    let (native, socket_io) = (messages(PyGent(Wrapping::Native)), messages(PyGent(Wrapping::SocketIo)));
    for (name, frame) in &native {
        assert_eq!(unwrapped(frame), unwrapped(&socket_io[name]), "{name}");
    }
}

/// Checks a message against [`FIELDS`].
fn conforms(kind: &str, data: &Value) -> Result<(), String> {
    let (_, fields) = FIELDS.iter().find(|(known, _)| *known == kind).ok_or(format!("{kind} has no table"))?;
    if !data.is_object() {
        return Err(format!("{kind}: data is {data}"));
    }
    for field in fields.split_whitespace() {
        let (path, sort) = field.split_once(':').expect("a path and a kind");
        let names: Vec<&str> = path.split('.').collect();
        check(data, &names, sort).map_err(|fault| format!("{kind}.{path} should be {sort}: {fault}"))?;
    }
    Ok(())
}

fn check(value: &Value, path: &[&str], sort: &str) -> Result<(), String> {
    match path {
        [] => is(value, sort).then_some(()).ok_or_else(|| value.to_string()),
        ["*", rest @ ..] => {
            let list = value.as_array().ok_or_else(|| value.to_string())?;
            list.iter().try_for_each(|item| check(item, rest, sort))
        }
        [name, rest @ ..] => match value.get(name) {
            None if sort.ends_with('?') => Ok(()),
            None => Err(format!("{name} is missing")),
            Some(value) => check(value, rest, sort),
        },
    }
}

fn is(value: &Value, sort: &str) -> bool {
    match sort.trim_end_matches('?') {
        _ if sort.ends_with('?') && value.is_null() => true,
        "s" => value.is_string(),
        "n" => value.is_number(),
        "i" => value.is_u64(),
        "b" => value.is_boolean(),
        "a" => value.is_array(),
        "o" => value.is_object(),
        "t" => value.as_str().and_then(timestamp::parse_rfc3339).is_some(),
        "v" => true,
        other => panic!("{other} is no kind"),
    }
}

/// Values that a careless runner might put anywhere.
fn careless() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(-1),
        json!(0.5),
        json!(7),
        json!(""),
        json!("text"),
        json!([]),
        json!([1, "x", {}]),
        json!({}),
        json!({ "name": 1, "status": 2, "details": 3, "last_check": 4 }),
    ]
}

/// All places in a value: paths of names and indexes.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    out.push(at.to_owned());
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| places(member, &format!("{at}/{name}"), out));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, item)| places(item, &format!("{at}/{index}"), out));
        }
        _ => {}
    }
}

/// Whatever runners get wrong, anywhere, the page finds the types that it relies on.
#[test]
fn types_hold_whatever_a_runner_posts() {
    let mut checked = 0;
    for Sample { r#type: kind, data, .. } in samples() {
        let mut at = Vec::new();
        places(&data, "", &mut at);
        for place in at {
            for value in careless() {
                let mut spoilt = data.clone();
                *spoilt.pointer_mut(&place).expect("the place is there") = value;
                for frame in told(PyGent(Wrapping::Native), &kind, "", &spoilt) {
                    let (message, data) = unwrapped(&frame);
                    conforms(&message, &data).unwrap_or_else(|fault| panic!("{kind} {spoilt}: {fault}"));
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 2_000, "{checked}");
}

proptest! {
    /// Whatever a client says, it is answered, asked of a runner, or known to need nothing.
    #[test]
    fn anything_may_be_said(text in ".*", kind in "[a-z_]{0,20}", data in prop::sample::select(careless())) {
        for (_, wrapping) in WRAPPINGS {
            let dialect = PyGent(wrapping);
            let mut heard = dialect.hear(&text, 0);
            heard.extend(dialect.hear(&json!({ "type": kind, "data": data }).to_string(), 0));
            heard.extend(dialect.hear(&format!("42{}", json!([kind, data])), 0));
            for action in heard {
                if let Action::Say(text) = action {
                    let (message, data) = unwrapped(&text);
                    prop_assert_eq!(conforms(&message, &data), Ok(()));
                }
            }
        }
    }
}

#[test]
fn what_a_page_says_beside_its_message_goes_along_too() {
    let page = json!({ "message": { "content": "hi" }, "timestamp": "t", "metadata": { "a": 1 } });
    let heard = PyGent(Wrapping::Native).heard(&json!("chat_message"), &page, 0);
    let [Action::Command(command)] = &heard[..] else { panic!("{heard:?}") };
    let expected = json!({ "text": "hi", "agent": "general", "timestamp": "t", "metadata": { "a": 1 } });
    assert_eq!(command.data, expected);
}

#[test]
fn who_cannot_stop_reasoning_is_told_as_who_cannot_start_it() {
    let refused = |kind: &str| {
        let command = Command { kind: kind.to_owned(), id: None, session: None, agent: None, data: Value::Null };
        PyGent(Wrapping::Native).refused(&command, "no_runner", "nobody is there").expect("refusals are told")
    };
    assert_eq!(unwrapped(&refused("reasoning.stop")).0, "reasoning_error");
    assert_eq!(refused("reasoning.stop"), refused("reasoning.start"));
}

#[test]
fn messages_of_starting_services_are_called_by_all_their_words() {
    let told = told(PyGent(Wrapping::Native), "startup.service.log.line", "", &json!({ "a": 1 }));
    assert_eq!(unwrapped(&told.concat()), ("startup_service_log_line".to_owned(), json!({ "a": 1 })));
}
