//! Tokens as outsiders send them, judged through the entry.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_protocol::grant::Grant;

use crate::config::{Audience, Closed, Config, IssuerConfig, KeySource};
use crate::credential::{Credential, Secret};
use crate::limits::{LEEWAY, TOKEN_BYTES_MAX};
use crate::mint::Minting;
use crate::refusal::Reason;
use crate::testing::{NOW, SECRET, Signer, claims};
use crate::{Authenticator, Stores};

fn issuer(signer: &Signer) -> IssuerConfig {
    let secret = IssuerConfig::from_secret(Secret::new(SECRET));
    match signer.name().as_str() {
        "HS256" => secret,
        _ => IssuerConfig { keys: KeySource::Pem(signer.pem.clone()), ..secret },
    }
}

fn trusting(issuers: Vec<IssuerConfig>) -> Authenticator {
    Authenticator::new(Config::Closed(Closed { issuers, ..Closed::default() }), Stores::default()).expect("settings")
}

async fn judge(authenticator: &Authenticator, token: &str) -> Result<Grant, Reason> {
    authenticator.authenticate(&Credential::Token(token.to_owned()), NOW).await.map_err(|refusal| refusal.reason)
}

/// The token of the shared secret, with these changes to good claims, under these terms.
async fn check(terms: impl FnOnce(&mut IssuerConfig), changes: Value, expected: Result<(), Reason>) {
    let signer = Signer::hs256(SECRET);
    let mut issuer = issuer(&signer);
    terms(&mut issuer);
    let judged = judge(&trusting(vec![issuer]), &signer.sign(None, &claims(&changes))).await;
    assert_eq!(judged.map(|_| ()), expected, "{changes}");
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn a_good_token_of_each_algorithm_is_taken_and_a_forged_one_is_not() {
    for signer in Signer::each() {
        let authenticator = trusting(vec![issuer(&signer)]);
        let token = signer.sign(Some("any"), &claims(&json!({})));
        let grant = judge(&authenticator, &token).await.expect("a good token");
        let demo = "demo".parse().expect("a name");
        assert!(grant.may_read(&demo) && !grant.may_publish(&demo), "{}", signer.name());
        assert_eq!((grant.subject(), grant.expires_at()), ("alice", Some(NOW + 600)));

        let (message, signature) = token.rsplit_once('.').expect("parts");
        let (header, _) = message.split_once('.').expect("parts");
        let raised = part(&claims(&json!({"scopes": ["admin"]})));
        let bad = Err(Reason::BadSignature);
        assert_eq!(judge(&authenticator, &format!("{header}.{raised}.{signature}")).await, bad, "{}", signer.name());
        assert_eq!(judge(&authenticator, &format!("{message}.")).await, bad, "{}", signer.name());
        let cut = &signature[..signature.len() - 4];
        assert_eq!(judge(&authenticator, &format!("{message}.{cut}")).await, bad, "{}", signer.name());
    }
}

#[tokio::test]
async fn another_key_of_the_same_algorithm_is_a_forger() {
    let pairs = [
        (Signer::es256(), Signer::es256()),
        (Signer::ed_dsa(), Signer::ed_dsa()),
        (Signer::hs256(SECRET), Signer::hs256("another secret of 32 characters!")),
    ];
    for (ours, other) in pairs {
        let judged = judge(&trusting(vec![issuer(&ours)]), &other.sign(None, &claims(&json!({})))).await;
        assert_eq!(judged, Err(Reason::BadSignature), "{}", ours.name());
    }
}

#[tokio::test]
async fn no_algorithm_is_none() {
    let unsupported = Err(Reason::UnsupportedAlgorithm);
    for signer in Signer::each() {
        let authenticator = trusting(vec![issuer(&signer)]);
        for name in ["none", "None", "NONE", "", "HS384", "RS512", "PS256", "ES384", "hs256"] {
            let message = format!("{}.{}", part(&json!({"alg": name, "typ": "JWT"})), part(&claims(&json!({}))));
            assert_eq!(judge(&authenticator, &format!("{message}.")).await, unsupported, "{name}");
            assert_eq!(judge(&authenticator, &format!("{message}.AAAA")).await, unsupported, "{name}");
        }
    }
}

/// The public key is public: who signs with it as a secret is nobody.
#[tokio::test]
async fn a_public_key_is_no_secret() {
    for signer in [Signer::rs256(), Signer::es256(), Signer::ed_dsa()] {
        let authenticator = trusting(vec![issuer(&signer)]);
        let trimmed = signer.pem.trim_end().to_owned();
        for secret in [signer.pem.clone(), trimmed] {
            let forged = Signer::hs256(&secret).sign(None, &claims(&json!({})));
            assert_eq!(judge(&authenticator, &forged).await, Err(Reason::UnsupportedAlgorithm), "{}", signer.name());
        }
    }
}

/// Whatever key a token names, brings along or points to, only ours verify.
#[tokio::test]
async fn keys_in_a_tokens_header_are_not_looked_at() {
    let (ours, forger) = (Signer::es256(), Signer::es256());
    let token = forger.sign(None, &claims(&json!({})));
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let header = json!({"alg": "ES256", "jwk": forger.jwk("x"), "jku": "https://forger.example.com/", "kid": "../x"});
    let judged = judge(&trusting(vec![issuer(&ours)]), &format!("{}.{}.{}", part(&header), parts[1], parts[2])).await;
    assert_eq!(judged, Err(Reason::BadSignature));
}

#[tokio::test]
async fn a_token_has_its_time() {
    let leeway = LEEWAY.as_secs();
    let plain = |_: &mut IssuerConfig| {};
    check(plain, json!({"exp": NOW - leeway + 1}), Ok(())).await;
    check(plain, json!({"exp": NOW - leeway}), Err(Reason::Expired)).await;
    check(plain, json!({"exp": 0}), Err(Reason::Expired)).await;
    check(plain, json!({"nbf": NOW + leeway}), Ok(())).await;
    check(plain, json!({"nbf": NOW + leeway + 1}), Err(Reason::NotYetValid)).await;
    check(plain, json!({"exp": 1_763_630_000.9}), Ok(())).await;
    for bad in [json!(null), json!("soon"), json!(-1), json!(1e300), json!([NOW]), json!(true)] {
        check(plain, json!({"exp": bad}), Err(Reason::Malformed)).await;
    }
    check(plain, json!({"nbf": "x"}), Err(Reason::Malformed)).await;
}

#[tokio::test]
async fn a_token_may_be_good_for_too_long() {
    let hour = |issuer: &mut IssuerConfig| issuer.lifetime_max = Some(Duration::from_hours(1));
    check(hour, json!({"iat": NOW - 10, "exp": NOW + 3_590}), Ok(())).await;
    check(hour, json!({"iat": NOW - 10, "exp": NOW + 3_591}), Err(Reason::LifetimeTooLong)).await;
    check(hour, json!({"iat": null, "exp": NOW + 3_600}), Ok(())).await;
    check(hour, json!({"iat": null, "exp": NOW + 3_601}), Err(Reason::LifetimeTooLong)).await;
}

#[tokio::test]
async fn a_token_is_for_an_audience() {
    let ours = |issuer: &mut IssuerConfig| {
        issuer.audience = Audience::OneOf(vec!["tidings".to_owned(), "tidings-eu".to_owned()]);
    };
    check(ours, json!({"aud": "tidings"}), Ok(())).await;
    check(ours, json!({"aud": ["other", "tidings-eu"]}), Ok(())).await;
    for other in [json!(null), json!("other"), json!([]), json!(["tidings "]), json!({"tidings": 1}), json!(1)] {
        check(ours, json!({"aud": other}), Err(Reason::WrongAudience)).await;
    }
    check(|_| {}, json!({"aud": "other"}), Ok(())).await;
}

#[tokio::test]
async fn a_token_is_of_an_issuer_and_verified_by_its_keys_alone() {
    let named = |name: &str, signer: &Signer| IssuerConfig {
        issuer: Some(name.to_owned()),
        subject_prefix: format!("{name}:"),
        ..issuer(signer)
    };
    let (a, b, plain) = (Signer::es256(), Signer::es256(), Signer::hs256(SECRET));
    let authenticator = trusting(vec![named("a", &a), named("b", &b), issuer(&plain)]);
    let says = |name: Value| claims(&json!({"iss": name}));
    let verdict =
        async |signer: &Signer, name: Value| judge(&authenticator, &signer.sign(None, &says(name))).await.map(|_| ());
    assert_eq!(verdict(&a, json!("a")).await, Ok(()));
    assert_eq!(verdict(&b, json!("b")).await, Ok(()));
    assert_eq!(verdict(&plain, json!("c")).await, Ok(()), "without a name any will do");
    assert_eq!(verdict(&plain, json!(null)).await, Ok(()));
    assert_eq!(verdict(&b, json!("a")).await, Err(Reason::BadSignature), "b speaks for a");
    assert_eq!(verdict(&plain, json!("a")).await, Err(Reason::UnsupportedAlgorithm));
    assert_eq!(verdict(&a, json!(null)).await, Err(Reason::UnsupportedAlgorithm));
    let strict = trusting(vec![named("a", &a)]);
    for name in [json!(null), json!("b"), json!(["a"])] {
        assert_eq!(judge(&strict, &a.sign(None, &says(name))).await, Err(Reason::WrongIssuer));
    }
}

#[tokio::test]
async fn users_are_those_of_their_issuer() {
    let (a, b, plain) = (Signer::es256(), Signer::es256(), Signer::hs256(SECRET));
    let named = |name: &str, signer: &Signer, prefix: &str| IssuerConfig {
        issuer: Some(name.to_owned()),
        subject_prefix: prefix.to_owned(),
        ..issuer(signer)
    };
    let authenticator = trusting(vec![named("a", &a, "corp:"), named("b", &b, "corp:eu:"), issuer(&plain)]);
    let subject = async |signer: &Signer, name: Value, user: &str| {
        let token = signer.sign(None, &claims(&json!({"iss": name, "sub": user})));
        judge(&authenticator, &token).await.map(|grant| grant.subject().to_owned())
    };
    assert_eq!(subject(&a, json!("a"), "alice").await, Ok("corp:alice".to_owned()));
    assert_eq!(subject(&b, json!("b"), "alice").await, Ok("corp:eu:alice".to_owned()));
    assert_eq!(subject(&plain, json!(null), "alice").await, Ok("alice".to_owned()));
    assert_eq!(subject(&plain, json!(null), "corporal").await, Ok("corporal".to_owned()));
    for (signer, name, taken) in
        [(&plain, json!(null), "corp:alice"), (&plain, json!(null), "corp:eu:alice"), (&a, json!("a"), "eu:alice")]
    {
        assert_eq!(subject(signer, name, taken).await, Err(Reason::Malformed), "{taken} is another issuer's");
    }
    assert_eq!(subject(&a, json!("a"), "").await, Err(Reason::Malformed));
    assert_eq!(subject(&a, json!("a"), &"x".repeat(252)).await, Err(Reason::Malformed), "too long with its prefix");
}

#[test]
fn issuers_of_different_names_must_have_different_prefixes() {
    let of = |name: Option<&str>, prefix: &str| IssuerConfig {
        issuer: name.map(str::to_owned),
        subject_prefix: prefix.to_owned(),
        ..IssuerConfig::from_secret(Secret::new(SECRET))
    };
    let check = |issuers: Vec<IssuerConfig>, expected: &[&str]| {
        let shown = format!("{issuers:?}");
        let config = crate::Config::Closed(Closed { issuers, ..Closed::default() });
        let faults = Authenticator::new(config, Stores::default()).err().unwrap_or_default();
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, expected, "{shown}");
    };
    check(vec![of(Some("a"), ""), of(Some("b"), "")], &["issuers[1].subject_prefix"]);
    check(vec![of(None, ""), of(Some("b"), "b:"), of(Some("c"), "b:")], &["issuers[2].subject_prefix"]);
    check(vec![of(Some("a"), ""), of(None, "")], &["issuers[1].subject_prefix"]);
    check(vec![of(Some("a"), ""), of(Some("b"), "b:"), of(None, "-")], &[]);
    // One issuer with two keys, as while one of them is changed.
    check(vec![of(Some("a"), ""), of(Some("a"), "")], &[]);
    check(vec![of(None, ""), of(None, "")], &[]);
    for bad in ["key:", "token:x", "a\n", &"x".repeat(65)] {
        check(vec![of(None, bad)], &["issuers[0].subject_prefix"]);
    }
}

