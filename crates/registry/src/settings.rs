//! Settings of projects, held for a short time, with what is costly to make of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidings_auth::limits::{DECLARED_BYTES_MAX, FILE_POLL, STORE_ENTRIES_MAX, STORE_TIMEOUT};
use tidings_auth::{Cache, StoreAway, Terms, Watched};
use tidings_broker::registry::Registry;
use tidings_protocol::project::Project;
use tidings_protocol::redact::Redactor;
use tidings_protocol::settings::{Ceilings, Settings, read};

use crate::declared::Declared;
use crate::redactors::{Faults, REDACTORS_BYTES_MAX, Redactors};

/// How long settings are held as they were found: a change takes effect within this.
pub const SETTINGS_FRESH: Duration = Duration::from_secs(2);

/// How long they are good while the store does not answer: as long as the process runs, in effect. Nothing says otherwise,
/// and to forget that a project is redacted would be worse than to redact it for too long.
const SETTINGS_STALE: Duration = Duration::from_hours(10 * 365 * 24);

/// Settings as they are in effect. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Effective {
    /// Declared ones, else stored ones, none above its ceiling; what neither sets is the service's.
    pub settings: Arc<Settings>,
    /// Their redaction; `None`: nothing is redacted.
    pub redactor: Option<Arc<Redactor>>,
}

/// Reads settings of projects. Cheap to clone; one for a process.
#[derive(Clone)]
pub struct SettingsReader {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Arc<dyn Registry>,
    declared: Option<Watched<Declared>>,
    ceilings: Ceilings,
    cache: Cache<Arc<Settings>>,
    redactors: Redactors,
}

impl SettingsReader {
    /// A reader of this registry, and of a file if there is one. Reads the file, so it is for the start of a process. What
    /// is set above `ceilings` takes effect as the ceiling.
    ///
    /// # Errors
    /// All that is wrong with the file, each with its place.
    pub fn new(
        registry: Arc<dyn Registry>,
        declared: Option<PathBuf>,
        ceilings: Ceilings,
    ) -> Result<SettingsReader, Vec<String>> {
        let declared = declared.map(|path| Watched::open(path, DECLARED_BYTES_MAX, Declared::parse)).transpose()?;
        let terms = Terms {
            fresh: SETTINGS_FRESH,
            stale: SETTINGS_STALE,
            timeout: STORE_TIMEOUT,
            entries_max: STORE_ENTRIES_MAX,
        };
        let redactors = Redactors::new(REDACTORS_BYTES_MAX);
        let inner = Inner { registry, declared, ceilings, cache: Cache::new(terms), redactors };
        Ok(SettingsReader { inner: Arc::new(inner) })
    }

    /// The settings of a project, at most [`SETTINGS_FRESH`] old while the store answers, with their redactor. One question
    /// at a time for a project, however many ask.
    ///
    /// # Errors
    /// The store does not answer, and did not before. Then nothing is known of what must be hidden: nothing may be stored.
    pub async fn of(&self, project: &Project) -> Result<Effective, StoreAway> {
        let settings = self.numbers_of(project).await?;
        let redactor = self.inner.redactors.of(&settings.redaction).await;
        let redactor = redactor.map_err(|faults| unusable(project, &faults))?;
        Ok(Effective { settings, redactor })
    }

    /// The same for who hides nothing: no redactor is looked for.
    ///
    /// # Errors
    /// Those of [`SettingsReader::of`].
    pub async fn numbers_of(&self, project: &Project) -> Result<Arc<Settings>, StoreAway> {
        let read = self.inner.cache.get(project.as_str(), || self.inner.read(project));
        read.await.map_err(|_| StoreAway)
    }

    /// What settings may say at most.
    pub fn ceilings(&self) -> &Ceilings {
        &self.inner.ceilings
    }

    /// What the file declares for a project.
    pub fn declared(&self, project: &Project) -> Settings {
        self.inner.declared.as_ref().map(|file| file.get().of(project)).unwrap_or_default()
    }

    /// What is wrong with the file now, while what was read before is used.
    pub fn faults(&self) -> Vec<String> {
        self.inner.declared.as_ref().map(Watched::faults).unwrap_or_default()
    }

    /// Keeps the file up to date. Never ends; the process runs it beside its listeners and drops it last.
    pub async fn keep(&self) {
        match &self.inner.declared {
            Some(file) => file.keep(FILE_POLL).await,
            None => std::future::pending().await,
        }
    }
}

