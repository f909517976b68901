use std::sync::Arc;

use prometheus::Registry;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

use super::testing::{Authority, connect, write};
use super::*;
use crate::http::Server;
use crate::http::entry::EntrySettings;
use crate::testing::{Example, serve_with};

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

fn metrics() -> TlsMetrics {
    TlsMetrics::register(&Registry::new()).expect("a fresh registry")
}

fn server(files: &TlsFiles) -> Server {
    serve_with(&Example::default(), EntrySettings { tls: Some(files.clone()), ..EntrySettings::default() })
}

/// Asks for a word and reads to the end.
async fn ask(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) -> std::io::Result<String> {
    stream.write_all(b"GET /word HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8(answer).expect("text"))
}

#[tokio::test]
async fn requests_are_answered_over_both_versions() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let server = server(&write(folder.path(), &authority.pair()));
    for version in BOTH {
        for (offered, chosen) in [(&["h2", "http/1.1"][..], "h2"), (&["http/1.1"], "http/1.1"), (&[], "")] {
            let mut config = authority.client(&[version], None);
            config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
            let mut stream = connect(&Arc::new(config), server.address()).await.expect("hands are shaken");
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol().unwrap_or_default(), chosen.as_bytes());
            if chosen != "h2" {
                assert!(ask(&mut stream).await.expect("an answer").ends_with("word"));
            }
        }
    }
}

/// The records that come back on a first record of this content.
async fn answer_to(server: &Server, hello: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(server.address()).await.expect("it listens");
    socket.write_all(hello).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = socket.read_to_end(&mut answer).await;
    answer
}

#[tokio::test]
async fn older_versions_and_plain_http_are_refused() {
    const ALERT: u8 = 21;
    const PROTOCOL_VERSION: u8 = 70;
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let server = server(&write(folder.path(), &authority.pair()));
    for minor in [1, 2] {
        // A ClientHello of TLS 1.0 or 1.1: version, random, no session, two suites, no compression, one extension.
        let algorithms = [0, 13, 0, 4, 0, 2, 4, 3];
        let hello = [&[3, minor][..], &[7; 32], &[0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0, 0, 8], &algorithms].concat();
        let length = u8::try_from(hello.len()).expect("short");
        let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
        let answer = answer_to(&server, &record).await;
        assert_eq!((answer.first(), answer.last()), (Some(&ALERT), Some(&PROTOCOL_VERSION)), "{answer:?}");
    }
    let answer = answer_to(&server, b"GET /word HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&answer).contains("word"), "{answer:?}");
}

#[tokio::test]
async fn an_upgrade_works_over_tls() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let server = server(&write(folder.path(), &authority.pair()));
    let config = Arc::new(authority.client(&BOTH, None));
    let mut stream = connect(&config, server.address()).await.expect("hands are shaken");
    stream
        .write_all(b"GET /up HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n!")
        .await
        .expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n!") {
        assert_ne!(stream.read_buf(&mut answer).await.expect("an answer"), 0, "{}", String::from_utf8_lossy(&answer));
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 "));
}

/// The clock is paused, so a silent client's time passes at once when everybody else waits.
#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let tls = Arc::new(Tls::load(write(folder.path(), &authority.pair()), metrics()).expect("good files"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    for started in [&b""[..], &[22, 3, 1, 2, 0]] {
        let mut silent = TcpStream::connect(listener.local_addr().expect("a port")).await.expect("it listens");
        silent.write_all(started).await.expect("sent");
        let (socket, _) = listener.accept().await.expect("a connection");
        let began = tokio::time::Instant::now();
        assert!(tls.accept(socket).await.is_none());
        assert!(began.elapsed() <= Duration::from_secs(10), "{:?} of paused time", began.elapsed());
        assert_eq!(silent.read(&mut [0; 8]).await.unwrap_or(0), 0, "it is closed");
    }
    assert_eq!(tls.metrics.late.get(), 2);
    assert!(tls.handshakes.begin().is_some());
}

#[tokio::test]
async fn a_certificate_is_asked_for_where_an_authority_is_named() {
    let (folder, authority, stranger) = (tempfile::tempdir().expect("a folder"), Authority::new(), Authority::new());
    let mut files = write(folder.path(), &authority.pair());
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).expect("a file");
    files.client_ca = Some(ca);
    let server = server(&files);
    let try_with = async |version, own: Option<&super::testing::Pair>| {
        let config = Arc::new(authority.client(&[version], own));
        ask(&mut connect(&config, server.address()).await?).await
    };
    for version in BOTH {
        let good = try_with(version, Some(&authority.pair())).await.expect("an answer");
        assert!(good.ends_with("word"), "{good}");
        try_with(version, None).await.expect_err("no certificate");
        try_with(version, Some(&stranger.pair())).await.expect_err("of another authority");
        try_with(version, Some(&authority.sign(2019..2020))).await.expect_err("expired");
    }
}

/// How the second of two handshakes with the same session store went: first here, then there.
async fn second_handshake(config: &Arc<ClientConfig>, here: &Server, there: &Server) -> HandshakeKind {
    // Tickets of TLS 1.3 come behind the handshake.
    ask(&mut connect(config, here.address()).await.expect("hands are shaken")).await.expect("an answer");
    let stream = connect(config, there.address()).await.expect("hands are shaken");
    stream.get_ref().1.handshake_kind().expect("it is over")
}

