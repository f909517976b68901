use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use http::StatusCode;
use tidings_auth::{
    Closed, Config, IssuerConfig, KeyId, KeyRecord, MemoryKeys, Minting, NewKey, Secret, StoreAway, Stores,
};
use tidings_protocol::grant::Scopes;
use tokio::time::sleep;
use tower::ServiceExt as _;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Rights of tokens of [`SECRET`], and of these keys.
fn rights(keys: &Arc<MemoryKeys>) -> Rights {
    let config = Closed { issuers: vec![IssuerConfig::from_secret(Secret::new(SECRET))], ..Closed::default() };
    let stores = Stores { keys: Some(keys.clone()), ..Stores::default() };
    let authenticator = Authenticator::new(Config::Closed(config), stores).expect("sound");
    Rights::new(authenticator, &Registry::new()).expect("a registry of its own")
}

fn token(user: Option<&str>, projects: &str, scopes: &str, ttl_s: u64) -> String {
    let minting = Minting {
        user: user.map(str::to_owned),
        projects: vec![projects.parse().expect("a pattern")],
        scopes: scopes.parse().expect("scopes"),
        ttl: Duration::from_secs(ttl_s),
        issuer: None,
        audience: None,
    };
    minting.token(&Secret::new(SECRET), unix_now() - 60).expect("a good secret")
}

fn demo() -> Project {
    "demo".parse().expect("a name")
}

fn routes(rights: &Rights) -> Router {
    let named = Router::new().route("/p/{project}", get(async || "read").post(async || "posted"));
    let nameless = Router::new().route("/none", post(async || "posted"));
    let layer = |scope| from_fn_with_state(rights.needing(scope), check);
    named
        .merge(nameless)
        .route_layer(layer(Some(Scope::Read)))
        .merge(Router::new().route("/any", get(async || "any")).route_layer(layer(None)))
}

async fn status(rights: &Rights, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let request = http::Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Body::from("body")).expect("a request");
    routes(rights).oneshot(request).await.expect("routers answer").status().as_u16()
}

#[tokio::test]
async fn a_route_is_for_who_has_its_scope_in_the_path_s_project() {
    let rights = rights(&Arc::default());
    let reader = format!("Bearer {}", token(Some("u"), "demo", "read", 3_600));
    let may = [("authorization", reader.as_str())];
    let ask = |method, path| status(&rights, method, path, &may);
    assert_eq!(ask("GET", "/p/demo").await, 200);
    assert_eq!(ask("GET", "/p/d%65mo").await, 200, "the name is the decoded one");
    assert_eq!(ask("GET", "/p/other").await, 403);
    assert_eq!(ask("GET", "/any").await, 200);
    assert_eq!(ask("POST", "/none").await, 403, "a route that needs a scope and has no project is nobody's");
    assert_eq!(ask("DELETE", "/p/other").await, 403, "what a path takes is told to who may know");
    for (path, headers) in [
        ("/p/demo", vec![]),
        ("/any", vec![]),
        ("/any", vec![("authorization", "Basic YTpi")]),
        ("/any", vec![("authorization", reader.as_str()), ("authorization", reader.as_str())]),
        ("/any", vec![("authorization", reader.as_str()), ("sec-websocket-protocol", "tidings.token.x")]),
    ] {
        assert_eq!(status(&rights, "GET", path, &headers).await, 401, "{path} {headers:?}");
    }
    let offered = reader.replace("Bearer ", "tidings.token.");
    let lines = [("sec-websocket-protocol", "tidings.v1"), ("sec-websocket-protocol", offered.as_str())];
    assert_eq!(status(&rights, "GET", "/p/demo", &lines).await, 200);
    assert_eq!(rights.0.refused.with_label_values(&["no_right"]).get(), 3);
    assert_eq!(rights.0.refused.with_label_values(&["missing"]).get(), 2);
}

