//! A build as its events, through the same intake and fold as in the services.

use std::path::PathBuf;

use serde_json::Value;
use tidings_dialects::agent_swarm::{AgentSwarm, Line};
use tidings_dialects::{Dialect, Told, View};
use tidings_protocol::fold::{State, StateLimits};
use tidings_protocol::intake::{Fault, Intake, parse_body};
use tidings_protocol::limits::EventLimits;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::wire;

/// When everything is looked at: 2026-01-30T10:01:00Z.
pub(crate) const NOW_MS: u64 = 1_769_767_260_000;
const FIRST_MS: u64 = 1_769_767_200_000;

/// A project's log, read to its end.
pub(crate) struct Story {
    pub(crate) project: Project,
    events: Vec<(Position, wire::Event, Value)>,
    state: Value,
    pub(crate) listed: Value,
}

impl Story {
    /// The build of `story.json`, under way.
    pub(crate) fn under_way() -> Story {
        let text = std::fs::read_to_string(golden("story.json")).expect("the story is there");
        Story::of(&text)
    }

    /// The same with more behind it: members of an array.
    pub(crate) fn going_on(more: &str) -> Story {
        let text = std::fs::read_to_string(golden("story.json")).expect("the story is there");
        let text = text.trim().strip_suffix(']').expect("it is an array");
        Story::of(&format!("{text},{more}]"))
    }

    /// Whether ingest takes an event.
    pub(crate) fn is_taken(event: &Value) -> bool {
        events(&event.to_string()).is_ok()
    }

    /// Events of an array.
    pub(crate) fn of(text: &str) -> Story {
        let events = events(text).expect("the events are valid");
        let mut state = State::new(StateLimits::default());
        let events: Vec<_> = events
            .into_iter()
            .zip(1_u64..)
            .map(|(event, n)| {
                let position = format!("{}-{n}.k3f9a7c2m4xq", FIRST_MS + 100 * n).parse().expect("it is a position");
                state.apply_event(position, &event);
                let envelope = serde_json::from_slice(&event.json).expect("an envelope is JSON");
                (position, event, envelope)
            })
            .collect();
        let mut json = Vec::new();
        state.snapshot_json(&mut json);
        let parsed = |json: &[u8]| serde_json::from_slice(json).expect("state is JSON");
        let listed = parsed(&state.sessions_json());
        Story { project: "acme".parse().expect("a name"), events, state: parsed(&json), listed }
    }

    pub(crate) fn told(&self) -> impl Iterator<Item = Told<'_>> {
        let told = |(position, event, envelope)| Told { project: &self.project, position, event, envelope };
        self.events.iter().map(|(position, event, envelope)| (*position, event, envelope)).map(told)
    }

    pub(crate) fn view(&self) -> View<'_> {
        let position = self.events.last().map_or(Position::ZERO, |(position, ..)| *position);
        View { project: &self.project, position, state: &self.state, now_ms: NOW_MS }
    }

    /// What a client hears that was there from the beginning.
    pub(crate) fn live(&self, dialect: &AgentSwarm) -> Vec<String> {
        let mut out = Vec::new();
        self.told().for_each(|told| dialect.event(&told, &mut out));
        out
    }

    /// What a client hears that comes at the end.
    pub(crate) fn greeting(&self, dialect: &AgentSwarm) -> Vec<String> {
        let mut out: Vec<_> = dialect.hello(&self.project, NOW_MS).into_iter().collect();
        dialect.greet(&self.view(), false, &mut out);
        out
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        self.told().filter_map(|told| Line::of(&told)).collect()
    }
}

fn events(text: &str) -> Result<Vec<wire::Event>, Fault> {
    let limits = EventLimits::default();
    let mut next = 0..;
    let mut intake = Intake {
        limits: &limits,
        received_ms: FIRST_MS,
        next_id: &mut || format!("id-{}", next.next().unwrap_or_default()),
        default_runner: None,
        default_traceparent: None,
        idempotency_key: None,
    };
    parse_body(text.as_bytes(), &mut intake)
}

pub(crate) fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/agent_swarm").join(name)
}

/// Compares with a golden file. With `TIDINGS_NEW_GOLDEN=1` a file that is not there is written; one that is there never.
pub(crate) fn check(name: &str, text: &str) {
    let path = golden(name);
    if std::env::var_os("TIDINGS_NEW_GOLDEN").is_some() && !path.exists() {
        std::fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("a folder can be made");
        std::fs::write(&path, format!("{}\n", text.trim_end_matches('\n'))).expect("a golden file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(expected.trim_end_matches('\n'), text.trim_end_matches('\n'), "{name}");
}

pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
