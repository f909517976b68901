use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use http::StatusCode;
use tidings_auth::{Closed, Config, IssuerConfig, MemoryKeys, Minting, NewKey, Secret, Stores};
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
    let grant = rights.authenticate(&Credential::new(credential)).await.expect("good");
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