#[tokio::test]
async fn two_secrets_stand_beside_each_other_while_one_is_changed() {
    let other = "another secret of 32 characters!";
    let secrets = [SECRET, other].map(|secret| IssuerConfig::from_secret(Secret::new(secret)));
    let authenticator = trusting(secrets.to_vec());
    for secret in [SECRET, other] {
        assert!(judge(&authenticator, &Signer::hs256(secret).sign(None, &claims(&json!({})))).await.is_ok());
    }
}

#[tokio::test]
async fn a_token_names_its_user_or_is_nobodys() {
    let signer = Signer::hs256(SECRET);
    let authenticator = trusting(vec![issuer(&signer)]);
    let subject = async |sub: Value| {
        let token = signer.sign(None, &claims(&json!({"sub": sub})));
        judge(&authenticator, &token).await.map(|grant| grant.subject().to_owned())
    };
    assert_eq!(subject(json!("bob@example.com")).await, Ok("bob@example.com".to_owned()));
    assert_eq!(subject(json!(42)).await, Ok("42".to_owned()));
    let nobody = subject(json!(null)).await.expect("nobody");
    assert!(nobody.starts_with("token:") && subject(json!(null)).await == Ok(nobody));
    for bad in [json!(""), json!("key:x"), json!("token:x"), json!("a\nb"), json!(["a"]), json!("x".repeat(257))] {
        assert_eq!(subject(bad).await, Err(Reason::Malformed));
    }
}

