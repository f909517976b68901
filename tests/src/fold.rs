//! State as a reader computes it: the pure fold over what a viewer was told.

use serde_json::Value;
use tidings_protocol::effects::{Subject, effects_of};
use tidings_protocol::fold::{State, StateLimits};
use tidings_protocol::wire;

/// Folds events as they were told, in the order in which they were told, and returns the state as a snapshot shows it.
pub fn fold<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    let mut state = State::new(StateLimits::default());
    for text in texts {
        let event: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let word = |name: &str| event[name].as_str().unwrap_or_default();
        let subject = Subject {
            kind: word("type"),
            session: word("session"),
            agent: word("agent"),
            parent: word("parent"),
            id: word("id"),
            time: word("time"),
        };
        let folded = wire::Event {
            r#type: word("type").to_owned(),
            session: word("session").to_owned(),
            effects: effects_of(&subject, &event["data"]),
            ..wire::Event::default()
        };
        state.apply_event(word("position").parse().expect("a delivered event has a position"), &folded);
    }
    let mut json = Vec::new();
    state.snapshot_json(&mut json);
    serde_json::from_slice(&json).expect("a snapshot is JSON")
}
