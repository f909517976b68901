//! Who hears of an inbox, and when it is there at all.
#![allow(clippy::wildcard_imports, reason = "the words of the cases are the module above")]

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::Sink;
use crate::contract::WAIT_MAX;

#[derive(Default)]
struct Bell {
    rung: watch::Sender<u64>,
    said: Mutex<Vec<Bytes>>,
}

impl Bell {
    async fn rings(&self, what: &str) {
        let mut rung = self.rung.subscribe();
        let rings = timeout(WAIT_MAX, rung.wait_for(|rung| *rung > 0)).await;
        let _ = rings.unwrap_or_else(|_| panic!("{what} wakes")).expect("the bell is there");
        self.rung.send_replace(0);
    }
}

impl Sink for Bell {
    fn message(&self, bytes: Bytes) {
        self.said.lock().push(bytes);
        self.rung.send_modify(|rung| *rung += 1);
    }

    fn lost(&self) {}
}

pub(super) async fn who_watches_is_woken(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    let bell = Arc::new(Bell::default());
    let watches = subject.inboxes().watch(project("p"), Arc::<Bell>::clone(&bell)).await.expect("confirmed");
    inbox.queue(command("1", "chat")).await;
    bell.rings("a put").await;
    assert_eq!(inbox.ids("r", &["chat"]).await, ["1"]);
    inbox.step("r", "1", 1, LeaseAct::Release).await;
    bell.rings("a release").await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["1"]);
    pass(subject, LEASE_MS);
    assert_eq!(inbox.look("1").await, Standing::Queued);
    bell.rings("a lease that ran out").await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["1"]);
    inbox.leave("s", "subject of s").await;
    bell.rings("a runner that left").await;
    inbox.settle(&["1"]).await;
    bell.rings("what was settled").await;
    assert!(bell.said.lock().iter().all(Bytes::is_empty));
    drop(watches);
}

pub(super) async fn inboxes_are_listed_once_they_are_used(subject: &mut dyn Subject) {
    let inboxes = subject.inboxes();
    let listed = async |name: &str| {
        let shard = index::shard_of(&project(name));
        inboxes.projects(shard).await.expect("an answer").contains(&project(name))
    };
    assert!(!listed("p").await);
    inboxes.take(project("p"), asks("r", &["chat"], 0)).await.expect("an answer");
    assert!(listed("p").await);
    assert!(!listed("q").await);
    inboxes.put(project("q"), notice(command("1", "chat"))).await.expect("an answer");
    assert!(listed("q").await);
    inboxes.clear(project("q")).await.expect("an answer");
    assert!(!listed("q").await);
    inboxes.put(project("q"), notice(command("1", "chat"))).await.expect("an answer");
    assert!(listed("q").await, "it is used again");
}

pub(super) async fn an_inbox_of_which_nothing_came_is_not_kept(subject: &mut dyn Subject) {
    let inboxes = subject.inboxes();
    let listed = async |name: &str| {
        let shard = index::shard_of(&project(name));
        inboxes.projects(shard).await.expect("an answer").contains(&project(name))
    };
    let inbox = Inbox::of(subject);
    assert_eq!(inbox.put(command("1", "chat")).await, PutAnswer::NoRunner);
    assert_eq!(inbox.put(notice(Put { open_max: 0, ..command("1", "chat") })).await, PutAnswer::Full);
    assert!(!listed("p").await, "nothing was put");
    inbox.queue(notice(command("1", "chat"))).await;
    assert!(listed("p").await);
    inbox.settle(&["1"]).await;
    assert_eq!(inbox.due().await, Due::default());
    assert!(!listed("p").await, "it holds nothing any more");
    inbox.come("r", &["chat"]).await;
    inbox.due().await;
    assert!(listed("p").await);
}

pub(super) async fn a_cleared_inbox_holds_nothing(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.own(Some("r"), "session", "").await;
    inbox.queue(command("1", "chat")).await;
    inbox.queue(command("2", "chat")).await;
    assert_eq!(inbox.taken(asks("r", &["chat"], 1)).await.len(), 1);
    subject.inboxes().clear(project("p")).await.expect("an answer");
    assert_eq!(inbox.look("1").await, Standing::Unknown);
    assert_eq!(inbox.put(command("3", "chat")).await, PutAnswer::NoRunner);
    pass(subject, DEADLINE_MS);
    assert_eq!(inbox.due().await, Due::default());
    subject.inboxes().clear(project("p")).await.expect("again does no harm");
}

pub(super) async fn an_inbox_that_was_left_is_empty(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    pass(subject, DEADLINE_MS + KEPT_MS - 1);
    assert_eq!(told(&inbox.due().await.expired), [("1", "")]);
    pass(subject, KEPT_MS);
    assert_eq!(inbox.due().await, Due::default());
}
