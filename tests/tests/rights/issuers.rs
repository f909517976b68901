//! Forged tokens on every way in, and an issuer's keys that hang, lie and change.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tidings_tests::tokens::{Signer, api_key, claims, hs256, signed, unsigned, with};
use tidings_tests::wait::{eventually, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::{get_as, handshake, hears, subscribed};
use tidings_tests::cluster::Cluster;

const ISSUER: &str = "https://id.example.com";
const SNAPSHOT: &str = "/v1/projects/demo/snapshot";

/// Claims of a reader and runner that the issuer makes for these services.
fn ours() -> serde_json::Value {
    with(with(claims("alice", "demo", "read publish"), "iss", ISSUER), "aud", "tidings")
}

/// A token of ours with this header, signed with a secret.
fn with_header(header: &serde_json::Value, secret: &[u8]) -> String {
    use aws_lc_rs::hmac;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    signed(header, &ours(), |text| hmac::sign(&key, text).as_ref().to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_come_in_nowhere() {
    let (signer, stranger) = (Signer::new("one"), Signer::new("one"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("issuer.pem");
    std::fs::write(&file, signer.pem()).expect("a file");
    let plan = Cluster::on_redis().set("TIDINGS_AUTH__KEY_FILE", file.display()).set("TIDINGS_AUTH__ISSUER", ISSUER);
    let cluster = plan.set("TIDINGS_AUTH__AUDIENCE", "tidings").start().await;
    let gateway = cluster.gateways[0].address();
    let good = signer.token(&ours());
    let mut cut = good.clone();
    cut.truncate(good.len() - 4);
    let (header, rest) = good.split_once('.').expect("three parts");
    let (_, signature) = rest.split_once('.').expect("three parts");
    let other = hs256(b"x", &with(ours(), "scopes", "admin"));
    let body = other.split('.').nth(1).expect("three parts");
    let forged = [
        ("of another key of this id", stranger.token(&ours())),
        ("for others", signer.token(&with(ours(), "aud", "somebody"))),
        ("for nobody", signer.token(&with(ours(), "aud", json!(null)))),
        ("of another issuer", signer.token(&with(ours(), "iss", "https://evil.example.com"))),
        ("too old", signer.token(&with(ours(), "exp", 1_000_000_000))),
        ("without an end", signer.token(&with(ours(), "exp", json!(null)))),
        ("not yet good", signer.token(&with(ours(), "nbf", tidings_tests::tokens::now() + 3_600))),
        ("alg: none", unsigned(&ours())),
        ("signed with the public key as a secret", hs256(signer.pem().as_bytes(), &ours())),
        ("the same without its last line's end", hs256(signer.pem().trim_end().as_bytes(), &ours())),
        ("cut off", cut),
        ("other claims under a good signature", format!("{header}.{body}.{signature}")),
        ("an API key that there is not", tidings_tests::tokens::api_key("0123456789abcdef").0),
        ("a key id that is a path", with_header(&json!({"alg": "HS256", "kid": "../../../../dev/null"}), b"")),
        ("a key id that is a query", with_header(&json!({"alg": "HS256", "kid": "x' UNION SELECT 'k';--"}), b"k")),
        ("a key id that is nothing", with_header(&json!({"alg": "EdDSA", "kid": null}), b"")),
        ("a key id that is no text", with_header(&json!({"alg": "EdDSA", "kid": ["one"]}), b"")),
        ("a key of its own", with_header(&json!({"alg": "EdDSA", "kid": "one", "jwk": stranger.jwk()}), b"")),
        ("keys from elsewhere", with_header(&json!({"alg": "EdDSA", "jku": "http://127.0.0.1:1/keys"}), b"")),
        ("an algorithm by another spelling", with_header(&json!({"alg": "nOnE"}), b"")),
        ("an algorithm that is not taken", with_header(&json!({"alg": "HS512", "kid": "one"}), b"")),
        ("an extension that must be understood", with_header(&json!({"alg": "EdDSA", "crit": ["exp"]}), b"")),
        ("nonsense", "x".to_owned()),
        ("dots", "..".to_owned()),
    ];
    let mut healthy = subscribed(gateway, &good, "demo").await;
    for (what, token) in &forged {
        assert_eq!(get_as(gateway, token, SNAPSHOT).await.status, 401, "{what}");
        let authorization = crate::bearer(token);
        let by_header = [("sec-websocket-protocol", "tidings.v1"), ("authorization", authorization.as_str())];
        assert_eq!(handshake(gateway, &by_header).await, 401, "{what}");
        let offered = format!("tidings.v1, tidings.token.{token}");
        assert_eq!(handshake(gateway, &[("sec-websocket-protocol", &offered)]).await, 401, "{what}");
        let posted = crate::post_as(cluster.ingests[0].address(), token, "demo", "forged").await;
        assert_eq!(posted.status, 401, "{what}");
    }
    // The same ways are open to who may.
    let offered = format!("tidings.v1, tidings.token.{good}");
    assert_eq!(handshake(gateway, &[("sec-websocket-protocol", &offered)]).await, 101);
    let twice = [("sec-websocket-protocol", offered.as_str()), ("authorization", &crate::bearer(&good))];
    assert_eq!(handshake(gateway, &twice).await, 401, "two credentials");
    assert_eq!(handshake(gateway, &[("sec-websocket-protocol", "tidings.v1")]).await, 401, "none");
    assert_eq!(crate::post_as(cluster.ingests[0].address(), &good, "demo", "true").await.status, 200);
    let first = healthy.hear_until("an event", |said| match said {
        tidings_tests::viewer::Said::Event(event) => Some(event.id),
        _ => None,
    });
    assert_eq!(&*first.await, "true");
    assert!(!cluster.gateways[0].process.output().contains(&good), "a token was logged");
}

/// What an issuer's address does.
#[derive(Clone)]
enum Mood {
    /// Answers with these bytes.
    Answers(Arc<str>),
    /// Takes the request, and says nothing.
    Hangs,
    /// Sends bytes without an end.
    Endless,
    /// Sends to another address.
    Redirects(SocketAddr),
}

/// An issuer that publishes its keys.
async fn issuer(mood: watch::Receiver<Mood>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mood = mood.borrow().clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                match mood {
                    Mood::Answers(body) => {
                        let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ";
                        let _ = socket.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await;
                    }
                    Mood::Endless => {
                        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"keys\":[").await;
                        while socket.write_all(&[b' '; 4096]).await.is_ok() {}
                    }
                    Mood::Redirects(to) => {
                        let head = "HTTP/1.1 302 Found\r\nconnection: close\r\ncontent-length: 0\r\nlocation: http://";
                        let _ = socket.write_all(format!("{head}{to}/jwks.json\r\n\r\n").as_bytes()).await;
                    }
                    // Until the other side gives up.
                    Mood::Hangs => while socket.read(&mut request).await.is_ok_and(|read| read > 0) {},
                }
            });
        }
    });
    address
}

