//! Who is there: gateways under their leases, and runners for as long as they say.

use std::sync::Arc;

use bytes::Bytes;
use tidings_protocol::project::Project;

use super::Subject;
use crate::presence::{
    Members, Presences, PutRunner, RUNNER_TTL_MAX_MS, RUNNERS_MAX, RUNNERS_TOLD_MAX, RemoveRunner, Report, Reported,
    Roll, Speaker,
};

super::cases! {
    a_gateway_is_on_the_roll_while_its_lease_runs
    what_a_gateway_has_is_read_as_it_was_reported
    a_renewal_holds_only_for_what_is_kept
    an_older_report_does_not_replace_a_newer_one
    who_leaves_is_gone_at_once
    a_lease_does_not_run_before_it_began
    a_store_that_was_lost_says_that_the_lease_lapsed
    a_runner_is_there_for_as_long_as_it_says
    runners_are_told_when_they_changed
    a_project_has_so_many_runners
    a_roll_tells_the_first_runners_and_counts_the_others
    a_runner_is_its_own_who_said_that_it_is_there
    runners_are_forgotten_with_their_project
    presence_is_apart_from_project_to_project
}

const LEASE_MS: u64 = 15_000;

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

fn members(names: &[&str], others: u64) -> Members {
    let named = names.iter().map(|name| ((*name).to_owned(), Bytes::from(format!("\0{name}\n")))).collect();
    Members { version: 0, named, others }
}

async fn report(there: &Arc<dyn Presences>, gateway: &str, version: u64, has: Option<Members>) -> Reported {
    let (gateway, members) = (gateway.into(), has.map(Box::new));
    let report = Report { gateway, lease_ms: LEASE_MS, version, members, known_runners: 0 };
    there.report(project("p"), report).await.expect("an answer")
}

/// Gateways with their versions.
fn listed(roll: &Roll) -> Vec<(&str, u64)> {
    roll.gateways.iter().map(|listed| (&*listed.gateway, listed.version)).collect()
}

async fn roll(there: &Arc<dyn Presences>) -> Roll {
    there.roll(project("p"), 0).await.expect("an answer")
}

async fn put(there: &Arc<dyn Presences>, name: &str, ttl_ms: u64, record: &'static str) -> PutRunner {
    there.put_runner(project("p"), name.into(), by("alice"), ttl_ms, record.into()).await.expect("an answer")
}

fn by(subject: &str) -> Speaker {
    Speaker { subject: subject.into(), overrules: false }
}

/// Runners with their records.
fn runners(roll: &Roll) -> Option<Vec<(String, Bytes)>> {
    let all = roll.runners.as_ref()?;
    Some(all.iter().map(|runner| (runner.name.clone(), runner.record.clone())).collect())
}

async fn a_gateway_is_on_the_roll_while_its_lease_runs(subject: &mut dyn Subject) {
    let there = subject.presences();
    let start_ms = subject.clock().now_ms();
    let first = report(&there, "b", 1, Some(members(&["x"], 0))).await;
    assert_eq!((first.lapsed, listed(&first.roll)), (false, vec![("b", 1)]));
    subject.clock().set(start_ms + LEASE_MS - 1);
    let second = report(&there, "a", 7, Some(members(&[], 3))).await;
    assert_eq!(listed(&second.roll), [("a", 7), ("b", 1)]);
    subject.clock().set(start_ms + LEASE_MS);
    assert_eq!(listed(&roll(&there).await), [("a", 7)], "the dead one is gone");
    let late = report(&there, "b", 1, None).await;
    assert_eq!((late.lapsed, listed(&late.roll)), (true, vec![("a", 7)]));
    assert!(!report(&there, "a", 7, None).await.lapsed);
    subject.clock().set(start_ms + 2 * LEASE_MS - 1);
    assert_eq!(listed(&roll(&there).await), [("a", 7)], "one renewal holds for all that it has");
}

async fn what_a_gateway_has_is_read_as_it_was_reported(subject: &mut dyn Subject) {
    let there = subject.presences();
    let read = async |gateway: &str| there.members(project("p"), gateway.into()).await.expect("an answer");
    assert_eq!(read("a").await, None);
    report(&there, "a", 1, Some(members(&[".", "al ice:{x}", "b\u{e4}"], 12))).await;
    let expected = Members { version: 1, ..members(&[".", "al ice:{x}", "b\u{e4}"], 12) };
    assert_eq!(read("a").await, Some(expected));
    report(&there, "a", 2, Some(members(&["c"], 0))).await;
    assert_eq!(read("a").await, Some(Members { version: 2, ..members(&["c"], 0) }), "all of it is replaced");
    assert_eq!(read("b").await, None);
}

async fn a_renewal_holds_only_for_what_is_kept(subject: &mut dyn Subject) {
    let there = subject.presences();
    assert!(report(&there, "a", 1, None).await.lapsed, "nothing was reported");
    assert_eq!(roll(&there).await.gateways, []);
    report(&there, "a", 1, Some(members(&["x"], 0))).await;
    assert!(report(&there, "a", 2, None).await.lapsed, "its report was lost");
    assert_eq!(listed(&roll(&there).await), [("a", 1)]);
    assert!(!report(&there, "a", 1, None).await.lapsed);
}

