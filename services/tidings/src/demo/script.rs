//! The script: an endless play, the same for the same seed. Three stages side by side, each with one story after another.

use std::collections::VecDeque;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::scene::{Beat, Scene};
use super::stories::{self, Story};
use crate::client::draft::Draft;

/// When the stages open: life at once, and never three curtains at the same moment.
const CURTAINS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(2_500), Duration::from_secs(6)];

/// What happens, and when.
#[derive(Debug)]
pub(super) struct Script {
    run: String,
    stages: Vec<Stage>,
    sessions: u32,
}

/// One story after another.
#[derive(Debug)]
struct Stage {
    rng: StdRng,
    /// Stories that are to come, before they are shuffled anew.
    deck: Vec<&'static Story>,
    beats: VecDeque<Beat>,
    /// When the present story is over.
    until: Duration,
}

impl Script {
    /// The play of this seed; `run` goes into its ids, so that it can be played again.
    pub(super) fn new(seed: u64, run: &str) -> Script {
        let stage = |(at, curtain): (u64, Duration)| Stage {
            rng: StdRng::seed_from_u64(seed.wrapping_mul(CURTAINS.len() as u64).wrapping_add(at)),
            // What opens is chosen: the first minute shall show a bit of everything.
            deck: vec![stories::OPENING[usize::try_from(at).unwrap_or(0)]],
            beats: VecDeque::new(),
            until: curtain,
        };
        Script { run: run.to_owned(), stages: (0..).zip(CURTAINS).map(stage).collect(), sessions: 0 }
    }

    /// The next event that is due.
    pub(super) fn due(&mut self, played: Duration) -> Option<Draft> {
        let (stage, at) = self.first();
        if at > played { None } else { self.stages[stage].beats.pop_front().map(|beat| beat.event) }
    }

    /// When the next event is due.
    pub(super) fn next_at(&mut self) -> Duration {
        self.first().1
    }

    /// The stage with the next event, and when that is due.
    fn first(&mut self) -> (usize, Duration) {
        for stage in &mut self.stages {
            if stage.beats.is_empty() {
                self.sessions += 1;
                stage.raise(&self.run, self.sessions);
            }
        }
        let times = self.stages.iter().enumerate().filter_map(|(at, stage)| Some((at, stage.beats.front()?.at)));
        times.min_by_key(|(_, at)| *at).expect("every stage was given a story with events")
    }
}

impl Stage {
    fn raise(&mut self, run: &str, number: u32) {
        let story = loop {
            if let Some(story) = self.deck.pop() {
                break story;
            }
            self.deck = stories::ALL.to_vec();
            self.deck.shuffle(&mut self.rng);
        };
        let session = format!("{}-{run}-{number}", story.name);
        let mut scene = Scene::new(session, self.until, &mut self.rng);
        (story.play)(&mut scene);
        let (beats, end) = scene.into_beats();
        self.beats = beats.into();
        self.until = end + Duration::from_secs_f64(self.rng.random_range(2.0..6.0));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use tidings_protocol::intake::{Intake, parse_line};
    use tidings_protocol::limits::EventLimits;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn events_until(script: &mut Script, end: Duration) -> Vec<Draft> {
        std::iter::from_fn(|| script.due(end)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_play_and_another_seed_another() {
        let play = |seed| -> Vec<Vec<u8>> {
            events_until(&mut Script::new(seed, "run"), 5 * MINUTE).iter().map(Draft::to_json).collect()
        };
        assert_eq!(play(7), play(7));
        assert_ne!(play(7), play(8));
    }

    #[test]
    fn the_first_minute_shows_a_bit_of_everything_and_begins_at_once() {
        for seed in 0..20 {
            let mut script = Script::new(seed, "run");
            assert!(events_until(&mut script, Duration::from_millis(500)).len() > 3);
            let kinds: BTreeSet<String> =
                events_until(&mut script, MINUTE).into_iter().map(|event| event.kind).collect();
            let wanted = [
                "agent.collaboration",
                "agent.finished",
                "agent.started",
                "agent.status",
                "approval.requested",
                "approval.resolved",
                "log",
                "message.completed",
                "message.delta",
                "reasoning.step",
                "session.completed",
                "session.failed",
                "session.progress",
                "session.stage",
                "session.started",
                "tool.completed",
                "tool.failed",
                "tool.started",
                "usage",
            ];
            for kind in wanted {
                assert!(kinds.contains(kind), "seed {seed}: no {kind} in the first minute");
            }
        }
    }

    #[test]
    fn every_event_is_valid_and_has_an_id_of_its_own() {
        let mut ids = BTreeSet::new();
        for seed in 0..5 {
            for event in events_until(&mut Script::new(seed, &format!("run{seed}")), 10 * MINUTE) {
                let id = event.id.clone().expect("retries need an id");
                let (limits, mut next_id) = (EventLimits::default(), || panic!("it has an id"));
                let mut intake = Intake {
                    limits: &limits,
                    received_ms: 0,
                    next_id: &mut next_id,
                    default_runner: None,
                    default_traceparent: None,
                    idempotency_key: None,
                };
                parse_line(&event.to_json(), 0, &mut intake).unwrap_or_else(|fault| panic!("{event:?}: {fault}"));
                assert!(ids.insert(id), "{event:?}");
            }
        }
    }

    /// What is started ends: sessions, tools, messages, approvals, stages; and nothing comes behind a session's end.
    #[test]
    fn everything_that_begins_ends_in_its_session() {
        let mut sessions: BTreeMap<String, Vec<Draft>> = BTreeMap::new();
        let mut script = Script::new(3, "run");
        for event in events_until(&mut script, 10 * MINUTE) {
            sessions.entry(event.session.clone().expect("all are of a session")).or_default().push(event);
        }
        let is_end = |kind: &str| matches!(kind, "session.completed" | "session.failed");
        let over = sessions.values().filter(|events| events.last().is_some_and(|event| is_end(&event.kind)));
        let mut count = 0;
        for events in over {
            count += 1;
            assert_eq!(events[0].kind, "session.started");
            assert_eq!(events.iter().filter(|event| is_end(&event.kind)).count(), 1);
            for (begin, ends, name) in [
                ("tool.started", &["tool.completed", "tool.failed"][..], "call_id"),
                ("message.delta", &["message.completed"], "message_id"),
                ("approval.requested", &["approval.resolved"], "approval_id"),
            ] {
                let names = |kinds: &[&str]| -> BTreeSet<String> {
                    let found = events.iter().filter(|event| kinds.contains(&event.kind.as_str()));
                    found.map(|event| member(event, name)).collect()
                };
                assert_eq!(names(&[begin]), names(ends), "{}: {begin}", events[0].session.as_deref().unwrap_or(""));
            }
        }
        assert!(count >= 20, "{count} sessions in ten minutes");
    }

    fn member(event: &Draft, name: &str) -> String {
        let data: serde_json::Value = serde_json::from_str(event.data.as_ref().expect("data").get()).expect("JSON");
        data[name].as_str().expect("a name").to_owned()
    }
}
