//! TLS to Redis: a server that asks for certificates on both sides.

#![allow(clippy::print_stdout, reason = "figures and reasons are part of the result")]

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::contract::writer::{Writer, plain};
use crate::redis::server::RedisServer;
use crate::redis::{Certificates, RedisBroker, RedisSettings};
use crate::{Probe as _, ReadError};

const HANG: Duration = Duration::from_secs(20);

/// An authority, a certificate for the server and one for us.
struct Papers(TempDir);

impl Papers {
    fn issue() -> Papers {
        let papers = Papers(tempfile::tempdir().expect("a temporary folder"));
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", rand::random::<u32>()));
        let authority = CertifiedIssuer::self_signed(params, key()).expect("it signs");
        std::fs::write(papers.path("ca.pem"), authority.pem()).expect("the folder is ours");
        for name in ["server", "client"] {
            let key = key();
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
            let certificate = params.signed_by(&key, &authority).expect("it signs");
            std::fs::write(papers.path(&format!("{name}.pem")), certificate.pem()).expect("the folder is ours");
            std::fs::write(papers.path(&format!("{name}.key")), key.serialize_pem()).expect("the folder is ours");
        }
        papers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn certificates(&self) -> Certificates {
        Certificates {
            authorities: Some(self.path("ca.pem")),
            own: Some((self.path("client.pem"), self.path("client.key"))),
        }
    }

    /// A server that takes no connection without TLS, and none from whom this authority does not know.
    fn server(&self) -> RedisServer {
        let file = |name: &str| self.path(name).to_str().expect("a temporary folder's name").to_owned();
        let (ca, cert, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
        let files = ["--tls-ca-cert-file", &ca, "--tls-cert-file", &cert, "--tls-key-file", &key];
        RedisServer::start_with(&[&["--port", "0", "--tls-port", "{port}"][..], &files].concat())
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("randomness")
}

fn connect(server: &RedisServer, tls: Certificates) -> RedisBroker {
    // A process does this once; here several tests do.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let url = server.url().replace("redis://", "rediss://");
    RedisBroker::connect(&RedisSettings { tls, ..RedisSettings::new(url) }).expect("good settings")
}

async fn works(broker: &RedisBroker) {
    let mut connected = broker.connected();
    let wait = connected.wait_for(|connected| *connected);
    let waited = tokio::time::timeout(HANG, wait).await.is_ok();
    assert!(waited, "{:?}", broker.probe().await);
    Writer::join(std::sync::Arc::new(broker.clone()), "p").await.take(plain(1)).await;
}

async fn refused(broker: &RedisBroker, part: &str) {
    let mut last = String::new();
    let wait = async {
        loop {
            let said = broker.probe().await;
            if let Err(ReadError::Away(why)) = &said
                && why.contains(part)
            {
                return println!("{why}");
            }
            last = format!("{said:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(HANG, wait).await;
    assert!(waited.is_ok(), "not {part:?}, but {last}");
    assert!(!*broker.connected().borrow());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_show_certificates_and_who_has_a_wrong_one_is_told_so() {
    let (papers, others) = (Papers::issue(), Papers::issue());
    let server = papers.server();
    works(&connect(&server, papers.certificates())).await;
    refused(&connect(&server, others.certificates()), "UnknownIssuer").await;
    let nobody = Certificates { own: None, ..papers.certificates() };
    refused(&connect(&server, nobody), "CertificateRequired").await;
    let stranger = Certificates { own: others.certificates().own, ..papers.certificates() };
    refused(&connect(&server, stranger), "UnknownCA").await;
    let plain = RedisBroker::connect(&RedisSettings::new(server.url())).expect("good settings");
    refused(&plain, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_certificates_are_taken_without_a_restart() {
    let (papers, renewed) = (Papers::issue(), Papers::issue());
    let server = renewed.server();
    let broker = connect(&server, papers.certificates());
    refused(&broker, "UnknownIssuer").await;
    for name in ["ca.pem", "client.pem", "client.key"] {
        std::fs::copy(renewed.path(name), papers.path(name)).expect("the folders are ours");
    }
    works(&broker).await;
}
