//! Credentials: tokens, API keys, key sets, files of declared keys and members.

use std::cell::LazyCell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use tidings_auth::limits::{KEYS_MAX, LEEWAY, SUBJECT_BYTES_MAX};
use tidings_auth::{
    Audience, Authenticator, Closed, Config, ConfigFault, Credential, IssuerConfig, KeyFault, KeyHash, KeyId,
    KeyRecord, KeySet, KeySource, Origin, Secret, Stores, VerifyingKey,
};
use tidings_protocol::grant::{Grant, Holder};

/// The time of all properties here, in seconds of the Unix epoch.
const NOW: u64 = 1_763_630_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ISSUER: &str = "id";
const AUDIENCE: &str = "tidings";
const PREFIX: &str = "p:";

/// The key that is taken, and the hash of it.
const KEY: &str = "tdk_0123456789abcdef_kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk";

static FILES: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// A file of this thread's.
    static FILE: LazyCell<PathBuf> = LazyCell::new(|| {
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        std::env::temp_dir().join(format!("tidings-credentials-{}-{number}", std::process::id()))
    });
    /// Takes tokens of [`SECRET`].
    static OF_TOKENS: LazyCell<Authenticator> = LazyCell::new(|| {
        let issuer = IssuerConfig {
            issuer: Some(ISSUER.to_owned()),
            audience: Audience::OneOf(vec![AUDIENCE.to_owned()]),
            subject_prefix: PREFIX.to_owned(),
            ..IssuerConfig::from_secret(Secret::new(SECRET))
        };
        closed(Closed { issuers: vec![issuer], ..Closed::default() }).expect("sound settings")
    });
    /// Takes [`KEY`].
    static OF_KEYS: LazyCell<Authenticator> = LazyCell::new(|| {
        let (id, hash) = (&KEY[4..20], KeyHash::of(KEY));
        let file = format!("[[keys]]\nid = \"{id}\"\nhash = \"{hash}\"\nprojects = [\"demo\"]\n");
        with_file(file.as_bytes(), |path| Closed { declared: Some(path), ..Closed::default() }).expect("sound settings")
    });
}

fn closed(settings: Closed) -> Result<Authenticator, Vec<ConfigFault>> {
    Authenticator::new(Config::Closed(settings), Stores::default())
}

/// The authenticator of settings that name this file, which is gone again afterwards.
fn with_file(contents: &[u8], settings: impl FnOnce(PathBuf) -> Closed) -> Result<Authenticator, Vec<ConfigFault>> {
    FILE.with(|path| {
        std::fs::write(&**path, contents).expect("the folder for temporary files can be written to");
        let made = closed(settings(PathBuf::clone(path)));
        std::fs::remove_file(&**path).expect("it was just written");
        made
    })
}

/// What becomes of a credential. Nobody has to be asked about it.
fn judge(authenticator: &Authenticator, credential: &Credential) -> Option<Grant> {
    assert!(format!("{credential:?}").len() < 32, "it is not printed");
    authenticator.held(credential, NOW).expect("nobody is asked").ok()
}

/// A token is taken if it says all that it must and is signed. The input is a token, and the header and the claims of
/// another one, with a zero byte between them, which is signed here.
pub(crate) fn tokens(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        is_no_token(text);
        for part in [Credential::of_request(Some(text), None, None), Credential::of_request(None, Some(text), None)] {
            assert!(part.is_ok_and(|shown| OF_TOKENS.with(|of| judge(of, &shown)).is_none()) || part_is_refused(text));
        }
    }
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (header, claims) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(tag.as_ref());
    let token = format!("{message}.{signature}");
    let Some(grant) = OF_TOKENS.with(|of| judge(of, &Credential::Token(token))) else { return };
    assert_eq!(object(header)["alg"], "HS256");
    says_all(&object(claims), &grant);
    let other = if signature.starts_with('A') { "B" } else { "A" };
    for forged in [String::new(), signature[1..].to_owned(), format!("{other}{}", &signature[1..])] {
        is_no_token(&format!("{message}.{forged}"));
    }
}

/// Two credentials, or none that has the form of one.
fn part_is_refused(text: &str) -> bool {
    Credential::of_request(Some(text), None, None).is_err() || Credential::of_request(None, Some(text), None).is_err()
}

fn is_no_token(text: &str) {
    assert!(OF_TOKENS.with(|of| judge(of, &Credential::Token(text.to_owned()))).is_none(), "{text}");
}

fn object(json: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(json).expect("what was taken is an object")
}

