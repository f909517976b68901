//! Deliveries as spans: on each gateway, an entry with events of sampled traces has a span of its fan-out, which links to
//! all of them, and the first few viewers that it was written to have one each, in the trace of the event.

use std::sync::Arc;
use std::time::SystemTime;

use tidings_log::held::Held;
use tidings_protocol::intake::is_sampled;
use tidings_runtime::telemetry::traces::{Done, LINKS_MAX, Traces};

/// Deliveries of an entry that are recorded on one gateway: of thousands of viewers one trace needs a few.
const DELIVERIES_MAX: u32 = 3;

/// Entries that were taken for one write and are to be recorded when it is done.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    traces: Traces,
    taken: Vec<Arc<Held>>,
}

impl Deliveries {
    pub(crate) fn new(traces: Traces) -> Deliveries {
        Deliveries { traces, taken: Vec::new() }
    }

    /// Whether anybody wants to know.
    pub(crate) fn is_on(&self) -> bool {
        self.traces.is_on()
    }

    /// These are on their way to the socket.
    pub(crate) fn take(&mut self, taken: Vec<Arc<Held>>) {
        self.taken.extend(taken);
    }

    /// They were written.
    pub(crate) fn written(&mut self) {
        for held in std::mem::take(&mut self.taken) {
            record(&self.traces, &held);
        }
    }
}

fn record(traces: &Traces, held: &Held) {
    let Some(traced) = held.traced() else { return };
    if traced.turn() >= DELIVERIES_MAX {
        return;
    }
    let times = (traced.heard(), SystemTime::now());
    let parents = held.events().iter().map(|event| event.traceparent.as_str()).filter(|parent| is_sampled(parent));
    let mut parents: Vec<&str> = parents.collect();
    parents.sort_unstable();
    parents.dedup();
    parents.truncate(LINKS_MAX);
    if parents.is_empty() || !traces.admits() {
        return;
    }
    let done = |name, parent, links| Done { name, times, parent, links, error: None };
    let fan_out = traced.fan_out(|| traces.record(&done("fan out", parents.first()?, &parents)));
    let links: Vec<&str> = fan_out.into_iter().collect();
    for parent in &parents {
        traces.record(&done("deliver", parent, &links));
    }
}
