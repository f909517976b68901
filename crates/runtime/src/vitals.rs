//! What a process's own machinery says at a scrape: the async runtime's workers and queues, and the conditions of readiness.
//! Read when somebody asks, so that it costs nothing in between.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::runtime::RuntimeMetrics;

use crate::readiness::Readiness;

/// Registers the vitals of the runtime that this is called on, and of `readiness`. Once per registry.
///
/// # Panics
/// Outside a tokio runtime.
pub fn register(registry: &Registry, readiness: Readiness) -> prometheus::Result<()> {
    let runtime = tokio::runtime::Handle::current().metrics();
    let workers = IntGauge::new("tidings_runtime_workers", "Threads that run the service's tasks.")?;
    workers.set(count(runtime.num_workers()));
    registry.register(Box::new(workers))?;
    registry.register(Box::new(Runtime {
        runtime,
        tasks: IntGauge::new("tidings_runtime_tasks", "Tasks that are alive.")?,
        queue: IntGauge::new("tidings_runtime_queue_depth", "Tasks in the queue that all workers share.")?,
        busy: Counter::new("tidings_runtime_busy_seconds_total", "Time that workers ran tasks, all together.")?,
    }))?;
    let ready = Opts::new("tidings_ready", "1 while a condition of readiness holds, by condition.");
    registry.register(Box::new(Ready { readiness, ready: IntGaugeVec::new(ready, &["condition"])? }))
}

struct Runtime {
    runtime: RuntimeMetrics,
    tasks: IntGauge,
    queue: IntGauge,
    busy: Counter,
}

impl Collector for Runtime {
    fn desc(&self) -> Vec<&Desc> {
        [self.tasks.desc(), self.queue.desc(), self.busy.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.tasks.set(count(self.runtime.num_alive_tasks()));
        self.queue.set(count(self.runtime.global_queue_depth()));
        let workers = 0..self.runtime.num_workers();
        let busy: f64 = workers.map(|worker| self.runtime.worker_total_busy_duration(worker).as_secs_f64()).sum();
        // Scrapes come one by one, from the admin port's one thread; a counter never falls.
        self.busy.inc_by((busy - self.busy.get()).max(0.0));
        [self.tasks.collect(), self.queue.collect(), self.busy.collect()].concat()
    }
}

struct Ready {
    readiness: Readiness,
    ready: IntGaugeVec,
}

impl Collector for Ready {
    fn desc(&self) -> Vec<&Desc> {
        self.ready.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (condition, holds) in self.readiness.conditions() {
            self.ready.with_label_values(&[condition]).set(holds.into());
        }
        self.ready.collect()
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scrape_reads_what_is_now() {
        let (registry, readiness) = (Registry::new(), Readiness::default());
        register(&registry, readiness.clone()).expect("a fresh registry");
        let value = |name: &str| {
            let families = registry.gather();
            let family = families.iter().find(|family| family.name() == name)?;
            Some(family.get_metric()[0].get_gauge().get_value())
        };
        assert_eq!(value("tidings_ready"), None);
        readiness.set("serving", true, "");
        assert_eq!(value("tidings_ready"), Some(1.0));
        readiness.set("serving", false, "over");
        assert_eq!(value("tidings_ready"), Some(0.0));
        let before = value("tidings_runtime_tasks").expect("told");
        let task = tokio::spawn(std::future::pending::<()>());
        assert_eq!(value("tidings_runtime_tasks"), Some(before + 1.0));
        task.abort();
    }
}
