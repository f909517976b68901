//! Why a caller is turned away, in words that are contract: status, reason, `WWW-Authenticate`.
//!
//! Nothing in here holds or tells any part of a credential.

use tidings_protocol::codes::{CloseCode, ErrorCode};
use tidings_protocol::grant::Scope;

/// Declares [`Reason`]: `Variant = "word", code;`, in alphabetical order.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident = $word:literal, $code:ident;)+) => {
        /// Why. The words are added to, never changed; they are metric labels as well.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in alphabetical order.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant),+];

            /// The word in `WWW-Authenticate` and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $word,)+ }
            }

            /// The code of the problem, or of the `error` frame: `unauthenticated` (401), `forbidden` (403),
            /// `rate_limited` (429), `busy` or `rights_unavailable` (503).
            pub const fn code(self) -> ErrorCode {
                match self { $(Reason::$variant => ErrorCode::$code,)+ }
            }
        }
    };
}

reasons! {
    /// The signature is not that of the key, or the secret of an API key is wrong.
    BadSignature = "bad_signature", Unauthenticated;
    /// The authorizer is asked too much already.
    Busy = "busy", Busy;
    /// The time of the token or the API key is over.
    Expired = "expired", Unauthenticated;
    /// The store of API keys does not answer.
    KeyStoreUnavailable = "key_store_unavailable", RightsUnavailable;
    /// The keys of the token's issuer were never fetched, or too long ago.
    KeysUnavailable = "keys_unavailable", RightsUnavailable;
    /// The token is good for longer than tokens may be.
    LifetimeTooLong = "lifetime_too_long", Unauthenticated;
    /// The credential does not have the form of one, or there are several.
    Malformed = "malformed", Unauthenticated;
    /// What is needed to know the caller's memberships does not answer.
    MembersUnavailable = "members_unavailable", RightsUnavailable;
    /// There is no credential.
    Missing = "missing", Unauthenticated;
    /// The credential is good, but does not have this right here.
    NoRight = "no_right", Forbidden;
    /// The token is not good yet.
    NotYetValid = "not_yet_valid", Unauthenticated;
    /// The API key was revoked.
    Revoked = "revoked", Unauthenticated;
    /// Too many requests of this address or this subject were refused lately; this one was not looked into.
    TooManyRefusals = "too_many_refusals", RateLimited;
    /// No such key: of a token's issuer, or an API key.
    UnknownKey = "unknown_key", Unauthenticated;
    /// The token's algorithm is not the one of the key, or none that is taken.
    UnsupportedAlgorithm = "unsupported_algorithm", Unauthenticated;
    /// The token is for another service.
    WrongAudience = "wrong_audience", Unauthenticated;
    /// The token is of an issuer that is not trusted.
    WrongIssuer = "wrong_issuer", Unauthenticated;
}

/// A caller is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What was asked for, of a caller without the right to it.
    pub needed: Option<Scope>,
}

impl Refusal {
    /// The code of the problem, or of the `error` frame.
    pub const fn code(&self) -> ErrorCode {
        self.reason.code()
    }

    /// The code that an open WebSocket is closed with; `None` while it only cannot be known, or was not looked into, which
    /// closes nothing.
    pub const fn close_code(&self) -> Option<CloseCode> {
        match self.reason.code() {
            ErrorCode::Forbidden => Some(CloseCode::Forbidden),
            ErrorCode::Unauthenticated => Some(CloseCode::Unauthenticated),
            _ => None,
        }
    }

    /// A sentence for people, and the detail of the problem.
    pub fn message(&self) -> String {
        let told = match self.reason {
            Reason::BadSignature => "the credential's signature or secret is wrong",
            Reason::Busy => "too many memberships are being looked up",
            Reason::Expired => "the credential has expired",
            Reason::KeyStoreUnavailable => "the store of API keys does not answer",
            Reason::KeysUnavailable => "the keys of the token's issuer cannot be fetched",
            Reason::LifetimeTooLong => "the token is good for longer than tokens may be",
            Reason::Malformed => "the credential is malformed, too long, or there are several",
            Reason::MembersUnavailable => "the caller's memberships cannot be looked up",
            Reason::Missing => "no credential was sent",
            Reason::NoRight => {
                return match self.needed {
                    Some(scope) => format!("the credential does not have the scope `{scope}` in this project"),
                    None => "the credential has no right in this project".to_owned(),
                };
            }
            Reason::NotYetValid => "the token is not valid yet",
            Reason::Revoked => "the key was revoked",
            Reason::TooManyRefusals => "too many requests from here were refused",
            Reason::UnknownKey => "the credential's key is not known",
            Reason::UnsupportedAlgorithm => "the token's algorithm is not the one of its key",
            Reason::WrongAudience => "the token is for another audience",
            Reason::WrongIssuer => "the token's issuer is not trusted",
        };
        told.to_owned()
    }

    /// The value of `WWW-Authenticate` (RFC 6750), with 401 and 403.
    pub fn www_authenticate(&self) -> Option<String> {
        const REALM: &str = "Bearer realm=\"tidings\"";
        match (self.code(), self.reason, self.needed) {
            (ErrorCode::Unauthenticated, Reason::Missing, _) => Some(REALM.to_owned()),
            (ErrorCode::Unauthenticated, reason, _) => {
                Some(format!("{REALM}, error=\"invalid_token\", error_description=\"{}\"", reason.as_str()))
            }
            (ErrorCode::Forbidden, _, Some(scope)) => {
                Some(format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\""))
            }
            (ErrorCode::Forbidden, _, None) => Some(format!("{REALM}, error=\"insufficient_scope\"")),
            _ => None,
        }
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Refusal {
        Refusal { reason, needed: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_alphabetical_and_each_has_its_status() {
        let words: Vec<&str> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        for reason in Reason::ALL {
            let refusal = Refusal::from(*reason);
            let status = refusal.code().http_status();
            assert!([401, 403, 429, 503].contains(&status), "{reason:?}");
            assert_eq!(refusal.www_authenticate().is_some(), [401, 403].contains(&status), "{reason:?}");
            assert_eq!(
                refusal.close_code().map(CloseCode::number),
                [(401, 4401), (403, 4403)].into_iter().find_map(|(of, number)| (of == status).then_some(number))
            );
        }
    }

    #[test]
    fn a_challenge_says_what_is_wrong() {
        let challenge = |refusal: Refusal| refusal.www_authenticate().expect("a challenge");
        assert_eq!(challenge(Reason::Missing.into()), r#"Bearer realm="tidings""#);
        assert_eq!(
            challenge(Reason::Expired.into()),
            r#"Bearer realm="tidings", error="invalid_token", error_description="expired""#
        );
        assert_eq!(
            challenge(Refusal { reason: Reason::NoRight, needed: Some(Scope::Admin) }),
            r#"Bearer realm="tidings", error="insufficient_scope", scope="admin""#
        );
    }
}