#[tokio::test]
async fn what_is_no_token_is_malformed() {
    let signer = Signer::hs256(SECRET);
    let authenticator = trusting(vec![issuer(&signer)]);
    let good = signer.sign(None, &claims(&json!({})));
    let critical = format!("{}.{}.AAAA", part(&json!({"alg": "HS256", "crit": ["exp"]})), part(&claims(&json!({}))));
    let long = signer.sign(None, &claims(&json!({"more": "x".repeat(TOKEN_BYTES_MAX)})));
    for bad in ["", ".", "..", "...", "a.b.c", "a", &format!("{good}.x"), &format!(" {good}"), &critical, &long] {
        assert_eq!(judge(&authenticator, bad).await, Err(Reason::Malformed), "{bad}");
    }
    let list = format!("{}.{}.AAAA", part(&json!({"alg": "HS256"})), part(&json!([1])));
    assert_eq!(judge(&authenticator, &list).await, Err(Reason::Malformed));
    // Signed or not: all of it is UTF-8, also what is not looked at.
    let header = URL_SAFE_NO_PAD.encode(b"{\"alg\":\"HS256\",\"typ\":\"\xff\"}");
    let unsound = format!("{header}.{}.AAAA", part(&claims(&json!({}))));
    assert_eq!(judge(&authenticator, &unsound).await, Err(Reason::Malformed));
}

