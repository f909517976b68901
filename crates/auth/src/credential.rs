//! What a caller shows: a token, an API key, or nothing; and where in a request it stands.

use std::fmt;

pub use tidings_protocol::secret::Secret;

use crate::key::KEY_PREFIX;
use crate::refusal::{Reason, Refusal};

/// What stands before a credential among the offered WebSocket subprotocols (a browser can set no headers). The server
/// never answers with it: it chooses `tidings.v1`, which must be offered beside it.
pub const SUBPROTOCOL_PREFIX: &str = "tidings.token.";

/// What a caller shows. Its text is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// Nothing.
    None,
    /// A JWT.
    Token(String),
    /// An API key.
    Key(String),
}

impl Credential {
    /// The credential of this text: keys begin with [`KEY_PREFIX`], everything else is a token.
    pub fn new(text: impl Into<String>) -> Credential {
        let text = text.into();
        if text.starts_with(KEY_PREFIX) { Credential::Key(text) } else { Credential::Token(text) }
    }

    /// The one credential of a request: the value of `Authorization`, that of `Sec-WebSocket-Protocol`, and a query
    /// parameter where a dialect needs one. Two of them, or another scheme than `Bearer`, are refused as malformed
    /// rather than one of them chosen in silence.
    ///
    /// ```
    /// use tidings_auth::Credential;
    ///
    /// let shown = Credential::of_request(Some("Bearer a.b.c"), None, None);
    /// assert_eq!(shown, Ok(Credential::Token("a.b.c".to_owned())));
    /// let offered = Some("tidings.v1, tidings.token.a.b.c");
    /// assert_eq!(Credential::of_request(None, offered, None), shown);
    /// ```
    pub fn of_request(
        authorization: Option<&str>,
        subprotocols: Option<&str>,
        query: Option<&str>,
    ) -> Result<Credential, Refusal> {
        let offered = subprotocols.into_iter().flat_map(|value| value.split(','));
        let offered = offered.filter_map(|word| word.trim().strip_prefix(SUBPROTOCOL_PREFIX));
        let bearer = authorization.map(bearer).transpose()?;
        let mut shown = bearer.into_iter().chain(offered).chain(query);
        match (shown.next(), shown.next()) {
            (None, _) => Ok(Credential::None),
            (Some(""), None) | (Some(_), Some(_)) => Err(Reason::Malformed.into()),
            (Some(text), None) => Ok(Credential::new(text)),
        }
    }
}

fn bearer(authorization: &str) -> Result<&str, Refusal> {
    match authorization.trim().split_once(' ') {
        Some((scheme, text)) if scheme.eq_ignore_ascii_case("bearer") => Ok(text.trim()),
        _ => Err(Reason::Malformed.into()),
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::None => "None",
            Credential::Token(_) => "Token([redacted])",
            Credential::Key(_) => "Key([redacted])",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_wherever_it_stands() {
        let token = || Ok(Credential::Token("t".to_owned()));
        assert_eq!(Credential::of_request(None, None, None), Ok(Credential::None));
        assert_eq!(Credential::of_request(Some("bEARER  t "), None, None), token());
        assert_eq!(Credential::of_request(None, Some("tidings.v1,tidings.token.t"), None), token());
        assert_eq!(Credential::of_request(None, Some("tidings.v1"), Some("t")), token());
        assert_eq!(
            Credential::of_request(Some("Bearer tdk_a_b"), None, None),
            Ok(Credential::Key("tdk_a_b".to_owned()))
        );
    }

    #[test]
    fn several_or_other_ones_are_malformed() {
        let malformed = Err(Reason::Malformed.into());
        assert_eq!(Credential::of_request(Some("Bearer a"), None, Some("b")), malformed);
        assert_eq!(Credential::of_request(None, Some("tidings.token.a, tidings.token.b"), None), malformed);
        for other in ["Basic YTpi", "Bearer", "Bearer ", "", "a.b.c"] {
            assert_eq!(Credential::of_request(Some(other), None, None), malformed, "{other}");
        }
        assert_eq!(Credential::of_request(None, Some("tidings.token."), None), malformed);
    }

    #[test]
    fn nothing_secret_is_printed() {
        let printed =
            format!("{:?} {:?} {:?}", Credential::new("hush"), Credential::new("tdk_hush"), Secret::new("hush"));
        assert!(!printed.contains("hush"), "{printed}");
    }
}
