//! What the tests share: signing keys that are made on the spot, and a small HTTP server that can misbehave.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Jwa, EncodingKey, Header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The time in all tests.
pub(crate) const NOW: u64 = 1_763_630_000;
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A key that signs tokens.
#[derive(Clone)]
pub(crate) struct Signer {
    jwa: Jwa,
    key: EncodingKey,
    /// The public half; of a shared secret the secret itself.
    pub(crate) pem: String,
}

impl Signer {
    pub(crate) fn hs256(secret: &str) -> Signer {
        Signer { jwa: Jwa::HS256, key: EncodingKey::from_secret(secret.as_bytes()), pem: secret.to_owned() }
    }

    pub(crate) fn es256() -> Signer {
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let private = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, private.as_ref()).expect("its own DER");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
        let key = EncodingKey::from_ec_der(private.as_ref());
        Signer { jwa: Jwa::ES256, key, pem: pem("PUBLIC KEY", public.as_ref()) }
    }

    pub(crate) fn ed_dsa() -> Signer {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let private: Pkcs8V1Der<'_> = pair.as_der().expect("DER");
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
        let key = EncodingKey::from_ed_der(private.as_ref());
        Signer { jwa: Jwa::EdDSA, key, pem: pem("PUBLIC KEY", public.as_ref()) }
    }

    /// Made once: RSA keys take their time.
    pub(crate) fn rs256() -> Signer {
        static MADE: OnceLock<Signer> = OnceLock::new();
        let make = || {
            let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
            let private: Pkcs8V1Der<'_> = pair.as_der().expect("DER");
            let public: PublicKeyX509Der<'_> = pair.public_key().as_der().expect("DER");
            let key = EncodingKey::from_rsa_pem(pem("PRIVATE KEY", private.as_ref()).as_bytes()).expect("a key");
            Signer { jwa: Jwa::RS256, key, pem: pem("PUBLIC KEY", public.as_ref()) }
        };
        MADE.get_or_init(make).clone()
    }

    /// One of each algorithm.
    pub(crate) fn each() -> [Signer; 4] {
        [Signer::hs256(SECRET), Signer::rs256(), Signer::es256(), Signer::ed_dsa()]
    }

    pub(crate) fn name(&self) -> String {
        format!("{:?}", self.jwa)
    }

    /// Its entry in a key set.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.jwa).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token of these claims.
    pub(crate) fn sign(&self, id: Option<&str>, claims: &Value) -> String {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(self.jwa) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("a token")
    }
}

/// Goes on with it as far as it gets without waiting. Does it wait?
pub(crate) fn waits<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// Claims of a good token for `demo`, with these changes; `null` takes a claim away.
pub(crate) fn claims(changes: &Value) -> Value {
    let mut claims =
        json!({"sub": "alice", "projects": ["demo"], "scopes": ["read"], "iat": NOW - 10, "exp": NOW + 600});
    for (name, value) in changes.as_object().expect("changes") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("claims").retain(|_, value| !value.is_null());
    claims
}

/// What a server does with a request.
#[derive(Clone)]
pub(crate) enum Behaviour {
    /// Answers with this status and body.
    Answer(u16, String),
    /// Sends bytes without an end.
    Endless,
    /// Takes the request and says nothing more.
    Hang,
    /// Takes the request, and does this once it is told to ([`Server::let_go`]).
    Hold(Box<Behaviour>),
    /// Sends to another address.
    Redirect(String),
}

impl Behaviour {
    /// Answers with a key set.
    pub(crate) fn keys(keys: &[Value]) -> Behaviour {
        Behaviour::Answer(200, json!({"keys": keys}).to_string())
    }
}

/// A server on a loopback port. Its requests are counted, and wait for nothing.
pub(crate) struct Server {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    requests: AtomicUsize,
    behaviour: Mutex<Behaviour>,
    last: Mutex<String>,
    held: tokio::sync::Semaphore,
}

impl Server {
    pub(crate) async fn start(behaviour: Behaviour) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let (behaviour, last) = (Mutex::new(behaviour), Mutex::default());
        let held = tokio::sync::Semaphore::new(0);
        let shared = Arc::new(Shared { requests: AtomicUsize::new(0), behaviour, last, held });
        let served = shared.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, served.clone()));
            }
        });
        Server { url, shared }
    }

    /// A server of a key set.
    pub(crate) async fn of_keys(keys: &[Value]) -> Server {
        Server::start(Behaviour::keys(keys)).await
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock() = behaviour;
    }

    pub(crate) fn publish(&self, keys: &[Value]) {
        self.behave(Behaviour::keys(keys));
    }

    /// Lets all requests go that are held, and all that come.
    pub(crate) fn let_go(&self) {
        self.shared.held.close();
    }

    /// How many requests came so far.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// The last request, head and body.
    pub(crate) fn last(&self) -> String {
        self.shared.last.lock().clone()
    }
}

async fn serve(mut socket: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let request = read_request(&mut socket).await?;
    *shared.last.lock() = request;
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let mut behaviour = shared.behaviour.lock().clone();
    if let Behaviour::Hold(then) = behaviour {
        // It ends by being closed.
        let _ = shared.held.acquire().await;
        behaviour = *then;
    }
    match behaviour {
        Behaviour::Answer(status, body) => {
            let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            socket.write_all((head + &body).as_bytes()).await
        }
        Behaviour::Redirect(to) => {
            let head = format!("HTTP/1.1 302 X\r\nlocation: {to}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            socket.write_all(head.as_bytes()).await
        }
        Behaviour::Endless => {
            socket.write_all(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n{\"keys\":[").await?;
            loop {
                socket.write_all(&[b' '; 4096]).await?;
            }
        }
        // Until the client gives up.
        Behaviour::Hang | Behaviour::Hold(_) => socket.read(&mut [0]).await.map(|_| ()),
    }
}

async fn read_request(socket: &mut TcpStream) -> std::io::Result<String> {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split_once("content-length: ").map_or("0", |(_, rest)| rest);
            let length: usize = length.lines().next().and_then(|line| line.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Ok(text.into_owned());
            }
        }
        if socket.read_buf(&mut request).await? == 0 {
            return Ok(String::new());
        }
    }
}
