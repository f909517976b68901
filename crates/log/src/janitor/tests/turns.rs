//! Turns: what is never done holds up nobody, and what cannot be folded stays bounded. On a store that does things between
//! the janitor's calls.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_broker::{CallError, CheckpointAnswer, Index, Log, Page, Probe, ReadError};

use super::*;

/// A store in memory whose checkpoints and pages a test interferes with.
struct Meddled {
    memory: MemoryBroker,
    /// Before each checkpoint step.
    before_checkpoint: Box<dyn Fn(Project) -> BoxFuture<'static, ()> + Send + Sync>,
    on_page: fn(Page) -> Page,
}

impl Meddled {
    fn janitor(self, retention: Retention) -> Janitor {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
        Janitor::new(Arc::new(self), Settings::new(retention), Activity::default(), metrics)
    }
}

impl Log for Meddled {
    tidings_broker::forward!(memory: append, heads, state, subscribe);

    fn read(&self, project: Project, span: Span, bytes_max: usize) -> BoxFuture<'_, Result<Page, ReadError>> {
        async move { self.memory.read(project, span, bytes_max).await.map(self.on_page) }.boxed()
    }

    fn checkpoint(&self, project: Project, step: CheckpointStep) -> BoxFuture<'_, Result<CheckpointAnswer, CallError>> {
        async move {
            (self.before_checkpoint)(project.clone()).await;
            self.memory.checkpoint(project, step).await
        }
        .boxed()
    }
}

impl Index for Meddled {
    tidings_broker::forward!(memory: enter, projects, lease, sweep, held_bytes, refuse);
}

impl Probe for Meddled {
    tidings_broker::forward!(memory: probe, connected, memory);
}

/// A store on which the hot project of `rig` grows by more than a step folds, and time passes, with each of its steps;
/// another project comes when it has had one. `stop` is cancelled by the other's first step, or in the end.
fn with_a_hot_project(rig: Rig, steps: Arc<AtomicUsize>, stop: CancellationToken) -> Meddled {
    const STEPS_MAX: usize = 500;
    let (memory, hot) = (rig.broker.clone(), rig.project.clone());
    let rig = Arc::new(tokio::sync::Mutex::new(rig));
    let before_checkpoint = move |project: Project| {
        let (rig, steps, stop, hot) = (rig.clone(), steps.clone(), stop.clone(), hot.clone());
        async move {
            if project != hot {
                return stop.cancel();
            }
            let mut rig = rig.lock().await;
            rig.append(STEP_ENTRIES as u64 + 1).await;
            match steps.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    let mut other = rig.of("other").await;
                    other.append(STEP_ENTRIES as u64).await;
                }
                STEPS_MAX => stop.cancel(),
                _ => {}
            }
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        .boxed()
    };
    Meddled { memory, before_checkpoint: Box::new(before_checkpoint), on_page: |page| page }
}

#[tokio::test(start_paused = true)]
async fn l18_a_project_that_grows_faster_than_it_is_folded_holds_up_nobody() {
    let mut rig = Rig::new().await;
    rig.append(2 * STEP_ENTRIES as u64).await;
    let (steps, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    // It keeps little, so that the test does not hold all that was appended.
    let store = with_a_hot_project(rig, steps.clone(), stop.clone());
    store.janitor(Retention { events: 10, ..KEEP_ALL }).run(stop).await;
    // A round comes every five seconds, that is ten steps.
    let steps = steps.load(Ordering::Relaxed);
    assert!((2..=12).contains(&steps), "{steps} steps of the hot project before the other's first");
}

#[tokio::test]
async fn l18_a_step_without_progress_has_no_more_to_do() {
    let mut rig = Rig::new().await;
    rig.append(10).await;
    // A log that has a head and gives nothing up to it.
    let on_page = |page| Page { entries: Vec::new(), trimmed_to: Position::ZERO, ..page };
    let idle = |_| futures_util::future::ready(()).boxed();
    let store = Meddled { memory: rig.broker.clone(), before_checkpoint: Box::new(idle), on_page };
    let mut janitor = store.janitor(KEEP_ALL);
    assert_eq!(janitor.step(&rig.project).await.expect("a step"), Progress::Reached);
}
