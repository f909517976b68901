//! What a reader must be told who comes with a position: worked out from what was acknowledged and from the forks that
//! the log lists, by nothing but the promises.

use tidings_tests::place::Place;

/// The type of a loss that an ingest told, which stands in the log like an event.
pub(crate) const GAP: &str = "gap";

/// An event of the log.
#[derive(Debug, Clone)]
pub(crate) struct Stands {
    /// Its id.
    pub(crate) id: String,
    /// Its type.
    pub(crate) kind: String,
    /// Where it stands.
    pub(crate) place: Place,
    /// Where it first stood, if a failover took it from there.
    pub(crate) was: Option<Place>,
}

/// A fork that the log lists.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fork {
    closed: [u8; 12],
    survived: Place,
    from: Place,
}

/// A log, and what is known of its past.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Events that stand in it, trimmed ones too.
    pub(crate) events: Vec<Stands>,
    /// Forks, oldest first.
    pub(crate) forks: Vec<Fork>,
    /// Its last position.
    pub(crate) last: Place,
    /// The last position that was trimmed away.
    pub(crate) trimmed: Place,
}

/// Something that a reader is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// The event of this id.
    Event(String),
    /// A gap.
    Gap {
        /// Why.
        cause: String,
        /// How many are missing.
        lost: Option<u64>,
        /// Whether something is missing for sure.
        certain: bool,
    },
}

impl Stands {
    fn item(&self) -> Item {
        if self.kind == GAP { Item::gap("failover", None) } else { Item::Event(self.id.clone()) }
    }
}

impl Item {
    fn gap(cause: &str, lost: Option<u64>) -> Item {
        // No gap of this log is certain: each has a failover behind it that may have brought something back.
        Item::Gap { cause: cause.to_owned(), lost, certain: false }
    }

    /// Whether it is one.
    pub(crate) fn is_gap(&self) -> bool {
        matches!(self, Item::Gap { .. })
    }
}

impl Fork {
    /// Reads the lines `<closed> <survived> <kind> <from>` of meta.
    pub(crate) fn list(text: &str) -> Vec<Fork> {
        let fork = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let place = |text: &str| text.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!(words[2], "failover", "{line}");
            let closed = words[0].as_bytes().try_into().expect("a branch has twelve characters");
            Fork { closed, survived: place(words[1]), from: place(words[3]) }
        };
        text.lines().map(fork).collect()
    }
}

impl History {
    /// What is told behind `at`, to whom every event passes that `wanted` lets through.
    pub(crate) fn told(&self, at: Place, wanted: impl Fn(&Stands) -> bool) -> Vec<Item> {
        let closing = self.forks.iter().find(|fork| fork.closed == at.branch);
        let from = match closing {
            _ if at == Place::default() => 0,
            _ if at.branch == self.last.branch && self.stood(at) => at.n,
            Some(fork) => at.n.min(fork.survived.n),
            None => return vec![Item::gap("log_reset", None)],
        };
        let mut items = Vec::new();
        let mut cursor = from;
        if from < self.trimmed.n {
            if self.forks_within(from, self.trimmed.n).next().is_some() {
                items.push(Item::gap("failover", None));
            }
            let gone = self.events.iter().filter(|event| event.place.n > from && event.place.n <= self.trimmed.n);
            // Behind a branch that the log has forgotten nobody can tell forks from events.
            items.push(Item::gap("trimmed", closing.map(|_| gone.count() as u64)));
            cursor = self.trimmed.n;
        }
        // Told where it first stood, on the reader's own branch: then it is not told again.
        let had = |event: &&Stands| event.was.is_none_or(|was| was.branch != at.branch || was.n > at.n);
        let behind = self.events.iter().filter(|event| event.place.n > cursor);
        let mut ordered: Vec<(u64, Item)> = behind
            .filter(had)
            .filter(|event| event.kind == GAP || wanted(event))
            .map(|event| (event.place.n, event.item()))
            .collect();
        ordered.extend(self.forks_within(cursor, u64::MAX).map(|fork| (fork.from.n, Item::gap("failover", None))));
        ordered.sort_by_key(|(n, _)| *n);
        items.extend(ordered.into_iter().map(|(_, item)| item));
        items
    }

    /// Whether something ever stood there, on the open branch.
    fn stood(&self, at: Place) -> bool {
        at == self.last
            || self.events.iter().any(|event| event.place == at)
            || self.forks.iter().any(|fork| fork.from == at)
    }

    fn forks_within(&self, after: u64, until: u64) -> impl Iterator<Item = &Fork> {
        self.forks.iter().filter(move |fork| fork.from.n > after && fork.from.n <= until)
    }
}