#[tokio::test]
async fn a_minted_token_is_taken_and_a_short_secret_mints_none() {
    let minting = Minting {
        user: None,
        projects: vec!["demo".parse().expect("a pattern"), "team-*".parse().expect("a pattern")],
        scopes: "read publish".parse().expect("scopes"),
        ttl: Duration::from_hours(1),
        issuer: Some("cli".to_owned()),
        audience: Some("tidings".to_owned()),
    };
    let token = minting.token(&Secret::new(SECRET), NOW).expect("a token");
    let mut terms = IssuerConfig::from_secret(Secret::new(SECRET));
    terms.issuer = Some("cli".to_owned());
    terms.audience = Audience::OneOf(vec!["tidings".to_owned()]);
    let grant = judge(&trusting(vec![terms]), &token).await.expect("a grant");
    let team = "team-a".parse().expect("a name");
    assert!(grant.may_publish(&team) && grant.may_read(&team));
    assert_eq!(grant.expires_at(), Some(NOW + 3_600));
    assert!(minting.token(&Secret::new("short"), NOW).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(token in "\\PC{0,200}", header in "\\PC{0,60}", claims in "\\PC{0,60}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let authenticator = trusting(vec![issuer(&Signer::hs256(SECRET))]);
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let tokens = [
            token.clone(),
            format!("{}.{}.{token}", encoded(&header), encoded(&claims)),
            format!("{}.{}.{}", part(&json!({"alg": "HS256", "kid": header})), encoded(&claims), encoded(&token)),
        ];
        for token in tokens {
            prop_assert!(runtime.block_on(judge(&authenticator, &token)).is_err());
        }
    }

    /// Whatever a signature's bytes, they are judged.
    #[test]
    fn no_signature_panics(signature in proptest::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for signer in Signer::each() {
            let authenticator = trusting(vec![issuer(&signer)]);
            let token = signer.sign(None, &claims(&json!({})));
            let (message, _) = token.rsplit_once('.').expect("parts");
            let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&signature));
            prop_assert_eq!(runtime.block_on(judge(&authenticator, &forged)), Err(Reason::BadSignature));
        }
    }

    /// Signed claims are outsiders' too: an issuer may let its users choose some.
    #[test]
    fn no_claims_panic(name in "exp|nbf|iat|aud|iss|sub|projects|scopes", value in json_value()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let signer = Signer::hs256(SECRET);
        let authenticator = trusting(vec![issuer(&signer)]);
        let token = signer.sign(None, &claims(&json!({name: value})));
        let _ = runtime.block_on(judge(&authenticator, &token));
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("\\PC{0,8}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
