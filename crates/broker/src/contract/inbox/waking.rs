//! Who hears of an inbox, and when it is there at all.
#![allow(clippy::wildcard_imports, reason = "the words of the cases are the module above")]

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::Sink;
use crate::contract::WAIT_MAX;
use crate::inbox::waking::{self, Word};

#[derive(Default)]
struct Bell {
    rung: watch::Sender<u64>,
    said: Mutex<Vec<Bytes>>,
}

impl Bell {
    /// Somebody is told this, and nothing else since the last time.
    async fn says(&self, words: &[Word<'_>]) {
        let mut rung = self.rung.subscribe();
        let rings = timeout(WAIT_MAX, rung.wait_for(|rung| *rung > 0)).await;
        let _ = rings.unwrap_or_else(|_| panic!("{words:?} wake")).expect("the bell is there");
        self.rung.send_replace(0);
        let said = std::mem::take(&mut *self.said.lock());
        let said: Vec<_> = said.iter().map(|message| waking::words(message)).collect();
        assert_eq!(said, [Some(words.to_vec()).filter(|words| !words.is_empty())]);
    }
}

impl Sink for Bell {
    fn message(&self, bytes: Bytes) {
        self.said.lock().push(bytes);
        self.rung.send_modify(|rung| *rung += 1);
    }

    fn lost(&self) {}
}

pub(super) async fn who_watches_is_told_whom_it_concerns(subject: &mut dyn Subject) {
    let (inbox, chat, s) = (Inbox::of(subject), Word::Capability("chat"), Word::Hand("s"));
    inbox.come("r", &["chat"]).await;
    let bell = Arc::new(Bell::default());
    let watches = subject.inboxes().watch(project("p"), Arc::<Bell>::clone(&bell)).await.expect("confirmed");
    inbox.queue(command("1", "chat")).await;
    bell.says(&[chat]).await;
    assert_eq!(inbox.ids("r", &["chat"]).await, ["1"]);
    inbox.step("r", "1", 1, LeaseAct::Release).await;
    bell.says(&[Word::Hand("r"), chat]).await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["1"]);
    pass(subject, LEASE_MS);
    assert_eq!(inbox.look("1").await, Standing::Queued);
    bell.says(&[s, chat]).await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["1"]);
    inbox.leave("s", "subject of s").await;
    bell.says(&[s, chat]).await;
    inbox.queue(alarm("2", "a:2")).await;
    inbox.settle(&["1", "2", "3"]).await;
    bell.says(&[Word::Guard("c:1"), Word::Guard("a:2")]).await;
    inbox.own(Some("r"), "session", "").await;
    inbox.queue(command_for("4", "chat", "session", "")).await;
    bell.says(&[Word::Runner("r")]).await;
    assert_eq!(inbox.ids("r", &["chat"]).await, ["4"]);
    inbox.settle(&["4"]).await;
    bell.says(&[Word::Hand("r"), Word::Guard("c:4")]).await;
    let many: Vec<String> = (0..=waking::WORDS_MAX).map(|number| format!("many {number}")).collect();
    for id in &many {
        inbox.queue(command(id, "chat")).await;
        bell.says(&[chat]).await;
    }
    inbox.settle(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    bell.says(&[]).await;
    subject.inboxes().clear(project("p")).await.expect("an answer");
    bell.says(&[]).await;
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

pub(super) async fn a_deleted_projects_commands_are_not_put_again(subject: &mut dyn Subject) {
    let (inbox, inboxes) = (Inbox::of(subject), subject.inboxes());
    let listed = async || {
        let shard = index::shard_of(&project("p"));
        inboxes.projects(shard).await.expect("an answer").contains(&project("p"))
    };
    inbox.come("r", &["chat"]).await;
    let before = inbox.placed(command("1", "chat")).await;
    let again = |placed: &Placed| Put { life: Some(placed.life), ..command("1", "chat") };
    assert_eq!(inbox.put(again(&before)).await, PutAnswer::Known(Standing::Queued), "nothing happened to it");
    inboxes.clear(project("p")).await.expect("an answer");
    assert_eq!(inbox.put(again(&before)).await, PutAnswer::Deleted);
    assert_eq!((inbox.due().await, listed().await), (Due::default(), false), "nobody need look after it");
    inbox.come("r", &["chat"]).await;
    assert!(listed().await, "somebody uses it again");
    let bobs = Put { asker: "bob".into(), ..command("1", "chat") };
    let behind = inbox.placed(bobs.clone()).await;
    assert!(behind.answer == PutAnswer::Queued && behind.life > before.life, "{behind:?}");
    assert_eq!(inbox.put(again(&before)).await, PutAnswer::Deleted, "whosever the id is now");
    inbox.settle(&["1"]).await;
    assert_eq!(inbox.put(Put { life: Some(behind.life), ..bobs.clone() }).await, PutAnswer::Queued, "it was lost");
    inbox.settle(&["1"]).await;
    inbox.leave("r", "subject of r").await;
    inbox.forget(inbox.due().await.lapsed).await;
    assert_eq!((inbox.due().await, listed().await), (Due::default(), false), "it holds nothing");
    assert_eq!(inbox.put(again(&before)).await, PutAnswer::Deleted, "and knows all the same");
    inboxes.clear(project("p")).await.expect("an answer");
    assert_eq!(
        inbox.put(Put { life: Some(behind.life), ..bobs.clone() }).await,
        PutAnswer::Deleted,
        "each deletion counts"
    );
    pass(subject, KEPT_MS + DEADLINE_MS);
    inbox.come("r", &["chat"]).await;
    let lost = inbox.placed(Put { life: Some(behind.life), ..bobs }).await;
    assert_eq!(lost, Placed { answer: PutAnswer::Queued, life: 0 }, "a store that knows of no deletion");
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
