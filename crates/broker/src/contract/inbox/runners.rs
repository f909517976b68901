//! Who takes commands: names, lapses, sessions.
#![allow(clippy::wildcard_imports, reason = "the words of the cases are the module above")]

use super::*;

pub(super) async fn a_runners_name_is_its_own(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    let other = || Take { subject: "somebody else".into(), ..asks("r", &["chat"], 5) };
    inbox.queue(command("1", "chat")).await;
    assert_eq!(inbox.take(other()).await, Here::Anothers);
    assert_eq!(inbox.ids("r", &["chat"]).await, ["1"]);
    inbox.accept("r", "1").await;
    inbox.leave("r", "somebody else").await;
    assert_eq!(inbox.due().await.runners, 1, "nor does he go for it");
    pass(subject, TTL_MS);
    assert_eq!(inbox.take(other()).await, Here::Anothers, "what it had is not forgotten yet");
    inbox.settle(&["1"]).await;
    assert!(matches!(inbox.take(other()).await, Here::Taken { .. }));
    assert_eq!(inbox.take(asks("r", &["chat"], 5)).await, Here::Anothers);
}

pub(super) async fn so_many_runners_are_known(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    for number in 0..RUNNERS_MAX {
        inbox.come(&format!("r{number}"), &["chat"]).await;
    }
    assert_eq!(inbox.take(asks("one more", &["chat"], 0)).await, Here::Full);
    inbox.come("r7", &["chat"]).await;
    inbox.leave("r7", "subject of r7").await;
    let lapsed = inbox.due().await.lapsed;
    assert_eq!(lapsed.len(), 1);
    inbox.forget(lapsed).await;
    inbox.come("one more", &["chat"]).await;
}

pub(super) async fn who_looks_further_is_not_brought_back(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    let further = || Take { goes_on: true, ..asks("r", &["chat"], 5) };
    assert_eq!(inbox.take(further()).await, Here::Gone, "it was never there");
    inbox.come("r", &["chat"]).await;
    pass(subject, TTL_MS - 1);
    inbox.queue(command("1", "chat")).await;
    assert!(matches!(inbox.take(further()).await, Here::Taken { commands, .. } if commands.len() == 1));
    pass(subject, TTL_MS - 1);
    let others = Take { subject: "somebody else".into(), ..further() };
    assert_eq!((inbox.due().await.runners, inbox.take(others).await), (1, Here::Gone), "it stays there by that");
    inbox.leave("r", "subject of r").await;
    assert_eq!((inbox.take(further()).await, inbox.due().await.runners), (Here::Gone, 0), "it said good-bye");
    inbox.come("r", &["chat"]).await;
    pass(subject, TTL_MS);
    assert_eq!((inbox.take(further()).await, inbox.due().await.runners), (Here::Gone, 0), "it lapsed");
}

pub(super) async fn what_a_lapsed_runner_had_accepted_is_lost(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    let start_ms = subject.clock().now_ms();
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    inbox.queue(command("2", "chat")).await;
    inbox.ids("r", &["chat"]).await;
    inbox.accept("r", "1").await;
    inbox.accept("r", "2").await;
    settle_in_log(subject, "c:2", "").await;
    pass(subject, TTL_MS - 1);
    assert_eq!(inbox.due().await.lost.len(), 0);
    pass(subject, 1);
    inbox.come("s", &["chat"]).await;
    let lapsed = Lapsed { runner: "r".into(), until_ms: start_ms + TTL_MS, sessions: Vec::new() };
    for _ in 0..2 {
        let due = inbox.due().await;
        assert_eq!((told(&due.lost), due.runners), (vec![("1", "r")], 1));
        assert_eq!(due.lapsed, std::slice::from_ref(&lapsed));
        inbox.forget(due.lapsed).await;
    }
    assert!(matches!(inbox.step("r", "1", 1, LeaseAct::Check).await, LeaseAnswer::Done { .. }), "it may still answer");
    inbox.settle(&["1"]).await;
    assert_eq!(inbox.due().await.lapsed, std::slice::from_ref(&lapsed));
    inbox.forget(vec![lapsed]).await;
    let due = inbox.due().await;
    assert_eq!((due.lapsed.len(), due.lost.len(), due.open), (0, 0, 0));
}

pub(super) async fn what_a_lapsed_runner_had_not_accepted_waits_again(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    let long = Take { lease_ms: 2 * TTL_MS, ..asks("r", &["chat"], 5) };
    assert_eq!(inbox.taken(long).await.len(), 1);
    assert_eq!(inbox.ids("s", &["chat"]).await, [""; 0]);
    pass(subject, TTL_MS);
    let again = inbox.taken(asks("s", &["chat"], 5)).await;
    assert_eq!(again.iter().map(|leased| (&*leased.id, leased.lease)).collect::<Vec<_>>(), [("1", 2)]);
    assert_eq!(inbox.step("r", "1", 1, LeaseAct::Accept).await, LeaseAnswer::Lost);
    assert_eq!(inbox.due().await.lost.len(), 0);
}

