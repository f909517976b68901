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
use crate::desk::{Desk, Overruled, Settings, Status};
use crate::made::{self, FailedWhy};
use crate::metrics::{DeskMetrics, WorkMetrics};
use crate::sweeper::Sweeper;
use crate::told::Told;
use crate::unix_ms;

mod counted;
mod edges;
mod gated;
mod waiting;

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
            goes_on: false,
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
            life: None,
        };
        let placed = self.store.memory.put(name(project), put).await.expect("memory answers");
        assert_eq!(placed.answer, PutAnswer::Queued);
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
    let owned = (0..5).map(|number| Owned {
        session: session(number),
        agent: String::new(),
        runner: Some("r".into()),
        weak: false,
    });
    rig.store.memory.own(name("p"), owned.collect()).await.expect("memory answers");
    let event = |kind: &str, number: usize| {
        let data = serde_json::json!({"title": "t"}).to_string();
        let (session, agent, runner, to) = (&session(number)[..], "", "", "");
        made::Made { kind, id: None, session, agent, runner, data, to, guard: None }.event()
    };
    // The fourth was never started, the fifth is over.
    let said = [0, 1, 2, 4].map(|number| event("session.started", number));
    let said = said.into_iter().chain([event("message.completed", 3), event("session.completed", 4)]);
    rig.writers.submit(&name("p"), said.collect::<Vec<_>>(), Options::new()).await.expect("they are written");
    rig.pass(600_000);
    let reads = rig.store.reads();
    rig.sweep();
    let lost = async || {
        let events = rig.events("p").await;
        events.into_iter().filter(|event| event.r#type == "session.lost").collect::<Vec<_>>()
    };
    soon("all are lost", async || lost().await.len() == 3).await;
    soon("nobody is left", async || rig.store.memory.due(name("p")).await.expect("memory answers").lapsed.is_empty())
        .await;
    assert_eq!(lost().await.iter().map(|event| &event.session[..]).collect::<Vec<_>>(), ["s-0", "s-1", "s-2"]);
    // What runs, and where its last word stands; the test itself reads as the sweeper does not.
    assert_eq!(rig.store.reads() - reads, 2);
}