async fn an_older_report_does_not_replace_a_newer_one(subject: &mut dyn Subject) {
    let there = subject.presences();
    report(&there, "a", 5, Some(members(&["new"], 0))).await;
    assert!(report(&there, "a", 4, Some(members(&["old"], 0))).await.lapsed);
    let kept = there.members(project("p"), "a".into()).await.expect("an answer");
    assert_eq!(kept, Some(Members { version: 5, ..members(&["new"], 0) }));
    let again = report(&there, "a", 5, Some(members(&["new"], 0))).await;
    assert!(!again.lapsed, "its answer was lost");
}

async fn who_leaves_is_gone_at_once(subject: &mut dyn Subject) {
    let there = subject.presences();
    report(&there, "a", 1, Some(members(&["x"], 0))).await;
    report(&there, "b", 1, Some(members(&["y"], 0))).await;
    for _ in 0..2 {
        assert_eq!(there.leave(project("p"), "a".into()).await, Ok(()));
        assert_eq!(listed(&roll(&there).await), [("b", 1)]);
    }
    assert_eq!(there.members(project("p"), "a".into()).await, Ok(None));
}

async fn a_lease_does_not_run_before_it_began(subject: &mut dyn Subject) {
    let there = subject.presences();
    let start_ms = subject.clock().now_ms();
    report(&there, "dead", 1, Some(members(&["x"], 0))).await;
    put(&there, "r", 30_000, "{}").await;
    subject.clock().set(start_ms - 3_600_000);
    let after = roll(&there).await;
    assert_eq!((listed(&after), runners(&after)), (vec![], Some(vec![])), "a clock that went back keeps nobody");
    assert!(report(&there, "dead", 1, None).await.lapsed);
}

async fn a_store_that_was_lost_says_that_the_lease_lapsed(subject: &mut dyn Subject) {
    let there = subject.presences();
    report(&there, "a", 1, Some(members(&["x"], 0))).await;
    let kept = subject.reopen().await;
    assert_eq!(report(&there, "a", 1, None).await.lapsed, !kept);
    assert!(!report(&there, "a", 2, Some(members(&["x"], 0))).await.lapsed);
}

async fn a_runner_is_there_for_as_long_as_it_says(subject: &mut dyn Subject) {
    let there = subject.presences();
    let start_ms = subject.clock().now_ms();
    assert_eq!(put(&there, "r", 5_000, "one").await, PutRunner::Joined { since_ms: start_ms });
    assert_eq!(put(&there, "long", u64::MAX, "").await, PutRunner::Joined { since_ms: start_ms });
    subject.clock().set(start_ms + 4_999);
    assert_eq!(put(&there, "r", 5_000, "two\n 1 2").await, PutRunner::Renewed { since_ms: start_ms });
    subject.clock().set(start_ms + 9_998);
    let both = vec![("long".to_owned(), Bytes::new()), ("r".to_owned(), "two\n 1 2".into())];
    assert_eq!(runners(&roll(&there).await), Some(both));
    subject.clock().set(start_ms + 9_999);
    assert_eq!(runners(&roll(&there).await), Some(vec![("long".to_owned(), Bytes::new())]));
    assert_eq!(put(&there, "r", 5_000, "two").await, PutRunner::Joined { since_ms: start_ms + 9_999 });
    let remove = async || there.remove_runner(project("p"), "r".into(), by("alice")).await;
    assert_eq!(remove().await, Ok(RemoveRunner::Gone));
    assert_eq!(remove().await, Ok(RemoveRunner::Absent));
    subject.clock().set(start_ms + RUNNER_TTL_MAX_MS);
    assert_eq!(runners(&roll(&there).await), Some(vec![]), "nobody is there for longer at once");
}

async fn runners_are_told_when_they_changed(subject: &mut dyn Subject) {
    let there = subject.presences();
    let start_ms = subject.clock().now_ms();
    let known = async |version: u64| there.roll(project("p"), version).await.expect("an answer");
    assert_eq!(known(0).await, Roll::default());
    assert_eq!(runners(&known(7).await), Some(vec![]), "what was known is no more");
    let mut version = 0;
    // Each of these is news once.
    for step in 0..6 {
        match step {
            1 => drop(put(&there, "r", 10_000, "two").await),
            2 => drop(put(&there, "s", 4_000, "three").await),
            3 => subject.clock().set(start_ms + 4_000),
            4 => {
                there.remove_runner(project("p"), "r".into(), by("alice")).await.expect("an answer");
            }
            // The first, and the last that was removed.
            _ => drop(put(&there, "r", 10_000, "one").await),
        }
        let news = known(version).await;
        assert!(news.runners.is_some() && news.runners_version > version, "step {step}: {news:?}");
        version = news.runners_version;
        let same = known(version).await;
        assert_eq!((same.runners_version, same.runners), (version, None), "step {step}");
    }
    put(&there, "r", 10_000, "one").await;
    assert_eq!(known(version).await.runners, None, "a renewal is no news");
}

