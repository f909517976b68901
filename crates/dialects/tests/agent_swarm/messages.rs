//! The WebSocket: one golden file for each type of message, the greeting, what is asked of present state.

use std::collections::BTreeMap;

use tidings_dialects::agent_swarm::{AgentSwarm, Target, Unbegun, batch};
use tidings_dialects::{Action, Ask, Dialect, Missing};
use tidings_protocol::gap::{Gap, GapCause};
use tidings_protocol::position::Position;

use crate::story::{Story, check, parsed};
use crate::wire_types::{MESSAGES, check_message};

const PLAIN: AgentSwarm = AgentSwarm { session: None, batch: false, unbegun: None };
const COMPLETED: &str = r#"{"type":"session.completed","time":"2026-01-30T10:00:50.000Z","session":"s-7",
    "data":{"deployment_url":"https://todo.example","summary":"Done"}}"#;
const FAILED: &str = r#"{"type":"session.failed","time":"2026-01-30T10:00:50.000Z","session":"s-7",
    "data":{"error":"npm install failed"}}"#;

fn batching() -> AgentSwarm {
    AgentSwarm { batch: true, ..AgentSwarm::default() }
}

/// The messages of all stories together, each type's first one by its type.
fn one_of_each() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut all = Story::under_way().greeting(&PLAIN);
    for end in [COMPLETED, FAILED] {
        all.extend(Story::going_on(end).live(&PLAIN));
    }
    let two: Vec<&str> = all[..2].iter().map(String::as_str).collect();
    all.extend(batching().bundle(&two));
    for message in all {
        let kind = parsed(&message)["type"].as_str().expect("a type").to_owned();
        found.entry(kind).or_insert(message);
    }
    found
}

#[test]
fn every_type_is_told_as_its_golden_file_says() {
    let found = one_of_each();
    for (kind, _) in MESSAGES {
        let message = found.get(*kind).unwrap_or_else(|| panic!("{kind} was never told"));
        check(&format!("messages/{kind}.json"), message);
    }
}

#[test]
fn every_message_has_every_field_of_its_table() {
    let more = r#"{"type":"agent.status","session":"s-7","agent":"qa_engineer","data":{"status":"failed"}},
        {"type":"agent.removed","session":"s-7","agent":"qa_engineer","data":{}},
        {"type":"agent.finished","session":"s-7","agent":"qa_engineer","data":{"outcome":"failed"}},
        {"type":"session.progress","session":"s-7","data":{"progress":0.5,"stage":"testing"}},
        {"type":"session.stage","session":"s-7","data":{"stage":"testing","status":"failed"}},
        {"type":"alert","session":"s-7","data":{"level":"critical","component":"disk","message":"full"}},
        {"type":"alert","session":"s-7","data":{"level":"critical","component":"disk","message":"ok","resolved":true}},
        {"type":"session.cancelled","session":"s-7","data":{}},
        {"type":"session.completed","session":"s-7","data":{}}"#;
    let story = Story::going_on(more);
    for dialect in [PLAIN, AgentSwarm::of(&Target::parse("acme:s-7").expect("a target"), true)] {
        let mut all = story.live(&dialect);
        all.extend(story.greeting(&dialect));
        all.extend(Story::going_on(FAILED).greeting(&dialect));
        for message in &all {
            check_message(&parsed(message));
        }
    }
}

#[test]
fn a_story_is_told_as_its_golden_file_says() {
    check("live.ndjson", &Story::going_on(COMPLETED).live(&PLAIN).join("\n"));
    check(
        "live_session.ndjson",
        &Story::under_way().live(&AgentSwarm { session: Some("s-7".into()), ..PLAIN }).join("\n"),
    );
}

#[test]
fn who_comes_late_is_told_how_things_stand() {
    check("greeting.ndjson", &Story::under_way().greeting(&PLAIN).join("\n"));
    check("greeting_completed.ndjson", &Story::going_on(COMPLETED).greeting(&PLAIN).join("\n"));
    check("greeting_failed.ndjson", &Story::going_on(FAILED).greeting(&PLAIN).join("\n"));
    check("greeting_nothing.ndjson", &Story::of("[{\"type\":\"heartbeat\"}]").greeting(&PLAIN).join("\n"));
}

#[test]
fn late_comers_end_where_others_are() {
    // The last word on each agent, stage and progress: the same for both.
    let last_words = |messages: Vec<String>| {
        let mut last = BTreeMap::new();
        for message in messages {
            let mut message = parsed(&message);
            let of = (message["type"].to_string(), message["agent"].to_string());
            message["timestamp"].take();
            // The state of an agent keeps its task behind its end.
            message["task"].take();
            last.insert(of, message);
        }
        last.retain(|(kind, _), _| !kind.contains("connection") && !kind.contains("log"));
        last
    };
    let story = Story::under_way();
    assert_eq!(last_words(story.live(&PLAIN)), last_words(story.greeting(&PLAIN)));
}

