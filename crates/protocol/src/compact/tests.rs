//! Compaction from the viewer's side: what it is told in frames, cut and resumed anywhere, against what it would have
//! been told in full. The viewer here knows JSON only; it works out effects by itself.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::effects::{Subject, effects_of};
use crate::entry::{Body, Entry, ForkKind, ForkNote};
use crate::fold::{State, StateLimits};
use crate::intake::{Intake, parse_body};
use crate::limits::EventLimits;
use crate::position::Branch;

/// The first position of the open branch; a closed one lies before it, so that ranks of healed events count.
const FORK_N: u64 = 6;

fn branch(name: u8) -> Branch {
    Branch::from_random([name; 12])
}

fn position(index: usize) -> Position {
    Position::new(1_000 + index as u64, FORK_N + 1 + index as u64, branch(1))
}

/// An event as ingest stores it.
fn stored(body: &Value) -> wire::Event {
    let limits = EventLimits::default();
    let mut count = 0;
    let mut next_id = || {
        count += 1;
        format!("id{count}")
    };
    let mut intake = Intake {
        limits: &limits,
        received_ms: 1_763_630_000_123,
        next_id: &mut next_id,
        default_runner: None,
        default_traceparent: None,
        idempotency_key: None,
    };
    let mut events = parse_body(body.to_string().as_bytes(), &mut intake).expect("the tests write valid events");
    events.remove(0)
}

/// A viewer's memory of what it was told.
struct Viewer {
    state: State,
    told: Vec<(Position, Bytes)>,
    /// Text by (type, session, agent, key), joined as it came.
    texts: BTreeMap<[String; 4], Vec<u16>>,
}

impl Viewer {
    fn new() -> Viewer {
        let mut state = State::new(StateLimits::default());
        let survived = Position::new(900, FORK_N - 1, branch(0));
        let note = ForkNote { closed: branch(0), survived, kind: ForkKind::Failover };
        let position = Position::new(900, FORK_N, branch(1));
        state.apply(&Entry { position, prev: survived, total_bytes: 0, body: Body::Fork(note) });
        Viewer { state, told: Vec::new(), texts: BTreeMap::new() }
    }

    fn told<'a>(events: impl IntoIterator<Item = (Position, Bytes, &'a wire::Event)>) -> Viewer {
        let mut viewer = Viewer::new();
        for (position, json, event) in events {
            viewer.hear(position, json, event);
        }
        viewer
    }

    fn hear(&mut self, position: Position, json: Bytes, event: &wire::Event) {
        // Halves of a surrogate pair are no text for `serde_json`; they come in deltas alone, which change no state.
        let text = raw_text(&json, event);
        if let Some(text) = text {
            let of = [&event.r#type, &event.session, &event.agent, &event.key].map(ToString::to_string);
            self.texts.entry(of).or_default().extend(text);
        } else {
            let value: Value = serde_json::from_slice(&json).expect("what is delivered is JSON");
            let part = |name: &str| value[name].as_str().unwrap_or_default();
            let subject = Subject {
                kind: part("type"),
                session: part("session"),
                agent: part("agent"),
                parent: part("parent"),
                id: part("id"),
                time: part("time"),
            };
            let effects = effects_of(&subject, &value["data"]);
            let (session, was) = (subject.session.to_owned(), event.was.clone());
            self.state.apply_event(position, &wire::Event { session, was, effects, ..wire::Event::default() });
        }
        self.told.push((position, json));
    }

    fn snapshot(&self) -> String {
        let mut out = Vec::new();
        self.state.snapshot_json(&mut out);
        String::from_utf8(out).expect("a snapshot is text")
    }
}

/// The text of a delta as UTF-16, lone halves of pairs and all.
fn raw_text(json: &[u8], event: &wire::Event) -> Option<Vec<u16>> {
    let member = crate::vocabulary::joinable_member(&event.r#type)?;
    let json = std::str::from_utf8(json).expect("JSON is UTF-8");
    let start = json.find(&format!("\"{member}\":\"")).expect("deltas have text") + member.len() + 4;
    let mut units = Vec::new();
    let mut rest = json[start..].chars();
    loop {
        match rest.next().expect("strings end") {
            '"' => return Some(units),
            '\\' => match rest.next().expect("escapes go on") {
                'u' => {
                    let hex: String = rest.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&hex, 16).expect("four digits"));
                }
                'n' => units.push(10),
                other => units.push(other as u16),
            },
            other => units.extend(other.encode_utf16(&mut [0; 2]).iter()),
        }
    }
}

fn in_full(events: &[(Position, wire::Event)]) -> Viewer {
    Viewer::told(events.iter().map(|(position, event)| (*position, event.json.clone(), event)))
}

