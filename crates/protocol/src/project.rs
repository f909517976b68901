//! Names of projects.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name of a project, in bytes.
pub const PROJECT_NAME_MAX: usize = 128;

/// A project's name: `^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Project(Arc<str>);

/// A text that is not a project's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a project's name is 1 to {PROJECT_NAME_MAX} characters of A-Z a-z 0-9 . _ - and starts with a letter or digit"
)]
pub struct ProjectError;

impl Project {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Project {
    type Err = ProjectError;

    fn from_str(name: &str) -> Result<Project, ProjectError> {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if first && rest && name.len() <= PROJECT_NAME_MAX { Ok(Project(name.into())) } else { Err(ProjectError) }
    }
}

impl Borrow<str> for Project {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Project {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Project({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!("demo".parse::<Project>().is_ok());
        assert!("A.b_c-9".parse::<Project>().is_ok());
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert!(bad.parse::<Project>().is_err(), "{bad} was taken");
        }
    }
}