pub(super) async fn who_leaves_has_lapsed(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    inbox.queue(command("2", "chat")).await;
    inbox.ids("r", &["chat"]).await;
    inbox.accept("r", "2").await;
    assert!(!inbox.leave("r", "somebody else").await && !inbox.leave("q", "subject of q").await);
    assert!(inbox.leave("r", "subject of r").await && !inbox.leave("r", "subject of r").await);
    let due = inbox.due().await;
    assert_eq!((told(&due.lost), due.lapsed.len(), due.runners), (vec![("2", "r")], 1, 0));
    assert_eq!(inbox.ids("s", &["chat"]).await, ["1"]);
    assert_eq!(inbox.put(command("3", "chat")).await, PutAnswer::Queued);
    inbox.leave("s", "subject of s").await;
    assert_eq!(inbox.put(command("4", "chat")).await, PutAnswer::NoRunner);
}

pub(super) async fn who_comes_back_has_what_it_had(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.own(Some("r"), "session", "").await;
    inbox.queue(command("1", "chat")).await;
    inbox.ids("r", &["chat"]).await;
    inbox.accept("r", "1").await;
    pass(subject, TTL_MS);
    let lapsed = inbox.due().await.lapsed;
    assert_eq!(lapsed[0].sessions, ["session"]);
    assert_eq!(inbox.take(asks("r", &["chat"], 5)).await, Here::Taken { commands: Vec::new(), in_hand: 1 });
    inbox.forget(lapsed).await;
    let due = inbox.due().await;
    assert_eq!((due.lost.len(), due.lapsed.len(), due.runners), (0, 0, 1));
    inbox.queue(command_for("2", "any", "session", "")).await;
    assert_eq!(inbox.ids("r", &[]).await, ["2"], "its sessions are its own");
}

pub(super) async fn a_command_goes_to_the_runner_of_its_session(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.come("s", &["chat"]).await;
    inbox.own(Some("r"), "session", "").await;
    inbox.queue(command_for("1", "chat", "session", "")).await;
    inbox.queue(command_for("2", "chat", "other", "")).await;
    inbox.queue(urgent(command_for("3", "anything", "session", ""))).await;
    assert_eq!(inbox.ids("s", &["chat", "anything"]).await, ["2"], "nobody is bound to another session");
    assert_eq!(inbox.ids("r", &["chat"]).await, ["3", "1"]);
    assert!(matches!(inbox.step("r", "1", 1, LeaseAct::Release).await, LeaseAnswer::Done { .. }));
    assert_eq!(inbox.ids("s", &["chat"]).await, [""; 0], "it stays bound");
    inbox.own(Some("s"), "session", "").await;
    inbox.queue(command_for("4", "chat", "session", "")).await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["4"]);
}

pub(super) async fn an_agents_runner_comes_before_its_sessions(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    for runner in ["r", "s", "t"] {
        inbox.come(runner, &["chat"]).await;
    }
    inbox.own(Some("r"), "session", "a").await;
    inbox.own(Some("s"), "session", "b").await;
    inbox.own(Some("t"), "", "a").await;
    inbox.queue(command_for("1", "chat", "session", "a")).await;
    inbox.queue(command_for("2", "chat", "session", "")).await;
    inbox.queue(command_for("3", "chat", "session", "unknown")).await;
    inbox.queue(command_for("4", "chat", "", "a")).await;
    assert_eq!(inbox.ids("t", &[]).await, ["4"]);
    assert_eq!(inbox.ids("s", &[]).await, ["2", "3"], "who published last for any agent of it");
    assert_eq!(inbox.ids("r", &[]).await, ["1"]);
}

pub(super) async fn a_weak_claim_takes_what_nobody_has(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.claim("r", "free", "").await;
    for runner in ["r", "s"] {
        inbox.come(runner, &["chat"]).await;
    }
    inbox.own(Some("r"), "held", "a").await;
    inbox.own(Some("gone"), "of a publisher", "").await;
    inbox.claim("gone", "free", "").await;
    for (session, agent) in [("held", ""), ("held", "a"), ("held", "b"), ("of a publisher", ""), ("free", "")] {
        inbox.claim("s", session, agent).await;
    }
    inbox.claim("r", "held", "b").await;
    for (id, session, agent) in [("1", "held", "b"), ("2", "held", ""), ("3", "free", ""), ("4", "of a publisher", "")]
    {
        inbox.queue(command_for(id, "chat", session, agent)).await;
    }
    assert_eq!(inbox.ids("r", &[]).await, ["1", "2"]);
    assert_eq!(inbox.ids("s", &[]).await, ["3"], "neither who was not there nor who is not there took it");
    inbox.leave("s", "subject of s").await;
    assert_eq!(inbox.due().await.lapsed[0].sessions, ["free"]);
}