#[tokio::test]
async fn sessions_go_on_at_whoever_shares_the_secret() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let mut files = write(folder.path(), &authority.pair());
    let (alone, also_alone) = (server(&files), server(&files));
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").expect("a file");
    files.ticket_secret = Some(secret);
    let (one, other) = (server(&files), server(&files));
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem()).expect("a file");
    let asks = server(&TlsFiles { client_ca: Some(ca), ..files.clone() });
    let own = authority.pair();
    for version in BOTH {
        let config = || Arc::new(authority.client(&[version], Some(&own)));
        assert_eq!(second_handshake(&config(), &one, &other).await, HandshakeKind::Resumed, "{version:?}");
        assert_eq!(second_handshake(&config(), &alone, &alone).await, HandshakeKind::Resumed, "{version:?}");
        assert_ne!(second_handshake(&config(), &alone, &also_alone).await, HandshakeKind::Resumed, "{version:?}");
        // A session that was opened without a certificate must not go on where one is asked for.
        assert_ne!(second_handshake(&config(), &one, &asks).await, HandshakeKind::Resumed, "{version:?}");
        // Nor does one with a certificate, which is looked at each time.
        assert_ne!(second_handshake(&config(), &asks, &asks).await, HandshakeKind::Resumed, "{version:?}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let (good, other) = (authority.pair(), authority.pair());
    let check = |change: &dyn Fn(&mut TlsFiles), part: &str| {
        let mut files = write(folder.path(), &good);
        change(&mut files);
        let error = Tls::load(files, metrics()).expect_err("not of use").to_string();
        assert!(error.contains(part), "{part}: {error}");
    };
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    };
    check(&|files| files.key = folder.path().join("none"), "none cannot be read");
    check(&|files| files.certificate = put("garbage", "garbage"), "garbage holds no certificate");
    check(&|files| files.key = put("empty", ""), "empty holds no private key");
    check(&|files| files.key = put("other", &other.key), "and its key cannot be used");
    check(&|files| files.certificate = put("large", &"x".repeat(1024 * 1024 + 1)), "large is too large");
    check(&|files| files.ticket_secret = Some(put("short", "short\n")), "short has less than 32 bytes");
    check(&|files| files.client_ca = Some(put("no-ca", "")), "no-ca holds no certificate");
}

#[tokio::test]
async fn changes_are_served_and_faults_are_not() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let pair = authority.sign(2020..2090);
    let files = write(folder.path(), &pair);
    let tls = Tls::load(files.clone(), metrics()).expect("good files");
    let first_end = tls.metrics.not_after.get();
    assert_eq!(first_end, 3_786_912_000, "2090-01-01");
    let mut told = None;
    let mut step = |tls: &Tls| tls.apply(tls.look(), &mut told);
    step(&tls);
    assert_eq!((tls.metrics.reloaded.get(), tls.metrics.reload_failed.get()), (0, 0), "nothing changed");
    let before = tls.current.load_full();
    for (count, broken) in
        [Some("-----BEGIN CERTIFICATE-----\ncut off".to_owned()), Some(authority.pair().certificate), None]
            .into_iter()
            .enumerate()
    {
        let _ = std::fs::remove_file(&files.certificate);
        if let Some(text) = broken {
            std::fs::write(&files.certificate, text).expect("a file");
        }
        step(&tls);
        step(&tls);
        assert_eq!(tls.metrics.reload_failed.get(), count as u64 + 1, "each fault is told once");
        assert_eq!(tls.metrics.faulty.get(), 1);
        assert!(Arc::ptr_eq(&before, &tls.current.load_full()), "the old one goes on");
    }
    let expired = authority.sign(2019..2020);
    write(folder.path(), &expired);
    step(&tls);
    assert_eq!((tls.metrics.reload_failed.get(), tls.metrics.reloaded.get()), (4, 0), "expired");
    write(folder.path(), &authority.sign(2099..2100));
    step(&tls);
    assert_eq!((tls.metrics.reload_failed.get(), tls.metrics.reloaded.get()), (5, 0), "not valid yet");
    write(folder.path(), &pair);
    step(&tls);
    assert_eq!((tls.metrics.faulty.get(), tls.metrics.reloaded.get()), (0, 0), "as it was");
    write(folder.path(), &authority.pair());
    step(&tls);
    assert_eq!((tls.metrics.faulty.get(), tls.metrics.reloaded.get()), (0, 1));
    assert!(tls.metrics.not_after.get() > first_end);
    assert!(!Arc::ptr_eq(&before, &tls.current.load_full()));
}

#[tokio::test]
async fn following_ends_when_it_is_told() {
    let (folder, authority) = (tempfile::tempdir().expect("a folder"), Authority::new());
    let tls = Tls::load(write(folder.path(), &authority.pair()), metrics()).expect("good files");
    let stop = CancellationToken::new();
    let following = tokio::spawn(Arc::new(tls).follow(stop.clone()));
    stop.cancel();
    following.await.expect("it ends");
}
