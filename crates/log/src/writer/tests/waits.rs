//! What acknowledgements wait for: each project for its own number of replicas.

use super::*;

/// Replicas by project; they may change.
#[derive(Default)]
struct Replicas(Mutex<HashMap<Project, u32>>);

impl Replicas {
    fn set(&self, project: &Project, replicas: u32) {
        self.0.lock().insert(project.clone(), replicas);
    }
}

impl Waits for Replicas {
    fn of<'a>(&'a self, project: &'a Project) -> BoxFuture<'a, Option<Wait>> {
        futures_util::future::ready(self.0.lock().get(project).copied().and_then(for_so_many)).boxed()
    }
}

fn for_so_many(replicas: u32) -> Option<Wait> {
    (replicas > 0).then_some(Wait { replicas, timeout_ms: 7 })
}

fn writers(store: &Arc<Gated>, replicas: &Arc<Replicas>) -> Writers {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("a registry of its own");
    let settings = Settings { wait: for_so_many(9), ..Settings::default() };
    Writers::with_waits(store.clone(), settings, replicas.clone(), Budget::new(1 << 20), Activity::default(), metrics)
}

#[tokio::test]
async fn l11_each_request_waits_for_what_is_said_of_its_project() {
    let (store, replicas) = (Gated::open(), Arc::new(Replicas::default()));
    let writers = writers(&store, &replicas);
    let other: Project = "other".parse().expect("a name");
    replicas.set(&other, 2);
    for (project, id, now) in [(&demo(), "a", 1), (&other, "b", 2), (&demo(), "c", 3), (&demo(), "d", 0)] {
        replicas.set(project, now);
        writers.submit(project, one(id), Options::new()).await.expect("it is taken");
    }
    assert_eq!(*store.waits.lock(), [1, 2, 3, 0].map(for_so_many));
}

#[tokio::test(start_paused = true)]
async fn l11_a_call_is_sent_again_as_it_was_and_the_newest_request_decides_the_next() {
    let tries = Arc::new(AtomicUsize::new(0));
    let store = Gated::new(move || {
        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
        if first { futures_util::future::pending().boxed() } else { futures_util::future::ready(Ok(())).boxed() }
    });
    let replicas = Arc::new(Replicas::default());
    let writers = writers(&store, &replicas);
    let submit = async |id: &str, now: u32| {
        replicas.set(&demo(), now);
        writers.submit(&demo(), one(id), Options::new()).await.expect("it is taken")
    };
    let later = async {
        while store.appends.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        tokio::join!(submit("b", 4), submit("c", 2));
    };
    tokio::join!(submit("a", 1), later);
    assert_eq!(*store.waits.lock(), [1, 1, 2].map(for_so_many));
    assert_eq!(store.entries(), [1, 2]);
}