pub(super) async fn what_is_bound_to_a_lapsed_runner_is_lost(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.own(Some("r"), "session", "").await;
    inbox.queue(command_for("1", "chat", "session", "")).await;
    inbox.queue(command_for("2", "chat", "session", "")).await;
    assert_eq!(inbox.taken(asks("r", &["chat"], 1)).await.len(), 1);
    pass(subject, TTL_MS);
    inbox.come("s", &["chat"]).await;
    assert_eq!(inbox.ids("s", &["chat"]).await, [""; 0]);
    let due = inbox.due().await;
    assert_eq!(told(&due.lost), [("1", "r"), ("2", "r")]);
    inbox.queue(command_for("3", "chat", "session", "")).await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["3"], "its runner is not there");
    inbox.settle(&["1", "2"]).await;
    inbox.forget(due.lapsed).await;
    assert_eq!(inbox.due().await.lapsed.len(), 0);
}

pub(super) async fn a_session_that_is_over_is_nobodys(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.come("s", &["chat"]).await;
    inbox.own(Some("r"), "session", "a").await;
    inbox.own(Some("r"), "session 2", "a").await;
    inbox.own(None, "session", "").await;
    inbox.own(None, "session 2", "a").await;
    inbox.queue(command_for("1", "chat", "session", "")).await;
    inbox.queue(command_for("2", "chat", "session", "a")).await;
    assert_eq!(inbox.ids("s", &["chat"]).await, ["1", "2"]);
    inbox.queue(command_for("3", "chat", "session 2", "a")).await;
    assert_eq!(inbox.ids("r", &[]).await, ["3"], "an agent alone is over there");
    inbox.leave("r", "subject of r").await;
    assert_eq!(inbox.due().await.lapsed[0].sessions, ["session 2"]);
}

pub(super) async fn sessions_of_a_lapsed_runner_are_told_until_they_are_forgotten(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    let owned =
        |number| Owned { session: format!("{number:03}"), agent: "a".into(), runner: Some("r".into()), weak: false };
    subject.inboxes().own(project("p"), (0..150).map(owned).collect()).await.expect("an answer");
    inbox.leave("r", "subject of r").await;
    let mut told = Vec::new();
    for expected in [100, 50] {
        let due = inbox.due().await;
        assert_eq!(due.lapsed.iter().map(|lapsed| lapsed.sessions.len()).collect::<Vec<_>>(), [expected]);
        told.extend(due.lapsed[0].sessions.clone());
        inbox.forget(due.lapsed).await;
    }
    assert_eq!(told, (0..150).map(|number| format!("{number:03}")).collect::<Vec<_>>());
    assert_eq!(inbox.due().await.lapsed.len(), 0);
}

pub(super) async fn who_was_heard_of_longest_ago_is_forgotten_first(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    let owned = |number: usize| Owned {
        session: format!("{number}"),
        agent: String::new(),
        runner: Some("r".into()),
        weak: false,
    };
    for from in (0..OWNED_MAX).step_by(1_000) {
        let owned = (from..from + 1_000).map(owned).collect();
        subject.inboxes().own(project("p"), owned).await.expect("an answer");
    }
    subject.inboxes().own(project("p"), vec![owned(0), owned(OWNED_MAX)]).await.expect("an answer");
    inbox.come("s", &["chat"]).await;
    for session in ["0", "1", "2"] {
        inbox.queue(command_for(session, "chat", session, "")).await;
    }
    assert_eq!(inbox.ids("s", &["chat"]).await, ["1"]);
    assert_eq!(inbox.ids("r", &["chat"]).await, ["0", "2"]);
}

pub(super) async fn who_works_is_there(subject: &mut dyn Subject) {
    let inbox = Inbox::of(subject);
    inbox.come("r", &["chat"]).await;
    inbox.queue(command("1", "chat")).await;
    inbox.ids("r", &["chat"]).await;
    inbox.accept("r", "1").await;
    pass(subject, TTL_MS - 1);
    inbox.accept("r", "1").await;
    assert_eq!(inbox.step_as("somebody else", "r", "1", 1, LeaseAct::Check).await, LeaseAnswer::Lost);
    pass(subject, TTL_MS - 1);
    let due = inbox.due().await;
    assert_eq!((due.runners, due.lost.len(), due.lapsed.len()), (1, 0, 0));
    pass(subject, 1);
    assert!(matches!(inbox.step("r", "1", 1, LeaseAct::Check).await, LeaseAnswer::Done { .. }));
    let due = inbox.due().await;
    assert_eq!((due.runners, told(&due.lost), due.lapsed.len()), (0, vec![("1", "r")], 1), "it lapsed before that");
}
