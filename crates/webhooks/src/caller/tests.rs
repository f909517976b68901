//! Calls of receivers on this machine.

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::signature::{AGE_MAX, verify};
use crate::testing::{Receiver, SECRET, settings, target};

const BODY: &str = r#"{"events":[]}"#;

async fn deliver(settings: Settings, target: &Target) -> Delivered {
    let caller = Caller::new(settings).expect("a caller");
    caller.deliver(target, "d-1", 3, BODY.into()).await
}

/// What a failure says; nothing of it may tell what the address hides.
fn failure(delivered: Delivered) -> (Why, String, Option<Duration>) {
    let printed = format!("{delivered:?}");
    assert!(!printed.contains("hidden") && !printed.contains("hush"), "{printed}");
    match delivered {
        Delivered::Failed { why, told, retry_after } => (why, told, retry_after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_signed_and_says_what_it_is() {
    let mut receiver = Receiver::with(202, "", "thanks").await;
    let target = Target { previous_secret: Some(Secret::new("the secret of before")), ..receiver.target() };
    let taken = Delivered::Taken { status: 202, body: "thanks".into(), is_cut: false };
    assert_eq!(deliver(settings(), &target).await, taken);
    let call = receiver.calls.recv().await.expect("a call");
    assert!(call.head.starts_with("POST /hidden-path?token=hidden-query HTTP/1.1\r\n"), "{}", call.head);
    assert_eq!(call.body, BODY.as_bytes());
    assert_eq!(call.header("content-type"), Some("application/json"));
    assert_eq!((call.header("tidings-delivery"), call.header("tidings-attempt")), (Some("d-1"), Some("3")));
    assert!(call.header("user-agent").is_some_and(|agent| agent.starts_with("tidings/")));
    let signed = call.header("tidings-signature").expect("a signature");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    for secret in [SECRET, "the secret of before"] {
        assert_eq!(verify(&Secret::new(secret), signed, &call.body, now_s, AGE_MAX), Ok(()));
    }
    assert!(!format!("{target:?}").contains("hush") && !format!("{target:?}").contains("hidden"), "{target:?}");
}

#[tokio::test]
async fn an_id_is_told_in_visible_characters() {
    let mut receiver = Receiver::with(200, "", "").await;
    let caller = Caller::new(settings()).expect("a caller");
    let delivered = caller.deliver(&receiver.target(), "a\r\nx: ä", 1, BODY.into()).await;
    assert!(matches!(delivered, Delivered::Taken { .. }), "{delivered:?}");
    assert_eq!(receiver.calls.recv().await.expect("a call").header("tidings-delivery"), Some("a??x:??"));
}

#[tokio::test]
async fn a_status_says_what_became_of_it() {
    for (status, expected) in [
        (200, Ok("taken")),
        (204, Ok("taken")),
        (299, Ok("taken")),
        (410, Ok("gone")),
        (400, Ok("refused")),
        (413, Ok("refused")),
        (415, Ok("refused")),
        (422, Ok("refused")),
        (401, Err(Why::Status)),
        (403, Err(Why::Status)),
        (404, Err(Why::Status)),
        (408, Err(Why::Status)),
        (425, Err(Why::Status)),
        (429, Err(Why::Limited)),
        (301, Err(Why::Redirect)),
        (308, Err(Why::Redirect)),
        (500, Err(Why::Server)),
        (503, Err(Why::Server)),
    ] {
        let receiver = Receiver::with(status, "", "").await;
        let said = match deliver(settings(), &receiver.target()).await {
            Delivered::Taken { status: told, .. } if told == status => Ok("taken"),
            Delivered::Gone => Ok("gone"),
            Delivered::Refused { status: told } if told == status => Ok("refused"),
            Delivered::Failed { why, told, retry_after: None } if told.contains(&status.to_string()) => Err(why),
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(said, expected, "{status}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let mut other = Receiver::with(200, "", "").await;
    let location = format!("location: http://{}/hidden\r\n", other.address);
    for status in [301, 302, 303, 307, 308] {
        let receiver = Receiver::with(status, &location, "").await;
        assert_eq!(failure(deliver(settings(), &receiver.target()).await).0, Why::Redirect);
    }
    assert!(other.calls.try_recv().is_err(), "somebody was sent there");
}

#[tokio::test]
async fn the_receivers_wish_is_told() {
    let date = "retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n";
    for (header, expected) in [("retry-after: 7\r\n", Some(7)), (date, Some(0)), ("retry-after: soon\r\n", None)] {
        let receiver = Receiver::with(503, header, "").await;
        let (_, _, wish) = failure(deliver(settings(), &receiver.target()).await);
        assert_eq!(wish, expected.map(Duration::from_secs), "{header}");
    }
}

#[test]
fn wishes_are_seconds_or_a_date() {
    let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
    let read = |text: &str| retry_after(text, now).map(|wish| wish.as_secs());
    assert_eq!((read("0"), read("120"), read(&"9".repeat(40))), (Some(0), Some(120), Some(u64::MAX)));
    assert_eq!(read("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
    assert_eq!((read(""), read("-1"), read("1.5"), read("now")), (None, None, None, None));
}

#[tokio::test]
async fn an_answer_is_read_up_to_a_bound() {
    let check = async |answer: String, bytes: usize, cut: bool| {
        let receiver = Receiver::answering(answer).await;
        match deliver(settings(), &receiver.target()).await {
            Delivered::Taken { body, is_cut, .. } => assert_eq!((body.len(), is_cut), (bytes, cut)),
            other => panic!("{other:?}"),
        }
    };
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n";
    let most = "x".repeat(ANSWER_BYTES_MAX);
    check(format!("{head}\r\n{most}"), ANSWER_BYTES_MAX, false).await;
    check(format!("{head}\r\n{most}y"), ANSWER_BYTES_MAX, true).await;
    check(format!("{head}content-length: 9\r\n\r\n1234"), 4, true).await;
}

#[tokio::test]
async fn who_does_not_answer_is_left() {
    let receiver = Receiver::stalling("").await;
    let settings = Settings { timeout: Duration::from_millis(50), ..settings() };
    let (why, told, _) = failure(deliver(settings, &receiver.target()).await);
    assert_eq!((why, told.as_str()), (Why::Timeout, "no answer within 50 ms"));
    // What was said before counts: the time begins to run behind it, however long that took.
    let stalls = Receiver::stalling("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1234").await;
    let client = Client::builder().no_proxy().build().expect("a client");
    let answer = client.post(stalls.target().url.as_url().clone()).body(BODY).send().await.expect("a status");
    let read = answered(answer, Instant::now() + Duration::from_millis(50));
    let read = timeout_at(Instant::now() + Duration::from_mins(1), read).await;
    assert!(matches!(read, Ok(Delivered::Taken { is_cut: true, .. })), "{read:?}");
}

#[tokio::test]
async fn who_is_not_there_is_told_in_words_that_hide_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let url = format!("http://{free}/hidden?hidden=hidden");
    assert_eq!(failure(deliver(settings(), &target(&url)).await).0, Why::Connect);
    let nonsense = Receiver::answering("what?\r\n\r\n").await;
    assert_eq!(failure(deliver(settings(), &nonsense.target()).await).0, Why::Transport);
    // No server is asked: a label of a name has 63 bytes at most.
    let url = format!("http://{}.invalid/hidden?hidden", "x".repeat(64));
    let (why, ..) = failure(deliver(settings(), &target(&url)).await);
    assert_eq!(why, Why::Dns);
}

/// Speaks TLS by a certificate that nobody signed.
async fn unknown_to_all() -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("its key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            assert!(acceptor.accept(socket).await.is_err(), "somebody takes it");
        }
    });
    address
}

#[tokio::test]
async fn by_https_nobody_is_called_who_cannot_show_who_it_is() {
    let url = format!("https://{}/hidden", unknown_to_all().await);
    let (why, told, _) = failure(deliver(settings(), &target(&url)).await);
    assert_eq!(why, Why::Connect, "{told}");
    assert!(told.contains("certificate"), "{told}");
}

#[tokio::test]
async fn what_is_not_allowed_is_not_called() {
    let mut receiver = Receiver::with(200, "", "").await;
    let port = receiver.address.port();
    for (host, why) in [
        ("https://127.0.0.1", "not public"),
        ("http://127.0.0.1", "not public"),
        ("http://0x7f000001", "not public"),
        ("https://[::ffff:127.0.0.1]", "not public"),
        ("https://localhost", "no address of the host"),
        ("http://localhost", "by https alone"),
    ] {
        let url = format!("{host}:{port}/hidden");
        let (label, told, _) = failure(deliver(Settings::default(), &target(&url)).await);
        assert_eq!(label, Why::Address, "{url}: {told}");
        assert!(told.contains(why), "{url}: {told}");
    }
    let elsewhere = "10.0.0.0/8".parse().expect("a network");
    let other = Settings { allowed_networks: Networks(vec![elsewhere]), ..Settings::default() };
    let (label, ..) = failure(deliver(other, &target(&format!("http://localhost:{port}/"))).await);
    assert_eq!(label, Why::Address);
    assert!(receiver.calls.try_recv().is_err(), "it was called");
    let allowed = deliver(settings(), &target(&format!("http://localhost:{port}/"))).await;
    assert!(matches!(allowed, Delivered::Taken { .. }), "{allowed:?}");
}

/// Runs itself again with proxies in its environment.
#[tokio::test]
async fn no_proxy_of_the_environment_is_used() {
    const AGAIN: &str = "TIDINGS_TEST_BEHIND_A_PROXY";
    if std::env::var_os(AGAIN).is_some() {
        let receiver = Receiver::with(200, "", "").await;
        let delivered = deliver(settings(), &receiver.target()).await;
        assert!(matches!(delivered, Delivered::Taken { .. }), "{delivered:?}");
        return;
    }
    let mut again = Command::new(std::env::current_exe().expect("this test"));
    again.args(["--exact", "caller::tests::no_proxy_of_the_environment_is_used"]).env(AGAIN, "1");
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        again.env(name, "http://127.0.0.1:9");
    }
    let ran = again.env_remove("no_proxy").env_remove("NO_PROXY").output().expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn words_of_failures_are_in_order_and_differ() {
    let words = Why::ALL.map(Why::as_str);
    assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
}
