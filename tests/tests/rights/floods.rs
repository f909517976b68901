//! Floods of bad credentials and made-up projects: cut off by address and by subject, while others, and who was known to be
//! good behind the same address, notice nothing.

use std::net::SocketAddr;

use serde_json::json;
use tidings_tests::cluster::Cluster;
use tidings_tests::http::Answer;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, api_key, claims, hs256, token};
use tidings_tests::wait::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::{get_as, hears, publish, subscribed};

const SNAPSHOT: &str = "/v1/projects/demo/snapshot";

/// More than may be refused at once, and than come back while they are asked.
const FLOOD: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn bad_credentials_are_cut_off_and_good_ones_of_the_same_address_are_not() {
    let cluster = crate::secured().start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let good = token("healthy", "demo", "read");
    let mut healthy = subscribed(gateway, &good, "demo").await;
    // A key that is used before the flood.
    let made = make_key(ingest).await;
    assert_eq!(get_as(gateway, &made, SNAPSHOT).await.status, 200);

    let forged = hs256(b"another secret of at least 32 bytes", &claims("alice", "demo", "read"));
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..FLOOD {
        let bad = if number % 2 == 0 { forged.clone() } else { api_key(&format!("{number:016}")).0 };
        flood.spawn(async move { get_as(gateway, &bad, SNAPSHOT).await });
    }
    let mut cut_off = 0;
    while let Some(answer) = flood.join_next().await {
        let answer = answer.expect("no panic");
        if answer.status != 401 {
            assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limited"), "{}", answer.text());
            assert_eq!(answer.header("retry-after"), "1");
            cut_off += 1;
        }
    }
    assert!(cut_off > 0);

    for credential in [&good, &made] {
        assert_eq!(get_as(gateway, credential, SNAPSHOT).await.status, 200);
    }
    let _another = subscribed(gateway, &token("new", "demo", "read"), "demo").await;
    publish(ingest, "demo", "heard").await;
    hears(&mut healthy, "heard").await;
}

/// An API key that may read `demo`.
async fn make_key(ingest: SocketAddr) -> String {
    let request = tidings_tests::http::client()
        .post(format!("http://{ingest}/v1/projects/demo/keys"))
        .header("authorization", crate::bearer(&token("admin", "demo", "admin")))
        .header("content-type", "application/json")
        .body(json!({"scopes": ["read"]}).to_string());
    let made = Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer");
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["key"].as_str().expect("a key").to_owned()
}

/// An authorizer that knows `alice` as a member of `club` and answers nobody else; tells of each question.
async fn authorizer() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut question = Vec::new();
                while !String::from_utf8_lossy(&question).contains("\"project\":\"") || !question.ends_with(b"}") {
                    if socket.read_buf(&mut question).await.is_ok_and(|read| read > 0) {
                        continue;
                    }
                    return;
                }
                let _ = tell.send(());
                let question = String::from_utf8_lossy(&question).into_owned();
                if question.contains("\"project\":\"club\"") {
                    let scopes =
                        if question.contains("\"alice\"") { r#"{"scopes":["read"]}"# } else { r#"{"scopes":[]}"# };
                    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: ";
                    let _ = socket.write_all(format!("{head}{}\r\n\r\n{scopes}", scopes.len()).as_bytes()).await;
                } else {
                    // Until the other side gives up.
                    while socket.read_buf(&mut Vec::with_capacity(1)).await.is_ok_and(|read| read > 0) {}
                }
            });
        }
    });
    (address, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_projects_keep_no_member_out() {
    let (webhook, mut asked) = authorizer().await;
    let plan = Cluster::on_redis().set(SECRET_VARIABLE, SECRET);
    let cluster = plan.set("TIDINGS_AUTH__WEBHOOK_URL", format!("http://{webhook}/")).start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let (alice, mallory) = (token("alice", "x", "read"), token("mallory", "x", "read"));
    publish(ingest, "club", "first").await;
    let mut member = subscribed(gateway, &alice, "club").await;
    hears(&mut member, "first").await;

    // All turns of the authorizer are taken by questions that it does not answer.
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..100 {
        let mallory = mallory.clone();
        flood.spawn(async move { get_as(gateway, &mallory, &format!("/v1/projects/made-up-{number}/snapshot")).await });
    }
    for _ in 0..32 {
        within("it is asked", asked.recv()).await.expect("it listens");
    }
    let club = "/v1/projects/club/snapshot";
    assert_eq!(get_as(gateway, &alice, club).await.status, 200);
    let mut busy = 0;
    while let Some(answer) = flood.join_next().await {
        let answer = answer.expect("no panic");
        assert_eq!(answer.status, 503, "neither yes nor no: {}", answer.text());
        assert!(!answer.header("retry-after").is_empty());
        busy += usize::from(answer.code() == "busy");
    }
    assert!(busy > 0, "whoever found no turn is told so");
    publish(ingest, "club", "last").await;
    hears(&mut member, "last").await;
}
