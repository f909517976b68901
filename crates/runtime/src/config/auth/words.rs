//! The texts of `[auth]`.

use std::fmt;
use std::time::Duration;

use tidings_auth::{ClaimPath, shown_url};
use toml::Value;

use super::claim_path;
use crate::config::value::Setting;

/// A text, or none where it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word(String);

impl Word {
    /// The text.
    pub fn get(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl Setting for Word {
    fn read(value: &Value) -> Result<Word, String> {
        Ok(Word(value.as_str().ok_or("expected a text")?.trim().to_owned()))
    }

    fn show(&self) -> Value {
        Value::String(self.0.clone())
    }
}

/// The address of a service, or none where it is empty. It may hold a credential (user and password, or in the query), so it
/// is shown without these.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Address(Word);

impl Address {
    /// The whole address.
    pub fn get(&self) -> Option<&str> {
        self.0.get()
    }

    fn shown(&self) -> String {
        self.get().map_or_else(String::new, shown_url)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown())
    }
}

impl Setting for Address {
    fn read(value: &Value) -> Result<Address, String> {
        Word::read(value).map(Address)
    }

    fn show(&self) -> Value {
        Value::String(self.shown())
    }
}

/// Texts: a list in a file, with commas between them elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words(Vec<String>);

impl Words {
    /// All of them.
    pub fn get(&self) -> &[String] {
        &self.0
    }
}

impl Setting for Words {
    fn read(value: &Value) -> Result<Words, String> {
        const EXPECTED: &str = "expected a list of texts";
        let words: Vec<&str> = match value {
            Value::Array(list) => list.iter().map(|word| word.as_str().ok_or(EXPECTED)).collect::<Result<_, _>>()?,
            Value::String(text) => text.split(',').collect(),
            _ => return Err(EXPECTED.to_owned()),
        };
        Ok(Words(words.into_iter().map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()))
    }

    fn show(&self) -> Value {
        Value::Array(self.0.iter().cloned().map(Value::String).collect())
    }
}

/// The place of a claim in a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    text: String,
    path: ClaimPath,
}

impl Claim {
    /// A place that is known to be one.
    pub(super) fn new(text: &'static str) -> Claim {
        Claim { text: text.to_owned(), path: text.parse().expect("a constant path") }
    }

    /// The place.
    pub fn path(&self) -> ClaimPath {
        self.path.clone()
    }
}

impl Setting for Claim {
    fn read(value: &Value) -> Result<Claim, String> {
        let text = value.as_str().ok_or("expected a text")?.trim();
        Ok(Claim { text: text.to_owned(), path: claim_path(text)? })
    }

    fn show(&self) -> Value {
        Value::String(self.text.clone())
    }
}

/// How long tokens may be good; none where it is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lifetime(Duration);

impl Lifetime {
    /// The time.
    pub fn get(self) -> Option<Duration> {
        Some(self.0).filter(|time| !time.is_zero())
    }
}

impl Setting for Lifetime {
    fn read(value: &Value) -> Result<Lifetime, String> {
        let time = Duration::read(value)?;
        if !time.is_zero() && time < Duration::from_secs(1) {
            return Err("must be 0, or at least 1000: tokens count seconds".to_owned());
        }
        Ok(Lifetime(time))
    }

    fn show(&self) -> Value {
        self.0.show()
    }
}
