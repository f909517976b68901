//! Keys and members that a file declares, in TOML; it survives an empty store.
//!
//! ```toml
//! [[keys]]
//! id = "0123456789abcdef"
//! hash = "sha256:<64 hex digits>"
//! projects = ["demo", "team-*"]
//! scopes = ["publish", "work"]        # the default
//! note = "nightly runner"
//! revoked = false
//! limits = { events_per_second = 500 }
//!
//! [[members]]
//! user = "alice@example.com"
//! projects = ["demo"]
//! scopes = ["read", "approve"]
//! ```
//!
//! All that is wrong is told together, and nothing of a faulty file is used.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use tidings_protocol::grant::{ProjectPattern, Scope, Scopes};
use tidings_protocol::project::Project;
use tidings_protocol::timestamp::parse_rfc3339;

use crate::issuer::is_user;
use crate::key::{KEY_SCOPES, KeyHash, KeyId, KeyLimits, KeyRecord};

/// Keys and members of a file.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    keys: HashMap<KeyId, Arc<KeyRecord>>,
    members: HashMap<String, Vec<(ProjectPattern, Scopes)>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    id: String,
    hash: String,
    projects: Vec<String>,
    scopes: Option<Vec<String>>,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    note: String,
    #[serde(default)]
    revoked: bool,
    expires: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    events_per_second: Option<u32>,
    bytes_per_second: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMember {
    user: String,
    projects: Vec<String>,
    scopes: Vec<String>,
}

impl Declared {
    /// Reads a file's contents; all that is wrong with it, each with its place.
    pub(crate) fn parse(contents: &[u8]) -> Result<Declared, Vec<String>> {
        let text = str::from_utf8(contents).map_err(|error| vec![format!("not UTF-8: {error}")])?;
        let file: toml::Table = text.parse().map_err(|error: toml::de::Error| vec![broken(&error, text)])?;
        let (mut declared, mut faults) = (Declared::default(), Vec::new());
        for (name, value) in file {
            match (name.as_str(), value) {
                ("keys", toml::Value::Array(list)) => {
                    for (place, value) in list.into_iter().enumerate() {
                        declared.add_key(value, &format!("keys[{place}]"), &mut faults);
                    }
                }
                ("members", toml::Value::Array(list)) => {
                    for (place, value) in list.into_iter().enumerate() {
                        declared.add_member(value, &format!("members[{place}]"), &mut faults);
                    }
                }
                // Of the same file, and read by who applies them.
                ("settings", _) => {}
                ("keys" | "members", _) => faults.push(format!("{name}: must be a list of tables (`[[{name}]]`)")),
                (_, _) => faults.push(format!("{name}: unknown; there are `keys`, `members` and `settings`")),
            }
        }
        if faults.is_empty() { Ok(declared) } else { Err(faults) }
    }

    fn add_key(&mut self, value: toml::Value, at: &str, faults: &mut Vec<String>) {
        let Some(raw) = table::<RawKey>(value, at, faults) else { return };
        let before = faults.len();
        let id = each(&raw.id, &format!("{at}.id"), faults).and_then(|id: KeyId| {
            let taken = self.keys.contains_key(&id);
            if taken {
                faults.push(format!("{at}.id: declared twice"));
            }
            (!taken).then_some(id)
        });
        let hash: Option<KeyHash> = each(&raw.hash, &format!("{at}.hash"), faults);
        let projects = list(&raw.projects, &format!("{at}.projects"), faults);
        let scopes = match &raw.scopes {
            Some(words) => list::<Scope>(words, &format!("{at}.scopes"), faults).into_iter().collect(),
            None => KEY_SCOPES.parse().expect("a constant"),
        };
        let expires_at = raw.expires.and_then(|text| {
            let read = parse_rfc3339(&text).and_then(|ms| u64::try_from(ms).ok());
            if read.is_none() {
                faults.push(format!("{at}.expires: not a time as in 2027-01-31T12:00:00Z"));
            }
            read.map(|ms| ms / 1000)
        });
        let (Some(id), Some(hash)) = (id, hash) else { return };
        if faults.len() > before {
            return;
        }
        let RawLimits { events_per_second, bytes_per_second } = raw.limits;
        let record = KeyRecord {
            id: id.clone(),
            hash,
            projects,
            scopes,
            limits: KeyLimits { events_per_second, bytes_per_second },
            created_at: 0,
            expires_at,
            // When is not told; that it is is what matters.
            revoked_at: raw.revoked.then_some(0),
            note: raw.note,
        };
        self.keys.insert(id, Arc::new(record));
    }

    fn add_member(&mut self, value: toml::Value, at: &str, faults: &mut Vec<String>) {
        let Some(raw) = table::<RawMember>(value, at, faults) else { return };
        if !is_user(&raw.user) {
            faults.push(format!("{at}.user: empty, too long, or a name that no user may have"));
        }
        let scopes = list::<Scope>(&raw.scopes, &format!("{at}.scopes"), faults).into_iter().collect();
        let projects = list::<ProjectPattern>(&raw.projects, &format!("{at}.projects"), faults);
        self.members.entry(raw.user).or_default().extend(projects.into_iter().map(|projects| (projects, scopes)));
    }

    /// The record of this key.
    pub(crate) fn key(&self, id: &KeyId) -> Option<Arc<KeyRecord>> {
        self.keys.get(id).cloned()
    }