fn frames(events: &[(Position, wire::Event)]) -> Vec<CompactFrame<'_>> {
    compact(events.iter().map(|(position, event)| (*position, event)))
}

fn in_frames<'a>(frames: impl IntoIterator<Item = CompactFrame<'a>>) -> Viewer {
    let items = frames.into_iter().flat_map(|frame| frame.items);
    Viewer::told(items.map(|item| (item.position, item.json, item.event)))
}

fn is_kept_whole(event: &wire::Event) -> bool {
    event.lane() == wire::Lane::Control || !event.was.is_empty() || event.gap.is_some()
}

/// What must hold of whatever was told instead of `events`.
fn check_told(events: &[(Position, wire::Event)], compacted: &Viewer) -> Result<(), TestCaseError> {
    let full = in_full(events);
    prop_assert_eq!(compacted.snapshot(), full.snapshot());
    prop_assert_eq!(&compacted.texts, &full.texts);
    prop_assert!(compacted.told.windows(2).all(|pair| pair[0].0.id < pair[1].0.id), "in order, each once");
    let whole = events.iter().filter(|(_, event)| is_kept_whole(event));
    let mut told = compacted.told.iter();
    for (position, event) in whole {
        let found = told.any(|(at, json)| at == position && json.as_ptr() == event.json.as_ptr());
        prop_assert!(found, "{position} {} is missing or was copied", event.r#type);
    }
    Ok(())
}

fn check_frames(frames: &[CompactFrame<'_>], events: &[(Position, wire::Event)]) -> Result<(), TestCaseError> {
    prop_assert_eq!(frames.last().map(|frame| frame.position), events.last().map(|(position, _)| *position));
    for frame in frames {
        prop_assert_eq!(Some(frame.position), frame.items.last().map(|item| item.position));
        let added = |item: &CompactItem<'_>| ITEM_BYTES + item.event.was.len() * WAS_BYTES;
        let bytes: usize = frame.items.iter().map(|item| item.json.len() + added(item)).sum();
        prop_assert!(bytes <= FRAME_BYTES_MAX || frame.items.len() == 1, "{bytes} bytes");
        for item in &frame.items {
            prop_assert!(item.json.len() <= JOINED_BYTES_MAX || item.json == item.event.json);
        }
        // Nothing is left that a newer neighbour of its source makes obsolete.
        let latest = frame.items.iter().filter(|item| item.event.lane() == wire::Lane::Latest);
        let mut last: BTreeMap<Source<'_>, &wire::Event> = BTreeMap::new();
        for event in latest.map(|item| item.event) {
            if let Some(older) = last.insert(source(event), event) {
                let alike = older.key == event.key && older.fields == event.fields;
                prop_assert!(!alike || !older.was.is_empty() || !event.was.is_empty(), "{older:?} is obsolete");
            }
        }
    }
    Ok(())
}

fn any_event() -> impl Strategy<Value = wire::Event> {
    let status = (0..3, 0..3_usize, prop::bool::ANY, 0..100).prop_map(|(agent, status, message, progress)| {
        let status = ["working", "waiting", "completed"][status];
        let data = if message {
            json!({"status": status, "message": format!("m{progress}")})
        } else {
            json!({"status": status, "progress": progress})
        };
        json!({"type": "agent.status", "agent": format!("a{agent}"), "data": data})
    });
    let progress = (0..100, prop::bool::ANY).prop_map(|(progress, stage)| {
        let data = if stage { json!({"progress": progress, "stage": "x"}) } else { json!({"progress": progress}) };
        json!({"type": "session.progress", "data": data})
    });
    let delta = (0..3, 0..2, "[a-z\"\\\\\n€😀]{0,6}", prop::bool::weighted(0.03)).prop_map(|(agent, message, text, big)| {
        let text = if big { text + &"x".repeat(90_000) } else { text };
        json!({"type": "message.delta", "agent": format!("a{agent}"), "data": {"message_id": format!("m{message}"), "text": text}})
    });
    let step = (0..2, "[a-z]{0,4}").prop_map(|(step, content)| {
        json!({"type": "reasoning.step", "agent": "a0", "data": {"step": step, "total_steps": 2, "content": content}})
    });
    let rest = prop_oneof![
        Just(json!({"type": "agent.started", "agent": "a0", "parent": "a1", "data": {"name": "N"}})),
        Just(json!({"type": "agent.finished", "agent": "a0", "data": {"outcome": "completed"}})),
        Just(json!({"type": "agent.removed", "agent": "a0", "data": {}})),
        Just(json!({"type": "session.started", "data": {"title": "T"}})),
        Just(json!({"type": "session.completed", "data": {"result": 1}})),
        Just(json!({"type": "session.stage", "data": {"stage": "y", "status": "started"}})),
        Just(json!({"type": "usage", "data": {"input_tokens": 3, "output_tokens": 5, "model": "m"}})),
        Just(json!({"type": "approval.requested", "data": {"approval_id": "q", "question": "?", "options": []}})),
        Just(json!({"type": "approval.resolved", "data": {"approval_id": "q", "decision": "y", "by": "u"}})),
        Just(json!({"type": "custom.thing", "agent": "a0", "data": {"status": "x"}})),
        (0..60_000_usize).prop_map(
            |size| json!({"type": "log", "agent": "a1", "data": {"level": "info", "message": "l".repeat(size)}})
        ),
        (0..9).prop_map(|agents| json!({"type": "swarm.topology", "data": {"topology": "mesh", "agents": agents}})),
    ];
    let body = prop_oneof![4 => status, 3 => progress, 5 => delta, 1 => step, 4 => rest];
    (body, 0..2, prop::option::weighted(0.1, 1..9_u64)).prop_map(|(mut body, session, was)| {
        body["session"] = json!(format!("s{session}"));
        body["time"] = json!("2026-11-20T09:00:00.123Z");
        let was = was.map(|n| Position::new(900, FORK_N - 1 + n, branch(0)).to_string());
        wire::Event { was: was.into_iter().collect(), ..stored(&body) }
    })
}

/// A stretch of a log as a viewer may see it: some positions are not for it.
fn stretch() -> impl Strategy<Value = Vec<(Position, wire::Event)>> {
    let events = prop::collection::vec((any_event(), prop::bool::weighted(0.9)), 1..40);
    events.prop_map(|events| {
        let placed = events.into_iter().enumerate().map(|(index, (event, seen))| (position(index), event, seen));
        placed.filter(|(.., seen)| *seen).map(|(position, event, _)| (position, event)).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn frames_tell_what_the_full_stream_tells(events in stretch()) {
        let frames = frames(&events);
        check_frames(&frames, &events)?;
        check_told(&events, &in_frames(frames))?;
    }

    #[test]
    fn a_resume_behind_any_frame_loses_and_repeats_nothing(events in stretch(), then_in_full in any::<bool>()) {
        let all = frames(&events);
        for count in 0..all.len() {
            let mut viewer = in_frames(all[..count].iter().cloned());
            let resume = count.checked_sub(1).map_or(Position::ZERO, |last| all[last].position);
            let rest: Vec<_> = events.iter().filter(|(position, _)| position.id > resume.id).cloned().collect();
            if then_in_full {
                for (position, event) in &rest {
                    viewer.hear(*position, event.json.clone(), event);
                }
            } else {
                for item in frames(&rest).into_iter().flat_map(|frame| frame.items) {
                    viewer.hear(item.position, item.json, item.event);
                }
            }
            // Those of `rest` are clones that share their bytes, so the check by pointer holds for them, too.
            check_told(&events, &viewer)?;
        }
    }

    #[test]
    fn any_cut_of_the_backlog_ends_alike(events in stretch(), cut in 0_usize..40) {
        let (first, second) = events.split_at(cut.min(events.len()));
        check_told(&events, &in_frames(frames(first).into_iter().chain(frames(second))))?;
    }
}

/// Compacts events given as `(agent, type, data)` of one session; tells what is left as `index: data`.
#[track_caller]
fn check(events: &[(&str, &str, Value)], expected: &[&str]) {
    let event = |(agent, kind, data): &(&str, &str, Value)| {
        stored(&json!({"type": kind, "session": "s", "agent": agent, "data": data}))
    };
    let events: Vec<_> = events.iter().map(event).enumerate().map(|(index, event)| (position(index), event)).collect();
    let told = in_frames(frames(&events)).told;
    let line = |(position, json): &(Position, Bytes)| {
        let value: Value = serde_json::from_slice(json).expect("JSON");
        format!("{}: {}", position.n() - FORK_N - 1, value["data"])
    };
    assert_eq!(told.iter().map(line).collect::<Vec<_>>(), expected);
}

#[test]
fn the_newest_of_a_key_is_left() {
    let status = |status: &str, progress| ("a", "agent.status", json!({"status": status, "progress": progress}));
    check(
        &[
            status("working", 1),
            status("working", 2),
            ("b", "log", json!({"level": "info", "message": "m"})),
            status("working", 3),
        ],
        &[r#"2: {"level":"info","message":"m"}"#, r#"3: {"progress":3,"status":"working"}"#],
    );
    // Never across a change of status, and only where both set the same fields.
    check(
        &[status("working", 1), status("waiting", 2), status("working", 3)],
        &[
            r#"0: {"progress":1,"status":"working"}"#,
            r#"1: {"progress":2,"status":"waiting"}"#,
            r#"2: {"progress":3,"status":"working"}"#,
        ],
    );
    check(
        &[status("working", 1), ("a", "agent.status", json!({"status": "working"})), status("working", 3)],
        &[r#"1: {"status":"working"}"#, r#"2: {"progress":3,"status":"working"}"#],
    );
}

#[test]
fn neighbouring_texts_are_joined() {
    let delta = |agent, message, text: &str| (agent, "message.delta", json!({"message_id": message, "text": text}));
    check(
        &[
            delta("a", "m", "a\""),
            delta("b", "n", "x"),
            delta("a", "m", "\\b\n"),
            delta("b", "n", "y"),
            delta("a", "m", "€"),
        ],
        &[r#"3: {"message_id":"n","text":"xy"}"#, r#"4: {"message_id":"m","text":"a\"\\b\n€"}"#],
    );
    // Another message, or anything else of the same agent, stands between.
    check(
        &[delta("a", "m", "1"), delta("a", "n", "2"), delta("a", "m", "3")],
        &[
            r#"0: {"message_id":"m","text":"1"}"#,
            r#"1: {"message_id":"n","text":"2"}"#,
            r#"2: {"message_id":"m","text":"3"}"#,
        ],
    );
    check(
        &[delta("a", "m", "1"), ("a", "log", json!({"level": "info", "message": "m"})), delta("a", "m", "2")],
        &[
            r#"0: {"message_id":"m","text":"1"}"#,
            r#"1: {"level":"info","message":"m"}"#,
            r#"2: {"message_id":"m","text":"2"}"#,
        ],
    );
}

#[test]
fn halves_of_a_surrogate_pair_meet() {
    let delta = |text: &str| {
        let body = r#"{"type":"message.delta","session":"s","data":{"message_id":"m","text":"TEXT"}}"#;
        let limits = EventLimits::default();
        let mut next_id = || "id".to_owned();
        let mut intake = Intake {
            limits: &limits,
            received_ms: 0,
            next_id: &mut next_id,
            default_runner: None,
            default_traceparent: None,
            idempotency_key: None,
        };
        parse_body(body.replace("TEXT", text).as_bytes(), &mut intake).map(|mut events| events.remove(0))
    };
    let (Ok(first), Ok(second)) = (delta("a\\ud83d"), delta("\\ude00b")) else {
        panic!("intake takes halves of pairs: models cut tokens anywhere");
    };
    let events = [(position(0), first), (position(1), second)];
    let told = in_frames(frames(&events)).told;
    let value: Value = serde_json::from_slice(&told[0].1).expect("the pair is whole now");
    assert_eq!((told.len(), &value["data"]["text"]), (1, &json!("a😀b")));
}

#[test]
fn joining_stops_at_the_size_of_an_event_and_of_a_frame() {
    let text = "x".repeat(100_000);
    let delta = stored(&json!({"type": "message.delta", "session": "s", "data": {"message_id": "m", "text": text}}));
    let events: Vec<_> = (0..5).map(|index| (position(index), delta.clone())).collect();
    let frames = frames(&events);
    let sizes: Vec<Vec<usize>> =
        frames.iter().map(|frame| frame.items.iter().map(|item| item.json.len() / 100_000).collect()).collect();
    assert_eq!(sizes, [vec![2], vec![2], vec![1]]);

    let big =
        stored(&json!({"type": "log", "session": "s", "data": {"level": "info", "message": "y".repeat(262_000)}}));
    let events = [(position(0), delta.clone()), (position(1), big), (position(2), delta)];
    assert_eq!(compact(events.iter().map(|(at, event)| (*at, event))).len(), 3, "a full-sized event stands alone");
}

#[test]
fn what_is_for_one_viewer_or_stands_again_is_left_alone() {
    let status = stored(&json!({"type": "agent.status", "session": "s", "agent": "a", "data": {"status": "working"}}));
    let healed = wire::Event { was: vec![Position::new(900, FORK_N, branch(0)).to_string()], ..status.clone() };
    let reply = wire::Event { to: "v".into(), ..status.clone() };
    let events: Vec<_> = [&status, &healed, &healed, &status, &reply, &status]
        .into_iter()
        .enumerate()
        .map(|(index, event)| (position(index), event.clone()))
        .collect();
    assert_eq!(in_frames(frames(&events)).told.len(), 6);
}
