//! Who asks, and where the answers go.

use tidings_protocol::grant::{Grant, Holder};

/// Longest name of an asker, in bytes.
pub const ASKER_BYTES_MAX: usize = 256;

/// What everybody is called where nobody shows who he is.
pub const ANYONE: &str = "anyone";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Who, in the log: the subject of a credential. At most [`ASKER_BYTES_MAX`] bytes count.
    pub by: String,
    /// The viewer that the answers are for; none: they are for everybody who may read the project.
    pub reply_to: Option<String>,
    /// He may cancel what others asked: he has the project's scope `admin`.
    pub is_admin: bool,
}

impl Asker {
    /// Who has this grant; that he is an administrator is for the caller to find out. Without a credential nobody has an id that outlives a connection, so answers are for everybody.
    pub fn of(grant: &Grant) -> Asker {
        match grant.holder() {
            Holder::Anyone => Asker { by: ANYONE.to_owned(), reply_to: None, is_admin: false },
            Holder::User | Holder::Token | Holder::Key(_) => {
                let reply_to = Some(grant.viewer().to_owned());
                Asker { by: cut(grant.subject()), reply_to, is_admin: false }
            }
        }
    }

    /// Whoever has this viewer id, for protocols whose clients bring one of their own: events for it must reach the reader
    /// that asks, by a grant of the same viewer.
    pub fn viewer(id: &str) -> Asker {
        Asker { by: cut(id), reply_to: Some(id.to_owned()), is_admin: false }
    }
}

/// At most [`ASKER_BYTES_MAX`] bytes, without control characters.
fn cut(name: &str) -> String {
    let sound: String = name.chars().filter(|c| !c.is_control()).collect();
    let end = (0..=sound.len().min(ASKER_BYTES_MAX)).rev().find(|at| sound.is_char_boundary(*at));
    sound[..end.unwrap_or(0)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_who_shows_a_credential_and_to_all_where_nobody_does() {
        let alice = Grant::new("alice", Holder::User, Vec::new());
        let asker = Asker { by: "alice".into(), reply_to: Some("alice".into()), is_admin: false };
        assert_eq!(Asker::of(&alice), asker);
        let anyone = Asker { by: ANYONE.into(), reply_to: None, is_admin: false };
        assert_eq!(Asker::of(&Grant::open("v-1")), anyone);
        assert_eq!(Asker::viewer(&"ä".repeat(200)).by.len(), ASKER_BYTES_MAX);
    }
}
