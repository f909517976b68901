//! Keys and members that a file declares: what is taken out of it ends within seconds.

use std::fmt::Write as _;
use std::path::Path;

use tidings_tests::tokens::{api_key, token};
use tidings_tests::viewer::Said;
use tidings_tests::viewer::websocket::Connection;

use crate::{closed, get_as, hears, post_as, publish, secured, subscribe, subscribed};

/// Writes the file in one step, as Secrets are mounted.
fn declare(file: &Path, revoked: bool, members: &[&str]) {
    let (_, hash) = api_key("runnerrunnerrunn");
    let mut text = format!(
        "[[keys]]\nid = \"runnerrunnerrunn\"\nhash = \"{hash}\"\nprojects = [\"demo\"]\nscopes = [\"read\", \"publish\"]\n\
         revoked = {revoked}\n"
    );
    for user in members {
        let _ = write!(text, "[[members]]\nuser = \"{user}\"\nprojects = [\"demo\"]\nscopes = [\"read\"]\n");
    }
    let next = file.with_extension("next");
    std::fs::write(&next, text).expect("a file");
    std::fs::rename(next, file).expect("it takes the other's place");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_taken_out_is_out_within_seconds() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("declared.toml");
    declare(&file, false, &["alice", "bob"]);
    let cluster = secured().set("TIDINGS_AUTH__DECLARED_FILE", file.display()).start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let (key, _) = api_key("runnerrunnerrunn");
    // The tokens give nothing in `demo` by themselves.
    let (alice, bob) = (token("alice", "own", "read"), token("bob", "own", "read"));

    assert_eq!(post_as(ingest, &key, "demo", "one").await.status, 200);
    assert_eq!(post_as(ingest, &key, "other", "one").await.status, 403);
    let mut by_key = subscribed(gateway, &key, "demo").await;
    let mut member = subscribed(gateway, &alice, "demo").await;
    let mut healthy = subscribed(gateway, &bob, "demo").await;
    for viewer in [&mut by_key, &mut member, &mut healthy] {
        hears(viewer, "one").await;
    }
    subscribe(&mut member, "own").await.expect("it may");
    assert_eq!(get_as(gateway, &alice, "/v1/projects/demo/snapshot").await.status, 200);
    let mut stranger = Connection::open_as(gateway, &token("eve", "own", "read")).await.expect("it may connect");
    assert_eq!(subscribe(&mut stranger, "demo").await, Err("forbidden".to_owned()));

    declare(&file, true, &["bob"]);
    assert_eq!(closed(&mut by_key).await, (4401, "unauthenticated".to_owned()));
    let code = member
        .hear_until("the end of a subscription", |said| match said {
            Said::Error { code, reference: None } => Some(code),
            _ => None,
        })
        .await;
    assert_eq!(code, "forbidden");
    assert_eq!(post_as(ingest, &token("runner", "demo", "publish"), "demo", "two").await.status, 200);
    hears(&mut healthy, "two").await;
    // The connection of who was a member goes on with what is left.
    publish(ingest, "own", "mine").await;
    let told = member
        .hear_until("an event", |said| match said {
            Said::Event(event) => Some(event.id),
            _ => None,
        })
        .await;
    assert_eq!(&*told, "mine");
    assert_eq!(get_as(gateway, &key, "/v1/projects/demo/snapshot").await.status, 401);
    assert_eq!(get_as(gateway, &alice, "/v1/projects/demo/snapshot").await.status, 403);
}
