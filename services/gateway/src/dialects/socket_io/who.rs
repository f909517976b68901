//! Who a client is, from one session to the next, where it shows no credential: it keeps a secret, which its library says
//! again when it comes back, and is called by what is made of that, since names of viewers are no secret.

use tidings_auth::KeyHash;
use tidings_protocol::grant::{Grant, Holder};

/// Before every such name.
const PREFIX: &str = "pygent:";

/// How much of the secret's hash a name has, in hexadecimal digits.
const NAME_CHARS: usize = 32;

/// The viewer that one is who shows nothing but this.
pub(super) fn viewer(who: &str) -> String {
    let hash = KeyHash::of(who).to_string();
    let digits = hash.split_once(':').map_or(hash.as_str(), |(_, digits)| digits);
    format!("{PREFIX}{}", &digits[..NAME_CHARS])
}

/// Under which name its place is kept. With a credential that is a name among those of its viewer alone.
pub(super) fn reader(who: &str, grant: &Grant) -> String {
    match grant.holder() {
        Holder::Anyone => viewer(who),
        _ => format!("{}:{}", viewer(who), grant.viewer()),
    }
}

#[cfg(test)]
mod tests {
    use tidings_auth::limits::SUBJECT_BYTES_MAX;
    use tidings_broker::bookmark::READER_BYTES_MAX;

    use super::*;

    #[test]
    fn a_viewers_name_does_not_tell_what_it_is_made_of() {
        let who = "0123456789abcdef0123456789abcdef";
        assert_eq!(viewer(who), viewer(who));
        assert_ne!(viewer(who), viewer("1123456789abcdef0123456789abcdef"));
        assert!(!viewer(who).contains(who), "{}", viewer(who));
    }

    #[test]
    fn a_place_belongs_to_its_viewer_where_there_is_a_credential() {
        let of = |viewer: &str, holder| reader("w", &Grant::new(viewer, holder, Vec::new()));
        assert_eq!(of("whoever", Holder::Anyone), viewer("w"));
        assert_ne!(of("ada", Holder::User), of("bob", Holder::User));
        assert!(of(&"u".repeat(SUBJECT_BYTES_MAX), Holder::User).len() <= READER_BYTES_MAX);
    }
}
