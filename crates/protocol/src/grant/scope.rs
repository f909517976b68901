//! What can be allowed, one by one and as a set.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One thing that may be allowed. No scope holds another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Scope {
    /// Read events, state, history and presence.
    Read = 1,
    /// Append events.
    Publish = 2,
    /// Take commands and acknowledge them.
    Work = 4,
    /// Send commands.
    Command = 8,
    /// Answer approvals.
    Approve = 16,
    /// Change settings, keys and members; delete.
    Admin = 32,
}

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no scope: read, publish, work, command, approve, admin")]
pub struct ScopeError(String);

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 6] =
        [Scope::Read, Scope::Publish, Scope::Work, Scope::Command, Scope::Approve, Scope::Admin];

    /// The word in tokens, configuration and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Publish => "publish",
            Scope::Work => "work",
            Scope::Command => "command",
            Scope::Approve => "approve",
            Scope::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(word: &str) -> Result<Scope, ScopeError> {
        let known = Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
        known.ok_or_else(|| ScopeError(word.chars().take(32).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes. Written as words with spaces, read with spaces or commas; in JSON a list of words.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "Vec<&'static str>", try_from = "Vec<String>")]
pub struct Scopes(u8);

impl Scopes {
    /// Nothing.
    pub const NONE: Scopes = Scopes(0);
    /// Everything.
    pub const ALL: Scopes = Scopes(63);

    /// These and those.
    pub const fn union(self, other: Scopes) -> Scopes {
        Scopes(self.0 | other.0)
    }

    /// Those of these that are in the other set as well.
    pub const fn intersection(self, other: Scopes) -> Scopes {
        Scopes(self.0 & other.0)
    }

    /// Is it in the set?
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }

    /// Each of the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Scopes {
        Scopes(scopes.into_iter().fold(0, |bits, scope| bits | scope as u8))
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Scopes {
        Scopes(scope as u8)
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    fn from_str(words: &str) -> Result<Scopes, ScopeError> {
        words.split([' ', ',']).filter(|word| !word.is_empty()).map(Scope::from_str).collect()
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = ScopeError;

    fn try_from(words: Vec<String>) -> Result<Scopes, ScopeError> {
        words.iter().map(|word| word.parse::<Scope>()).collect()
    }
}

impl From<Scopes> for Vec<&'static str> {
    fn from(scopes: Scopes) -> Vec<&'static str> {
        scopes.iter().map(Scope::as_str).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, scope) in self.iter().enumerate() {
            write!(f, "{}{scope}", if place == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scopes({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_again() {
        let scopes: Scopes = "approve,read  read".parse().expect("scopes");
        assert_eq!(scopes.to_string(), "read approve");
        assert_eq!(scopes, [Scope::Approve, Scope::Read].into_iter().collect());
        assert_eq!("".parse(), Ok(Scopes::NONE));
        assert!("read admins".parse::<Scopes>().is_err() && "Read".parse::<Scope>().is_err());
        assert_eq!(Scopes::ALL.iter().count(), Scope::ALL.len());
    }

    #[test]
    fn json_is_a_list_of_words() {
        let scopes: Scopes = serde_json::from_str(r#"["work","publish"]"#).expect("scopes");
        assert_eq!(serde_json::to_string(&scopes).expect("JSON"), r#"["publish","work"]"#);
        assert!(serde_json::from_str::<Scopes>(r#"["root"]"#).is_err());
    }
}
