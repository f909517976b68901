use super::*;
use crate::config::{Config, Loaded, Sources};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn load(file: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<(String, String)>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tidings.toml");
    std::fs::write(&path, file).expect("the file");
    let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let sources = Sources { file: Some(path), environment, flags: Vec::new() };
    Config::load(&sources).map_err(|faults| faults.0.into_iter().map(|fault| (fault.key, fault.message)).collect())
}

fn sound(file: &str, variables: &[(&str, &str)]) -> Config {
    load(file, variables).expect("sound").config
}

/// The keys of all faults, each with a part of its message.
fn check(file: &str, expected: &[(&str, &str)]) {
    let faults = load(file, &[]).expect_err("faulty");
    let keys: Vec<&str> = faults.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, expected.iter().map(|(key, _)| *key).collect::<Vec<_>>(), "{file}: {faults:?}");
    for ((_, message), (_, part)) in faults.iter().zip(expected) {
        assert!(message.contains(part), "{file}: {message:?} lacks {part:?}");
    }
}

#[test]
fn nothing_given_is_open_and_a_secret_is_enough_to_close() {
    assert!(sound("", &[]).is_open());
    assert!(sound("", &[("TIDINGS_AUTH__SECRET", "")]).is_open(), "an empty variable is how launchers say: not set");
    let config = sound("", &[("TIDINGS_AUTH__SECRET", SECRET), ("TIDINGS_GATEWAY__LISTEN", "0.0.0.0:8000")]);
    assert!(!config.is_open());
    assert!(!config.auth.authenticator(Stores::default()).expect("sound").is_open());
    check("[gateway]\nlisten = \"0.0.0.0:8000\"", &[("gateway.listen", "loopback")]);
}

#[test]
fn all_that_is_wrong_is_told_by_key() {
    check("[auth]\nsecret = \"short\"", &[("auth.secret", "32 bytes")]);
    check("[auth]\nsecret = 5", &[("auth.secret", "a text")]);
    check(
        "[auth]\njwks_url = \"http://id.example.com/\"\nkey_file = \"no-such\"\nwebhook_secret = \"s\"",
        &[
            ("auth.webhook_secret", "webhook_url"),
            ("auth.key_file", "cannot be read"),
            ("auth.issuer", "name"),
            ("auth.audience", "audience"),
            ("auth.jwks_url", "https"),
        ],
    );
    check(
        "[auth]\naudience = [\"a\"]\nclaim_user = \"id\"",
        &[("auth.audience", "secret"), ("auth.claim_user", "secret")],
    );
    check("[auth]\nclaim_user = \"a..b\"", &[("auth.claim_user", "dots")]);
    check(
        "[auth]\nwebhook_url = \"https://h/\"\ndeclared_file = \"no-such\"",
        &[("auth.webhook_url", "tokens"), ("auth.declared_file", "cannot be read")],
    );
    let file = format!("[auth]\nsecret = \"{SECRET}\"\ntoken_lifetime_max_ms = 5");
    check(&file, &[("auth.token_lifetime_max_ms", "1000")]);
}

#[test]
fn several_issuers_are_tables_of_a_file() {
    let two = format!(
        "[auth]\nsecret = \"{SECRET}\"\n\
         [[auth.issuers]]\nissuer = \"a\"\nsubject_prefix = \"a/\"\nsecret = \"{SECRET}\"\n\
         [[auth.issuers]]\nissuer = \"b\"\nsubject_prefix = \"b/\"\nsecret = \"{SECRET}\"\n\
         claim_scopes = \"realm_access.roles\"\n"
    );
    let config = sound(&two, &[]);
    assert_eq!(config.auth.settings().0, [("secret", None), ("secret", Some(0)), ("secret", Some(1))]);
    let list = |tables: &str| format!("[auth]\n{tables}");
    check(&list("[[auth.issuers]]\nissuer = \"a\""), &[("auth.issuers", "number 1 has neither")]);
    check(&list("[[auth.issuers]]\nsecret = \"x\""), &[("auth.issuers", "number 1, secret")]);
    check(&list("[[auth.issuers]]\nsekret = \"x\""), &[("auth.issuers", "sekret: unknown key")]);
    check("[auth]\nissuers = \"a\"", &[("auth.issuers", "only a file")]);
    check(&two.replace("subject_prefix = \"b/\"\n", ""), &[("auth.issuers", "number 2, subject_prefix: another")]);
    check(&two.replace("b/", "key:"), &[("auth.issuers", "number 2, subject_prefix")]);
    let file = format!("[auth]\nsecret = \"{SECRET}\"\nsubject_prefix = \"token:\"");
    check(&file, &[("auth.subject_prefix", "`token:`")]);
    check("[auth]\nsubject_prefix = \"a/\"", &[("auth.subject_prefix", "secret")]);
}

#[test]
fn nothing_secret_is_shown() {
    let file = format!(
        "[auth]\nsecret = \"hush{SECRET}\"\nwebhook_url = \"https://hush:hush@h/asked\"\nwebhook_secret = \"hush\"\n\
         [[auth.issuers]]\nissuer = \"a\"\naudience = \"t\"\nsubject_prefix = \"a/\"\nsecret = \"hush{SECRET}\"\n\
         jwks_url = \"https://id.example.com/keys?key=hush\"\n"
    );
    let loaded = load(&file, &[]).expect("sound");
    for text in [loaded.show(), format!("{loaded:?}"), format!("{:?}", loaded.config.auth.settings())] {
        assert!(!text.contains("hush") && text.contains("[redacted]"), "{text}");
        assert!(
            text.contains("https://[redacted]@h/asked") && text.contains("id.example.com/keys?[redacted]"),
            "{text}"
        );
    }
    let faults = load("[auth]\nsecret = \"hush\"\n[[auth.issuers]]\nsecret = \"hush\"", &[]).expect_err("too short");
    assert!(!format!("{faults:?}").contains("hush"), "{faults:?}");
}

#[test]
fn opened_is_for_this_machine_alone() {
    let of = |address: &str| {
        let variables = [("TIDINGS_AUTH__SECRET", SECRET), ("TIDINGS_GATEWAY__LISTEN", address)];
        load("", &variables).expect("sound").opened()
    };
    assert!(of("127.0.0.1:8000").expect("loopback").config.is_open());
    assert!(of("0.0.0.0:8000").expect_err("others reach it").to_string().contains("gateway.listen"));
}

#[test]
fn tokens_are_minted_as_they_are_asked_for() {
    let auth = |file: &str| sound(&format!("[auth]\nsecret = \"{SECRET}\"\n{file}"), &[]).auth;
    let minted = auth("issuer = \"i\"\naudience = [\"a\", \"b\"]\ntoken_lifetime_max_ms = 60000").minting();
    let ttl_max = Some(Duration::from_mins(1));
    assert_eq!(minted, Some(Minted { issuer: Some("i".into()), audience: Some("a".into()), ttl_max }));
    assert_eq!(auth("claim_scopes = \"scope\"").minting(), None);
}
