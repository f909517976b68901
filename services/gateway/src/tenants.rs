//! What single projects cost a gateway: viewers and deliveries of the busiest, and of all others together.

use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus::proto::MetricFamily;
use tidings_log::hub::Hub;
use tidings_runtime::busiest::{Busiest, OTHER, counters, gauges};

/// The figures of now. Topics count by themselves; they are asked here, so that a delivery costs nothing more.
pub(crate) fn figures(hub: &Hub, busiest: &Mutex<Busiest<1>>) -> Vec<MetricFamily> {
    let mut busiest = busiest.lock();
    let traffic = hub.traffic();
    let mut viewers = HashMap::new();
    for (project, readers, told) in &traffic.topics {
        busiest.add(project, [*told]);
        viewers.insert(project.to_string(), *readers as u64);
    }
    busiest.add_others([traffic.others]);
    let told = busiest.tell();
    drop(busiest);
    let mut rows: Vec<([&str; 1], u64)> = Vec::with_capacity(told.len());
    for (project, _) in told.iter().filter(|(project, _)| project != OTHER) {
        rows.push(([project.as_str()], viewers.remove(project).unwrap_or_default()));
    }
    rows.push(([OTHER], viewers.values().sum()));
    let deliveries = told.iter().map(|(project, [count])| (project.as_str(), *count));
    [
        gauges("tidings_project_viewers", "Readers of a project on this gateway.", ["project"], rows.into_iter()),
        counters("tidings_project_deliveries_total", "Events told to viewers of a project here.", deliveries),
    ]
    .concat()
}
