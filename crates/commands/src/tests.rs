//! Desk and sweeper on the memory broker, with a store whose appends can be held back.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use tidings_broker::clock::ManualClock;
use tidings_broker::inbox::{
    Here, Inboxes as _, ItemKind, LeaseAct, LeaseStep, Owned, Put, PutAnswer, Standing, Take, guard_of,
};
use tidings_broker::{Log as _, Span};
use tidings_log::janitor::Activity;
use tidings_log::writer::budget::Budget;
use tidings_log::writer::{self, Options, Writers};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::entry::Body;
use tidings_protocol::limits::EventLimits;
use tidings_protocol::project::Project;
use tidings_protocol::settings::Ceilings;
use tidings_protocol::wire;
use tidings_registry::SettingsReader;
use tokio_util::sync::CancellationToken;

use self::gated::Gated;
use crate::asker::Asker;
use crate::command::Command;
use crate::desk::{Desk, Settings, Status};
use crate::made::{self, FailedWhy};
use crate::metrics::{DeskMetrics, WorkMetrics};
use crate::sweeper::Sweeper;
use crate::told::Told;
use crate::unix_ms;

mod gated;

/// In the time of the runtime, which stands still while there is something to do.
const SOON: Duration = Duration::from_secs(4);

struct Rig {
    store: Arc<Gated>,
    clock: ManualClock,
    writers: Writers,
    settings: SettingsReader,
    stop: CancellationToken,
}

impl Rig {
    fn new() -> Rig {
        let clock = ManualClock::at(unix_ms());
        let store = Arc::new(Gated::new(&clock));
        let metrics = writer::Metrics::register(&Registry::new()).expect("a registry of its own");
        let settings = writer::Settings::default();
        let writers = Writers::new(store.clone(), settings, Budget::new(1 << 24), Activity::default(), metrics);
        let registry = Arc::new(store.memory.clone());
        let settings = SettingsReader::new(registry, None, Ceilings::NONE).expect("no file");
        Rig { store, clock, writers, settings, stop: CancellationToken::new() }
    }

    fn desk(&self) -> Desk {
        let settings = Settings { deadline_ms: 60_000, inbox_max: 100, limits: EventLimits::default() };
        let metrics = DeskMetrics::register(&Registry::new()).expect("a registry of its own");
        let inboxes = Arc::new(self.store.memory.clone());
        Desk::new(inboxes, self.writers.clone(), self.settings.clone(), settings, metrics)
    }

    fn sweep(&self) {
        let metrics = WorkMetrics::register(&Registry::new()).expect("a registry of its own");
        let sweeper = Sweeper::new(self.store.clone(), self.writers.clone(), self.settings.clone(), metrics);
        tokio::spawn(sweeper.run(self.stop.clone()));
    }

    fn pass(&self, ms: u64) {
        self.clock.set(self.clock.now_ms() + ms);
    }

