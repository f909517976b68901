//! From files to what handshakes are made with. Everything that can be wrong is found here, before it is used.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256, digest};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, RootCertStore, ServerConfig, version};

use super::TlsFiles;
use super::tickets::Tickets;

/// Largest file that is read. A chain has a few KiB, a bundle of all public authorities a quarter of this.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Shortest secret.
const SECRET_BYTES_MIN: usize = 32;

/// Tickets in place of sessions on our side, so one each is enough.
const TICKETS_SENT: usize = 1;

/// Later than any certificate can say.
const END_OF_TIME: Duration = Duration::from_secs(1 << 40);

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// It is far larger than such files are.
    #[error("{0} is too large")]
    TooLarge(PathBuf),
    /// It is not what it should be.
    #[error("{0} holds no {1} in PEM form")]
    Pem(PathBuf, &'static str),
    /// The secret is short.
    #[error("{0} has less than {SECRET_BYTES_MIN} bytes")]
    ShortSecret(PathBuf),
    /// The certificate is not of the key, or one of them is of a kind that is not known.
    #[error("{0} and its key cannot be used: {1}")]
    Pair(PathBuf, #[source] rustls::Error),
    /// The certificate's time is over, or has not come.
    #[error("{0} is not valid now: {1}")]
    Expired(PathBuf, #[source] rustls::Error),
    /// The authorities of client certificates cannot be used.
    #[error("{0} holds no authority that can be used: {1}")]
    Authority(PathBuf, String),
    /// The system gives no random bytes.
    #[error("no random bytes")]
    Random,
}

/// Whether a certificate is taken that is not valid now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Taken,
    Refused,
}

/// The files' content.
pub(super) struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    ticket_secret: Option<Vec<u8>>,
}

/// What handshakes are made with.
pub(super) struct Material {
    pub(super) config: Arc<ServerConfig>,
    /// When the certificate expires; none: it does not say so in a way that we read.
    pub(super) not_after: Option<UnixTime>,
}

/// Reads all files. Blocks.
pub(super) fn read(files: &TlsFiles) -> Result<Content, TlsError> {
    let read_optional = |path: &Option<PathBuf>| path.as_deref().map(read_one).transpose();
    Ok(Content {
        certificate: read_one(&files.certificate)?,
        key: read_one(&files.key)?,
        client_ca: read_optional(&files.client_ca)?,
        ticket_secret: read_optional(&files.ticket_secret)?,
    })
}

fn read_one(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |error| TlsError::File(path.to_owned(), error);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(TlsError::TooLarge(path.to_owned())) } else { Ok(bytes) }
}

impl Content {
    /// Tells contents apart.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let parts = [Some(&self.certificate), Some(&self.key), self.client_ca.as_ref(), self.ticket_secret.as_ref()];
        for part in parts {
            context.update(digest(&SHA256, part.map_or(&[], Vec::as_slice)).as_ref());
        }
        context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

/// Makes of the content what handshakes need. `own_secret`: where none is shared.
pub(super) fn made(
    files: &TlsFiles,
    content: &Content,
    own_secret: &[u8],
    expired: Expired,
) -> Result<Material, TlsError> {
    let chain = certificates(&files.certificate, &content.certificate)?;
    let key =
        PrivateKeyDer::from_pem_slice(&content.key).map_err(|_| TlsError::Pem(files.key.clone(), "private key"))?;
    let not_after = chain.first().and_then(not_after);
    if let Some(error) = chain.first().and_then(|own| not_valid(own, UnixTime::now())) {
        let error = TlsError::Expired(files.certificate.clone(), error);
        match expired {
            Expired::Refused => return Err(error),
            Expired::Taken => tracing::error!(%error, "clients will refuse the certificate"),
        }
    }
    let pair = |error| TlsError::Pair(files.certificate.clone(), error);
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(pair)?;
    let builder = match (&files.client_ca, &content.client_ca) {
        (Some(path), Some(pem)) => {
            let refused = |error: String| TlsError::Authority(path.clone(), error);
            let mut roots = RootCertStore::empty();
            for authority in certificates(path, pem)? {
                roots.add(authority).map_err(|error| refused(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| refused(error.to_string()))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    let tickets = tickets(files, content, own_secret)?;
    if content.client_ca.is_none() {
        config.send_tls13_tickets = TICKETS_SENT;
        config.ticketer = Arc::new(tickets);
    } else {
        // A session that goes on is not asked for its certificate again, which may have expired.
        config.send_tls13_tickets = 0;
    }
    Ok(Material { config: Arc::new(config), not_after })
}

fn tickets(files: &TlsFiles, content: &Content, own_secret: &[u8]) -> Result<Tickets, TlsError> {
    let secret = match (&files.ticket_secret, &content.ticket_secret) {
        (Some(path), Some(bytes)) => {
            // An editor ends every file with a line's end, and one gateway's file may lack it.
            let secret = bytes.trim_ascii();
            if secret.len() < SECRET_BYTES_MIN {
                return Err(TlsError::ShortSecret(path.clone()));
            }
            secret
        }
        _ => own_secret,
    };
    Ok(Tickets::new(secret))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::Pem(path.to_owned(), "certificate");
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| none())?;
    if all.is_empty() { Err(none()) } else { Ok(all) }
}

/// Why a certificate is not valid at `time`; none: it is, or it cannot be told. Who signed it does not matter here.
fn not_valid(certificate: &CertificateDer<'_>, time: UnixTime) -> Option<rustls::Error> {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};

    let certificate = ParsedCertificate::try_from(certificate).ok()?;
    let (roots, algorithms) = (RootCertStore::empty(), default_provider().signature_verification_algorithms);
    // Times are looked at before signers: with no authority at all, everything else ends in an unknown signer.
    let verdict =
        rustls::client::verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], time, algorithms.all);
    match verdict {
        Err(
            error @ rustls::Error::InvalidCertificate(
                Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. },
            ),
        ) => Some(error),
        _ => None,
    }
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<UnixTime> {
    match not_valid(certificate, UnixTime::since_unix_epoch(END_OF_TIME))? {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => Some(not_after),
        _ => None,
    }
}