#[tokio::test]
async fn an_open_service_reads_no_credential() {
    let rights = Rights::open();
    for headers in [vec![], vec![("authorization", "Basic YTpi")], vec![("authorization", "Bearer x")]] {
        assert_eq!(status(&rights, "POST", "/none", &headers).await, 200, "{headers:?}");
    }
}

#[tokio::test]
async fn a_name_that_no_project_can_have_is_refused_before_any_handler() {
    let rights = rights(&Arc::default());
    let reader = format!("Bearer {}", token(Some("u"), "*", "read", 3_600));
    let may = [("authorization", reader.as_str())];
    assert_eq!(status(&rights, "GET", "/p/-", &may).await, 400);
    assert_eq!(status(&rights, "GET", "/p/%ff", &may).await, 400);
    assert_eq!(status(&rights, "GET", "/p/-", &[]).await, 401, "nothing is told to who has not shown anything");
    assert_eq!(status(&rights, "GET", "/p/%ff", &[]).await, 401);
    assert_eq!(status(&Rights::open(), "GET", "/p/%ff", &[]).await, 400, "handlers of an open service need text, too");
}

/// A store of keys and members that counts questions; `alice` is a member of `club`.
#[derive(Default)]
struct Store {
    keys: MemoryKeys,
    asked: AtomicUsize,
}

impl tidings_auth::Keys for Store {
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>> {
        self.asked.fetch_add(1, Relaxed);
        self.keys.find(id)
    }
}

impl tidings_auth::Members for Store {
    fn scopes<'a>(&'a self, project: &'a Project, user: &'a str) -> BoxFuture<'a, Result<Scopes, StoreAway>> {
        self.asked.fetch_add(1, Relaxed);
        let is_member = project.as_str() == "club" && user == "alice";
        Box::pin(std::future::ready(Ok(if is_member { Scope::Read.into() } else { Scopes::NONE })))
    }
}

/// Rights of tokens of [`SECRET`], and of what this store knows.
fn rights_of(store: &Arc<Store>) -> Rights {
    let config = Closed { issuers: vec![IssuerConfig::from_secret(Secret::new(SECRET))], ..Closed::default() };
    let stores = Stores { keys: Some(store.clone()), members: Some(store.clone()) };
    let authenticator = Authenticator::new(Config::Closed(config), stores).expect("sound");
    Rights::new(authenticator, &Registry::new()).expect("a registry of its own")
}

/// What becomes of a request with this credential, from this address.
async fn from(rights: &Rights, address: &str, path: &str, credential: &str) -> Response {
    let request = http::Request::builder().uri(path).header("authorization", format!("Bearer {credential}"));
    let mut request = request.body(Body::empty()).expect("a request");
    request.extensions_mut().insert(ClientAddress(address.parse().expect("an address")));
    routes(rights).oneshot(request).await.expect("routers answer")
}

fn made(store: &Store) -> String {
    let made = NewKey::make(vec!["demo".parse().expect("a pattern")], "read".parse().expect("scopes"), unix_now());
    store.keys.put(made.record);
    made.key.expose().to_owned()
}

fn made_up() -> String {
    made(&Store::default())
}

