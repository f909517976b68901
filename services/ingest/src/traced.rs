//! Events on their way into the log, as spans: from the submission to the answer, and in it the call of the store. One
//! of each for every trace that the events of a request belong to, of those that are sampled.

use std::sync::Arc;
use std::time::SystemTime;

use tidings_log::writer::Called;
use tidings_protocol::wire;
use tidings_runtime::telemetry::traces::{Done, LINKS_MAX, Traces};

/// The traces of events that are submitted together.
pub(crate) struct Traced {
    /// Distinct ones, at most [`LINKS_MAX`].
    parents: Vec<String>,
    began: SystemTime,
    called: Arc<Called>,
}

impl Traced {
    /// None, at the cost of a look, unless some event is sampled; or when too much is.
    pub(crate) fn begin(traces: &Traces, events: &[wire::Event]) -> Option<Traced> {
        if !traces.is_on() {
            return None;
        }
        let mut parents: Vec<String> = Vec::new();
        for event in events {
            let parent = &event.traceparent;
            if parents.len() < LINKS_MAX && !parents.contains(parent) && traces.samples(parent) {
                parents.push(parent.clone());
            }
        }
        let began = SystemTime::now();
        (!parents.is_empty() && traces.admits()).then(|| Traced { parents, began, called: Arc::default() })
    }

    /// Where the writer tells when it called the store.
    pub(crate) fn called(&self) -> Arc<Called> {
        self.called.clone()
    }

    /// Records the spans. `failed`: some event was not taken.
    pub(crate) fn end(self, traces: &Traces, failed: bool) {
        let now = SystemTime::now();
        let error = failed.then_some("not all events were taken");
        for parent in &self.parents {
            let done = |name, times, parent| Done { name, times, parent, links: &[], error };
            let Some(append) = traces.record(&done("append", (self.began, now), parent)) else { continue };
            if let Some(times) = self.called.times() {
                traces.record(&done("redis", times, &append));
            }
        }
    }
}