#[test]
fn everybody_is_told_how_things_stand_whether_it_comes_or_missed_something() {
    let story = Story::under_way();
    let mut again = vec![PLAIN.hello(&story.project, 0).expect("a hello")];
    PLAIN.greet(&story.view(), true, &mut again);
    assert_eq!(again, story.greeting(&PLAIN));
}

#[test]
fn the_newest_session_is_the_build() {
    let story = Story::going_on(
        r#"{"type":"session.started","time":"2026-01-30T09:00:00Z","session":"z-older","data":{"title":"Old"}},
        {"type":"session.progress","session":"z-older","data":{"progress":99}}"#,
    );
    let progress = |dialect: &AgentSwarm| {
        let greeting = story.greeting(dialect).into_iter().map(|message| parsed(&message));
        greeting.filter(|message| message["type"] == "project_progress").map(|m| m["progress"].clone()).next()
    };
    assert_eq!(progress(&PLAIN), Some(18.into()));
    assert_eq!(progress(&AgentSwarm { session: Some("z-older".into()), ..PLAIN }), Some(99.into()));
    assert_eq!(progress(&AgentSwarm { session: Some("unknown".into()), ..PLAIN }), None);
}

#[test]
fn how_far_an_agent_is_that_does_not_say_so_is_told_from_state() {
    let story = Story::going_on(
        r#"{"type":"agent.status","session":"s-7","agent":"backend_developer","data":{"status":"working"}},
        {"type":"agent.status","session":"s-7","agent":"qa_engineer","data":{"status":"working"}},
        {"type":"agent.status","session":"s-7","agent":"qa_engineer","data":{"status":"completed"}},
        {"type":"agent.status","session":"s-7","agent":"architect","data":{"status":"working","progress":7}},
        {"type":"log","data":{"level":"info","message":"elsewhere"},"session":"s-8"}"#,
    );
    let told: Vec<_> = story.told().collect();
    let asks: Vec<_> = told[13..].iter().map(|told| PLAIN.due(told)).collect();
    let agent = |agent: &str| Some(Ask::Other(format!("s-7\n{agent}")));
    assert_eq!(asks, [agent("backend_developer"), agent("qa_engineer"), None, None, None]);
    let present = |ask: Ask| {
        let mut out = Vec::new();
        PLAIN.present(&ask, &story.view(), &mut out);
        out.iter().map(|text| parsed(text)).collect::<Vec<_>>()
    };
    let backend = present(asks[0].clone().expect("an ask"));
    assert_eq!((&backend[0]["progress"], &backend[0]["status"]), (&12.5.into(), &"working".into()));
    check_message(&backend[0]);
    for never in
        [Ask::Other("s-7\nnobody".into()), Ask::Other("nonsense".into()), Ask::Session("gone".into()), Ask::Sessions]
    {
        assert!(present(never).is_empty());
    }
}

#[test]
fn a_stage_that_only_progress_names_is_told_from_state() {
    let presented = |stage: &str| {
        let story = Story::going_on(&format!(
            r#"{{"type":"session.progress","session":"s-7","data":{{"progress":50,"stage":"{stage}"}}}}"#
        ));
        let ask = PLAIN.due(&story.told().last().expect("the progress")).expect("an ask");
        let mut out = Vec::new();
        PLAIN.present(&ask, &story.view(), &mut out);
        out.iter().map(|text| parsed(text)).collect::<Vec<_>>()
    };
    let told = presented("testing");
    assert_eq!((told.len(), &told[0]["stage"], &told[0]["message"]), (1, &"testing".into(), &"Testing".into()));
    check_message(&told[0]);
    assert!(presented("architecture_design").is_empty(), "it has told of itself");
}

