//! Whatever runners post and clients send: every message fits its table, and nothing breaks.

use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_dialects::agent_swarm::orchestrate::{Orchestrate, is_awaited};
use tidings_dialects::agent_swarm::{AgentSwarm, Target};
use tidings_dialects::{Action, Ask, Dialect};

use crate::story::{Story, parsed};
use crate::wire_types::check_message;

/// A value that `data` may hold somewhere.
fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..=100).prop_map(Value::from),
        (0.0..=100.0).prop_map(Value::from),
        "[a-z_ \\p{Lu}\"\\\\]{0,12}".prop_map(Value::from),
        Just(json!(["a"])),
        Just(json!({"b": 1})),
    ]
}

fn pick(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(words).prop_map(str::to_owned)
}

/// An event that ingest may or may not take.
fn event() -> impl Strategy<Value = Value> {
    let kinds = &[
        "session.started",
        "session.progress",
        "session.stage",
        "session.completed",
        "session.failed",
        "session.cancelled",
        "agent.started",
        "agent.status",
        "agent.finished",
        "agent.removed",
        "log",
        "alert",
    ];
    let names = &[
        "title",
        "progress",
        "stage",
        "status",
        "message",
        "level",
        "emoji",
        "source",
        "url",
        "completion_url",
        "deployment_url",
        "error",
        "reason",
        "name",
        "role",
        "outcome",
        "task",
        "component",
        "resolved",
        "metadata",
    ];
    let words = &["working", "completed", "failed", "started", "info", "error", "success", "waiting"];
    let member = (pick(names), prop_oneof![value(), pick(words).prop_map(Value::from)]);
    let data = prop::collection::btree_map(pick(names), value(), 0..3);
    (pick(kinds), pick(&["s", "t"]), pick(&["architect", "x"]), data, prop::collection::vec(member, 0..4)).prop_map(
        |(kind, session, agent, data, members)| {
            let mut data: serde_json::Map<String, Value> = data.into_iter().collect();
            for (name, fallback) in [
                ("progress", json!(7)),
                ("stage", json!("testing")),
                ("status", json!("completed")),
                ("error", json!("e")),
                ("name", json!("n")),
                ("outcome", json!("failed")),
                ("level", json!("info")),
                ("message", json!("m")),
                ("component", json!("c")),
                ("title", json!("t")),
            ] {
                data.insert(name.into(), fallback);
            }
            data.extend(members);
            json!({"type": kind, "session": session, "agent": agent, "data": data})
        },
    )
}

proptest! {
    #[test]
    fn every_message_fits_its_table(events in prop::collection::vec(event(), 1..12)) {
        // One by one: what ingest refuses is left out.
        let taken: Vec<_> = events.into_iter().filter(Story::is_taken).collect();
        prop_assume!(!taken.is_empty());
        let story = Story::of(&Value::from(taken).to_string());
        for dialect in [AgentSwarm::default(), AgentSwarm { session: Some("s".into()), batch: true, unbegun: None }] {
            let mut all = story.live(&dialect);
            all.extend(story.greeting(&dialect));
            for ask in story.told().filter_map(|told| dialect.due(&told)) {
                dialect.present(&ask, &story.view(), &mut all);
            }
            for message in &all {
                check_message(&parsed(message));
            }
        }
    }

    #[test]
    fn whatever_clients_say_is_taken(text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let actions = AgentSwarm::default().hear(&text, 0);
        prop_assert!(actions.iter().all(|action| matches!(action, Action::Say(_))));
        let _ = Orchestrate::parse(&bytes);
        let _ = Orchestrate::parse(text.as_bytes());
        let _ = is_awaited(&text, u64::MAX);
        if let Some(target) = Target::parse(&text) {
            prop_assert_eq!(target.id(), text.clone());
        }
        let mut out = Vec::new();
        let story = Story::of("[{\"type\":\"note\"}]");
        AgentSwarm::default().present(&Ask::Other(text), &story.view(), &mut out);
        prop_assert!(out.is_empty());
    }
}
