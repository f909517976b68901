use serde_json::{Value, json};

use super::*;
use crate::testing::{SECRET, Signer, pem};

fn set(keys: &[Value], origin: Origin) -> Result<KeySet, KeyFault> {
    KeySet::from_json(json!({"keys": keys}).to_string().as_bytes(), origin)
}

#[test]
fn a_pem_key_is_of_the_algorithm_of_its_kind() {
    let [_, rsa, ec, ed] = Signer::each();
    for (signer, algorithm) in [(rsa, Algorithm::Rs256), (ec, Algorithm::Es256), (ed, Algorithm::EdDsa)] {
        assert_eq!(VerifyingKey::from_pem(&signer.pem).expect("a key").algorithm(), algorithm);
    }
}

#[test]
fn what_is_no_public_key_in_pem_is_refused() {
    let good = Signer::es256().pem;
    let private = good.replace("PUBLIC", "PRIVATE");
    let certificate = good.replace("PUBLIC KEY", "CERTIFICATE");
    for bad in ["", "-----BEGIN ", "hush", &private, &certificate, &pem("PUBLIC KEY", b"hush"), &good[..60]] {
        assert_eq!(VerifyingKey::from_pem(bad).err(), Some(KeyFault::Pem), "{bad}");
    }
}

#[test]
fn a_short_secret_is_refused() {
    assert_eq!(VerifyingKey::from_secret(&[7; 31]).err(), Some(KeyFault::ShortSecret(31)));
    assert!(VerifyingKey::from_secret(&[7; 32]).is_ok());
}

#[test]
fn a_key_set_gives_keys_by_their_ids() {
    let signers = Signer::each();
    let keys: Vec<Value> = signers.iter().map(|signer| signer.jwk(&signer.name())).collect();
    let set = set(&keys, Origin::File).expect("a set");
    for signer in &signers {
        let found: Vec<Algorithm> = set.candidates(Some(&signer.name())).map(VerifyingKey::algorithm).collect();
        assert_eq!(found, [Algorithm::parse(&signer.name()).expect("ours")]);
    }
    assert_eq!(set.candidates(None).count(), 4);
    assert_eq!(set.candidates(Some("other")).count(), 0);
}

#[test]
fn a_key_without_an_id_is_for_tokens_of_ids_that_are_not_there() {
    let (named, mut plain) = (Signer::es256().jwk("a"), Signer::ed_dsa().jwk("b"));
    plain.as_object_mut().expect("a key").remove("kid");
    let set = set(&[named, plain], Origin::Fetched).expect("a set");
    let found = |id| set.candidates(id).map(VerifyingKey::algorithm).collect::<Vec<_>>();
    assert_eq!(found(Some("a")), [Algorithm::Es256]);
    assert_eq!(found(Some("c")), [Algorithm::EdDsa]);
    assert_eq!(found(None).len(), 2);
}

/// Anybody could sign with a secret that anybody can fetch.
#[test]
fn shared_secrets_are_taken_from_files_alone() {
    let secret = Signer::hs256(SECRET).jwk("s");
    assert!(set(std::slice::from_ref(&secret), Origin::File).is_ok());
    assert_eq!(set(&[secret], Origin::Fetched).err(), Some(KeyFault::NoneUsable(1)));
}

#[test]
fn keys_of_other_kinds_uses_and_forms_are_passed_over() {
    let good = Signer::es256().jwk("good");
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        key
    };
    let mut small = Signer::rs256().jwk("small");
    small["n"] = json!("AQAB");
    let others = [
        with("use", json!("enc")),
        with("key_ops", json!(["sign"])),
        with("alg", json!("ES384")),
        with("crv", json!("P-384")),
        with("x", json!("AQAB")),
        with("kty", json!("PQ")),
        with("kid", json!(7)),
        json!({"kty": "oct", "k": "c2hvcnQ"}),
        json!("key"),
        small,
    ];
    for other in &others {
        assert!(set(std::slice::from_ref(other), Origin::File).is_err(), "{other}");
    }
    assert_eq!(set(&[&others[..], &[good]].concat(), Origin::File).expect("one is good").len(), 1);
}

#[test]
fn a_set_is_bounded_and_never_empty() {
    let key = Signer::ed_dsa().jwk("k");
    assert!(set(&vec![key.clone(); KEYS_MAX], Origin::Fetched).is_ok());
    assert_eq!(set(&vec![key; KEYS_MAX + 1], Origin::Fetched).err(), Some(KeyFault::TooMany(KEYS_MAX + 1)));
    assert_eq!(set(&[], Origin::Fetched).err(), Some(KeyFault::NoneUsable(0)));
    assert_eq!(KeySet::from_json(&vec![b' '; KEY_SET_BYTES_MAX + 1], Origin::File).err(), Some(KeyFault::TooLarge));
}

#[test]
fn faults_and_debug_texts_tell_no_secret() {
    let fault = KeySet::from_json(br#"{"keys": "hush-hush"}"#, Origin::File).expect_err("no list");
    assert!(!fault.to_string().contains("hush"), "{fault}");
    let key = VerifyingKey::from_secret(SECRET.as_bytes()).expect("a key");
    let bytes = format!("{:?}", SECRET.as_bytes());
    let printed = format!("{key:?}");
    assert!(!printed.contains(SECRET) && !printed.contains(&bytes[1..20]), "{printed}");
}
