//! What an error of Redis says about what happened (docs/log.md L4.5).

use ::redis::RedisError;

use crate::{CallError, NothingWhy, ReadError};

/// Errors that a server answers in place of running a command, or at a script's first write. Every script writes in an
/// order in which that first write decides, so they mean that nothing happened.
const REFUSALS: [&str; 9] =
    ["READONLY", "MISCONF", "NOREPLICAS", "NOSCRIPT", "LOADING", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN"];

/// The code of an error that the server sent.
fn code(error: &RedisError) -> Option<&str> {
    let code = error.code()?;
    if code != "ERR" {
        return Some(code);
    }
    // Before 7.0 the code of an error inside a script stands within its text: `... @user_script:12: -OOM command ...`.
    let inner = error.detail()?.split_once("@user_script")?.1.split_once(": -")?.1;
    inner.split_whitespace().next()
}

/// What a failed call says.
pub(super) fn call_error(error: &RedisError) -> CallError {
    match code(error) {
        Some("OOM") => CallError::Nothing(NothingWhy::Memory),
        // Where to go instead is part of it.
        Some(code @ ("MOVED" | "ASK")) => {
            let refusing = format!("{code} {}", error.detail().unwrap_or_default());
            CallError::Nothing(NothingWhy::Refusing(refusing))
        }
        Some(code) if REFUSALS.contains(&code) => CallError::Nothing(NothingWhy::Refusing(code.to_owned())),
        _ => CallError::Unknown(error.to_string()),
    }
}

/// What a failed read says.
pub(super) fn read_error(error: CallError) -> ReadError {
    match error {
        CallError::Nothing(why) => ReadError::Away(why.to_string()),
        CallError::Unknown(why) => ReadError::Away(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &CallError) {
        let value = ::redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("a reply");
        let error = value.extract_error().expect_err("an error");
        assert_eq!(&call_error(&error), expected, "{line}");
    }

    #[test]
    fn only_refusals_before_the_first_write_mean_that_nothing_happened() {
        let refusing = |code: &str| CallError::Nothing(NothingWhy::Refusing(code.into()));
        for code in REFUSALS {
            check(&format!("{code} some words"), &refusing(code));
        }
        for redirect in ["MOVED 3999 127.0.0.1:6381", "ASK 3999 host:6381"] {
            check(redirect, &refusing(redirect));
        }
        check("READONLY You can't write. script: 1f, on @user_script:12.", &refusing("READONLY"));
        check("OOM command not allowed when used memory > 'maxmemory'.", &CallError::Nothing(NothingWhy::Memory));
        let old = "ERR Error running script (call to f_1): @user_script:12: @user_script: 12: -MISCONF Redis is";
        check(old, &refusing("MISCONF"));
        for line in ["ERR Error running script: @user_script:12: attempt to index", "WRONGTYPE Operation against"] {
            let value = ::redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("a reply");
            let error = value.extract_error().expect_err("an error");
            assert!(matches!(call_error(&error), CallError::Unknown(_)), "{line}");
        }
    }
}
