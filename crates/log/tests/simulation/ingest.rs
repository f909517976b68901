//! An ingest: the real writer machine, the call that it has on its way, and its janitor.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tidings_broker::{Answer, AppendCall, CallError, CheckpointStep, DedupeWindow, Fields, Retention, Span};
use tidings_log::writer::budget::Commons;
use tidings_log::writer::machine::{Draw, Keep, Lost, Machine, Step};
use tidings_protocol::fold::{FOLD_VERSION, State};
use tidings_protocol::gap::GapCause;
use tidings_protocol::position::{Branch, Position};
use tidings_protocol::wire;

use super::archive::json_of;
use super::store::Store;

/// How well writers remember what was acknowledged to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recall {
    /// Everything.
    All,
    /// Little, for seconds.
    Some,
    /// Nothing.
    Nothing,
}

impl Recall {
    fn keep(self) -> Keep {
        let keep = |secs, bytes| Keep { time: Duration::from_secs(secs), bytes_max: bytes, total: Commons::new(bytes) };
        match self {
            Recall::All => keep(1 << 30, 1 << 24),
            Recall::Some => keep(4, 1_200),
            Recall::Nothing => keep(0, 0),
        }
    }
}

/// A sending on its way, and its answer on the way back.
pub(crate) struct Air {
    pub(crate) call: AppendCall,
    pub(crate) node: usize,
    pub(crate) answer: Option<Result<Answer, CallError>>,
}

/// One process.
pub(crate) struct Ingest {
    /// How often it was started.
    pub(crate) life: u32,
    pub(crate) node: usize,
    pub(crate) machine: Machine,
    pub(crate) air: Option<Air>,
    /// By the key in the machine: the request that somebody waits for.
    pub(crate) waiting: HashMap<u64, usize>,
    pub(crate) janitor: Option<(usize, CheckpointStep)>,
}

impl Ingest {
    pub(crate) fn new(store: &mut Store, recall: Recall, life: u32) -> Ingest {
        let writer = Names(store).writer();
        Ingest {
            life,
            node: store.main,
            machine: Machine::new(writer, 0, DedupeWindow::default(), recall.keep()),
            air: None,
            waiting: HashMap::new(),
            janitor: None,
        }
    }

    /// Sends what is next, if nothing is on its way.
    pub(crate) fn send(&mut self, store: &mut Store) {
        if self.air.is_none()
            && let Some(call) = self.machine.next(&mut Names(store))
        {
            self.air = Some(Air { call, node: self.node, answer: None });
        }
    }

    /// The sending arrives.
    pub(crate) fn arrive(&mut self, store: &mut Store) {
        if let Some(air) = &mut self.air
            && air.answer.is_none()
            && !store.nodes[air.node].frozen
        {
            air.answer = Some(store.execute(air.node, &air.call));
        }
    }

    /// The answer arrives.
    pub(crate) fn answered(&mut self, store: &mut Store, now: Duration) -> Option<Step> {
        let air = self.air.take_if(|air| air.answer.is_some())?;
        let answer = air.answer?;
        if answer.is_err() {
            // Who is refused, or cut off, asks where the primary is.
            self.node = store.main;
        }
        Some(self.machine.answered(now, answer, &mut Names(store)))
    }

    /// It is waited for no longer. A sending that has not arrived is given back: it may yet.
    pub(crate) fn times_out(
        &mut self,
        store: &mut Store,
        now: Duration,
    ) -> Option<(Step, Option<(AppendCall, usize)>)> {
        let air = self.air.take()?;
        store.stats.unanswered += 1;
        let late = air.answer.is_none().then_some((air.call, air.node));
        let unknown = Err(CallError::Unknown("no answer in time".into()));
        Some((self.machine.answered(now, unknown, &mut Names(store)), late))
    }

    pub(crate) fn probe(&mut self, store: &Store, now: Duration) {
        if store.nodes[self.node].serves() {
            self.machine.probed(&store.nodes[self.node].replid, now);
        }
    }

    /// The janitor reads checkpoint and log and folds.
    pub(crate) fn fold(&mut self, store: &mut Store, keep_events: u64) {
        let here = &store.nodes[self.node];
        if !here.serves() || !here.data.is_born() {
            return;
        }
        let at = here.data.state(&here.replid, &Fields::All);
        let mut state = State::from_fields(at.position, at.version, at.fields).expect("this fold wrote it");
        let page = here.data.read(&here.replid, Span::After(at.position.id), store.page_bytes);
        if page.head.fork_is_due() {
            return;
        }
        state.skip_to(page.trimmed_to);
        for entry in &page.entries {
            state.apply_visible(entry, &page.head);
        }
        let (to, json) = (state.position(), json_of(&state));
        if to.is_zero() {
            // Janitors leave logs alone in which nothing stands.
            return;
        }
        let step = CheckpointStep {
            incarnation: here.replid.clone(),
            from: at.position,
            to,
            deletion: page.head.newest_project_deletion(),
            version: FOLD_VERSION,
            fields: state.touched(),
            retention: Retention { events: keep_events, bytes: u64::MAX, age_ms: u64::MAX },
            hard: false,
        };
        let whole = store.archive.state_json(to);
        if !store.archive.is_state(to, &json) {
            store.bad(format!("P4: the checkpoint at {to} is {json}, not {whole}"));
        }
        self.janitor = Some((self.node, step));
    }

    /// The janitor writes what it folded.
    pub(crate) fn write_fold(&mut self, store: &mut Store, elsewhere: bool) {
        if let Some((node, step)) = self.janitor.take() {
            let node = if elsewhere { store.main } else { node };
            store.stats.checkpoints += u64::from(store.checkpoint(node, &step));
        }
    }
}

/// Names from the run's own source.
struct Names<'a>(&'a mut Store);

impl Draw for Names<'_> {
    fn branch(&mut self) -> Branch {
        self.0.draw_branch()
    }

    fn writer(&mut self) -> Arc<str> {
        format!("w{}", self.0.draw()).into()
    }

    fn gap(&mut self, lost: &Lost) -> wire::Event {
        let Lost { after, acknowledged, certain } = *lost;
        let before = Position::new(acknowledged.ms(), acknowledged.n() + 1, acknowledged.branch);
        self.0.stats.owed += 1;
        wire::Event {
            json: "{}".into(),
            r#type: "gap".into(),
            id: format!("gap{}", self.0.draw()),
            gap: Some(wire::Gap {
                after: after.to_string(),
                before: before.to_string(),
                cause: GapCause::Failover.as_str().to_owned(),
                lost: None,
                certain,
            }),
            ..wire::Event::default()
        }
    }
}