    /// What this user may do in this project.
    pub(crate) fn member(&self, project: &Project, user: &str) -> Scopes {
        let rights = self.members.get(user).into_iter().flatten();
        let here = rights.filter(|(projects, _)| projects.matches(project));
        here.fold(Scopes::NONE, |scopes, (_, more)| scopes.union(*more))
    }
}

/// Where TOML broke. The error's own text quotes the line, which may hold what is not for a log.
fn broken(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map(|span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
    let line = line.map_or(String::new(), |line| format!("line {line}: "));
    format!("{line}not TOML: {}", error.message())
}

fn table<T: serde::de::DeserializeOwned>(value: toml::Value, at: &str, faults: &mut Vec<String>) -> Option<T> {
    let read = value.try_into::<T>();
    read.map_err(|error| faults.push(format!("{at}: {}", error.message()))).ok()
}

fn each<T: std::str::FromStr<Err: ToString>>(text: &str, at: &str, faults: &mut Vec<String>) -> Option<T> {
    text.parse().map_err(|error: T::Err| faults.push(format!("{at}: {}", error.to_string()))).ok()
}

/// Every one of the list; a list without any is a fault.
fn list<T: std::str::FromStr<Err: ToString>>(texts: &[String], at: &str, faults: &mut Vec<String>) -> Vec<T> {
    if texts.is_empty() {
        faults.push(format!("{at}: must not be empty"));
    }
    let read = texts.iter().enumerate().filter_map(|(place, text)| each(text, &format!("{at}[{place}]"), faults));
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000ff";

    fn project(name: &str) -> Project {
        name.parse().expect("a name")
    }

    #[test]
    fn keys_and_members_are_read() {
        let text = format!(
            r#"
            [[keys]]
            id = "0123456789abcdef"
            hash = "{HASH}"
            projects = ["demo", "team-*"]
            note = "nightly"
            limits = {{ events_per_second = 500 }}
            expires = "2027-01-31T12:00:00Z"

            [[keys]]
            id = "0123456789ABCDEF"
            hash = "{HASH}"
            projects = ["demo"]
            scopes = ["read"]
            revoked = true

            [[members]]
            user = "alice"
            projects = ["demo"]
            scopes = ["read"]

            [[members]]
            user = "alice"
            projects = ["de*"]
            scopes = ["approve"]
            "#
        );
        let declared = Declared::parse(text.as_bytes()).expect("a good file");
        let key = declared.key(&"0123456789abcdef".parse().expect("an id")).expect("declared");
        assert_eq!((key.scopes.to_string(), key.limits.events_per_second), ("publish work".to_owned(), Some(500)));
        assert_eq!((key.hash.to_string(), key.expires_at), (HASH.to_owned(), Some(1_801_396_800)));
        let other = declared.key(&"0123456789ABCDEF".parse().expect("an id")).expect("declared");
        assert_eq!((other.scopes.to_string(), other.revoked_at), ("read".to_owned(), Some(0)));
        assert_eq!(declared.member(&project("demo"), "alice").to_string(), "read approve");
        assert_eq!(declared.member(&project("deep"), "alice").to_string(), "approve");
        assert_eq!(declared.member(&project("demo"), "bob"), Scopes::NONE);
    }

    #[test]
    fn all_faults_are_told_with_their_places() {
        let text = format!(
            r#"
            colour = "red"
            [[keys]]
            id = "short"
            hash = "md5:00"
            projects = ["a b", "demo", "-*"]
            scopes = ["root"]
            expires = "tomorrow"
            [[keys]]
            id = "0123456789abcdef"
            hash = "{HASH}"
            projects = []
            [[keys]]
            id = "0123456789abcdef"
            hash = "{HASH}"
            projects = ["demo"]
            secret = "x"
            [[members]]
            user = "key:x"
            projects = ["demo"]
            scopes = []
            "#
        );
        let faults = Declared::parse(text.as_bytes()).expect_err("a faulty file");
        let places: Vec<&str> = faults.iter().filter_map(|fault| Some(fault.split_once(": ")?.0)).collect();
        let expected = [
            "colour",
            "keys[0].expires",
            "keys[0].hash",
            "keys[0].id",
            "keys[0].projects[0]",
            "keys[0].projects[2]",
            "keys[0].scopes[0]",
            "keys[1].projects",
            "keys[2]",
            "members[0].scopes",
            "members[0].user",
        ];
        let mut sorted = places.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{faults:#?}");
    }

    #[test]
    fn a_key_is_declared_once() {
        let key = format!("[[keys]]\nid = \"0123456789abcdef\"\nhash = \"{HASH}\"\nprojects = [\"demo\"]\n");
        assert!(Declared::parse(key.as_bytes()).is_ok());
        let faults = Declared::parse(format!("{key}{key}").as_bytes()).expect_err("a faulty file");
        assert_eq!(faults, ["keys[1].id: declared twice"]);
    }

    #[test]
    fn broken_toml_is_told_by_its_line_and_not_quoted() {
        let faults = Declared::parse(b"[[keys]]\nhash = \"hush\n").expect_err("broken");
        assert!(faults[0].starts_with("line 2: ") && !faults[0].contains("hush"), "{faults:?}");
        assert!(Declared::parse(b"\xff").is_err());
        assert!(Declared::parse(b"keys = 1").is_err());
        assert!(Declared::parse(b"").is_ok());
    }
}