#[tokio::test(start_paused = true)]
async fn who_makes_up_keys_is_cut_off_and_its_neighbours_are_not() {
    let store = Arc::new(Store::default());
    let rights = rights_of(&store);
    let (attacker, elsewhere) = ("2001:db8::1", "2001:db8:0:1::1");
    let (known, new) = (made(&store), made(&store));
    assert_eq!(from(&rights, attacker, "/p/demo", &known).await.status(), 200);
    let burst = usize::try_from(REFUSALS_BURST).expect("it is small");
    for _ in 0..burst {
        // One network of IPv6 is one client.
        let address = format!("2001:db8::{:x}", rand::random::<u16>());
        assert_eq!(from(&rights, &address, "/p/demo", &made_up()).await.status(), 401);
    }
    let asked = store.asked.load(Relaxed);
    for bad in [made_up(), made_up(), "nonsense".to_owned(), token(Some("u"), "demo", "read", 1)] {
        let refused = from(&rights, attacker, "/p/demo", &bad).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()[header::RETRY_AFTER]), (429, &HeaderValue::from(1)));
    }
    assert_eq!(from(&rights, attacker, "/p/demo", &new).await.status(), 429, "it would have to be looked up");
    assert_eq!(store.asked.load(Relaxed), asked, "nobody was asked");

    // Behind the same address, what is known to be good passes, also when it must be asked for again.
    let good = token(Some("u"), "demo", "read", 3_600);
    assert_eq!(from(&rights, attacker, "/p/demo", &good).await.status(), 200);
    assert_eq!(from(&rights, attacker, "/p/demo", &known).await.status(), 200);
    tokio::time::advance(tidings_auth::limits::STORE_FRESH).await;
    let more = usize::try_from(REFUSALS_PER_SECOND).expect("it is small") * 2;
    for _ in 0..more {
        assert_eq!(from(&rights, attacker, "/p/demo", &made_up()).await.status(), 401);
    }
    assert_eq!(from(&rights, attacker, "/p/demo", &made_up()).await.status(), 429);
    let asked = store.asked.load(Relaxed);
    assert_eq!(from(&rights, attacker, "/p/demo", &known).await.status(), 200);
    assert_eq!(store.asked.load(Relaxed), asked + 1);

    assert_eq!(from(&rights, elsewhere, "/p/demo", &made_up()).await.status(), 401, "others are not touched");
    assert_eq!(from(&rights, elsewhere, "/p/demo", &new).await.status(), 200);
    assert_eq!(rights.0.refused.with_label_values(&["too_many_refusals"]).get(), 6);
}

#[tokio::test(start_paused = true)]
async fn who_is_cut_off_has_one_key_tried() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let secrets = [SECRET.to_owned(), SECRET.replace('0', "1")];
    // The same in base64url.
    let encoded = ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "MTEyMzQ1Njc4OWFiY2RlZjExMjM0NTY3ODlhYmNkZWY"];
    let keys = encoded.map(|secret| serde_json::json!({"kty": "oct", "k": secret}));
    std::fs::write(&path, serde_json::json!({"keys": keys}).to_string()).expect("written");
    let keys = tidings_auth::KeySource::File(path);
    let issuers = vec![IssuerConfig { keys, ..IssuerConfig::from_secret(Secret::new(SECRET)) }];
    let authenticator = Authenticator::new(Config::Closed(Closed { issuers, ..Closed::default() }), Stores::default());
    let rights = Rights::new(authenticator.expect("sound"), &Registry::new()).expect("a registry of its own");
    let minting = |secret: &str| {
        let minting = Minting {
            user: Some("u".to_owned()),
            projects: vec!["demo".parse().expect("a pattern")],
            scopes: "read".parse().expect("scopes"),
            ttl: Duration::from_hours(1),
            issuer: None,
            audience: None,
        };
        minting.token(&Secret::new(secret), unix_now()).expect("a good secret")
    };
    let [first, last] = secrets.each_ref().map(|secret| minting(secret));
    let ask = async |credential: &str| from(&rights, "192.0.2.7", "/p/demo", credential).await.status().as_u16();
    assert_eq!((ask(&first).await, ask(&last).await), (200, 200));
    for _ in 0..REFUSALS_BURST {
        assert_eq!(ask("nonsense").await, 401);
    }
    assert_eq!((ask(&first).await, ask(&last).await), (200, 429));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(ask(&last).await, 200);
}

