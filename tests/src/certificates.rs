//! Certificates for a test: an authority, one for servers on 127.0.0.1, one for clients.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The files, gone with the value.
#[derive(Debug)]
pub struct Papers(TempDir);

impl Papers {
    /// Issues them.
    pub fn issue() -> Papers {
        let papers = Papers(TempDir::new().expect("a temporary folder"));
        let key = || KeyPair::generate().expect("randomness");
        let write = |name: &str, text: String| std::fs::write(papers.path(name), text).expect("the folder is ours");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("authority {}", rand::random::<u32>()));
        let authority = CertifiedIssuer::self_signed(params, key()).expect("it signs");
        write("ca.pem", authority.pem());
        for name in ["server", "client"] {
            let key = key();
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
            write(&format!("{name}.pem"), params.signed_by(&key, &authority).expect("it signs").pem());
            write(&format!("{name}.key"), key.serialize_pem());
        }
        papers
    }

    /// A file: `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        self.path(name).to_str().expect("a temporary folder's name is text").to_owned()
    }

    /// What makes `redis-server` show a certificate and ask for one.
    pub fn options(&self) -> Vec<String> {
        [("--tls-ca-cert-file", "ca.pem"), ("--tls-cert-file", "server.pem"), ("--tls-key-file", "server.key")]
            .into_iter()
            .flat_map(|(option, name)| [option.to_owned(), self.file(name)])
            .collect()
    }

    /// What makes a service show a certificate to Redis and hold Redis' against the authority.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("TIDINGS_REDIS__TLS_CA_FILE", self.file("ca.pem")),
            ("TIDINGS_REDIS__TLS_CERT_FILE", self.file("client.pem")),
            ("TIDINGS_REDIS__TLS_KEY_FILE", self.file("client.key")),
        ]
    }

    /// TLS over this stream, as the client.
    pub async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let read = |name| CertificateDer::from_pem_file(self.path(name)).expect("we wrote it");
        roots.add(read("ca.pem")).expect("an authority");
        let key = PrivateKeyDer::from_pem_file(self.path("client.key")).expect("we wrote it");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider knows them")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![read("client.pem")], key)
            .expect("they belong together");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}
