//! What a token's claims say: who, in which projects, with which scopes. Where each stands is a setting.

use serde_json::{Map, Value};
use tidings_protocol::grant::{ProjectPattern, Right, Scope, Scopes};

/// Most patterns of projects that are read from one token.
const PATTERNS_MAX: usize = 1_000;

/// The place of a claim: names with dots (`realm_access.roles`), or a JSON pointer (`/https:~1~1example.com~1projects`)
/// where a name has dots itself. The whole text as one name at the top comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    text: String,
    names: Vec<String>,
}

/// A text that names no claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a claim is named by words with dots between them, or by a JSON pointer")]
pub struct ClaimPathError;

impl ClaimPath {
    fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        if let Some(value) = claims.get(&self.text) {
            return Some(value);
        }
        let (first, rest) = self.names.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, name| value.as_object()?.get(name))
    }
}

impl std::str::FromStr for ClaimPath {
    type Err = ClaimPathError;

    fn from_str(text: &str) -> Result<ClaimPath, ClaimPathError> {
        let names: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect(),
            None => text.split('.').map(str::to_owned).collect(),
        };
        if names.iter().any(String::is_empty) {
            Err(ClaimPathError)
        } else {
            Ok(ClaimPath { text: text.into(), names })
        }
    }
}

/// Where a token says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPaths {
    /// The user: a text. Without it the token has no memberships, and a viewer id of its own.
    pub user: ClaimPath,
    /// The projects: a text with spaces or commas, a list, or an object from pattern to the scopes there.
    pub projects: ClaimPath,
    /// The scopes: a text with spaces or commas, or a list. Words that are no scopes are passed over, since a token may
    /// be for other services too.
    pub scopes: ClaimPath,
    /// What stands before a scope's word (`tidings:` for `tidings:read`); words without it are passed over.
    pub scope_prefix: String,
}

impl Default for ClaimPaths {
    fn default() -> ClaimPaths {
        let path = |text: &str| text.parse().expect("a constant path");
        ClaimPaths {
            user: path("sub"),
            projects: path("projects"),
            scopes: path("scopes"),
            scope_prefix: String::new(),
        }
    }
}

impl ClaimPaths {
    /// The user, as it stands there.
    pub(crate) fn user<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        self.user.find(claims)
    }

    /// The rights that the claims give. What is not understood gives none.
    pub(crate) fn rights(&self, claims: &Map<String, Value>) -> Vec<Right> {
        let scopes = self.scopes.find(claims).map_or(Scopes::NONE, |value| self.scopes(value));
        match self.projects.find(claims) {
            Some(Value::Object(projects)) => {
                let each = projects.iter().take(PATTERNS_MAX);
                let each = each.filter_map(|(pattern, scopes)| right(pattern, self.scopes(scopes)));
                each.collect()
            }
            Some(value) => words(value).take(PATTERNS_MAX).filter_map(|pattern| right(pattern, scopes)).collect(),
            None => Vec::new(),
        }
    }

    fn scopes(&self, value: &Value) -> Scopes {
        let ours = words(value).filter_map(|word| word.strip_prefix(self.scope_prefix.as_str()));
        ours.filter_map(|word| word.parse::<Scope>().ok()).collect()
    }
}

fn right(pattern: &str, scopes: Scopes) -> Option<Right> {
    let projects: ProjectPattern = pattern.parse().ok()?;
    (scopes != Scopes::NONE).then_some(Right { projects, scopes })
}

/// The words of a text, or of a list of texts.
fn words(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(text.split([' ', ',']).filter(|word| !word.is_empty())),
        Value::Array(list) => Box::new(list.iter().filter_map(Value::as_str)),
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(projects: &str, scopes: &str) -> ClaimPaths {
        let path = |text: &str| text.parse().expect("a path");
        ClaimPaths { projects: path(projects), scopes: path(scopes), ..ClaimPaths::default() }
    }

    /// Rights as `pattern: scopes`, one a line.
    fn check(paths: &ClaimPaths, claims: &Value, expected: &[&str]) {
        let rights = paths.rights(claims.as_object().expect("an object"));
        let told: Vec<String> = rights.iter().map(|right| format!("{}: {}", right.projects, right.scopes)).collect();
        assert_eq!(told, expected, "{claims}");
    }

    #[test]
    fn texts_and_lists_are_read_alike() {
        let plain = ClaimPaths::default();
        check(
            &plain,
            &json!({"projects": "a team-*", "scopes": "read,approve"}),
            &["a: read approve", "team-*: read approve"],
        );
        check(&plain, &json!({"projects": ["a", "*"], "scopes": ["read"]}), &["a: read", "*: read"]);
    }

    #[test]
    fn an_object_gives_each_project_its_own_scopes() {
        let claims = json!({"projects": {"a": "read", "b-*": ["publish", "work"], "c": 1}, "scopes": "admin"});
        check(&ClaimPaths::default(), &claims, &["a: read", "b-*: publish work"]);
    }

    #[test]
    fn claims_lie_as_deep_as_the_path_says() {
        let claims = json!({"realm_access": {"roles": ["read", "offline_access"]}, "x": {"y": {"projects": "a"}}});
        check(&paths("x.y.projects", "realm_access.roles"), &claims, &["a: read"]);
        check(&paths("/x/y/projects", "/realm_access/roles"), &claims, &["a: read"]);
        let claims = json!({"https://example.com/projects": ["a"], "scopes": "read"});
        check(&paths("/https:~1~1example.com~1projects", "scopes"), &claims, &["a: read"]);
        check(&paths("https://example.com/projects", "scopes"), &claims, &["a: read"]);
    }

    #[test]
    fn what_is_missing_or_strange_gives_nothing() {
        let plain = ClaimPaths::default();
        check(&plain, &json!({"scopes": "read"}), &[]);
        check(&plain, &json!({"projects": "a"}), &[]);
        check(&plain, &json!({"projects": "a", "scopes": "root READ"}), &[]);
        check(&plain, &json!({"projects": [1, "a b", "-", {}], "scopes": "read"}), &[]);
        check(&plain, &json!({"projects": true, "scopes": {"read": true}}), &[]);
        check(&paths("projects.deep", "scopes"), &json!({"projects": "a", "scopes": "read"}), &[]);
    }

    #[test]
    fn scopes_may_have_a_prefix() {
        let prefixed = ClaimPaths { scope_prefix: "tidings:".to_owned(), ..ClaimPaths::default() };
        check(&prefixed, &json!({"projects": "a", "scopes": "read tidings:approve"}), &["a: approve"]);
    }

    #[test]
    fn a_path_has_names() {
        for bad in ["", ".", "a..b", "a.", "/", "/a//b"] {
            assert_eq!(bad.parse::<ClaimPath>(), Err(ClaimPathError), "{bad}");
        }
    }
}
