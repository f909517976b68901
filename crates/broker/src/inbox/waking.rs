//! What a wake-up says, so that only those look whom it concerns ([`super::Inboxes::watch`]).
//!
//! A message is words, one a line, each a letter and a name. One that is empty, or that this version does not know, is for
//! everybody: other versions of a service may say less, or more.

use std::fmt;

use bytes::Bytes;

/// Words of one message; with more of them it is for everybody.
pub const WORDS_MAX: usize = 100;

/// What there is news of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Word<'a> {
    /// One more command waits for any runner with this capability.
    Capability(&'a str),
    /// One more command waits for this runner alone.
    Runner(&'a str),
    /// This runner has one command less in hand.
    Hand(&'a str),
    /// What was open under this guard was settled.
    Guard(&'a str),
}

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Word::Capability(name) => write!(f, "c{name}"),
            Word::Runner(name) => write!(f, "r{name}"),
            Word::Hand(name) => write!(f, "h{name}"),
            Word::Guard(key) => write!(f, "g{key}"),
        }
    }
}

/// The words of a message; none: it is for everybody.
pub fn words(message: &[u8]) -> Option<Vec<Word<'_>>> {
    std::str::from_utf8(message).ok()?.split('\n').map(word).collect()
}

fn word(text: &str) -> Option<Word<'_>> {
    let name = text.get(1..)?;
    match text.as_bytes()[0] {
        b'c' => Some(Word::Capability(name)),
        b'r' => Some(Word::Runner(name)),
        b'h' => Some(Word::Hand(name)),
        b'g' => Some(Word::Guard(name)),
        _ => None,
    }
}

/// A message of these words; none: there is nothing to say.
pub(crate) fn message(words: &[String]) -> Option<Bytes> {
    match words.len() {
        0 => None,
        1..=WORDS_MAX => Some(words.join("\n").into()),
        _ => Some(Bytes::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_and_what_is_not_understood_is_for_everybody() {
        let all = [Word::Capability("chat"), Word::Runner("r 1"), Word::Hand("ä"), Word::Guard("c:1")];
        let said = |words: &[Word<'_>]| message(&words.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(words(&said(&all).expect("words")), Some(all.to_vec()));
        assert_eq!(said(&[]), None);
        assert_eq!(said(&[all[0]; WORDS_MAX + 1]), Some(Bytes::new()));
        for other in ["", "cchat\n", "chello\nznew", "\u{e4}", "\u{0}"] {
            assert_eq!(words(other.as_bytes()), None, "{other:?}");
        }
    }
}
