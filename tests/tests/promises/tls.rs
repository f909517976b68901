//! The door: TLS with certificates that change, tickets that all gateways take, clients that say nothing, runners that must
//! show a certificate, balancers that speak for their clients, and pages of other sites.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tidings_tests::cluster::{Cluster, PROJECT, Plan};
use tidings_tests::http;
use tidings_tests::place::Place;
use tidings_tests::service::Service;
use tidings_tests::viewer::Said;
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::wait::{eventually, within};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

/// Clients that connect and say nothing.
const SILENT: u32 = 200;

/// An authority, and a folder with what it signed.
struct Office {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Office {
    fn open() -> Office {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let office = Office { authority, folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(office.path("ca.crt"), office.authority.pem()).expect("a file");
        std::fs::write(office.path("secret"), "0123456789abcdef0123456789abcdef").expect("a file");
        office.issue();
        office
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn setting(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A certificate and its key for `localhost`, PEM.
    fn pair(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        (params.signed_by(&key, &self.authority).expect("a certificate").pem(), key.serialize_pem())
    }

    /// A new certificate for the listener; the key first, so that for a moment they do not fit.
    fn issue(&self) -> CertificateDer<'static> {
        let (certificate, key) = self.pair();
        std::fs::write(self.path("tls.key"), key).expect("a file");
        std::fs::write(self.path("tls.crt"), &certificate).expect("a file");
        CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")
    }

    /// A client that trusts the authority, with a certificate of its own or none.
    fn client(&self, own: Option<(String, String)>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match own {
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(vec![certificate], key).expect("a pair")
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    }

    /// Gateways with its certificate.
    fn equips(&self, plan: Plan) -> Plan {
        plan.set("TIDINGS_GATEWAY__TLS_CERT_FILE", self.setting("tls.crt"))
            .set("TIDINGS_GATEWAY__TLS_KEY_FILE", self.setting("tls.key"))
            .set("TIDINGS_GATEWAY__TLS_TICKET_SECRET_FILE", self.setting("secret"))
    }
}

async fn shake(config: &Arc<ClientConfig>, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    within("a handshake", TlsConnector::from(config.clone()).connect(name, socket)).await
}

/// A viewer over TLS that has subscribed.
async fn viewer(config: &Arc<ClientConfig>, gateway: &Service) -> Connection<TlsStream<TcpStream>> {
    let stream = shake(config, gateway.address()).await.expect("hands are shaken");
    subscribed(stream, gateway.address()).await
}

async fn subscribed<S: AsyncRead + AsyncWrite + Unpin>(stream: S, gateway: SocketAddr) -> Connection<S> {
    let mut viewer = Connection::over(stream, gateway).await.expect("a WebSocket");
    viewer.say(&json!({"op": "subscribe", "project": PROJECT, "after": "start"})).await.expect("it is open");
    viewer.hear_until("subscribed", |said| matches!(said, Said::Subscribed { .. }).then_some(())).await;
    viewer
}

/// Listens until the event at this running count came.
async fn hears<S: AsyncRead + AsyncWrite + Unpin>(viewer: &mut Connection<S>, n: u64) {
    let place = |said| match said {
        Said::Event(told) => Some(told.position.parse::<Place>().expect("a position").n),
        _ => None,
    };
    viewer.hear_until("the newest event", |said| (place(said)? >= n).then_some(())).await;
}

/// The certificate that a new connection is shown.
async fn shown(config: &Arc<ClientConfig>, gateway: &Service) -> CertificateDer<'static> {
    let stream = shake(config, gateway.address()).await.expect("hands are shaken");
    let chain = stream.get_ref().1.peer_certificates().expect("the server showed one");
    chain[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_change_under_open_connections_and_faulty_ones_do_not() {
    const FAULTY: &str = "tidings_tls_files_faulty";
    let office = Office::open();
    let cluster = office.equips(Cluster::on_redis()).start().await;
    let gateway = &cluster.gateways[0];
    let mut runner = cluster.runner("one");
    let mut viewer = viewer(&office.client(None), gateway).await;
    runner.post(100, 1..20).await;
    hears(&mut viewer, cluster.ledger.last_n()).await;

    // Each client is a new one: a session that goes on shows the certificate that it began with.
    let second = office.issue();
    eventually("the new one", || async { (shown(&office.client(None), gateway).await == second).then_some(()) }).await;
    std::fs::write(office.path("tls.crt"), "-----BEGIN CERTIFICATE-----\ncut off").expect("a file");
    eventually("it says so", || async { (gateway.metric(FAULTY).await > 0.0).then_some(()) }).await;
    gateway.process.line("a word about the file", |line| line.contains("cannot be used").then_some(())).await;
    assert_eq!(shown(&office.client(None), gateway).await, second, "the old one goes on");

    let third = office.issue();
    gateway.process.signal("HUP");
    eventually("the third", || async { (shown(&office.client(None), gateway).await == third).then_some(()) }).await;
    assert!(gateway.metric(FAULTY).await < 1.0);
    runner.post(100, 1..20).await;
    hears(&mut viewer, cluster.ledger.last_n()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_at_another_gateway() {
    let office = Office::open();
    let cluster = office.equips(Cluster::on_redis().gateways(2)).start().await;
    let config = office.client(None);
    drop(viewer(&config, &cluster.gateways[0]).await);
    let stream = shake(&config, cluster.gateways[1].address()).await.expect("hands are shaken");
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    subscribed(stream, cluster.gateways[1].address()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_shake_no_hands_delay_nobody() {
    let office = Office::open();
    let cluster = office.equips(Cluster::on_redis()).start().await;
    let gateway = &cluster.gateways[0];
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(TcpStream::connect(gateway.address()).await.expect("the gateway listens"));
    }
    let mut viewer = viewer(&office.client(None), gateway).await;
    cluster.runner("one").post(100, 1..20).await;
    hears(&mut viewer, cluster.ledger.last_n()).await;
    within("the silent are closed", async {
        for socket in &mut silent {
            assert_eq!(socket.read(&mut [0; 16]).await.unwrap_or(0), 0);
        }
    })
    .await;
    assert!(gateway.metric("tidings_tls_handshakes_total").await > f64::from(SILENT));
}

/// Posts an event over TLS by hand; the answer.
async fn post(config: &Arc<ClientConfig>, ingest: SocketAddr) -> std::io::Result<String> {
    let body = json!({"type": "custom.event"}).to_string();
    let request = format!(
        "POST /v1/projects/{PROJECT}/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = shake(config, ingest).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_show_a_certificate_where_one_is_asked_for() {
    let (office, stranger) = (Office::open(), Office::open());
    let cluster = Cluster::on_redis()
        .set("TIDINGS_INGEST__TLS_CERT_FILE", office.setting("tls.crt"))
        .set("TIDINGS_INGEST__TLS_KEY_FILE", office.setting("tls.key"))
        .set("TIDINGS_INGEST__TLS_CLIENT_CA_FILE", office.setting("ca.crt"))
        .start()
        .await;
    let ingest = cluster.ingests[0].address();
    let good = post(&office.client(Some(office.pair())), ingest).await.expect("an answer");
    assert!(good.starts_with("HTTP/1.1 200 "), "{good}");
    post(&office.client(None), ingest).await.expect_err("no certificate");
    post(&office.client(Some(stranger.pair())), ingest).await.expect_err("of another authority");
    http::get(ingest, "/openapi.json").await.expect_err("plain HTTP");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_balancer_whoever_brings_no_proxy_header_is_closed() {
    const HEADER: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x7f\0\0\x01\x1f\x40\0\x50";
    let cluster = Cluster::on_redis()
        .set("TIDINGS_GATEWAY__PROXY_PROTOCOL", "true")
        .set("TIDINGS_GATEWAY__TRUSTED_PROXIES", "127.0.0.1")
        .start()
        .await;
    let gateway = cluster.gateways[0].address();
    let mut slow = TcpStream::connect(gateway).await.expect("the gateway listens");
    slow.write_all(&HEADER[..14]).await.expect("it listens");
    let mut balanced = TcpStream::connect(gateway).await.expect("the gateway listens");
    balanced.write_all(HEADER).await.expect("it listens");
    let mut viewer = subscribed(balanced, gateway).await;
    for garbage in ["GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", "PROXY TCP4 192.0.2.7 127.0.0.1 8000 80\r\n"] {
        let answer = http::raw(gateway, garbage.as_bytes()).await;
        assert_eq!(answer.0, "", "{garbage}");
    }
    cluster.runner("one").post(100, 1..20).await;
    hears(&mut viewer, cluster.ledger.last_n()).await;
    assert_eq!(within("the slow one is closed", slow.read(&mut [0; 16])).await.unwrap_or(0), 0);
    assert!(cluster.gateways[0].metric("tidings_http_proxy_headers_refused_total").await >= 3.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_listed_sites_are_let_in_and_no_others() {
    let cluster = Cluster::on_redis()
        .set("TIDINGS_AUTH__SECRET", "a secret of thirty-two bytes or more")
        .set("TIDINGS_GATEWAY__ORIGINS", "https://app.example.com,https://*.dev.example.com")
        .start()
        .await;
    let gateway = cluster.gateways[0].address();
    let ask = async |method: &str, path: &str, more: &str| {
        let head = "HTTP/1.1\r\nhost: tidings.example.com\r\nconnection: close\r\n";
        http::raw(gateway, format!("{method} {path} {head}{more}\r\n").as_bytes()).await
    };
    let upgrade = "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for origin in ["https://app.example.com", "https://a.dev.example.com"] {
        let allowed = format!("access-control-allow-origin: {origin}\r\n");
        for path in ["/v1/projects", "/v1/ws"] {
            let answer = ask("GET", path, &format!("origin: {origin}\r\n{upgrade}")).await;
            // The page is let in; whoever uses it has yet to say who they are.
            assert_ne!(answer.code(), "origin_refused", "{}", answer.0);
            assert!(answer.0.contains(&allowed), "{}", answer.0);
        }
        let asks = format!("origin: {origin}\r\naccess-control-request-method: GET\r\n");
        let preflight = ask("OPTIONS", "/v1/projects", &asks).await;
        assert_eq!(preflight.status(), 204, "{}", preflight.0);
        assert!(preflight.0.contains(&allowed) && preflight.0.contains("Authorization"), "{}", preflight.0);
    }
    for origin in ["https://evil.example", "https://app.example.com.evil.example", "http://localhost:3000", "null"] {
        for (method, path, more) in [("GET", "/v1/projects", ""), ("GET", "/v1/ws", upgrade), ("OPTIONS", "/", "")] {
            let answer = ask(method, path, &format!("origin: {origin}\r\n{more}")).await;
            assert_eq!((answer.status(), answer.code().as_str()), (403, "origin_refused"), "{origin}: {}", answer.0);
            assert!(!answer.0.contains("access-control"), "{}", answer.0);
        }
    }
}
