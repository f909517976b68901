use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::*;
use crate::config::{Audience, IssuerConfig, KeySource, WebhookConfig};
use crate::credential::Secret;
use crate::jwks::JwksTerms;
use crate::key::{MemoryKeys, NewKey, StoreAway};
use crate::limits::{STORE_FRESH, STORE_STALE};
use crate::testing::{Behaviour, NOW, SECRET, Server, Signer, claims};

mod sources;

fn project(name: &str) -> Project {
    name.parse().expect("a name")
}

fn scopes(words: &str) -> Scopes {
    words.parse().expect("scopes")
}

fn closed(closed: Closed, stores: Stores) -> Authenticator {
    Authenticator::new(Config::Closed(closed), stores).expect("settings")
}

fn secret() -> Closed {
    Closed { issuers: vec![IssuerConfig::from_secret(Secret::new(SECRET))], ..Closed::default() }
}

fn token(changes: &Value) -> Credential {
    Credential::Token(Signer::hs256(SECRET).sign(None, &claims(changes)))
}

async fn reason(authenticator: &Authenticator, credential: &Credential) -> Option<Reason> {
    authenticator.authenticate(credential, NOW).await.err().map(|refusal| refusal.reason)
}

/// A store that can be away, and counts.
#[derive(Default)]
struct Store {
    keys: MemoryKeys,
    away: AtomicBool,
    asked: AtomicUsize,
    member: parking_lot::Mutex<Scopes>,
}

impl Store {
    fn answer<T>(&self, value: T) -> Result<T, StoreAway> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.away.load(Ordering::Relaxed) { Err(StoreAway) } else { Ok(value) }
    }
}

impl Keys for Store {
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>> {
        Box::pin(async move { self.answer(self.keys.find(id).await?) })
    }
}

impl Members for Store {
    fn scopes<'a>(&'a self, project: &'a Project, user: &'a str) -> BoxFuture<'a, Result<Scopes, StoreAway>> {
        let member = project.as_str() == "club" && user == "alice";
        let scopes = if member { *self.member.lock() } else { Scopes::NONE };
        Box::pin(std::future::ready(self.answer(scopes)))
    }
}

fn with_keys(store: &Arc<Store>) -> Authenticator {
    closed(secret(), Stores { keys: Some(store.clone()), members: None })
}

fn with_members(store: &Arc<Store>) -> Authenticator {
    closed(secret(), Stores { keys: None, members: Some(store.clone()) })
}

fn new_key(store: &Store) -> (Credential, KeyId) {
    let NewKey { key, record } = NewKey::make(vec!["demo".parse().expect("a pattern")], scopes("publish work"), NOW);
    let id = record.id.clone();
    store.keys.put(record);
    (Credential::new(key.expose()), id)
}

#[tokio::test]
async fn an_open_service_takes_everybody_and_gives_each_a_name() {
    let open = Authenticator::new(Config::Open, Stores::default()).expect("open");
    let one = open.authenticate(&Credential::None, NOW).await.expect("a grant");
    let other = open.authenticate(&Credential::new("nonsense"), NOW).await.expect("a grant");
    assert_ne!(one.viewer(), other.viewer());
    assert!(open.is_open() && open.authorize(&one, &project("any"), Scope::Admin).await.is_ok());
    assert_eq!(open.revalidate(&one, u64::MAX).await, Ok(one));
}

#[tokio::test]
async fn without_a_credential_nobody_gets_in() {
    let authenticator = closed(Closed::default(), Stores::default());
    assert_eq!(reason(&authenticator, &Credential::None).await, Some(Reason::Missing));
    assert_eq!(reason(&authenticator, &token(&json!({}))).await, Some(Reason::WrongIssuer));
    let key = NewKey::make(Vec::new(), Scopes::ALL, NOW).key;
    assert_eq!(reason(&authenticator, &Credential::new(key.expose())).await, Some(Reason::UnknownKey));
}

#[tokio::test]
async fn a_right_that_is_not_there_is_refused_by_its_name() {
    let authenticator = closed(secret(), Stores::default());
    let grant = authenticator.authenticate(&token(&json!({})), NOW).await.expect("a grant");
    assert_eq!(authenticator.authorize(&grant, &project("demo"), Scope::Read).await, Ok(grant.clone()));
    let refused = Err(Refusal { reason: Reason::NoRight, needed: Some(Scope::Approve) });
    assert_eq!(authenticator.authorize(&grant, &project("demo"), Scope::Approve).await, refused);
    assert!(authenticator.authorize(&grant, &project("other"), Scope::Read).await.is_err());
}

