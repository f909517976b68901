//! Where services may listen, and the command line's part.

use tidings_tests::http;
use tidings_tests::process::{Process, free_port};
use tidings_tests::service::command;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE};
use tidings_tests::wait::eventually;

use crate::{get_as, post_as, secured};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_rights_serves_on_any_address_by_any_name() {
    let (port, admin) = (free_port(), free_port());
    let mut service = command();
    service.args(["gateway", "--listen", &format!("0.0.0.0:{port}"), "--admin-listen", &format!("127.0.0.1:{admin}")]);
    service.env(SECRET_VARIABLE, SECRET).env("TIDINGS_REDIS__URL", format!("redis://127.0.0.1:{}", free_port()));
    let _running = Process::start("gateway", service);
    let address = ([127, 0, 0, 1], port).into();
    eventually("it answers", async || http::get(address, "/openapi.json").await.ok()).await;
    let request = b"GET /openapi.json HTTP/1.1\r\nhost: tidings.example.com\r\nconnection: close\r\n\r\n";
    assert_eq!(http::raw(address, request).await.status(), 200);
}

#[test]
fn dev_mode_stays_open_and_for_this_machine() {
    let mut dev = command();
    dev.args(["dev", "--listen", "0.0.0.0:0"]).env(SECRET_VARIABLE, SECRET);
    let output = dev.output().expect("it starts");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not a loopback address"), "{said}");
}

#[test]
fn every_fault_of_the_rights_is_named_at_once() {
    let mut check = command();
    check.args(["config", "check"]);
    check.env(SECRET_VARIABLE, "short").env("TIDINGS_AUTH__DECLARED_FILE", "no/such/file");
    check.env("TIDINGS_AUTH__JWKS_URL", "http://id.example.com/").env("TIDINGS_AUTH__WEBHOOK_SECRET", "s3cret");
    let output = check.output().expect("it starts");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for key in ["secret", "declared_file", "jwks_url", "issuer", "audience", "webhook_secret"] {
        assert!(said.contains(&format!("auth.{key}: ")), "{key}: {said}");
    }
    assert!(!said.contains("s3cret") && !said.contains("short\n"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minted_token_does_what_it_was_minted_for() {
    let cluster = secured().set("TIDINGS_AUTH__AUDIENCE", "us,them").start().await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    let mint = |arguments: &[&str]| {
        let mut mint = command();
        mint.args(["token", "mint"])
            .args(arguments)
            .env(SECRET_VARIABLE, SECRET)
            .env("TIDINGS_AUTH__AUDIENCE", "us,them");
        let output = mint.output().expect("it starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("text").trim_end().to_owned())
    };
    let (code, token) = mint(&["--project", "demo", "--scopes", "read,publish", "--ttl", "5m"]);
    assert_eq!(code, Some(0));
    assert_eq!(post_as(ingest, &token, "demo", "one").await.status, 200);
    assert_eq!(get_as(gateway, &token, "/v1/projects/demo/snapshot").await.status, 200);
    assert_eq!(get_as(gateway, &token, "/v1/projects/other/snapshot").await.status, 403);
    assert_eq!(mint(&["--project", "demo", "--scopes", "root"]).0, Some(2));
    // The tools show it.
    let tail = |token: &str| {
        let mut tail = command();
        tail.args(["tail", "demo", "--after", "start", "--url", &format!("http://{gateway}")])
            .env("TIDINGS_TOKEN", token);
        Process::start("tail", tail)
    };
    tail(&token).line("the event", |line| line.contains("\"one\"").then_some(())).await;
    tail("x").line("a refusal", |line| line.contains("unauthenticated").then_some(())).await;
}
