//! Which client ids are let in.

/// Longest client id of [`ClientIds::Relaxed`].
const CLIENT_ID_BYTES_MAX: usize = 128;

/// The close code of a refused client id.
pub const REFUSED_CODE: u16 = 1008;
/// Its reason.
pub const REFUSED_REASON: &str = "Invalid client ID";

/// The rule for client ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientIds {
    /// `^[A-Za-z0-9_-]{1,128}$`: all ids that its documents and front ends use.
    #[default]
    Relaxed,
    /// `^client_\d+_[a-z0-9]+$`, as its document advises; refuses its own front end.
    Seed,
}

impl ClientIds {
    /// The word in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            ClientIds::Relaxed => "relaxed",
            ClientIds::Seed => "seed",
        }
    }

    /// The rule that a word names.
    pub fn parse(word: &str) -> Option<ClientIds> {
        [ClientIds::Relaxed, ClientIds::Seed].into_iter().find(|rule| rule.as_str() == word)
    }

    /// Whether a client may call itself so; else it is closed with [`REFUSED_CODE`] and [`REFUSED_REASON`].
    pub fn admits(self, id: &str) -> bool {
        if id.is_empty() || id.len() > CLIENT_ID_BYTES_MAX {
            return false;
        }
        match self {
            ClientIds::Relaxed => id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')),
            ClientIds::Seed => {
                let Some((time, random)) = id.strip_prefix("client_").and_then(|rest| rest.split_once('_')) else {
                    return false;
                };
                let is_random = |b: u8| b.is_ascii_digit() || b.is_ascii_lowercase();
                let is_whole = !time.is_empty() && !random.is_empty();
                is_whole && time.bytes().all(|b| b.is_ascii_digit()) && random.bytes().all(is_random)
            }
        }
    }
}
