//! Commands: as they are asked, and what runners post for them.

use serde_json::Value;
use serde_json::value::RawValue;
use tidings_broker::limits::GUARD_NOTE_BYTES_MAX;
use tidings_commands::approval::{self, Decision};
use tidings_commands::command::{Class, Command};
use tidings_commands::splice;
use tidings_commands::told::Told;
use tidings_protocol::intake::envelope_value;
use tidings_protocol::wire;

use crate::input::Input;

/// What is filled in, and may be longer than what was sent, in bytes.
const FILLED_BYTES_MAX: usize = 512;

/// What a byte of a name becomes at most: `\u007f`.
const ESCAPED_BYTES: usize = 6;

/// A command that is understood is understood again, and its refusal names one field at most. An event of a command is the
/// event that was posted, with the command's id, its session where it names none, and for final answers who asked, whatever it
/// says itself; a decision says who made it, in its note as well.
pub(crate) fn events(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    asked(text);
    let told = Told {
        kind: "chat".to_owned(),
        id: "c-\"1".to_owned(),
        session: (flags & 1 == 1).then(|| "s\u{e4}\\".to_owned()),
        agent: (flags & 2 == 2).then(|| "a".to_owned()),
        by: "al\"ice".to_owned(),
        reply_to: (flags & 4 == 4).then(|| "v".to_owned()),
        asked: String::new(),
        notice: false,
    };
    // What is not JSON has been refused before.
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return;
    }
    let Ok(filled) = splice::fill(text, &told, "r") else { return };
    // Names are written anew, with their control characters escaped; the intake knows none of those.
    assert!(filled.len() <= text.len() * ESCAPED_BYTES + FILLED_BYTES_MAX);
    // Each is one of a list, so that a list is none.
    let Some(mut events) = crate::intake::taken(format!("[{filled}]").as_bytes()) else { return };
    let [event] = &events[..] else { panic!("one event is one event") };
    posted(text, event, &told);
    for event in &mut events {
        signed(event);
    }
    let before = events.clone();
    splice::address(&mut events, &told, flags & 8 == 8).expect("nothing stands behind it");
    let (event, before) = (&events[0], &before[0]);
    assert_eq!(event.json, before.json);
    let is_shared = flags & 8 == 8 || told.reply_to.is_none() || event.r#type.starts_with("approval.");
    assert_eq!(event.to, if is_shared { "" } else { "v" });
    assert!(is_shared || event.effects.is_empty(), "what one viewer is told is no state");
    if splice::is_final(&event.r#type) {
        let guard = event.guard.as_ref().expect("a final answer is guarded");
        sound(&guard.note);
        assert!(guard.key == "c:c-\"1" && splice::is_same(&guard.note, &event.id));
    }
}

fn asked(text: &str) {
    match Command::parse(text) {
        Ok(command) => {
            let mut members = vec![format!("\"type\":\"{}\"", command.kind)];
            let texts = [
                ("id", &command.id),
                ("session", &command.session),
                ("agent", &command.agent),
                ("capability", &command.capability),
            ];
            let told =
                |(name, value): (&str, &Option<String>)| Some(format!("\"{name}\":{}", Value::from(value.as_deref()?)));
            members.extend(texts.into_iter().filter_map(told));
            members.extend(command.data.as_ref().map(|data| format!("\"data\":{data}")));
            members.extend(command.deadline_ms.map(|ms| format!("\"deadline_ms\":{ms}")));
            assert_eq!(Command::parse(&format!("{{{}}}", members.join(","))), Ok(command.clone()));
            assert!(!command.capability().is_empty() && Class::ALL.contains(&Class::of(&command.kind)));
            let _ = command.text();
        }
        Err(refusal) => assert!(refusal.errors.len() <= 1 && refusal.detail.len() <= FILLED_BYTES_MAX, "{refusal}"),
    }
}

/// It is the event that was posted.
fn posted(text: &str, event: &wire::Event, told: &Told) {
    // Numbers that no reader holds pass where no state is made of them.
    let both = envelope_value(text.as_bytes()).zip(envelope_value(&event.json));
    let Some((posted, stored)) = both else { return };
    assert_eq!(posted["type"], stored["type"]);
    for (name, value) in
        posted.as_object().into_iter().flatten().filter(|(name, value)| *name != "data" && !value.is_null())
    {
        let is_same = stored[name] == *value || name == "time" || name == "producer";
        assert!(is_same, "{name}: {} was {value}", stored[name]);
    }
    if posted["session"].is_null() {
        assert_eq!(stored["session"].as_str(), told.session.as_deref());
        let agent = if posted["agent"].is_null() {
            told.agent.as_deref().filter(|_| told.session.is_some())
        } else {
            posted["agent"].as_str()
        };
        assert_eq!(stored["agent"].as_str(), agent);
    }
    let data = &stored["data"];
    assert_eq!(data["command_id"], told.id);
    for (name, value) in posted["data"].as_object().into_iter().flatten() {
        assert!(
            data[name] == *value
                || (value.is_null() && ["command_id", "by", "type", "runner"].contains(&name.as_str())),
            "{name}"
        );
    }
    if event.r#type.starts_with("command.") {
        assert_eq!(data["by"], told.by);
    }
}

/// A decision says who made it.
fn signed(event: &mut wire::Event) {
    let before = event.clone();
    approval::sign(event, "e\"ve");
    approval::guard_decision(event);
    if !approval::is_decision(event) {
        assert_eq!(*event, before);
        return;
    }
    let Some((mut was, mut now)) = envelope_value(&before.json).zip(envelope_value(&event.json)) else { return };
    assert_eq!(now["data"]["by"], "e\"ve");
    was["data"]["by"].take();
    now["data"]["by"].take();
    assert_eq!(was, now, "nothing else is touched");
    let guard = event.guard.as_ref().expect("a decision is guarded");
    sound(&guard.note);
    assert_eq!(Decision::of_note(&guard.note).by, "e\"ve");
}

/// A note is what a store takes for one.
fn sound(note: &str) {
    assert!(note.len() <= GUARD_NOTE_BYTES_MAX && !note.chars().any(char::is_control), "{note}");
    serde_json::from_str::<&RawValue>(note).expect("a note is JSON");
}
