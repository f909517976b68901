//! The built-in rules: shapes that are secrets by themselves, and values behind words that say so.
//!
//! Each begins at the edge of a word, so that what one find leaves over is no find of another: doing it again changes
//! nothing. Word edges are those of ASCII, which the fast automata know.

use std::sync::LazyLock;

use regex_automata::meta::Regex;

use super::text::Stage;
use super::{Rule, config};

/// A built-in rule.
#[derive(Debug, Clone, Copy)]
pub struct Builtin {
    /// Its name, in `[redacted:<name>]` and in metrics.
    pub name: &'static str,
    pattern: &'static str,
}

/// How many of them there are.
pub const BUILTIN_COUNT: usize = 15;

/// How many are told by their shape; the others need a word before the secret.
const CERTAIN: usize = 11;

/// All built-in rules. The order decides between finds that begin at the same place.
pub const BUILTIN: [Builtin; BUILTIN_COUNT] = [
    Builtin { name: "aws_access_key_id", pattern: r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}(?-u:\b)" },
    Builtin { name: "github_token", pattern: r"(?-u:\b)(?:gh[pousr]_[0-9A-Za-z]{36,}|github_pat_[0-9A-Za-z_]{22,})" },
    Builtin { name: "gitlab_token", pattern: r"(?-u:\b)glpat-[0-9A-Za-z_.-]{20,}" },
    Builtin {
        name: "slack_token",
        pattern: r"(?-u:\b)(?:xox[a-z](?:\.xox[a-z])?-[0-9A-Za-z-]{10,}|xapp-[0-9A-Za-z-]{10,}|hooks\.slack\.com/(?:services|workflows)/[0-9A-Za-z/_-]{16,})",
    },
    Builtin { name: "anthropic_key", pattern: r"(?-u:\b)sk-ant-[0-9A-Za-z_-]{20,}" },
    Builtin {
        name: "openai_key",
        pattern: r"(?-u:\b)sk-(?:(?:proj|svcacct|admin|None)-[0-9A-Za-z_-]{20,}|[0-9A-Za-z]{32,})",
    },
    Builtin { name: "google_api_key", pattern: r"(?-u:\b)AIza[0-9A-Za-z_-]{35,}" },
    Builtin { name: "stripe_key", pattern: r"(?-u:\b)(?:[rs]k_(?:live|test)|whsec)_[0-9A-Za-z]{16,}" },
    Builtin { name: "tidings_key", pattern: r"(?-u:\b)tdk_[0-9A-Za-z]{16}_[0-9A-Za-z]{43,}" },
    // Cut off before its end it goes to the end of the text: a search for the end must not start again and again.
    Builtin {
        name: "private_key",
        pattern: r"-----BEGIN [0-9A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [0-9A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    },
    Builtin { name: "jwt", pattern: r"(?-u:\b)eyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]*" },
    Builtin {
        name: "aws_secret_access_key",
        pattern: r#"(?i)(?-u:\b)aws_?(?:secret_?)?(?:access_?)?key["']?\s*[:=]\s*["']?[0-9a-z/+]{40,}=*"#,
    },
    Builtin {
        name: "authorization",
        pattern: r#"(?i)(?-u:\b)(?:(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:[a-z]+\s+)?[0-9a-z._~+/=-]{8,}|bearer\s+[0-9a-z._~+/=-]{20,})"#,
    },
    Builtin { name: "url_password", pattern: r"://[^\s/:@\x22']*:[^\s/@\x22']+@" },
    Builtin {
        name: "password",
        pattern: r#"(?i)[0-9a-z_.-]*(?:passw(?:or)?d|passphrase|pwd|secret|api[_-]?key|access[_-]?key|private[_-]?key|(?:access|auth|refresh|api|bearer|session|id)[_-]?token)\\?["']?\s*(?:[:=]|=>)\s*(?:\\?"[^"\\\n]{3,}|'[^'\n]{3,}|[^\s"'\\,;&]{3,})"#,
    },
];

/// Members whose strings are secrets by their name: compared without case, `-` and `_`.
const SECRET_MEMBERS: [&str; 19] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "apisecret",
    "apitoken",
    "authorization",
    "authtoken",
    "awssecretaccesskey",
    "clientsecret",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "proxyauthorization",
    "pwd",
    "refreshtoken",
    "secret",
    "secretaccesskey",
    "secretkey",
];

/// The rule of what a member's name gives away.
pub(super) const BY_NAME: Rule = Rule::Builtin(BUILTIN_COUNT - 1);

/// Does a member of this name hold a secret?
pub(super) fn is_secret_member(name: &str) -> bool {
    const LONGEST: usize = 24;
    if name.len() > LONGEST {
        return false;
    }
    let folded: String = name.chars().filter(|c| !matches!(c, '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_MEMBERS.binary_search(&&*folded).is_ok()
}

/// What is told by its shape. One for all redactors, so that what it keeps of its automaton is there once.
pub(super) fn certain() -> &'static Stage {
    static STAGE: LazyLock<Stage> =
        LazyLock::new(|| Stage { regex: regex(&BUILTIN[..CERTAIN]), rules: (0..CERTAIN).map(Rule::Builtin).collect() });
    &STAGE
}

/// What a word tells. Behind the others, so that a word does not take the first line of a key and leave the rest.
pub(super) fn by_words() -> &'static Stage {
    static STAGE: LazyLock<Stage> = LazyLock::new(|| Stage {
        regex: regex(&BUILTIN[CERTAIN..]),
        rules: (CERTAIN..BUILTIN_COUNT).map(Rule::Builtin).collect(),
    });
    &STAGE
}

fn regex(rules: &[Builtin]) -> Regex {
    let patterns: Vec<&str> = rules.iter().map(|rule| rule.pattern).collect();
    Regex::builder().configure(config()).build_many(&patterns).expect("the built-in rules are good")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_members_are_sorted_and_folded() {
        assert!(SECRET_MEMBERS.is_sorted());
        for name in ["password", "Api-Key", "CLIENT_SECRET", "aws_secret_access_key"] {
            assert!(is_secret_member(name), "{name}");
        }
        for name in ["passwords", "token", "", "message", "secret_password_of_the_whole_house"] {
            assert!(!is_secret_member(name), "{name}");
        }
    }
}
