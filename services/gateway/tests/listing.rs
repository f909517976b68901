//! What the list of projects costs the store.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join, join_all};
use support::Rig;
use support::log::{Writer, event};
use tidings_auth::{
    Authenticator, Closed, Config as AuthConfig, IssuerConfig, KeyId, KeyRecord, Keys, Members, Minting, NewKey,
    Secret, StoreAway, Stores,
};
use tidings_broker::{CheckpointStep, Log as _, Retention};
use tidings_protocol::fold::{FOLD_VERSION, State, StateLimits};
use tidings_protocol::grant::{ProjectPattern, Scope, Scopes};
use tidings_protocol::project::Project;
use tidings_runtime::config::Config;
use tidings_runtime::http::rights::Rights;
use tokio::sync::Semaphore;

const LIST: &str = "/v1/projects?limit=1000";

fn names(answer: &support::Answer) -> Vec<String> {
    let rows = answer.json()["projects"].as_array().unwrap_or_else(|| panic!("no rows in {}", answer.body)).clone();
    rows.iter().map(|row| row["project"].as_str().expect("a name").to_owned()).collect()
}

/// Moves a project's checkpoint to its head.
async fn checkpoint(rig: &Rig, name: &str) {
    let project: Project = name.parse().expect("a name");
    let head = rig.store.memory.heads(vec![project.clone()]).await.remove(0).expect("a head");
    let page =
        rig.store.memory.read(project.clone(), tidings_broker::Span::After(head.checkpoint.id), usize::MAX).await;
    let page = page.expect("a page");
    let mut state = State::new(StateLimits::default());
    page.entries.iter().for_each(|entry| state.apply(entry));
    let step = CheckpointStep {
        incarnation: head.incarnation,
        from: head.checkpoint,
        to: head.last,
        deletion: None,
        version: FOLD_VERSION,
        fields: state.touched(),
        retention: Retention { events: u64::MAX, bytes: u64::MAX, age_ms: u64::MAX },
        hard: false,
    };
    rig.store.memory.checkpoint(project, step).await.expect("an answer");
}