async fn a_project_has_so_many_runners(subject: &mut dyn Subject) {
    let there = subject.presences();
    let start_ms = subject.clock().now_ms();
    let add = |name: usize| there.put_runner(project("p"), name.to_string(), by("a"), 10_000, Bytes::new());
    let added = futures_util::future::join_all((0..RUNNERS_MAX).map(add)).await;
    assert!(added.iter().all(|put| matches!(put, Ok(PutRunner::Joined { .. }))));
    assert_eq!(add(RUNNERS_MAX).await, Ok(PutRunner::Full));
    assert_eq!(add(7).await, Ok(PutRunner::Renewed { since_ms: start_ms }));
    assert_eq!(roll(&there).await.runners_others, (RUNNERS_MAX - RUNNERS_TOLD_MAX) as u64);
    subject.clock().set(start_ms + 10_000);
    assert_eq!(add(RUNNERS_MAX).await, Ok(PutRunner::Joined { since_ms: start_ms + 10_000 }), "who is gone makes room");
}

async fn a_roll_tells_the_first_runners_and_counts_the_others(subject: &mut dyn Subject) {
    let there = subject.presences();
    let name = |index: usize| format!("r{index:04}");
    // The last by name come first.
    for index in (0..RUNNERS_TOLD_MAX + 3).rev() {
        put(&there, &name(index), 10_000, "{}").await;
    }
    let all = roll(&there).await;
    let told: Vec<String> = runners(&all).expect("news").into_iter().map(|(name, _)| name).collect();
    assert_eq!((told, all.runners_others), ((0..RUNNERS_TOLD_MAX).map(name).collect(), 3));
    let same = there.roll(project("p"), all.runners_version).await.expect("an answer");
    assert_eq!((same.runners, same.runners_others), (None, 0));
}

async fn a_runner_is_its_own_who_said_that_it_is_there(subject: &mut dyn Subject) {
    let there = subject.presences();
    let start_ms = subject.clock().now_ms();
    let put_by = async |by: Speaker, record: &'static str| {
        there.put_runner(project("p"), "r".into(), by, 5_000, record.into()).await.expect("an answer")
    };
    let remove = async |by: Speaker| there.remove_runner(project("p"), "r".into(), by).await.expect("an answer");
    assert_eq!(put_by(by("al ice 1"), "2 one").await, PutRunner::Joined { since_ms: start_ms });
    assert_eq!(put_by(by("al ice"), "1").await, PutRunner::Anothers);
    assert_eq!(remove(by("bob")).await, RemoveRunner::Anothers);
    assert_eq!(runners(&roll(&there).await), Some(vec![("r".to_owned(), "2 one".into())]), "nothing changed");
    assert_eq!(put_by(by("al ice 1"), "two").await, PutRunner::Renewed { since_ms: start_ms });
    let admin = Speaker { overrules: true, ..by("root") };
    assert_eq!(put_by(admin.clone(), "three").await, PutRunner::Renewed { since_ms: start_ms });
    assert_eq!(put_by(by("al ice 1"), "four").await, PutRunner::Anothers, "it is his who overruled");
    subject.clock().set(start_ms + 5_000);
    assert_eq!(put_by(by("bob"), "five").await, PutRunner::Joined { since_ms: start_ms + 5_000 }, "its time was over");
    assert_eq!(remove(admin).await, RemoveRunner::Gone);
}

async fn runners_are_forgotten_with_their_project(subject: &mut dyn Subject) {
    let there = subject.presences();
    put(&there, "r", 600_000, "{}").await;
    put(&there, "s", 600_000, "{}").await;
    let version = roll(&there).await.runners_version;
    assert_eq!(there.forget_runners(project("p")).await, Ok(()));
    let after = there.roll(project("p"), version).await.expect("an answer");
    assert_eq!(runners(&after), Some(vec![]), "it is news");
    assert_eq!(there.forget_runners(project("p")).await, Ok(()), "there is nobody");
}

async fn presence_is_apart_from_project_to_project(subject: &mut dyn Subject) {
    let there = subject.presences();
    report(&there, "a", 1, Some(members(&["x"], 0))).await;
    put(&there, "r", 5_000, "").await;
    assert_eq!(there.roll(project("q"), 0).await, Ok(Roll::default()));
    assert_eq!(there.members(project("q"), "a".into()).await, Ok(None));
    assert_eq!(there.leave(project("q"), "a".into()).await, Ok(()));
    assert_eq!(there.remove_runner(project("q"), "r".into(), by("alice")).await, Ok(RemoveRunner::Absent));
    assert_eq!(there.forget_runners(project("q")).await, Ok(()));
    assert_eq!(runners(&roll(&there).await).map(|all| all.len()), Some(1));
    assert_eq!(listed(&roll(&there).await), [("a", 1)]);
}