    /// A runner that can chat is there; what it is handed.
    async fn takes(&self, project: &str) -> Vec<String> {
        let take = Take {
            runner: "r".into(),
            subject: "s".into(),
            capabilities: vec!["chat".into()],
            ttl_ms: 600_000,
            max: 100,
            in_hand_max: 100,
            lease_ms: 30_000,
        };
        match self.store.memory.take(name(project), take).await.expect("memory answers") {
            Here::Taken { commands, .. } => commands.into_iter().map(|leased| leased.id).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// A command that is due in a second.
    async fn put(&self, project: &str, id: &str, by: &str) {
        let told = told(id, by);
        let put = Put {
            id: id.into(),
            asker: by.into(),
            kind: ItemKind::Command {
                capability: "chat".into(),
                session: String::new(),
                agent: String::new(),
                urgent: false,
                notice: false,
            },
            deadline_ms: 1_000,
            open_max: 1_000,
            body: told.body("chat", None),
        };
        assert_eq!(self.store.memory.put(name(project), put).await, Ok(PutAnswer::Queued));
    }

    async fn is_answered(&self, project: &str, id: &str) -> bool {
        self.store.memory.guard(name(project), guard_of(id)).await.expect("memory answers").is_some()
    }

    async fn events(&self, project: &str) -> Vec<wire::Event> {
        let page = self.store.memory.read(name(project), Span::Tail, usize::MAX).await.expect("memory answers");
        let events = page.entries.into_iter().map(|entry| match entry.body {
            Body::Events(events) => events,
            Body::Fork(_) | Body::Elsewhere(_) => Vec::new(),
        });
        events.flatten().collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn name(project: &str) -> Project {
    project.parse().expect("a name")
}

fn told(id: &str, by: &str) -> Told {
    Told {
        kind: "chat".into(),
        id: id.into(),
        session: None,
        agent: None,
        by: by.into(),
        reply_to: Some(by.into()),
        asked: String::new(),
        notice: false,
    }
}

fn ask(kind: &str, id: &str) -> Command {
    Command { id: Some(id.into()), capability: Some("chat".into()), ..Command::new(kind) }
}

/// Looks again until it is so.
async fn soon(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("not soon: {what}"));
}

#[tokio::test(start_paused = true)]
async fn a_project_whose_log_is_slow_keeps_no_other_waiting() {
    let rig = Rig::new();
    let _held = rig.store.hold("slow");
    for project in ["slow", "quick"] {
        rig.takes(project).await;
        rig.put(project, "1", "alice").await;
    }
    rig.pass(1_000);
    rig.sweep();
    soon("the first", async || rig.is_answered("quick", "1").await).await;
    rig.put("quick", "2", "alice").await;
    rig.pass(1_000);
    soon("the second", async || rig.is_answered("quick", "2").await).await;
    assert!(!rig.is_answered("slow", "1").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_in_a_project_is_answered_by_one_call() {
    let rig = Rig::new();
    rig.takes("p").await;
    for number in 0..80 {
        rig.put("p", &number.to_string(), "alice").await;
    }
    rig.pass(1_000);
    rig.sweep();
    soon("all", async || rig.events("p").await.len() == 80).await;
    assert!(rig.store.appends() < 10, "{}", rig.store.appends());
    soon("they leave", async || rig.store.memory.due(name("p")).await.expect("memory answers").open == 0).await;
}

#[tokio::test(start_paused = true)]
async fn lost_sessions_are_told_of_with_one_look_at_the_log() {
    let rig = Rig::new();
    rig.takes("p").await;
    let session = |number: usize| format!("s-{number}");
    let owned = (0..5).map(|number| Owned { session: session(number), agent: String::new(), runner: Some("r".into()) });
    rig.store.memory.own(name("p"), owned.collect()).await.expect("memory answers");
    rig.pass(600_000);
    rig.sweep();
    soon("all are lost", async || rig.events("p").await.len() == 5).await;
    assert!(rig.events("p").await.iter().all(|event| event.r#type == "session.lost"));
    assert_eq!(rig.store.reads(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_stays_its_askers_when_it_is_answered() {
    let (rig, alice, bob) = (Rig::new(), Asker::viewer("alice"), Asker::viewer("bob"));
    let desk = rig.desk();
    rig.takes("p").await;
    desk.ask(&name("p"), &alice, ask("run", "1")).await.expect("it is taken");
    let last = made::failed(&told("1", "alice"), FailedWhy::Deadline, "", "");
    rig.writers.submit(&name("p"), vec![last], Options::new()).await.expect("it is written");
    rig.store.memory.settle(name("p"), vec!["1".into()]).await.expect("memory answers");
    let refusal = desk.ask(&name("p"), &bob, ask("run", "1")).await.expect_err("it is another's");
    assert_eq!(refusal.code, ErrorCode::CommandConflict);
    let again = desk.ask(&name("p"), &alice, ask("run", "1")).await.expect("it is known");
    assert_eq!(again.status, Status::Answered);
}

#[tokio::test(start_paused = true)]
async fn who_lost_his_id_to_another_is_told_so_and_the_others_stays() {
    let (rig, alice) = (Rig::new(), Asker::viewer("alice"));
    let desk = rig.desk();
    rig.takes("p").await;
    desk.ask(&name("p"), &alice, ask("run", "1")).await.expect("it is taken");
    desk.ask(&name("p"), &alice, Command { deadline_ms: Some(1_000), ..ask("run", "2") }).await.expect("it is taken");
    rig.store.memory.clear(name("p")).await.expect("memory answers");
    rig.takes("p").await;
    rig.put("p", "1", "bob").await;
    rig.put("p", "2", "bob").await;
    // Bob's are looked at as his: alice's deadline is none of theirs.
    tokio::spawn(desk.clone().run(rig.stop.clone()));
    soon("she is told", async || desk.open() == 1 && !rig.events("p").await.is_empty()).await;
    let events = rig.events("p").await;
    assert!(events.iter().all(|event| event.r#type == "command.failed" && event.to == "alice"), "{events:?}");
    assert!(std::str::from_utf8(&events[0].json).expect("text").contains("command_conflict"));
    for id in ["1", "2"] {
        assert!(!rig.is_answered("p", id).await, "{id}");
    }
    assert_eq!(rig.takes("p").await, ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_has_begun_needs_no_asker() {
    let (rig, alice) = (Rig::new(), Asker::viewer("alice"));
    let desk = rig.desk();
    rig.takes("p").await;
    desk.ask(&name("p"), &alice, ask("run", "1")).await.expect("it is taken");
    assert_eq!(rig.takes("p").await, ["1"]);
    let step = LeaseStep { id: "1".into(), lease: 1, act: LeaseAct::Accept };
    rig.store.memory.answer(name("p"), "r".into(), "s".into(), vec![step]).await.expect("memory answers");
    let session = crate::owners::session_of_runner("r");
    let owned = vec![Owned { session, agent: String::new(), runner: Some("r".into()) }];
    rig.store.memory.own(name("p"), owned).await.expect("memory answers");

    let held = rig.store.hold("p");
    let cancel = ask("command.cancel", "2").with_data(&serde_json::json!({"command_id": "1"}));
    let project = name("p");
    let asking = desk.ask(&project, &alice, cancel);
    tokio::time::timeout(Duration::from_millis(500), asking).await.expect_err("the log does not answer");
    drop(held);
    soon("both are answered", async || rig.is_answered("p", "1").await && rig.is_answered("p", "2").await).await;
    soon("its runner hears of it", async || rig.takes("p").await.len() == 1).await;
    let standing = rig.store.memory.look(name("p"), vec!["1".into()]).await.expect("memory answers");
    assert!(matches!(standing[..], [Standing::Answered(_)]));
}

#[test]
fn one_id_for_two_approvals_is_two_decisions() {
    let event = |approval: &str, session: &str| {
        let data = serde_json::json!({"approval_id": approval, "decision": "yes"});
        let command = Command { session: Some(session.into()), ..ask("approval.answer", "1").with_data(&data) };
        crate::approval::Answer::of(&command).expect("good").resolved("1", session, "alice").id
    };
    assert_eq!(event("a", "s"), event("a", "s"));
    assert!(event("a", "s") != event("b", "s") && event("a", "s") != event("a", "t"));
}