#[tokio::test]
async fn a_token_ends_for_open_connections_too() {
    let authenticator = closed(secret(), Stores::default());
    let grant = authenticator.authenticate(&token(&json!({"exp": NOW + 5})), NOW).await.expect("a grant");
    let end = NOW + 5 + LEEWAY.as_secs();
    assert_eq!(authenticator.remaining(&grant, NOW), Some(Duration::from_secs(5) + LEEWAY));
    assert_eq!(authenticator.revalidate(&grant, end - 1).await, Ok(grant.clone()));
    assert_eq!(authenticator.revalidate(&grant, end).await, Err(Reason::Expired.into()));
    assert_eq!(authenticator.remaining(&grant, end + 1), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_key_is_taken_until_it_is_revoked() {
    let store = Arc::new(Store::default());
    let authenticator = with_keys(&store);
    let (key, id) = new_key(&store);
    let grant = authenticator.authenticate(&key, NOW).await.expect("a grant");
    assert!(grant.may_publish(&project("demo")) && !grant.may_publish(&project("other")));
    assert_eq!(grant.subject(), format!("key:{id}"));
    for _ in 0..100 {
        assert!(authenticator.authenticate(&key, NOW).await.is_ok());
    }
    assert_eq!(store.asked.load(Ordering::Relaxed), 1, "held for a short time");

    store.keys.revoke(&id, NOW);
    tokio::time::advance(STORE_FRESH).await;
    assert_eq!(reason(&authenticator, &key).await, Some(Reason::Revoked));
    assert_eq!(authenticator.revalidate(&grant, NOW).await, Err(Reason::Revoked.into()));
}

#[tokio::test(start_paused = true)]
async fn a_key_with_another_secret_or_id_is_refused_and_costs_the_store_little() {
    let store = Arc::new(Store::default());
    let authenticator = with_keys(&store);
    let (Credential::Key(text), _) = new_key(&store) else { panic!("a key") };
    let (other, _) = new_key(&Store::default());
    let mixed = match &other {
        Credential::Key(other) => Credential::new(format!("{}{}", &text[..21], &other[21..])),
        _ => panic!("a key"),
    };
    for _ in 0..100 {
        assert_eq!(reason(&authenticator, &mixed).await, Some(Reason::BadSignature));
        assert_eq!(reason(&authenticator, &other).await, Some(Reason::UnknownKey));
        assert_eq!(reason(&authenticator, &Credential::new("tdk_x_y")).await, Some(Reason::Malformed));
    }
    assert_eq!(store.asked.load(Ordering::Relaxed), 2, "that there is none is held as well");
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_known_keys_go_on_for_a_time_and_connections_stay() {
    let store = Arc::new(Store::default());
    let authenticator = with_keys(&store);
    let (key, _) = new_key(&store);
    let (unknown, _) = new_key(&store);
    let grant = authenticator.authenticate(&key, NOW).await.expect("a grant");
    store.away.store(true, Ordering::Relaxed);
    tokio::time::advance(STORE_FRESH).await;
    assert_eq!(authenticator.authenticate(&key, NOW).await, Ok(grant.clone()));
    let refused = authenticator.authenticate(&unknown, NOW).await.expect_err("not known");
    assert_eq!((refused.reason, refused.code().http_status()), (Reason::KeyStoreUnavailable, 503));
    tokio::time::advance(STORE_STALE).await;
    assert_eq!(reason(&authenticator, &key).await, Some(Reason::KeyStoreUnavailable));
    assert_eq!(authenticator.revalidate(&grant, NOW).await, Ok(grant), "nothing says that it was revoked");
}

#[tokio::test(start_paused = true)]
async fn a_member_has_the_union_of_claims_and_membership() {
    let store = Arc::new(Store::default());
    *store.member.lock() = scopes("read approve");
    let authenticator = with_members(&store);
    let (club, demo) = (project("club"), project("demo"));
    let grant = authenticator.authenticate(&token(&json!({})), NOW).await.expect("a grant");
    let grant = authenticator.authorize(&grant, &demo, Scope::Read).await.expect("by its claims");
    assert_eq!(store.asked.load(Ordering::Relaxed), 0, "claims need no look-up");
    assert!(!grant.visible(&club));
    let grant = authenticator.authorize(&grant, &club, Scope::Approve).await.expect("as a member");
    assert!(grant.may_read(&club) && grant.may_read(&demo));
    assert!(authenticator.authorize(&grant, &club, Scope::Admin).await.is_err());

    *store.member.lock() = scopes("read");
    tokio::time::advance(STORE_FRESH).await;
    let grant = authenticator.revalidate(&grant, NOW).await.expect("still good");
    assert!(grant.may_read(&club) && !grant.allows(&club, Scope::Approve));
    *store.member.lock() = Scopes::NONE;
    tokio::time::advance(STORE_FRESH).await;
    let grant = authenticator.revalidate(&grant, NOW).await.expect("still good");
    assert!(!grant.visible(&club) && grant.may_read(&demo), "claims are not touched");
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_members_stay_and_others_are_told_to_come_back() {
    let store = Arc::new(Store::default());
    *store.member.lock() = scopes("read");
    let authenticator = with_members(&store);
    let club = project("club");
    let grant = authenticator.authenticate(&token(&json!({})), NOW).await.expect("a grant");
    let grant = authenticator.authorize(&grant, &club, Scope::Read).await.expect("a member");
    store.away.store(true, Ordering::Relaxed);
    tokio::time::advance(STORE_FRESH + STORE_STALE).await;
    assert_eq!(authenticator.revalidate(&grant, NOW).await, Ok(grant.clone()));
    let refused = authenticator.authorize(&grant, &project("new"), Scope::Read).await.expect_err("not known");
    assert_eq!((refused.reason, refused.close_code()), (Reason::MembersUnavailable, None));
}

#[tokio::test]
async fn only_users_have_memberships() {
    let store = Arc::new(Store::default());
    *store.member.lock() = Scopes::ALL;
    let stores = Stores { keys: Some(store.clone()), members: Some(store.clone()) };
    let authenticator = closed(secret(), stores);
    let (key, _) = new_key(&store);
    for credential in [key, token(&json!({"sub": null}))] {
        let grant = authenticator.authenticate(&credential, NOW).await.expect("a grant");
        let asked = store.asked.load(Ordering::Relaxed);
        assert!(authenticator.authorize(&grant, &project("club"), Scope::Read).await.is_err());
        assert_eq!(store.asked.load(Ordering::Relaxed), asked, "nobody is asked");
    }
}

#[tokio::test]
async fn a_listing_sees_what_members_see() {
    let store = Arc::new(Store::default());
    *store.member.lock() = scopes("read");
    let authenticator = with_members(&store);
    let grant = authenticator.authenticate(&token(&json!({})), NOW).await.expect("a grant");
    let all = ["a", "club", "demo"].map(project);
    let grant = authenticator.with_memberships(&grant, &all).await;
    let seen: Vec<&str> = all.iter().filter(|project| grant.visible(project)).map(Project::as_str).collect();
    assert_eq!(seen, ["club", "demo"]);
}

#[tokio::test]
async fn an_authorizer_that_is_down_gives_nothing_and_takes_nothing() {
    let server = Server::start(Behaviour::Answer(200, r#"{"scopes": ["read"]}"#.to_owned())).await;
    let none = Duration::ZERO;
    let webhook = WebhookConfig { fresh: none, stale: none, ..WebhookConfig::new(&server.url) };
    let authenticator = closed(Closed { webhook: Some(webhook), ..secret() }, Stores::default());
    let (club, demo) = (project("club"), project("demo"));
    let grant = authenticator.authenticate(&token(&json!({})), NOW).await.expect("a grant");
    let grant = authenticator.authorize(&grant, &club, Scope::Read).await.expect("by the authorizer");
    server.behave(Behaviour::Answer(500, String::new()));
    let refused = authenticator.authorize(&grant, &project("new"), Scope::Read).await.expect_err("not known");
    assert_eq!(refused.reason, Reason::MembersUnavailable);
    let grant = authenticator.revalidate(&grant, NOW).await.expect("still good");
    assert!(!grant.visible(&club) && grant.may_read(&demo));
}

#[tokio::test]
async fn what_a_file_declares_holds_without_a_store_and_follows_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("declared.toml");
    let NewKey { key, record } = NewKey::make(Vec::new(), Scopes::NONE, NOW);
    let write = |more: &str| {
        let (id, hash) = (&record.id, &record.hash);
        let key = format!("[[keys]]\nid = \"{id}\"\nhash = \"{hash}\"\nprojects = [\"demo\"]\n{more}\n");
        let member = "[[members]]\nuser = \"alice\"\nprojects = [\"club\"]\nscopes = [\"read\"]\n";
        std::fs::write(&path, key + member).expect("written");
    };
    write("limits = { events_per_second = 7 }");
    let settings = Closed { declared: Some(path.clone()), file_poll: Duration::from_millis(1), ..secret() };
    // The store knows nothing of the key, as after it was emptied.
    let store = Arc::new(Store::default());
    let authenticator = closed(settings, Stores { keys: Some(store.clone()), members: Some(store) });
    let key = Credential::new(key.expose());
    let grant = authenticator.authenticate(&key, NOW).await.expect("a grant");
    assert!(grant.may_publish(&project("demo")));
    assert_eq!(authenticator.key_limits(&grant).await.events_per_second, Some(7));
    let alice = authenticator.authenticate(&token(&json!({})), NOW).await.expect("a grant");
    assert!(authenticator.authorize(&alice, &project("club"), Scope::Read).await.is_ok());

    let changes = async {
        write("colour = 1");
        while authenticator.faults().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(authenticator.authenticate(&key, NOW).await.is_ok(), "a faulty file changes nothing");
        write("revoked = true");
        while authenticator.revalidate(&grant, NOW).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(authenticator.faults().is_empty());
    };
    tokio::select! {
        () = authenticator.keep() => unreachable!("it never ends"),
        () = changes => {}
    }
    assert_eq!(reason(&authenticator, &key).await, Some(Reason::Revoked));
}

#[test]
fn all_that_is_wrong_with_settings_is_told() {
    let secret = IssuerConfig::from_secret(Secret::new(SECRET));
    let url = |url: &str| KeySource::Url { url: url.to_owned(), terms: JwksTerms::default() };
    let issuers = vec![
        IssuerConfig::from_secret(Secret::new("short")),
        IssuerConfig { keys: KeySource::Pem("hush".to_owned()), ..secret.clone() },
        IssuerConfig { keys: url("http://id.example.com/"), ..secret.clone() },
        IssuerConfig { keys: KeySource::File("/nowhere/keys".into()), ..secret.clone() },
        IssuerConfig { audience: Audience::OneOf(Vec::new()), ..secret },
    ];
    let webhook = Some(WebhookConfig::new("ftp://x/"));
    let settings = Closed { issuers, webhook, declared: Some("/nowhere/declared".into()), ..Closed::default() };
    let faults = Authenticator::new(Config::Closed(settings), Stores::default()).err().expect("faults");
    let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
    let expected = [
        "issuers[0].keys",
        "issuers[1].keys",
        "issuers[2].issuer",
        "issuers[2].audience",
        "issuers[2].keys",
        "issuers[3].keys",
        "issuers[4].audience",
        "declared",
        "webhook",
    ];
    assert_eq!(fields, expected);
    assert!(faults.iter().all(|fault| !fault.to_string().contains("hush")));
}

#[tokio::test]
async fn who_was_refused_too_often_has_one_key_tried() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let signers = [Signer::ed_dsa(), Signer::ed_dsa(), Signer::ed_dsa()];
    let jwks: Vec<Value> = signers.iter().zip(["1", "2", "3"]).map(|(signer, id)| signer.jwk(id)).collect();
    std::fs::write(&path, json!({"keys": jwks}).to_string()).expect("written");
    let issuers = vec![IssuerConfig { keys: KeySource::File(path), ..IssuerConfig::from_secret(Secret::new(SECRET)) }];
    let authenticator = closed(Closed { issuers, ..Closed::default() }, Stores::default());
    let [first, _, last] = &signers;
    let shown = |signer: &Signer, id| Credential::Token(signer.sign(id, &claims(&json!({}))));
    let is_good = |judged: Option<Result<Grant, Refusal>>| judged.expect("it is held").is_ok();
    assert!(is_good(authenticator.held(&shown(last, None), NOW)));
    assert!(is_good(authenticator.held_sparing(&shown(first, None), NOW)));
    assert!(is_good(authenticator.held_sparing(&shown(last, Some("3")), NOW)), "it names its key");
    assert!(!is_good(authenticator.held_sparing(&shown(last, None), NOW)), "each costs a signature");
}

#[tokio::test(start_paused = true)]
async fn what_is_held_answers_without_asking() {
    let store = Arc::new(Store::default());
    let authenticator = with_keys(&store);
    let (key, id) = new_key(&store);
    let stranger = Credential::new(NewKey::make(Vec::new(), Scopes::ALL, NOW).key.expose());
    assert_eq!((authenticator.held(&key, NOW), authenticator.knows(&key)), (None, false));
    assert!(authenticator.authenticate(&key, NOW).await.is_ok());
    assert_eq!(reason(&authenticator, &stranger).await, Some(Reason::UnknownKey));
    let asked = store.asked.load(Ordering::Relaxed);
    assert!(authenticator.held(&key, NOW).is_some_and(|judged| judged.is_ok()));
    assert_eq!(authenticator.held(&stranger, NOW), Some(Err(Reason::UnknownKey.into())));
    assert_eq!(authenticator.held(&Credential::None, NOW), Some(Err(Reason::Missing.into())));
    assert_eq!(authenticator.held(&Credential::new("tdk_x"), NOW), Some(Err(Reason::Malformed.into())));
    assert!(authenticator.held(&token(&json!({})), NOW).is_some_and(|judged| judged.is_ok()));
    let mut forged = Signer::hs256(SECRET).sign(None, &claims(&json!({})));
    forged.truncate(forged.len() - 4);
    assert_eq!(authenticator.held(&Credential::new(forged), NOW), Some(Err(Reason::BadSignature.into())));
    assert!(authenticator.knows(&key) && !authenticator.knows(&stranger));
    tokio::time::advance(STORE_FRESH + STORE_STALE).await;
    assert_eq!((authenticator.held(&key, NOW), authenticator.knows(&key)), (None, true), "known, however long ago");
    assert_eq!(store.asked.load(Ordering::Relaxed), asked);
    assert!(store.keys.revoke(&id, NOW));
    assert_eq!(reason(&authenticator, &key).await, Some(Reason::Revoked));
}

#[tokio::test(start_paused = true)]
async fn held_memberships_answer_without_asking() {
    let store = Arc::new(Store::default());
    *store.member.lock() = scopes("read");
    let authenticator = with_members(&store);
    let grant = authenticator.authenticate(&token(&json!({})), NOW).await.expect("a grant");
    let (club, demo, other) = (project("club"), project("demo"), project("other"));
    let held = |project: &Project, scope| authenticator.authorize_held(&grant, project, scope);
    assert_eq!(held(&demo, Scope::Read), Some(Ok(grant.clone())), "by the credential itself");
    assert_eq!((held(&club, Scope::Read), authenticator.knows_member(&grant, &club)), (None, false));
    assert!(authenticator.authorize(&grant, &club, Scope::Read).await.is_ok());
    assert!(authenticator.authorize(&grant, &other, Scope::Read).await.is_err());
    let asked = store.asked.load(Ordering::Relaxed);
    assert!(held(&club, Scope::Read).is_some_and(|judged| judged.is_ok_and(|grant| grant.may_read(&club))));
    let no_right = |scope| Some(Err(Refusal { reason: Reason::NoRight, needed: Some(scope) }));
    assert_eq!((held(&club, Scope::Admin), held(&other, Scope::Read)), (no_right(Scope::Admin), no_right(Scope::Read)));
    assert!(authenticator.knows_member(&grant, &club) && !authenticator.knows_member(&grant, &other));
    tokio::time::advance(STORE_FRESH).await;
    assert_eq!((held(&club, Scope::Read), held(&other, Scope::Read)), (None, None));
    assert_eq!(store.asked.load(Ordering::Relaxed), asked);
}

/// Handlers run on any thread.
#[tokio::test]
async fn what_handlers_wait_for_may_move_between_threads() {
    fn moves<F: Future + Send>(future: F) -> F {
        future
    }
    let (authenticator, grant) = (Authenticator::open(), Grant::open("v-1"));
    let demo = project("demo");
    moves(authenticator.authenticate(&Credential::None, NOW)).await.expect("open");
    moves(authenticator.authorize(&grant, &demo, Scope::Read)).await.expect("open");
    moves(authenticator.revalidate(&grant, NOW)).await.expect("open");
    moves(authenticator.with_memberships(&grant, std::slice::from_ref(&demo))).await;
    moves(authenticator.key_limits(&grant)).await;
    drop(moves(authenticator.keep()));
}
