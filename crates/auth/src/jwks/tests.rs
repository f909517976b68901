use std::time::Duration;

use serde_json::json;

use super::*;
use crate::testing::{Behaviour, SECRET, Server, Signer, waits};

const HOUR: Duration = Duration::from_hours(1);

/// Long times: nothing becomes due by itself in a test.
const SLOW: JwksTerms = JwksTerms { fresh: HOUR, stale: HOUR, gap: HOUR, timeout: Duration::from_mins(1) };
/// Every token of an unknown key may fetch.
const EAGER: JwksTerms = JwksTerms { gap: Duration::ZERO, ..SLOW };

fn not_kept(server: &Server, terms: JwksTerms) -> Arc<Jwks> {
    Arc::new(Jwks::new(Url::parse(&server.url).expect("a URL"), terms).expect("a client"))
}

/// One whose keeper runs until the test is over.
fn jwks(server: &Server, terms: JwksTerms) -> Arc<Jwks> {
    let jwks = not_kept(server, terms);
    let kept = jwks.clone();
    tokio::spawn(async move { kept.keep().await });
    jwks
}

fn holds(jwks: &Jwks, id: &str) -> bool {
    jwks.held().is_some_and(|set| set.candidates(Some(id)).count() == 1)
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_one_fetch() {
    let server = Server::of_keys(&[Signer::es256().jwk("a")]).await;
    let jwks = jwks(&server, SLOW);
    futures_util::future::join_all((0..1_000).map(|_| jwks.renewed())).await;
    assert!(holds(&jwks, "a"));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn after_the_gap_a_changed_set_is_fetched() {
    let server = Server::of_keys(&[Signer::es256().jwk("a")]).await;
    let jwks = jwks(&server, EAGER);
    jwks.renewed().await;
    server.publish(&[Signer::es256().jwk("b")]);
    jwks.renewed().await;
    assert!(holds(&jwks, "b") && !holds(&jwks, "a"));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn whatever_a_lying_server_says_what_is_held_stays() {
    let server = Server::of_keys(&[Signer::es256().jwk("a")]).await;
    let jwks = jwks(&server, EAGER);
    jwks.renewed().await;
    let elsewhere = Server::of_keys(&[Signer::es256().jwk("evil")]).await;
    let secrets = json!({"keys": [Signer::hs256(SECRET).jwk("evil")]}).to_string();
    let lies = [
        Behaviour::Answer(200, "<html>".to_owned()),
        Behaviour::Answer(200, r#"{"keys": []}"#.to_owned()),
        Behaviour::Answer(200, secrets),
        Behaviour::Answer(500, json!({"keys": [Signer::es256().jwk("evil")]}).to_string()),
        Behaviour::Endless,
        Behaviour::Redirect(elsewhere.url.clone()),
    ];
    for lie in lies {
        let is_endless = matches!(lie, Behaviour::Endless);
        server.behave(lie);
        jwks.renewed().await;
        assert!(holds(&jwks, "a") && !holds(&jwks, "evil"));
        assert!(jwks.fault().is_some());
        // Given up by its size, not by the time.
        assert_eq!(jwks.fault().is_some_and(|fault| fault.contains("bytes")), is_endless);
    }
    assert_eq!((server.requests(), elsewhere.requests()), (7, 0));
    server.publish(&[Signer::es256().jwk("b")]);
    jwks.renewed().await;
    assert!(holds(&jwks, "b") && jwks.fault().is_none());
}

#[tokio::test]
async fn a_hanging_server_is_given_up_and_delays_nobody_whose_keys_are_held() {
    let server = Server::of_keys(&[Signer::es256().jwk("a")]).await;
    let jwks = jwks(&server, JwksTerms { timeout: Duration::from_millis(200), ..EAGER });
    // A busy machine may need longer than the short time-out once.
    while jwks.renewed().await.is_none() {}
    server.behave(Behaviour::Hang);
    let mut waiting = std::pin::pin!(jwks.renewed());
    assert!(waits(waiting.as_mut()));
    assert!(holds(&jwks, "a"), "looked up without waiting");
    assert!(waiting.await.is_some(), "given up, with what is held");
    assert!(jwks.fault().is_some_and(|fault| !fault.contains("127.0.0.1")), "the address is told nowhere");
}

#[tokio::test]
async fn giving_up_breaks_no_fetch_off_and_causes_no_other() {
    let server = Server::start(Behaviour::Hold(Box::new(Behaviour::keys(&[Signer::es256().jwk("a")])))).await;
    let jwks = jwks(&server, SLOW);
    for _ in 0..100 {
        assert!(waits(std::pin::pin!(jwks.renewed())));
        tokio::task::yield_now().await;
    }
    while server.requests() == 0 {
        assert!(waits(std::pin::pin!(jwks.renewed())));
        tokio::task::yield_now().await;
    }
    assert!(jwks.held().is_none());
    server.let_go();
    while !holds(&jwks, "a") {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_waits_for_no_longer_than_a_fetch_takes() {
    let server = Server::start(Behaviour::Hang).await;
    let jwks = not_kept(&server, SLOW);
    let began = Instant::now();
    assert!(jwks.renewed().await.is_none(), "nobody fetches");
    assert_eq!(began.elapsed(), SLOW.timeout + FETCH_GRACE);
}

#[tokio::test]
async fn keys_that_could_not_be_confirmed_for_long_are_not_good_any_more() {
    let server = Server::of_keys(&[Signer::es256().jwk("a")]).await;
    let jwks = jwks(&server, JwksTerms { fresh: Duration::ZERO, stale: Duration::ZERO, ..SLOW });
    assert!(jwks.renewed().await.is_none());
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn keys_are_fetched_in_time_without_a_token_that_asks() {
    let server = Server::of_keys(&[Signer::es256().jwk("a")]).await;
    let often = Duration::from_millis(1);
    let jwks = not_kept(&server, JwksTerms { fresh: often, gap: often, ..SLOW });
    let rotated = async {
        while !holds(&jwks, "a") {
            tokio::task::yield_now().await;
        }
        server.publish(&[Signer::es256().jwk("b")]);
        while !holds(&jwks, "b") || holds(&jwks, "a") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = jwks.keep() => unreachable!("it never ends"),
        () = rotated => {}
    }
}