fn set_of(keys: &[&Signer]) -> Mood {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    Mood::Answers(json!({"keys": keys}).to_string().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_hangs_or_lies_harms_nobody_whose_key_is_known() {
    let (first, second) = (Signer::new("first"), Signer::new("second"));
    let (moods, mood) = watch::channel(Mood::Hangs);
    let jwks = issuer(mood).await;
    let plan = Cluster::on_redis().set("TIDINGS_AUTH__JWKS_URL", format!("http://{jwks}/jwks.json"));
    let cluster = plan.set("TIDINGS_AUTH__ISSUER", ISSUER).set("TIDINGS_AUTH__AUDIENCE", "tidings").start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let (good, new) = (first.token(&ours()), second.token(&ours()));
    let status = async |token: &str| get_as(gateway, token, SNAPSHOT).await.status;

    // It hangs from the start: nobody can tell, which is no refusal.
    let answer = get_as(gateway, &good, SNAPSHOT).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "rights_unavailable"));
    assert!(!answer.header("retry-after").is_empty());
    moods.send_replace(set_of(&[&first]));
    eventually("the keys are fetched", async || (status(&good).await == 200).then_some(())).await;
    let posts = async |id: &str| {
        eventually("the ingest has the keys as well", async || {
            (crate::post_as(ingest, &good, "demo", id).await.status == 200).then_some(())
        })
        .await;
    };
    let mut healthy = subscribed(gateway, &good, "demo").await;
    posts("one").await;
    hears(&mut healthy, "one").await;

    moods.send_replace(Mood::Hangs);
    let asked = tokio::spawn(async move { get_as(gateway, &new, SNAPSHOT).await.status });
    assert_eq!(status(&good).await, 200, "whose key is known does not wait for it");
    posts("two").await;
    hears(&mut healthy, "two").await;
    assert_eq!(within("an unknown key is answered", asked).await.expect("no panic"), 401);

    for lie in ["", "{}", "[]", "{\"keys\":[]}", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"first\"}]}"] {
        moods.send_replace(Mood::Answers(lie.into()));
        assert_eq!(status(&good).await, 200, "{lie}");
    }
    posts("three").await;
    hears(&mut healthy, "three").await;

    moods.send_replace(set_of(&[&first, &second]));
    let new = second.token(&ours());
    eventually("a new key is found", async || (status(&new).await == 200).then_some(())).await;
    assert_eq!(status(&good).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_issuer_answers_its_tokens_wait_and_others_notice_nothing() {
    let signer = Signer::new("one");
    // Where a redirect would lead to: an issuer whose keys would do.
    let (_elsewhere, mood) = watch::channel(set_of(&[&signer]));
    let elsewhere = issuer(mood).await;
    let secret = json!({"keys": [{"kty": "oct", "k": "A".repeat(43), "kid": "one"}]});
    let mut wrong = signer.jwk();
    wrong["x"] = json!([1, 2, 3]);
    let lies = [
        ("without an end", Mood::Endless),
        ("from elsewhere", Mood::Redirects(elsewhere)),
        ("of other types", Mood::Answers(json!({"keys": [wrong, 1, null, {"kty": 1}]}).to_string().into())),
        ("a shared secret", Mood::Answers(secret.to_string().into())),
        ("no key set", Mood::Answers("<html>".into())),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let (key, hash) = api_key("0123456789abcdef");
    let declared = folder.path().join("declared.toml");
    let file = format!(
        "[[keys]]\nid = \"0123456789abcdef\"\nhash = \"{hash}\"\nprojects = [\"demo\"]\nscopes = [\"read\", \"publish\"]\n"
    );
    std::fs::write(&declared, file).expect("a file");
    for (what, lie) in lies {
        let (_moods, mood) = watch::channel(lie);
        let jwks = issuer(mood).await;
        let plan = Cluster::on_redis().set("TIDINGS_AUTH__JWKS_URL", format!("http://{jwks}/jwks.json?key=hush"));
        let plan = plan.set("TIDINGS_AUTH__ISSUER", ISSUER).set("TIDINGS_AUTH__AUDIENCE", "tidings");
        let cluster = plan.set("TIDINGS_AUTH__DECLARED_FILE", declared.display()).start().await;
        let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
        let mut healthy = subscribed(gateway, &key, "demo").await;
        let answer = get_as(gateway, &signer.token(&ours()), SNAPSHOT).await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "rights_unavailable"), "{what}");
        let zeros = hs256(&[0; 32], &ours());
        assert_eq!(get_as(gateway, &zeros, SNAPSHOT).await.status, 503, "{what}");
        assert_eq!(crate::post_as(ingest, &key, "demo", "heard").await.status, 200, "{what}");
        hears(&mut healthy, "heard").await;
        assert!(!cluster.gateways[0].process.output().contains("hush"), "an address was logged whole");
    }
}
