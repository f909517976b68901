//! What single projects cost an ingest: events, bytes and refusals of the busiest, and of all others together; and what the
//! logs hold that its janitor looks after.

use parking_lot::Mutex;
use prometheus::proto::MetricFamily;
use tidings_log::janitor::{Figures, Measured};
use tidings_protocol::project::Project;
use tidings_runtime::busiest::{Busiest, counters, gauges};

use crate::facts::Appended;

/// Figures of projects.
#[derive(Debug)]
pub(crate) struct Tenants {
    /// Events, bytes and refusals. Held for a moment once per request.
    busiest: Mutex<Busiest<3>>,
    /// What the janitor measured.
    measured: Measured,
    named_max: usize,
}

impl Tenants {
    /// So many are told apart.
    pub(crate) fn new(named_max: usize, measured: Measured) -> Tenants {
        Tenants { busiest: Mutex::new(Busiest::new(named_max)), measured, named_max }
    }

    /// Events were appended.
    pub(crate) fn on_appended(&self, project: &Project, Appended { events, bytes }: Appended) {
        if events > 0 {
            self.busiest.lock().add(project, [events, bytes, 0]);
        }
    }

    /// Requests or lines were refused.
    pub(crate) fn on_refused(&self, project: &Project, refused: u64) {
        if refused > 0 {
            self.busiest.lock().add(project, [0, 0, refused]);
        }
    }

    /// The figures of now.
    pub(crate) fn figures(&self) -> Vec<MetricFamily> {
        let told = self.busiest.lock().tell();
        let traffic = |which: usize| told.iter().map(move |(project, counts)| (project.as_str(), counts[which]));
        let logs = self.measured.largest(self.named_max);
        let of_logs = |name, help, value: fn(&Figures) -> u64| {
            let rows = logs.iter().map(|(project, figures)| ([project.as_str()], value(figures)));
            gauges(name, help, ["project"], rows)
        };
        let sessions = logs
            .iter()
            .flat_map(|(project, figures)| figures.sessions.map(|(status, count)| ([project.as_str(), status], count)));
        [
            counters("tidings_project_events_total", "Events appended to a project here.", traffic(0)),
            counters("tidings_project_bytes_total", "Bytes of them, as they are stored.", traffic(1)),
            counters("tidings_project_refused_total", "Requests and lines that were refused.", traffic(2)),
            of_logs("tidings_project_log_events", "Events that a project's log holds.", |figures| figures.events),
            of_logs("tidings_project_log_bytes", "Encoded bytes that it holds, about.", |figures| figures.bytes),
            of_logs("tidings_project_log_age_seconds", "Age of the oldest of them.", Figures::age_seconds),
            gauges("tidings_project_sessions", "Sessions of a project, by status.", ["project", "status"], sessions),
        ]
        .concat()
    }
}
