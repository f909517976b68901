//! Which projects a right is for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::project::{PROJECT_NAME_MAX, Project};

/// One project (`demo`), all whose names begin alike (`team-*`), or all (`*`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ProjectPattern {
    /// Every project, those to come as well.
    Any,
    /// Every project whose name begins so.
    Prefix(Arc<str>),
    /// This one.
    Exact(Project),
}

/// A text that is no pattern of projects' names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern is a project's name, the beginning of one with `*` behind it, or `*`")]
pub struct ProjectPatternError;

impl ProjectPattern {
    /// Is this project one of them?
    pub fn matches(&self, project: &Project) -> bool {
        match self {
            ProjectPattern::Any => true,
            ProjectPattern::Prefix(prefix) => project.as_str().starts_with(&**prefix),
            ProjectPattern::Exact(name) => name == project,
        }
    }
}

impl FromStr for ProjectPattern {
    type Err = ProjectPatternError;

    fn from_str(text: &str) -> Result<ProjectPattern, ProjectPatternError> {
        match text.strip_suffix('*') {
            Some("") => Ok(ProjectPattern::Any),
            // The beginning of a name that could be is a name itself, so one rule serves both.
            Some(prefix) if prefix.len() < PROJECT_NAME_MAX && prefix.parse::<Project>().is_ok() => {
                Ok(ProjectPattern::Prefix(prefix.into()))
            }
            Some(_) => Err(ProjectPatternError),
            None => text.parse().map(ProjectPattern::Exact).map_err(|_| ProjectPatternError),
        }
    }
}

impl fmt::Display for ProjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProjectPattern::Any => f.write_str("*"),
            ProjectPattern::Prefix(prefix) => write!(f, "{prefix}*"),
            ProjectPattern::Exact(project) => fmt::Display::fmt(project, f),
        }
    }
}

impl From<Project> for ProjectPattern {
    fn from(project: Project) -> ProjectPattern {
        ProjectPattern::Exact(project)
    }
}

impl From<ProjectPattern> for String {
    fn from(pattern: ProjectPattern) -> String {
        pattern.to_string()
    }
}

impl TryFrom<String> for ProjectPattern {
    type Error = ProjectPatternError;

    fn try_from(text: String) -> Result<ProjectPattern, ProjectPatternError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let read: ProjectPattern = pattern.parse().expect("a pattern");
        assert_eq!(read.to_string(), pattern);
        for name in matching {
            assert!(read.matches(&name.parse().expect("a name")), "{pattern} {name}");
        }
        for name in others {
            assert!(!read.matches(&name.parse().expect("a name")), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_matches_names() {
        check("demo", &["demo"], &["demo2", "dem", "Demo"]);
        check("team-*", &["team-", "team-a", "team-a.b"], &["team", "my-team-a", "Team-a"]);
        check("*", &["demo", "a"], &[]);
    }

    #[test]
    fn other_uses_of_the_star_are_refused() {
        for bad in ["", "**", "a*b", "*a", "a**", "-*", "a b*", " *", &format!("{}*", "x".repeat(128))] {
            assert!(bad.parse::<ProjectPattern>().is_err(), "{bad} was taken");
        }
    }
}
