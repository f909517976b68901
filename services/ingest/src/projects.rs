//! What a project's own settings say to its janitor and its writers: what they set, else what the service is configured with.
//!
//! Settings that cannot be read are as they were last. If nothing was ever read of them, a log is trimmed at the ceilings
//! of all settings only: what a project wanted kept for longer must not go because a process is new. No ceiling is
//! exceeded, whoever set what.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_broker::{Retention, Wait};
use tidings_log::janitor::Retentions;
use tidings_log::writer::Waits;
use tidings_protocol::project::Project;
use tidings_protocol::settings::{self, Ceilings};
use tidings_registry::SettingsReader;
use tidings_runtime::config::Config;

/// Retention and replicas of projects.
pub(crate) struct Projects {
    settings: SettingsReader,
    retention: Retention,
    /// The most that any project may have kept.
    retention_max: Retention,
    wait: Option<Wait>,
    /// How long a wait of a project's own may last. Less than the store's answer may take, as that of the service.
    wait_timeout_ms: u64,
}

impl Projects {
    /// What these settings say, and `config` where they say nothing.
    pub(crate) fn new(settings: SettingsReader, config: &Config) -> Projects {
        let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let longest = ms(config.redis.response_timeout).saturating_sub(1);
        let Ceilings { retention_events, retention_bytes, retention_age_ms, .. } = *settings.ceilings();
        Projects {
            settings,
            retention: config.projects.retention(),
            retention_max: Retention { events: retention_events, bytes: retention_bytes, age_ms: retention_age_ms },
            wait: config.projects.wait(),
            wait_timeout_ms: ms(config.projects.wait_timeout).min(longest).max(1),
        }
    }
}

impl Retentions for Projects {
    fn of<'a>(&'a self, project: &'a Project) -> BoxFuture<'a, Retention> {
        async move {
            match self.settings.numbers_of(project).await {
                Ok(settings) => kept(settings.retention, self.retention),
                Err(_) => self.retention_max,
            }
        }
        .boxed()
    }
}

impl Waits for Projects {
    fn of<'a>(&'a self, project: &'a Project) -> BoxFuture<'a, Option<Wait>> {
        async move {
            match self.settings.numbers_of(project).await.map(|settings| settings.acknowledgement.replicas) {
                Ok(Some(replicas)) => waited(replicas, self.wait_timeout_ms),
                Ok(None) | Err(_) => self.wait,
            }
        }
        .boxed()
    }
}

/// Each number of its own, else the service's.
fn kept(own: settings::Retention, configured: Retention) -> Retention {
    Retention {
        events: own.events.unwrap_or(configured.events),
        bytes: own.bytes.unwrap_or(configured.bytes),
        age_ms: own.age_ms.unwrap_or(configured.age_ms),
    }
}

/// None at all is no wait, whatever the service waits for.
fn waited(replicas: u8, timeout_ms: u64) -> Option<Wait> {
    (replicas > 0).then_some(Wait { replicas: replicas.into(), timeout_ms })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use tidings_broker::memory::MemoryBroker;
    use tidings_broker::registry::Registry as _;

    use super::*;

    struct Rig {
        broker: MemoryBroker,
        projects: Projects,
        version: u64,
    }

    impl Rig {
        fn new(config: &Config) -> Rig {
            let broker = MemoryBroker::new();
            let ceilings = config.projects.ceilings(&config.limits);
            let reader = SettingsReader::new(Arc::new(broker.clone()), None, ceilings).expect("no file");
            Rig { broker, projects: Projects::new(reader, config), version: 0 }
        }

        /// Stores settings; what was read before is old then.
        async fn store(&mut self, json: &'static str) {
            let json = Bytes::from_static(json.as_bytes());
            self.broker.swap_settings(demo(), self.version, json).await.expect("memory answers").expect("the version");
            self.version += 1;
            tokio::time::advance(Duration::from_mins(1)).await;
        }

        async fn say(&self) -> (Retention, Option<Wait>) {
            (Retentions::of(&self.projects, &demo()).await, Waits::of(&self.projects, &demo()).await)
        }
    }

    fn demo() -> Project {
        "demo".parse().expect("a name")
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_as_it_was_last_and_nothing_more_goes_before_it_was_read() {
        let mut config = Config::default();
        config.projects.wait_replicas = 1;
        let mut rig = Rig::new(&config);
        let configured = (config.projects.retention(), config.projects.wait());
        rig.store("}").await;
        let hard = Retention { events: 10_000_000, bytes: 4 << 30, age_ms: 90 * 24 * 3_600_000 };
        assert_eq!(rig.say().await, (hard, configured.1), "nothing is known");
        rig.store(r#"{"retention":{"bytes":70000000},"acknowledgement":{"replicas":2}}"#).await;
        let own = rig.say().await;
        assert_eq!(own.0, Retention { bytes: 70_000_000, ..configured.0 });
        assert_eq!(own.1.map(|wait| wait.replicas), Some(2));
        rig.store("}").await;
        assert_eq!(rig.say().await, own);
        rig.store("{}").await;
        assert_eq!(rig.say().await, configured);
    }

    #[tokio::test(start_paused = true)]
    async fn ceilings_hold_and_never_lie_below_what_is_configured() {
        let mut config = Config::default();
        config.projects.retention_events = 50_000;
        config.projects.retention_events_max = 40_000;
        config.projects.retention_bytes_max = 1 << 30;
        config.projects.wait_replicas_max = 1;
        let mut rig = Rig::new(&config);
        let own = r#"{"retention":{"events":60000,"bytes":9000000000},"acknowledgement":{"replicas":5}}"#;
        rig.store(own).await;
        let (retention, wait) = rig.say().await;
        assert_eq!((retention.events, retention.bytes), (50_000, 1 << 30));
        assert_eq!(wait.map(|wait| wait.replicas), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_before_the_answer_is_overdue() {
        let mut config = Config::default();
        config.redis.response_timeout = Duration::from_millis(400);
        config.projects.wait_timeout = Duration::from_millis(500);
        let mut rig = Rig::new(&config);
        rig.store(r#"{"acknowledgement":{"replicas":2}}"#).await;
        assert_eq!(rig.say().await.1, Some(Wait { replicas: 2, timeout_ms: 399 }));
    }
}
