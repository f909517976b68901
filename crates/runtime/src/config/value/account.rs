//! Names and passwords of accounts elsewhere.

use std::fmt;

use toml::Value;

use super::{Setting, expected};

/// A text; empty: none.
impl Setting for String {
    fn read(value: &Value) -> Result<String, String> {
        value.as_str().map(str::to_owned).ok_or_else(|| expected("a text", value))
    }

    fn show(&self) -> Value {
        Value::String(self.clone())
    }
}

/// A password, which is never shown; empty: none.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Password(String);

impl Password {
    /// The password. Not for logs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn redacted(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "[redacted]" }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.redacted())
    }
}

impl Setting for Password {
    fn read(value: &Value) -> Result<Password, String> {
        value.as_str().map(|text| Password(text.to_owned())).ok_or_else(|| expected("a text", value))
    }

    fn show(&self) -> Value {
        Value::String(self.redacted().into())
    }
}
