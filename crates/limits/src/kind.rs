//! What is limited by rate over all services.

/// Declares [`Kind`]: `Variant = "word";`, in alphabetical order.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $variant:ident = $word:literal;)+) => {
        /// What is counted, and for whom. The words are part of the names of buckets and label metrics: they are added to,
        /// never changed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])+ $variant,)+
        }

        impl Kind {
            /// Every kind, in alphabetical order.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Kind::$variant => $word,)+ }
            }
        }
    };
}

kinds! {
    /// Commands that a user sends.
    Commands = "commands";
    /// Bytes that an API key publishes.
    KeyBytes = "key_bytes";
    /// Events that an API key publishes.
    KeyEvents = "key_events";
    /// Bytes that are published to a project.
    ProjectBytes = "project_bytes";
    /// Events that are published to a project.
    ProjectEvents = "project_events";
    /// HTTP requests and subscriptions of a user, or of a client's address.
    Requests = "requests";
}

impl Kind {
    /// How many there are.
    pub(crate) const COUNT: usize = Kind::ALL.len();

    /// Its place in [`Kind::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_alphabetical_and_in_their_places() {
        assert!(Kind::ALL.is_sorted_by(|a, b| a.as_str() < b.as_str()));
        assert!(Kind::ALL.iter().enumerate().all(|(index, kind)| kind.index() == index));
    }
}