#[test]
fn a_stage_without_a_name_is_none() {
    let story = Story::going_on(r#"{"type":"session.progress","session":"s-7","data":{"progress":50,"stage":""}}"#);
    assert!(story.greeting(&PLAIN).iter().all(|message| parsed(message)["type"] != "workflow_stage_update"));
}

#[test]
fn a_line_keeps_its_id_when_a_failover_moves_it() {
    let story = Story::under_way();
    let told = story.told().nth(9).expect("the tenth event is a line");
    let moved = tidings_protocol::wire::Event {
        was: vec!["1769767201000-10.aaaaaaaaaaaa".into(), "1769767201000-12.bbbbbbbbbbbb".into()],
        ..told.event.clone()
    };
    let mut out = Vec::new();
    PLAIN.event(&tidings_dialects::Told { event: &moved, ..told }, &mut out);
    assert_eq!(parsed(&out[0])["id"], "1769767201000-10.aaaaaaaaaaaa");
}

#[test]
fn what_belongs_to_no_session_is_no_line() {
    let story = Story::of(r#"[{"type":"alert","data":{"level":"error","component":"gpu","message":"hot"}}]"#);
    assert!(story.live(&PLAIN).is_empty());
}

#[test]
fn a_ping_is_answered_and_anything_else_is_not() {
    for ping in ["ping", "ping\n"] {
        assert_eq!(PLAIN.hear(ping, 0), [Action::Say("pong".into())]);
    }
    for other in ["", "PING", "{\"type\":\"ping\"}", "{", "pong", r#"{"type":"subscribe","project_id":"p"}"#] {
        assert!(PLAIN.hear(other, 0).is_empty(), "{other}");
    }
}

#[test]
fn who_misses_something_is_greeted_again() {
    let gap = Gap {
        after: Position::ZERO,
        before: Position::ZERO,
        cause: GapCause::Trimmed,
        lost: Some(3),
        certain: true,
        position: Position::ZERO,
    };
    assert_eq!(PLAIN.gap(&gap), Missing::GreetAgain);
}

#[test]
fn only_who_asked_gets_batches() {
    assert_eq!(PLAIN.bundle(&["{}", "{}"]), None);
    assert_eq!(batching().bundle(&["{}", "{}"]), Some(batch(&["{}", "{}"])));
    // Batching changes nothing of what is shared.
    assert_eq!(PLAIN.variant(), batching().variant());
}

/// What the asker alone is told of commands.
const REFUSED: &str = r#"{"type":"command.failed","time":"2026-01-30T10:00:51.000Z","session":"s-7","data":{"command_id":"c-1",
    "type":"session.stop","code":"deadline","error":"nobody answered in time","by":"alice"}},
    {"type":"command.failed","time":"2026-01-30T10:00:52.000Z","session":"s-7","data":{"command_id":"c-2",
    "type":"session.restart","code":"runner_lost","by":"alice"}},
    {"type":"command.failed","time":"2026-01-30T10:00:53.000Z","session":"build-9","data":{"command_id":"c-3",
    "type":"session.create","code":"deadline","error":"nobody answered in time","by":"alice"}},
    {"type":"command.failed","session":"s-7","data":{"command_id":"c-4","type":"chat","code":"deadline"}},
    {"type":"command.failed","data":{"command_id":"c-5","type":"session.create","code":"deadline"}}"#;

#[test]
fn what_was_asked_and_failed_is_a_line_and_a_build_that_did_not_begin_an_error() {
    let story = Story::going_on(REFUSED);
    let told: Vec<_> = story.told().collect();
    for dialect in [PLAIN, AgentSwarm { session: Some("build-9".into()), ..PLAIN }] {
        let mut messages = Vec::new();
        for told in &told[told.len() - 5..] {
            dialect.event(told, &mut messages);
            if let Some(ask) = dialect.due(told) {
                dialect.present(&ask, &story.view(), &mut messages);
            }
        }
        for message in &messages {
            check_message(&parsed(message));
        }
        let name = if dialect.session.is_some() { "refused_session.ndjson" } else { "refused.ndjson" };
        check(name, &messages.join("\n"));
    }
    let ids: Vec<_> = story.lines().into_iter().rev().take(3).map(|line| (line.level, line.message)).collect();
    assert_eq!(ids[2], ("error", "Project stop failed: nobody answered in time".to_owned()));
}

#[test]
fn a_build_that_began_all_the_same_did_not_fail() {
    let began = r#"{"type":"command.failed","session":"s-7","data":{"command_id":"c","type":"session.create","code":"deadline"}}"#;
    let story = Story::going_on(began);
    let ask = PLAIN.due(&story.told().last().expect("the answer")).expect("an ask");
    let mut out = Vec::new();
    PLAIN.present(&ask, &story.view(), &mut out);
    assert_eq!(out, [""; 0]);
}

#[test]
fn who_comes_back_is_told_that_his_build_did_not_begin() {
    let story = Story::going_on(REFUSED);
    let unbegun = story.told().find_map(|told| Unbegun::of(&told));
    let knowing = |session: &str| AgentSwarm { session: Some(session.into()), batch: false, unbegun: unbegun.clone() };
    let last = |dialect: &AgentSwarm| parsed(&story.greeting(dialect).pop().expect("a message"));
    let told = last(&knowing("build-9"));
    assert_eq!((&told["type"], &told["error"]), (&"project_error".into(), &"nobody answered in time".into()));
    check_message(&told);
    let value = unbegun.expect("it did not begin").value();
    assert_eq!((&value["status"], &value["outcome"]["error"]), (&"failed".into(), &"nobody answered in time".into()));
}
