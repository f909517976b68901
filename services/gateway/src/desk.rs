//! How a gateway comes to its desk: where commands of its viewers are taken, and written down.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tidings_broker::Broker;
use tidings_commands::desk::{Desk, Settings};
use tidings_commands::metrics::DeskMetrics;
use tidings_log::janitor::Activity;
use tidings_log::writer::budget::Budget;
use tidings_log::writer::{self, Writers};
use tidings_registry::SettingsReader;
use tidings_runtime::config::Config;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes of events that may wait to be written: final answers and what people say are small and few.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Of them, in one project.
const PROJECT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that are kept to be put back after a fork.
const HEALING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Projects whose writers are remembered.
const PROJECTS_MAX: usize = 4_096;

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Metrics of these names are there already.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The file that declares settings is faulty: all that is wrong with it.
    #[error("the file of declared settings: {0}")]
    Declared(String),
}

/// A desk that works until `stop`.
pub(crate) fn open(
    config: &Config,
    broker: &Arc<dyn Broker>,
    (tasks, stop): (&TaskTracker, &CancellationToken),
    registry: &Registry,
) -> Result<Desk, StartError> {
    let ceilings = config.projects.ceilings(&config.limits);
    let projects = SettingsReader::new(broker.registry(), config.auth.declared_file.clone(), ceilings);
    let projects = projects.map_err(|faults| StartError::Declared(faults.join("; ")))?;
    let settings = writer::Settings {
        dedupe: config.projects.dedupe_window(),
        wait: config.projects.wait(),
        project_bytes_max: PROJECT_BYTES_MAX,
        projects_max: PROJECTS_MAX,
        healing_time: config.ingest.healing,
        healing_bytes_max: HEALING_BYTES_MAX,
        ..writer::Settings::default()
    }
    .answer_within(config.redis.response_timeout.saturating_mul(2));
    // The families of writers are the ingest's; what a desk writes is counted as what it is.
    let metrics = writer::Metrics::register(&Registry::new())?;
    let budget = Budget::new(WAITING_BYTES_MAX);
    let writers = Writers::new(broker.clone(), settings, budget, Activity::default(), metrics);
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let settings = Settings {
        deadline_ms: ms(config.projects.command_deadline),
        inbox_max: u32::try_from(config.projects.inbox_max).unwrap_or(u32::MAX),
        limits: config.limits.events(),
    };
    let (reader, until) = (projects.clone(), stop.clone());
    tasks.spawn(async move { until.run_until_cancelled(reader.keep()).await.unwrap_or(()) });
    let desk = Desk::new(broker.inboxes(), writers, projects, settings, DeskMetrics::register(registry)?);
    tasks.spawn(desk.clone().run(stop.clone()));
    Ok(desk)
}
