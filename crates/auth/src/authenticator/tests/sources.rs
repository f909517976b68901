//! Where keys come from: fetched, and from files.

use super::*;
use crate::testing::waits;

const HOUR: Duration = Duration::from_hours(1);

fn fetching(server: &Server, gap: Duration, timeout: Duration) -> Authenticator {
    let terms = JwksTerms { fresh: HOUR, stale: HOUR, gap, timeout };
    let issuer = IssuerConfig {
        issuer: Some("https://id.example.com".to_owned()),
        audience: Audience::OneOf(vec!["tidings".to_owned()]),
        keys: KeySource::Url { url: server.url.clone(), terms },
        ..IssuerConfig::from_secret(Secret::new(SECRET))
    };
    let authenticator = closed(Closed { issuers: vec![issuer], ..Closed::default() }, Stores::default());
    let kept = authenticator.clone();
    tokio::spawn(async move { kept.keep().await });
    authenticator
}

fn of_issuer(signer: &Signer, id: Option<&str>) -> Credential {
    let claims = claims(&json!({"iss": "https://id.example.com", "aud": "tidings"}));
    Credential::Token(signer.sign(id, &claims))
}

#[tokio::test]
async fn fetched_keys_verify_and_follow_a_rotation_at_once() {
    let [_, rsa, ec, ed] = Signer::each();
    let server = Server::of_keys(&[rsa.jwk("r"), ec.jwk("e"), ed.jwk("d")]).await;
    let authenticator = fetching(&server, Duration::ZERO, HOUR);
    for (signer, id) in [(&rsa, "r"), (&ec, "e"), (&ed, "d")] {
        assert_eq!(reason(&authenticator, &of_issuer(signer, Some(id))).await, None, "{id}");
        assert_eq!(reason(&authenticator, &of_issuer(signer, None)).await, None, "{id} unnamed");
    }
    assert_eq!(server.requests(), 1);
    let (next, again) = (Signer::es256(), Signer::es256());
    server.publish(&[next.jwk("n"), again.jwk("e")]);
    assert_eq!(reason(&authenticator, &of_issuer(&next, Some("n"))).await, None, "a new id");
    assert_eq!(reason(&authenticator, &of_issuer(&again, Some("e"))).await, None, "a new key under an old id");
    assert_eq!(reason(&authenticator, &of_issuer(&ec, Some("e"))).await, Some(Reason::BadSignature));
    assert_eq!(reason(&authenticator, &of_issuer(&rsa, Some("r"))).await, Some(Reason::UnknownKey));
}

#[tokio::test]
async fn unknown_keys_and_forged_signatures_cost_one_fetch_in_a_gap() {
    let (ours, forger) = (Signer::es256(), Signer::es256());
    let server = Server::of_keys(&[ours.jwk("a")]).await;
    let authenticator = fetching(&server, HOUR, HOUR);
    for made_up in 0..200 {
        let token = of_issuer(&forger, Some(&format!("made-up-{made_up}")));
        assert_eq!(reason(&authenticator, &token).await, Some(Reason::UnknownKey));
        assert_eq!(reason(&authenticator, &of_issuer(&forger, Some("a"))).await, Some(Reason::BadSignature));
    }
    assert_eq!(reason(&authenticator, &of_issuer(&ours, Some("a"))).await, None);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn while_keys_cannot_be_fetched_held_ones_verify_and_others_are_told_so() {
    let ours = Signer::es256();
    let server = Server::start(Behaviour::Hang).await;
    let authenticator = fetching(&server, Duration::ZERO, Duration::from_millis(200));
    let refused = authenticator.authenticate(&of_issuer(&ours, Some("a")), NOW).await.expect_err("no keys yet");
    assert_eq!((refused.reason, refused.code().http_status()), (Reason::KeysUnavailable, 503));
    server.publish(&[ours.jwk("a")]);
    // A busy machine may need longer than the short time-out once.
    while reason(&authenticator, &of_issuer(&ours, Some("a"))).await.is_some() {}
    server.behave(Behaviour::Hang);
    let (good, unknown) = (of_issuer(&ours, Some("a")), of_issuer(&Signer::es256(), Some("b")));
    let mut waiting = std::pin::pin!(authenticator.authenticate(&unknown, NOW));
    assert!(waits(waiting.as_mut()));
    let mut known = std::pin::pin!(authenticator.authenticate(&good, NOW));
    assert!(!waits(known.as_mut()), "a known key waits for nothing");
    assert_eq!(waiting.await.expect_err("unknown").reason, Reason::UnknownKey);
    assert!(!authenticator.faults().is_empty());
}

#[tokio::test]
async fn a_token_is_judged_by_what_is_held_or_its_keys_are_on_their_way() {
    let (ours, other) = (Signer::es256(), Signer::es256());
    let server = Server::of_keys(&[ours.jwk("a")]).await;
    let authenticator = fetching(&server, HOUR, HOUR);
    let (good, unknown) = (of_issuer(&ours, Some("a")), of_issuer(&other, Some("b")));
    assert_eq!(authenticator.held(&good, NOW), None, "nothing is held yet");
    // That it was asked for is enough: nobody waits for it.
    while authenticator.held(&good, NOW).is_none() {
        tokio::task::yield_now().await;
    }
    assert!(authenticator.held(&good, NOW).is_some_and(|judged| judged.is_ok()));
    assert_eq!(authenticator.held(&unknown, NOW), Some(Err(Reason::UnknownKey.into())), "in the gap that is all");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_key_set_file_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.json");
    let (one, two) = (Signer::ed_dsa(), Signer::es256());
    std::fs::write(&path, json!({"keys": [one.jwk("1")]}).to_string()).expect("written");
    let keys = KeySource::File(path.clone());
    let issuers = vec![IssuerConfig { keys, ..IssuerConfig::from_secret(Secret::new(SECRET)) }];
    let file_poll = Duration::from_millis(1);
    let authenticator = closed(Closed { issuers, file_poll, ..Closed::default() }, Stores::default());
    let (first, second) = (of_issuer(&one, Some("1")), of_issuer(&two, Some("2")));
    assert_eq!(reason(&authenticator, &first).await, None);
    let changes = async {
        std::fs::write(&path, "{").expect("written");
        while authenticator.faults().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(reason(&authenticator, &first).await, None, "a faulty file changes nothing");
        std::fs::write(&path, &two.pem).expect("written");
        while reason(&authenticator, &second).await.is_some() {
            tokio::task::yield_now().await;
        }
        assert_eq!(reason(&authenticator, &first).await, Some(Reason::UnsupportedAlgorithm));
    };
    tokio::select! {
        () = authenticator.keep() => unreachable!("it never ends"),
        () = changes => {}
    }
}