#[tokio::test(start_paused = true)]
async fn good_credentials_draw_nothing() {
    let store = Arc::new(Store::default());
    let rights = rights_of(&store);
    for _ in 0..REFUSALS_BURST * 2 {
        assert_eq!(from(&rights, "192.0.2.7", "/p/demo", &made(&store)).await.status(), 200);
        let missing = status(&rights, "GET", "/p/demo", &[]).await;
        assert_eq!(missing, 401, "to show nothing costs nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn who_makes_up_projects_is_cut_off_and_stays_a_member() {
    let store = Arc::new(Store::default());
    let rights = rights_of(&store);
    let (alice, bob) = (token(Some("alice"), "demo", "read", 3_600), token(Some("bob"), "demo", "read", 3_600));
    let ask = async |user: &str, project: &str| {
        from(&rights, "192.0.2.7", &format!("/p/{project}"), user).await.status().as_u16()
    };
    assert_eq!(ask(&alice, "club").await, 200);
    for made_up in 0..REFUSALS_BURST {
        assert_eq!(ask(&alice, &format!("made-up-{made_up}")).await, 403);
    }
    let asked = store.asked.load(Relaxed);
    assert_eq!((ask(&alice, "made-up").await, ask(&alice, "made-up-1").await), (429, 429));
    assert_eq!(store.asked.load(Relaxed), asked);
    assert_eq!((ask(&alice, "demo").await, ask(&alice, "club").await), (200, 200));
    tokio::time::advance(tidings_auth::limits::STORE_FRESH).await;
    assert_eq!(ask(&alice, "club").await, 200, "looked up again");
    assert_eq!(ask(&bob, "made-up").await, 403, "others are not touched");
}

#[tokio::test(start_paused = true)]
async fn who_makes_up_credentials_on_an_open_connection_is_cut_off() {
    let store = Arc::new(Store::default());
    let rights = rights_of(&store);
    let (held, _) = held(&rights, &token(Some("u"), "demo", "read", 3_600)).await;
    let exchange = async |credential: String| held.exchange(Credential::new(credential)).await;
    for _ in 0..REFUSALS_BURST {
        assert_eq!(exchange(made_up()).await, Err(ExchangeError::Refused(Reason::UnknownKey.into())));
    }
    assert_eq!(exchange(made_up()).await, Err(ExchangeError::Refused(Reason::TooManyRefusals.into())));
    assert_eq!(exchange(token(Some("u"), "demo", "read", 3_600)).await, Ok(()));
}

/// Lets so many requests pass.
struct Quota(AtomicUsize);

impl Requests for Quota {
    fn count<'a>(&'a self, _: &'a Grant, _: &'a mut Extensions) -> BoxFuture<'a, Result<(), Refused>> {
        let left = self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
        let refused = || Refused::new(ErrorCode::RateLimited, "one too many").retry_after(7);
        Box::pin(std::future::ready(left.then_some(()).ok_or_else(refused)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_counted_before_its_rights_are_looked_up() {
    let store = Arc::new(Store::default());
    let rights = rights_of(&store);
    let needs = rights.needing(Some(Scope::Read)).counting(Arc::new(Quota(AtomicUsize::new(1))));
    let routes =
        Router::new().route("/p/{project}", get(async || "read")).route_layer(from_fn_with_state(needs, check));
    let ask = async |user: &str| {
        let request = http::Request::builder().uri("/p/other").header("authorization", format!("Bearer {user}"));
        let request = request.body(Body::empty()).expect("a request");
        routes.clone().oneshot(request).await.expect("routers answer").status().as_u16()
    };
    assert_eq!(ask("forged").await, 401, "nobody's request counts for nobody");
    let user = token(Some("alice"), "demo", "read", 3_600);
    assert_eq!((ask(&user).await, store.asked.load(Relaxed)), (403, 1));
    tokio::time::sleep(tidings_auth::limits::STORE_FRESH).await;
    assert_eq!((ask(&user).await, store.asked.load(Relaxed)), (429, 1), "nobody is asked");
}

#[test]
fn a_refusal_is_a_problem_with_a_challenge_or_a_time() {
    let answer = |reason: Reason| Refused::from(Refusal::from(reason)).into_response();
    let expired = answer(Reason::Expired);
    assert_eq!(expired.status(), StatusCode::UNAUTHORIZED);
    assert!(expired.headers()[header::WWW_AUTHENTICATE].to_str().expect("ASCII").contains("expired"));
    let away = answer(Reason::KeysUnavailable);
    assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.headers().contains_key(header::RETRY_AFTER));
}

/// Something held, and how often it was told.
async fn held(rights: &Rights, credential: &str) -> (Held, Arc<AtomicUsize>) {
    let grant = rights.authenticate(&Credential::new(credential), NOWHERE).await.expect("good");
    let told = Arc::new(AtomicUsize::new(0));
    let counts = told.clone();
    (rights.hold(grant, vec![(demo(), Scope::Read)], move || _ = counts.fetch_add(1, Relaxed)), told)
}

/// Lets the watch look at everything once, and its look-ups come to an end.
async fn a_round() {
    sleep(tidings_auth::limits::REVALIDATE_EVERY * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_ends_what_it_holds_and_a_good_one_does_not() {
    let keys = Arc::new(MemoryKeys::default());
    let rights = rights(&keys);
    let made = || NewKey::make(vec!["demo".parse().expect("a pattern")], "read".parse().expect("scopes"), unix_now());
    let (one, other) = (made(), made());
    keys.put(one.record.clone());
    keys.put(other.record.clone());
    let (revoked, told) = held(&rights, one.key.expose()).await;
    let (good, _) = held(&rights, other.key.expose()).await;
    let watching = tokio::spawn(async move { rights.keep().await });
    a_round().await;
    assert!(!revoked.has_news());
    assert!(keys.revoke(&one.record.id, unix_now()));
    a_round().await;
    assert_eq!(revoked.take_news().ended, Some(Reason::Revoked.into()));
    assert_eq!((told.load(Relaxed), good.has_news()), (1, false));
    a_round().await;
    assert_eq!(told.load(Relaxed), 1, "told once");
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_loses_a_scope_loses_what_needs_it() {
    let keys = Arc::new(MemoryKeys::default());
    let rights = rights(&keys);
    let mut made =
        NewKey::make(vec!["demo".parse().expect("a pattern")], "read publish".parse().expect("scopes"), unix_now());
    keys.put(made.record.clone());
    let (held, _) = held(&rights, made.key.expose()).await;
    let grant = held.grant();
    assert!(held.need(&demo(), Scope::Publish, &grant));
    let watching = tokio::spawn(async move { rights.keep().await });
    made.record.scopes = "publish".parse().expect("scopes");
    keys.put(made.record.clone());
    a_round().await;
    assert_eq!(held.take_news(), News { ended: None, withdrawn: vec![demo()] });
    assert!(!held.need(&demo(), Scope::Read, &grant), "what was granted before does not count");
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_token_ends_at_its_time_and_another_takes_its_place() {
    let rights = rights(&Arc::default());
    // Made a minute ago, and good for the leeway of half a minute more: at its very end.
    let ended = token(Some("u"), "demo", "read", 31);
    let (held, _) = held(&rights, &ended).await;
    let watched = rights.clone();
    let watching = tokio::spawn(async move { watched.keep().await });
    // The clock of tokens is the system's, which no test can move.
    while !held.has_news() {
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(50))).await.expect("no panic");
        a_round().await;
    }
    assert_eq!(held.take_news().ended, Some(Reason::Expired.into()));
    let exchange = |credential: String| held.exchange(Credential::new(credential));
    assert_eq!(exchange("x".into()).await, Err(ExchangeError::Refused(Reason::Malformed.into())));
    let others = token(Some("v"), "demo", "read", 3_600);
    assert_eq!(exchange(others).await, Err(ExchangeError::OtherViewer));
    assert_eq!(exchange(token(Some("u"), "demo", "read", 3_600)).await, Ok(()));
    a_round().await;
    assert_eq!(held.take_news(), News::default());
    assert_eq!(exchange(token(Some("u"), "demo", "work", 3_600)).await, Ok(()));
    assert_eq!(held.take_news().withdrawn, [demo()]);
    watching.abort();
}

#[tokio::test]
async fn a_nameless_viewer_keeps_its_id() {
    let rights = rights(&Arc::default());
    let (held, _) = held(&rights, &token(None, "demo", "read", 3_600)).await;
    let viewer = held.grant().viewer().to_owned();
    assert_eq!(held.exchange(Credential::new(token(None, "demo", "read", 7_200))).await, Ok(()));
    assert_eq!(held.grant().viewer(), viewer);
    let named = held.exchange(Credential::new(token(Some("u"), "demo", "read", 3_600))).await;
    assert_eq!(named, Err(ExchangeError::OtherViewer));
}

/// Keys whose store takes its time.
struct Late(MemoryKeys);

impl tidings_auth::Keys for Late {
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>> {
        Box::pin(async move {
            sleep(Duration::from_millis(1_500)).await;
            self.0.find(id).await
        })
    }
}

/// Members whose store takes its time, until somebody is none any more.
#[derive(Default)]
struct LateMembers {
    gone: std::sync::atomic::AtomicBool,
}

impl tidings_auth::Members for LateMembers {
    fn scopes<'a>(&'a self, project: &'a Project, _: &'a str) -> BoxFuture<'a, Result<Scopes, StoreAway>> {
        Box::pin(async move {
            sleep(Duration::from_millis(1_500)).await;
            let is_member = project.as_str() != "club" || !self.gone.load(Relaxed);
            Ok(if is_member { Scope::Read.into() } else { Scopes::NONE })
        })
    }
}

/// Needs something else all the time, until there is news; true: there was.
async fn toggles(held: &Held, project: &Project) -> bool {
    for _ in 0..200 {
        let grant = held.grant();
        held.need(project, Scope::Read, &grant);
        sleep(Duration::from_millis(50)).await;
        held.release(project);
        if held.has_news() {
            return true;
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn who_is_revoked_ends_whatever_it_does_meanwhile() {
    let keys = Arc::new(Late(MemoryKeys::default()));
    let stores = Stores { keys: Some(keys.clone()), members: None };
    let authenticator = Authenticator::new(Config::Closed(Closed::default()), stores).expect("sound");
    let rights = Rights::new(authenticator, &Registry::new()).expect("a registry of its own");
    let made = NewKey::make(vec!["*".parse().expect("a pattern")], "read".parse().expect("scopes"), unix_now());
    keys.0.put(made.record.clone());
    let (held, _) = held(&rights, made.key.expose()).await;
    let watching = tokio::spawn(async move { rights.keep().await });
    assert!(keys.0.revoke(&made.record.id, unix_now()));
    assert!(toggles(&held, &"other".parse().expect("a name")).await, "it stays for ever");
    assert_eq!(held.take_news().ended, Some(Reason::Revoked.into()));
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn who_is_no_member_any_more_is_told_whatever_it_does_meanwhile() {
    let members = Arc::new(LateMembers::default());
    let config = Closed { issuers: vec![IssuerConfig::from_secret(Secret::new(SECRET))], ..Closed::default() };
    let stores = Stores { keys: None, members: Some(members.clone()) };
    let authenticator = Authenticator::new(Config::Closed(config), stores).expect("sound");
    let rights = Rights::new(authenticator, &Registry::new()).expect("a registry of its own");
    let (held, _) = held(&rights, &token(Some("alice"), "demo", "read", 3_600)).await;
    let [club, other]: [Project; 2] = ["club", "other"].map(|name| name.parse().expect("a name"));
    let member = rights.authorize(&held.grant(), &club, Scope::Read).await.expect("a member");
    assert!(held.need(&club, Scope::Read, &member));
    let watched = rights.clone();
    let watching = tokio::spawn(async move { watched.keep().await });
    members.gone.store(true, Relaxed);
    // What comes to it while it is looked up stays.
    sleep(tidings_auth::limits::REVALIDATE_EVERY).await;
    let member = rights.authorize(&held.grant(), &other, Scope::Read).await.expect("a member");
    assert!(held.need(&other, Scope::Read, &member));
    assert!(toggles(&held, &demo()).await, "it stays for ever");
    assert_eq!(held.take_news(), News { ended: None, withdrawn: vec![club] });
    a_round().await;
    assert!(held.grant().allows(&other, Scope::Read) && !held.has_news());
    watching.abort();
}
