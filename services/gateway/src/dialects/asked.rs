//! Asks as words: what travels beside shared frames, and is due once for equal words.

use tidings_dialects::Ask;
use tidings_log::encoding::Due;

/// The word of an ask.
pub(super) fn word(ask: &Ask) -> Due {
    match ask {
        Ask::Sessions => "*".into(),
        Ask::Session(session) => format!("s:{session}").into(),
        Ask::Logs { session, limit } => format!("l:{limit}:{session}").into(),
        Ask::Other(other) => format!("o:{other}").into(),
    }
}

/// The ask of a word.
pub(super) fn ask(word: &str) -> Ask {
    let other = || Ask::Other(word.to_owned());
    match word.split_once(':') {
        None if word == "*" => Ask::Sessions,
        Some(("s", session)) => Ask::Session(session.to_owned()),
        Some(("l", rest)) => match rest.split_once(':').and_then(|(limit, of)| Some((limit.parse().ok()?, of))) {
            Some((limit, session)) => Ask::Logs { session: session.to_owned(), limit },
            None => other(),
        },
        Some(("o", rest)) => Ask::Other(rest.to_owned()),
        Some(_) | None => other(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ask_comes_back_from_its_word() {
        for asked in [
            Ask::Sessions,
            Ask::Session("a:b".into()),
            Ask::Session(String::new()),
            Ask::Logs { session: "s:1".into(), limit: 50 },
            Ask::Other("*".into()),
            Ask::Other("l:x".into()),
        ] {
            assert_eq!(ask(&word(&asked)), asked);
        }
    }
}