impl Inner {
    async fn read(&self, project: &Project) -> Result<Arc<Settings>, StoreAway> {
        let stored = self.registry.settings(project.clone()).await.map_err(|error| {
            tracing::warn!(%project, %error, "settings cannot be read");
            StoreAway
        })?;
        let stored = read(&stored.value).map_err(|error| {
            tracing::warn!(%project, %error, "stored settings are malformed");
            StoreAway
        })?;
        let left_out = stored.left_out();
        if !left_out.is_empty() {
            tracing::warn!(%project, ?left_out, "stored webhooks cannot be read: they are not called");
        }
        let settings = match &self.declared {
            Some(file) => file.get().of(project).or(&stored),
            None => stored,
        };
        // Rules that cannot be used are none to go over to: those from before go on.
        let usable = self.redactors.of(&settings.redaction).await;
        usable.map_err(|faults| unusable(project, &faults))?;
        Ok(Arc::new(self.ceilings.clamp(settings)))
    }
}

fn unusable(project: &Project, faults: &Faults) -> StoreAway {
    tracing::warn!(%project, ?faults, "redaction rules cannot be used");
    StoreAway
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_broker::memory::MemoryBroker;

    use super::*;

    fn demo() -> Project {
        "demo".parse().expect("a name")
    }

    async fn set(broker: &MemoryBroker, version: u64, json: &'static str) {
        let swapped = broker.swap_settings(demo(), version, Bytes::from_static(json.as_bytes())).await;
        assert_eq!(swapped, Ok(Some(version + 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_takes_effect_within_its_time_and_rules_are_made_once() {
        let broker = MemoryBroker::new();
        let reader = SettingsReader::new(Arc::new(broker.clone()), None, Ceilings::NONE).expect("no file");
        assert!(reader.of(&demo()).await.expect("an answer").redactor.is_none());
        set(&broker, 0, r#"{"redaction":{"builtin":true}}"#).await;
        assert!(reader.of(&demo()).await.expect("an answer").redactor.is_none(), "it is held");
        tokio::time::advance(SETTINGS_FRESH).await;
        let first = reader.of(&demo()).await.expect("an answer");
        set(&broker, 1, r#"{"redaction":{"builtin":true},"limits":{"events_per_second":5}}"#).await;
        tokio::time::advance(SETTINGS_FRESH).await;
        let second = reader.of(&demo()).await.expect("an answer");
        assert_eq!(second.settings.limits.events_per_second, Some(5));
        let (Some(first), Some(second)) = (&first.redactor, &second.redactor) else { panic!("no redactor") };
        assert!(Arc::ptr_eq(first, second));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_leaves_what_was() {
        let broker = MemoryBroker::new();
        let reader = SettingsReader::new(Arc::new(broker.clone()), None, Ceilings::NONE).expect("no file");
        set(&broker, 0, "}").await;
        assert_eq!(reader.of(&demo()).await.map(drop), Err(StoreAway), "nothing is known");
        set(&broker, 1, r#"{"redaction":{"builtin":true}}"#).await;
        tokio::time::advance(SETTINGS_FRESH).await;
        assert!(reader.of(&demo()).await.expect("an answer").redactor.is_some());
        set(&broker, 2, r#"{"redaction":{"rules":[{"name":"a","pattern":"("}]}}"#).await;
        tokio::time::advance(Duration::from_hours(48)).await;
        assert!(reader.of(&demo()).await.expect("an old answer").redactor.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_set_above_a_ceiling_takes_effect_as_the_ceiling() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("declared.toml");
        let declared = "[[settings]]\nprojects = [\"demo\"]\nacknowledgement = { replicas = 5 }\n";
        std::fs::write(&path, declared).expect("written");
        let broker = MemoryBroker::new();
        let ceilings = Ceilings { retention_events: 1_000, replicas: 2, ..Ceilings::NONE };
        let reader = SettingsReader::new(Arc::new(broker.clone()), Some(path), ceilings).expect("a good file");
        set(&broker, 0, r#"{"retention":{"events":5000,"bytes":70000}}"#).await;
        let settings = reader.of(&demo()).await.expect("an answer").settings;
        assert_eq!((settings.retention.events, settings.retention.bytes), (Some(1_000), Some(70_000)));
        assert_eq!(settings.acknowledgement.replicas, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn declared_settings_win_and_survive_an_empty_store() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("declared.toml");
        std::fs::write(&path, "[[settings]]\nprojects = [\"d*\"]\nredaction = { builtin = true }\n").expect("written");
        let broker = MemoryBroker::new();
        let reader =
            SettingsReader::new(Arc::new(broker.clone()), Some(path.clone()), Ceilings::NONE).expect("a good file");
        set(&broker, 0, r#"{"redaction":{"builtin":false},"retention":{"events":9}}"#).await;
        let settings = reader.of(&demo()).await.expect("an answer");
        assert_eq!((settings.redactor.is_some(), settings.settings.retention.events), (true, Some(9)));
        broker.reopen();
        tokio::time::advance(SETTINGS_FRESH).await;
        let settings = reader.of(&demo()).await.expect("an answer");
        assert_eq!((settings.redactor.is_some(), settings.settings.retention.events), (true, None));
        std::fs::write(&path, "settings = 1").expect("written");
        assert!(SettingsReader::new(Arc::new(broker), Some(path), Ceilings::NONE).is_err());
    }
}