fn says_all(claims: &Map<String, Value>, grant: &Grant) {
    let seconds = |name: &str| claims.get(name).map(|value| value.as_f64().expect("times are numbers"));
    let (now, leeway) = (1_763_630_000.0, LEEWAY.as_secs_f64());
    let end = seconds("exp").expect("there is an end");
    assert!(end.floor() + leeway > now && seconds("nbf").is_none_or(|from| from.floor() <= now + leeway));
    assert!(grant.expires_at().is_some_and(|at| at <= 253_402_300_799 && u64_of(end) == at));
    assert_eq!(claims["iss"], ISSUER);
    let is_ours = |word: &Value| word == AUDIENCE;
    assert!(is_ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|words| words.iter().any(is_ours)));
    match grant.holder() {
        Holder::User => {
            let user = grant.subject().strip_prefix(PREFIX).expect("users are those of their issuer");
            let named = claims["sub"].as_str().map_or_else(|| claims["sub"].to_string(), str::to_owned);
            assert!(user == named && grant.subject().len() <= SUBJECT_BYTES_MAX);
            assert!(!user.is_empty() && !user.chars().any(char::is_control));
        }
        Holder::Token => assert!(grant.subject().starts_with("token:")),
        other => panic!("{other:?}"),
    }
}

/// Whole seconds of a time that is known to be in range.
fn u64_of(seconds: f64) -> u64 {
    format!("{:.0}", seconds.floor()).parse().expect("a whole number")
}

/// No key but the right one is taken; ids, hashes and records are written as they were read.
pub(crate) fn keys(data: &[u8]) {
    if let Ok(record) = serde_json::from_slice::<KeyRecord>(data) {
        let written = serde_json::to_value(&record).expect("a record has string keys only");
        let read: KeyRecord = serde_json::from_value(written.clone()).expect("its own form");
        assert_eq!(serde_json::to_value(&read).expect("a record has string keys only"), written);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let taken = OF_KEYS.with(|of| judge(of, &Credential::Key(text.to_owned())));
    assert_eq!(taken.is_some(), text == KEY, "{text}");
    if let Ok(id) = text.parse::<KeyId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(hash) = text.parse::<KeyHash>() {
        let written = hash.to_string();
        assert!(written.eq_ignore_ascii_case(text) && written.parse::<KeyHash>().is_ok_and(|read| read.matches(&hash)));
    }
}

/// A key set is bounded and has no shared secret if it was fetched; whatever its keys are, a token is signed.
pub(crate) fn key_sets(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = VerifyingKey::from_pem(text).map(|key| key.algorithm());
    }
    let (file, fetched) = (KeySet::from_json(data, Origin::File), KeySet::from_json(data, Origin::Fetched));
    for fault in [&file, &fetched].into_iter().filter_map(|read| read.as_ref().err()) {
        assert!(fault.to_string().len() < 256, "{fault}");
    }
    let Ok(file) = file else {
        assert!(fetched.is_err());
        return;
    };
    assert!((1..=KEYS_MAX).contains(&file.len()));
    match fetched {
        Ok(fetched) => assert!(!fetched.is_empty() && fetched.len() <= file.len()),
        // There were shared secrets alone.
        Err(fault) => assert!(matches!(fault, KeyFault::NoneUsable(_)), "{fault}"),
    }
    let of_set = |path| {
        let keys = KeySource::File(path);
        Closed {
            issuers: vec![IssuerConfig { keys, ..IssuerConfig::from_secret(Secret::new(SECRET)) }],
            ..Closed::default()
        }
    };
    let authenticator = with_file(data, of_set).expect("it was read before");
    let claims = URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"a\",\"exp\":{}}}", NOW + 60));
    for algorithm in ["HS256", "RS256", "ES256", "EdDSA", "none"] {
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{algorithm}\"}}"));
        for signature in ["", "AAAA", &"A".repeat(86), &"A".repeat(342)] {
            let token = Credential::Token(format!("{header}.{claims}.{signature}"));
            // There are keys that verify zeros: who chooses the keys signs what he likes.
            let is_signed = algorithm != "none" && !signature.is_empty();
            assert!(judge(&authenticator, &token).is_none() || is_signed, "{algorithm}");
        }
    }
}

/// A file is sound, or all its faults are named.
pub(crate) fn declared(data: &[u8]) {
    let made = with_file(data, |path| Closed { declared: Some(path), ..Closed::default() });
    for fault in made.err().iter().flatten() {
        assert_eq!(fault.field, "declared");
        assert!(!fault.message.is_empty());
        // Texts of the file may be quoted, but never a hash as it stands there.
        let has_hash = |text: &str| {
            text.split("sha256:")
                .skip(1)
                .any(|rest| rest.bytes().take(64).all(|b| b.is_ascii_hexdigit()) && rest.len() >= 64)
        };
        assert!(!has_hash(&fault.message), "{}", fault.message);
    }
}