#[tokio::test(start_paused = true)]
async fn only_what_is_asked_may_be_answered() {
    let (rig, alice) = (Rig::new(), Asker::viewer("alice"));
    let desk = rig.desk();
    let asks = |session: &str, approval: &str, options: serde_json::Value| {
        let data = serde_json::json!({"approval_id": approval, "question": "?", "options": options}).to_string();
        let (kind, agent, runner, to) = ("approval.requested", "", "", "");
        made::Made { kind, id: None, session, agent, runner, data, to, guard: None }.event()
    };
    let long: Vec<String> = (0..100).map(|number| format!("{number}: {}", "x".repeat(60))).collect();
    let asked = vec![
        asks("s", "words", serde_json::json!(["yes", "no"])),
        asks("s", "things", serde_json::json!([{"id": "a", "label": "A"}, 2, true])),
        asks("s", "free", serde_json::json!([])),
        asks("s", "long", serde_json::json!(long)),
        asks("t", "elsewhere", serde_json::json!(["yes"])),
    ];
    rig.writers.submit(&name("p"), asked, Options::new()).await.expect("they are written");
    let answer = async |approval: &str, decision: serde_json::Value| {
        let data = serde_json::json!({"approval_id": approval, "decision": decision});
        let id = format!("{approval} {decision}");
        let command = Command { session: Some("s".into()), ..ask("approval.answer", &id).with_data(&data) };
        let asked = desk.ask(&name("p"), &alice, command).await;
        asked.map(|asked| asked.status).map_err(|refusal| (refusal.code, refusal.detail))
    };
    let unknown =
        Err((ErrorCode::NotFound, "`data.approval_id`: no approval of this id is open in this session".into()));
    assert_eq!(answer("elsewhere", serde_json::json!("yes")).await, unknown);
    assert_eq!(answer("never", serde_json::json!("yes")).await, unknown);
    for (approval, wrong, expected) in [
        ("words", serde_json::json!("YES!"), r#"expected one of "yes", "no""#),
        ("words", serde_json::json!({"x": 1}), r#"expected one of "yes", "no""#),
        ("things", serde_json::json!("A"), r#"expected one of "a", 2, true"#),
        ("free", serde_json::json!(5), "expected a string"),
    ] {
        let refused = Err((ErrorCode::InvalidField, format!("`data.decision`: {expected}")));
        assert_eq!(answer(approval, wrong).await, refused);
    }
    for (approval, good) in [
        ("words", serde_json::json!("no")),
        ("things", serde_json::json!({"id": "a", "label": "A"})),
        ("free", serde_json::json!("whatever")),
        // State does not hold all of them.
        ("long", serde_json::json!(long[99])),
    ] {
        assert_eq!(answer(approval, good).await, Ok(Status::Answered), "{approval}");
    }
    // Who comes late is told what stands, whatever he says.
    assert_eq!(answer("words", serde_json::json!("maybe")).await, Ok(Status::Answered));
    let events = rig.events("p").await;
    let decided: Vec<_> = events.iter().filter(|event| event.r#type == "approval.resolved").collect();
    assert_eq!(decided.len(), 4);
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
    rig.store.memory.settle(name("p"), vec!["1".into(), "2".into()]).await.expect("memory answers");
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
    let owned = vec![Owned { session, agent: String::new(), runner: Some("r".into()), weak: false }];
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

#[tokio::test(start_paused = true)]
async fn a_deleted_projects_commands_end_without_a_word() {
    let (rig, alice) = (Rig::new(), Asker::viewer("alice"));
    let desk = rig.desk();
    rig.takes("p").await;
    for id in ["queued", "taken", "due"] {
        let deadline_ms = Some(if id == "due" { 1_000 } else { 60_000 });
        desk.ask(&name("p"), &alice, Command { deadline_ms, ..ask("run", id) }).await.expect("it is taken");
        if id == "taken" {
            assert_eq!(rig.takes("p").await.len(), 2);
        }
    }
    rig.pass(1_000);
    rig.store.memory.clear(name("p")).await.expect("memory answers");
    rig.writers.delete_project(&name("p"), Options::new()).await.expect("it is deleted");
    rig.store.memory.clear(name("p")).await.expect("memory answers");
    assert_eq!(rig.takes("p").await, [""; 0], "the runner is there again");
    tokio::spawn(desk.clone().run(rig.stop.clone()));
    rig.sweep();
    tokio::time::sleep(2 * SOON).await;
    assert_eq!((desk.open(), rig.takes("p").await), (0, Vec::new()), "nobody puts them again");
    assert_eq!(rig.events("p").await, [], "nor answers them");
    desk.ask(&name("p"), &alice, ask("run", "queued")).await.expect("what is asked behind it is another one");
    rig.store.memory.settle(name("p"), vec!["queued".into()]).await.expect("memory answers");
    soon("it is put again when it is lost", async || rig.takes("p").await == ["queued"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_administrator_cancels_what_others_asked() {
    let (rig, alice, bob) = (Rig::new(), Asker::viewer("alice"), Asker::viewer("bob"));
    // At another gateway: nothing is known here but what the inbox says.
    let (desk, other) = (rig.desk(), rig.desk());
    rig.takes("p").await;
    let command = Command { session: Some("s".into()), ..ask("run", "1") };
    other.ask(&name("p"), &alice, command).await.expect("it is taken");
    let cancel = |id: &str| ask("command.cancel", id).with_data(&serde_json::json!({"command_id": "1"}));
    let refusal = desk.ask(&name("p"), &bob, cancel("2")).await.expect_err("it is another's");
    assert_eq!(refusal.code, ErrorCode::Forbidden);
    let admin = Asker { is_admin: true, ..bob.clone() };
    let asked = desk.ask(&name("p"), &admin, cancel("3")).await.expect("he may");
    let overruled = Overruled { asker: Some("alice".into()), stood: true };
    assert_eq!((asked.status, asked.overruled), (Status::Answered, Some(overruled)));
    let events = rig.events("p").await;
    let [cancelled, done] = &events[..] else { panic!("{events:?}") };
    assert_eq!((cancelled.to.as_str(), cancelled.session.as_str(), done.to.as_str()), ("alice", "s", "bob"));
    let json: serde_json::Value = serde_json::from_slice(&cancelled.json).expect("JSON");
    let data = serde_json::json!({"command_id": "1", "type": "run", "code": "cancelled", "error": "it was cancelled",
        "cancelled_by": "bob", "by": "alice"});
    assert_eq!(json["data"], data);
    let note = rig.store.memory.guard(name("p"), guard_of("1")).await.expect("memory answers").expect("it stands").note;
    assert!(made::is_of(&note, "alice"), "it is an answer to her: {note}");
    let late = desk.ask(&name("p"), &admin, cancel("4")).await.expect("he may");
    assert_eq!(late.overruled, Some(Overruled { asker: None, stood: false }));
    let refusal = desk.ask(&name("p"), &bob, cancel("5")).await.expect_err("it is another's still");
    assert_eq!(refusal.code, ErrorCode::Forbidden);
    let own = other.ask(&name("p"), &Asker { is_admin: true, ..alice }, cancel("6")).await.expect("it is hers");
    assert_eq!(own.overruled, None);
    let nothing = ask("command.cancel", "7").with_data(&serde_json::json!({"command_id": "none"}));
    assert_eq!(desk.ask(&name("p"), &admin, nothing).await.expect_err("no such").code, ErrorCode::CommandGone);
}
