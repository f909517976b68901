//! The fold against a plain port of the executable model's rules, over histories that a store could really have; and
//! checkpoints at every cut.

mod bounds;
mod deletion;
mod history;
mod model;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use history::{History, steps};

/// Limits that small histories run into.
const TINY: StateLimits = StateLimits {
    sessions: 2,
    ended_ms: 40,
    summaries: 2,
    summary_ms: 60,
    agents: 2,
    stages: 1,
    members: 2,
    sections: 2,
    cells: 2,
    list_items: 3,
    value_bytes: 30,
    session_bytes: 900,
    project_bytes: 1_200,
    graves: 2,
};

pub(super) fn fold(limits: StateLimits, log: &[Entry]) -> State {
    let mut state = State::new(limits);
    for entry in log {
        state.apply(entry);
    }
    state
}

/// Writes what a step changed over a checkpoint, as the janitor does.
fn write(checkpoint: &mut BTreeMap<String, Bytes>, touched: Vec<(String, Option<Bytes>)>) {
    assert!(touched.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each field once");
    for (name, field) in touched {
        if let Some(bytes) = field {
            checkpoint.insert(name, bytes);
        } else {
            // The one field that may come and go unseen is that of summaries.
            let was = checkpoint.remove(&name);
            assert!(was.is_some() || name == "g", "{name} is deleted, but was never written");
        }
    }
}

fn json(state: &State) -> String {
    let mut out = Vec::new();
    state.snapshot_json(&mut out);
    out.push(b'\n');
    out.extend(state.sessions_json());
    String::from_utf8(out).expect("a snapshot is text")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_is_the_models(steps in prop::collection::vec(steps(), 1..60)) {
        let history = History::play(&steps);
        let state = fold(StateLimits::default(), &history.log);
        let model = model::fold(&history.log);
        prop_assert_eq!(model::values(&state), model.v);
        let text = json(&state);
        for line in text.lines() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "no JSON: {}", line);
        }
    }

    #[test]
    fn checkpoints_at_any_cuts_change_nothing(
        steps in prop::collection::vec(steps(), 1..60),
        cuts in prop::collection::vec(any::<bool>(), 60),
        tiny in any::<bool>(),
    ) {
        let log = History::play(&steps).log;
        let limits = if tiny { TINY } else { StateLimits::default() };
        let whole = fold(limits, &log);
        let (mut state, mut checkpoint) = (State::new(limits), BTreeMap::new());
        for (entry, cut) in log.iter().zip(cuts.iter().cycle()) {
            state.apply(entry);
            if *cut {
                write(&mut checkpoint, state.touched());
                prop_assert_eq!(&state.touched(), &vec![], "nothing changed since");
                state = State::from_fields(state.position(), FOLD_VERSION, checkpoint.clone())
                    .expect("it was just written")
                    .with_limits(limits);
            }
        }
        write(&mut checkpoint, state.touched());
        let mut all = BTreeMap::new();
        write(&mut all, whole.clone().touched());
        prop_assert_eq!(json(&state), json(&whole));
        prop_assert_eq!(state.weight_bytes(), whole.weight_bytes());
        prop_assert_eq!(checkpoint, all);
    }

    #[test]
    fn a_copy_is_not_changed_by_what_follows(steps in prop::collection::vec(steps(), 2..40), at in 0_usize..40) {
        let log = History::play(&steps).log;
        let at = at % log.len().max(1);
        let mut state = fold(StateLimits::default(), &log[..at]);
        let copy = state.clone();
        let before = json(&copy);
        for entry in &log[at..] {
            state.apply(entry);
        }
        prop_assert_eq!(json(&copy), before);
        // Entries that are told again change nothing.
        let after = json(&state);
        for entry in &log {
            state.apply(entry);
        }
        prop_assert_eq!(json(&state), after);
    }

    #[test]
    fn state_stays_bounded(steps in prop::collection::vec(steps(), 1..60)) {
        let log = History::play(&steps).log;
        let mut state = State::new(TINY);
        for entry in &log {
            state.apply(entry);
            prop_assert!(state.sessions.len() <= TINY.sessions);
            prop_assert!(state.gone.len() <= TINY.summaries);
            prop_assert_eq!(state.bytes, state.sessions.values().map(|live| live.body.count_bytes()).sum::<usize>());
            for body in state.sessions.values().map(|live| &live.body).chain([&state.project]) {
                prop_assert_eq!(body.bytes, body.count_bytes());
                prop_assert!(body.bytes <= TINY.session_bytes + 400, "one event's own writes may stand above");
                prop_assert!(body.fields.len() <= TINY.cells && body.sections.len() <= TINY.sections);
                prop_assert!(body.graves.len() <= TINY.graves);
                for (name, members) in &body.sections {
                    prop_assert!(!members.is_empty() && members.len() <= TINY.members_of(name));
                    prop_assert!(members.values().all(|member| (1..=TINY.cells).contains(&member.cells.len())));
                }
            }
        }
    }
}

#[test]
fn histories_reach_what_they_are_for() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut forks, mut healed, mut skipped) = (0, 0, 0);
    for _ in 0..300 {
        let steps = prop::collection::vec(steps(), 60).new_tree(&mut runner).expect("steps are always made").current();
        let log = History::play(&steps).log;
        forks += log.iter().filter(|entry| matches!(entry.body, EntryBody::Fork(_))).count();
        let without_ranks: Vec<Entry> = log.iter().map(history::unranked).collect();
        healed += usize::from(log != without_ranks);
        let differs = model::fold(&log).v != model::fold(&without_ranks).v;
        skipped += usize::from(differs);
    }
    assert!(
        forks > 500 && healed > 200 && skipped > 30,
        "{forks} forks, {healed} healed, {skipped} where ranks matter"
    );
}

#[test]
fn a_checkpoint_of_an_empty_log_can_be_read_again() {
    let mut checkpoint = BTreeMap::new();
    let mut state = State::new(TINY);
    write(&mut checkpoint, state.touched());
    let mut read = State::from_fields(state.position(), FOLD_VERSION, checkpoint).expect("it was written by a state");
    assert_eq!(json(&read), json(&state));
    assert!(read.touched().is_empty(), "what was read is no change");
}