#[tokio::test(start_paused = true)]
async fn the_index_is_read_once_for_all_who_list_within_two_seconds() {
    let rig = Rig::start().await;
    Writer::new(&rig.store.memory, "other").await.append(vec![event("e", 1)]).await;
    Writer::new(&rig.store.memory, "demo").await.append(vec![event("e", 1)]).await;
    let answers = join_all((0..20).map(|_| rig.get(LIST))).await;
    assert!(answers.iter().all(|answer| names(answer) == ["demo", "other"]), "{answers:?}");
    assert_eq!(rig.store.asked.take(), (2, 64), "one look at each checkpoint and at each shard");
    assert_eq!(names(&rig.get("/v1/projects?after=demo&limit=1").await), ["other"]);
    assert_eq!(rig.store.asked.take(), (0, 0));
    tokio::time::advance(Duration::from_secs(2)).await;
    rig.get(LIST).await;
    assert_eq!(rig.store.asked.take(), (0, 64));
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_read_again_when_it_has_moved_and_not_too_soon() {
    let rig = Rig::start().await;
    let mut writer = Writer::new(&rig.store.memory, "quiet").await;
    writer.append(vec![event("e", 1)]).await;
    rig.get(LIST).await;
    rig.store.asked.take();
    tokio::time::advance(Duration::from_mins(10)).await;
    rig.get(LIST).await;
    assert_eq!(rig.store.asked.take().0, 0, "it says the same");
    checkpoint(&rig, "quiet").await;
    rig.get(LIST).await;
    assert_eq!(rig.store.asked.take().0, 0, "it was looked at just now");
    tokio::time::advance(Duration::from_secs(5)).await;
    let rows = rig.get(LIST).await.json();
    assert_eq!(rig.store.asked.take().0, 1);
    assert!(rows["projects"][1]["summary"]["last_activity_ms"].as_u64().is_some_and(|ms| ms > 0), "{rows}");
}

/// A store of one key.
struct OneKey(KeyRecord);

impl Keys for OneKey {
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>> {
        std::future::ready(Ok((self.0.id == *id).then(|| self.0.clone()))).boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn who_names_its_projects_needs_no_index() {
    let patterns: Vec<ProjectPattern> = ["other", "never", "demo"].map(|name| name.parse().expect("a name")).to_vec();
    let made = NewKey::make(patterns, Scope::Read.into(), 1);
    let keys = Stores { keys: Some(Arc::new(OneKey(made.record))), members: None };
    let authenticator = Authenticator::new(AuthConfig::Closed(Closed::default()), keys);
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let rig = Rig::start_for(Config::default(), rights).await;
    for name in ["other", "hidden", "demo"] {
        Writer::new(&rig.store.memory, name).await.append(vec![event("e", 1)]).await;
    }
    rig.store.asked.take();
    let listed = rig.get_shown(LIST, made.key.expose()).await;
    assert_eq!(names(&listed), ["demo", "other"]);
    assert_eq!(rig.store.asked.take().1, 0);
    let paged = rig.get_shown("/v1/projects?limit=1", made.key.expose()).await;
    assert_eq!((names(&paged), &paged.json()["next"]), (vec!["demo".to_owned()], &serde_json::json!("demo")));
    assert_eq!(rig.get(LIST).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn heads_are_read_once_for_all_who_list_within_a_second() {
    let rig = Rig::start().await;
    Writer::new(&rig.store.memory, "other").await.append(vec![event("e", 1)]).await;
    let heads = || rig.store.asked.heads.swap(0, Ordering::SeqCst);
    let answers = join_all((0..20).map(|_| rig.get(LIST))).await;
    assert!(answers.iter().all(|answer| names(answer) == ["demo", "other"]), "{answers:?}");
    assert_eq!(heads(), 2, "one look at each");
    tokio::time::advance(Duration::from_millis(999)).await;
    rig.get(LIST).await;
    assert_eq!(heads(), 0);
    tokio::time::advance(Duration::from_millis(1)).await;
    rig.get(LIST).await;
    assert_eq!(heads(), 2);
}

/// Everybody is a member of `club` alone. Answers take a permit.
struct Clubs {
    permits: Semaphore,
    waiting: AtomicUsize,
    asked: AtomicUsize,
}

impl Members for Clubs {
    fn scopes<'a>(&'a self, project: &'a Project, _: &'a str) -> BoxFuture<'a, Result<Scopes, StoreAway>> {
        async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.waiting.fetch_add(1, Ordering::SeqCst);
            self.permits.acquire().await.expect("nobody closes it").forget();
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            Ok(if project.as_str() == "club" { Scope::Read.into() } else { Scopes::NONE })
        }
        .boxed()
    }
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A user's token without any right.
fn token(user: &str) -> String {
    let (projects, scopes, ttl) = (Vec::new(), Scopes::NONE, Duration::from_hours(1));
    let minting = Minting { user: Some(user.to_owned()), projects, scopes, ttl, issuer: None, audience: None };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    minting.token(&Secret::new(SECRET), now).expect("a token")
}

/// A gateway of users, with so many projects beside `club` and `demo`.
async fn rig_of_users(members: Option<Arc<Clubs>>, config: Config, projects: usize) -> Rig {
    let closed = Closed { issuers: vec![IssuerConfig::from_secret(Secret::new(SECRET))], ..Closed::default() };
    let members = members.map(|members| members as Arc<dyn Members>);
    let authenticator = Authenticator::new(AuthConfig::Closed(closed), Stores { keys: None, members });
    let authenticator = authenticator.unwrap_or_else(|faults| panic!("{faults:?}"));
    let rights = Rights::new(authenticator, &prometheus::Registry::new()).expect("a registry of its own");
    let rig = Rig::start_for(config, rights).await;
    Writer::new(&rig.store.memory, "club").await.append(vec![event("e", 1)]).await;
    for index in 0..projects {
        Writer::new(&rig.store.memory, &format!("p{index:04}")).await;
    }
    rig
}

fn clubs(permits: usize) -> Arc<Clubs> {
    Arc::new(Clubs { permits: Semaphore::new(permits), waiting: AtomicUsize::new(0), asked: AtomicUsize::new(0) })
}

#[tokio::test(start_paused = true)]
async fn a_user_is_looked_up_for_one_list_at_a_time_and_in_few_projects_at_once() {
    let clubs = clubs(0);
    let rig = rig_of_users(Some(clubs.clone()), Config::default(), 100).await;
    let users: Vec<String> = ["alice", "bob", "carol", "dave", "erin"].map(token).to_vec();
    let lists = join_all(users.iter().map(|token| rig.get_shown(LIST, token)));
    let meanwhile = async {
        // Nothing is answered yet: whoever asks goes as far as he may.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let waiting = clubs.waiting.load(Ordering::SeqCst);
        assert_eq!(waiting, 16, "four users, four projects each: half of an authorizer's turns");
        let again = rig.get_shown(LIST, &users[0]).await;
        again.assert_problem(429, "rate_limited");
        assert!(again.headers.contains_key("retry-after"));
        clubs.permits.add_permits(10_000);
    };
    for list in join(lists, meanwhile).await.0 {
        assert_eq!(names(&list), ["club"]);
    }
    assert_eq!(names(&rig.get_shown(LIST, &users[0]).await), ["club"], "the first has ended");
}

#[tokio::test(start_paused = true)]
async fn names_that_are_looked_up_count_as_requests() {
    let mut config = Config::default();
    config.limits.requests_per_second = 100;
    let clubs = clubs(1_000_000);
    let rig = rig_of_users(Some(clubs.clone()), config, 2_000).await;
    let refused = rig.get_shown(LIST, &token("alice")).await;
    refused.assert_problem(429, "rate_limited");
    let asked = clubs.asked.load(Ordering::SeqCst);
    assert!(asked < 1_000, "it was not looked up in all: {asked}");
}

#[tokio::test(start_paused = true)]
async fn who_can_be_nobodys_member_walks_nowhere() {
    let rig = rig_of_users(None, Config::default(), 10).await;
    rig.store.asked.take();
    assert_eq!(names(&rig.get_shown(LIST, &token("alice")).await), [""; 0]);
    assert_eq!(rig.store.asked.take().1, 0, "the index is not read");
}
