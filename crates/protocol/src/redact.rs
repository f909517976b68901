//! Redaction: secrets in the strings of an event's `data` become `[redacted:<rule>]`.
//!
//! Promises: time linear in the text (automata without backtracking; where own rules could still make a search start over
//! and over, a string with more than [`MATCHES_MAX`] finds goes as a whole); JSON stays JSON, and what is not found stays
//! byte for byte; done again with the built-in rules, it changes nothing. Strings are looked at as they are meant, their
//! escapes undone. It does not look at member names, numbers, or the envelope, and sees one event at a time: a secret that
//! is cut over two events passes.

mod builtin;
mod text;
mod walk;

#[cfg(test)]
mod tests;

use regex_automata::dfa::{self, dense};
use regex_automata::meta::{self, Regex};
use regex_automata::nfa::thompson;
use regex_automata::util::syntax;

pub use builtin::{BUILTIN, BUILTIN_COUNT};

use text::Stage;

/// Most own rules of a project.
pub const OWN_RULES_MAX: usize = 16;

/// Longest own regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 512;

/// Largest automaton of all own rules together, in bytes. It is a deterministic one, so that a byte of text costs one step:
/// what fits here fits `CACHE_BYTES_MAX` too, where it is made bit by bit.
pub const OWN_AUTOMATON_BYTES_MAX: usize = 512 * 1024;

/// Longest name of a rule, in bytes.
pub const RULE_NAME_BYTES_MAX: usize = 32;

/// Finds in one string; with more of them the rest of the string goes as one.
pub const MATCHES_MAX: usize = 256;

/// What an automaton may keep of the states that it made, in bytes, per thread that uses it.
const CACHE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What it may take to find out whether own rules have a small automaton, in bytes: it bounds the time, too.
const DETERMINIZE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What a whole automaton of own rules may take, in bytes. With a beginning for each rule it is larger than the one that
/// [`OWN_AUTOMATON_BYTES_MAX`] bounds; if it does not fit, it is made bit by bit.
const WHOLE_AUTOMATON_BYTES_MAX: usize = 2 * 1024 * 1024;

/// One forwards, one backwards, and for each what is needed to make it.
const AUTOMATON_PARTS: usize = 4;

/// How deep groups of an own rule may nest.
const NEST_MAX: u32 = 32;

/// A rule that a project brings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct OwnRule {
    /// What stands in the place of what it finds: `^[a-z][a-z0-9_-]{0,31}$`, not the name of a built-in rule.
    pub name: String,
    /// A regular expression in the syntax of the `regex` crate. What it finds goes as a whole.
    pub pattern: String,
}

/// Why a rule is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// The name does not have the form of one.
    #[error("expected a name of 1 to {RULE_NAME_BYTES_MAX} of a-z 0-9 _ -, which begins with a letter")]
    Name,
    /// The name is a built-in rule's, or that of another own rule.
    #[error("the name is taken")]
    NameTaken,
    /// The pattern is longer than it may be.
    #[error("expected a pattern of at most {PATTERN_BYTES_MAX} bytes, found {0}")]
    PatternTooLong(usize),
    /// The pattern cannot be read, or cannot be run in linear time (look-around, back references).
    #[error("not a regular expression: {0}")]
    Pattern(String),
    /// The pattern finds the empty text, which is everywhere.
    #[error("the pattern matches an empty text")]
    Empty,
    /// All patterns together make a larger automaton than they may.
    #[error("the patterns are too complex together; shorten repetitions or classes")]
    TooComplex,
}

/// How often each rule found something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    builtin: [u64; BUILTIN_COUNT],
    own: u64,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { builtin: [0; BUILTIN_COUNT], own: 0 }
    }
}

impl Counts {
    /// Each built-in rule's name with its finds, and at the end `own` with those of all own rules.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let builtin = BUILTIN.iter().map(|rule| rule.name).zip(self.builtin);
        builtin.chain([("own", self.own)])
    }

    /// Finds of all rules.
    pub fn total(&self) -> u64 {
        self.builtin.iter().sum::<u64>() + self.own
    }

    fn add(&mut self, rule: Rule) {
        match rule {
            Rule::Builtin(at) => self.builtin[at] += 1,
            Rule::Own(_) => self.own += 1,
        }
    }
}

/// A rule by its place in its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Builtin(usize),
    Own(usize),
}

/// Rules, ready to be used. Cheap to share, costly to make.
#[derive(Debug)]
pub struct Redactor {
    /// What own rules look for; none: there are no own rules.
    stage: Option<Stage>,
    own: Vec<OwnRule>,
    /// The built-in rules apply, and strings whose member is called like a secret go whole.
    builtin: bool,
}

impl Redactor {
    /// The built-in set, if `builtin`, and own rules. Takes a bounded time of a processor, but up to a part of a second:
    /// not for a thread that serves requests.
    ///
    /// # Errors
    /// Faults with the places of their rules: all of names and lengths; of patterns that cannot be read, are too complex, or
    /// find the empty text, the first alone. What is too complex only together with the others stands at the last.
    pub fn new(builtin: bool, own: &[OwnRule]) -> Result<Redactor, Vec<(usize, RuleFault)>> {
        let faults = faults(own);
        if !faults.is_empty() {
            return Err(faults);
        }
        let stage = if own.is_empty() {
            None
        } else {
            Some(Stage { regex: own_regex(own)?, rules: (0..own.len()).map(Rule::Own).collect() })
        };
        Ok(Redactor { stage, own: own.to_vec(), builtin })
    }

    /// Whether there is nothing to look for.
    pub fn is_idle(&self) -> bool {
        self.stage.is_none() && !self.builtin
    }

    /// Bytes that it takes, about; what all redactors share is not counted.
    pub fn memory_bytes(&self) -> usize {
        let texts: usize = self.own.iter().map(|rule| rule.name.len() + rule.pattern.len()).sum();
        size_of::<Redactor>() + texts + self.stage.as_ref().map_or(0, |stage| stage.regex.memory_usage())
    }

    /// What is looked for, one after the other; a later stage does not look into what an earlier one put.
    fn stages(&self) -> impl Iterator<Item = &Stage> {
        let [certain, by_words] = [self.builtin.then(builtin::certain), self.builtin.then(builtin::by_words)];
        certain.into_iter().chain(&self.stage).chain(by_words)
    }

    /// JSON with its strings redacted. `None`: nothing was found. `json` must be valid JSON without white space outside
    /// strings, as the intake writes it.
    pub fn json(&self, json: &str, counts: &mut Counts) -> Option<String> {
        if self.is_idle() { None } else { walk::json(self, json, counts) }
    }

    /// A text, redacted. `None`: nothing was found.
    pub fn text(&self, text: &str, counts: &mut Counts) -> Option<String> {
        let mut redacted: Option<String> = None;
        for stage in self.stages() {
            let before = redacted.as_deref().unwrap_or(text);
            let finds = stage.finds(before);
            if finds.is_empty() {
                continue;
            }
            let mut after = String::with_capacity(before.len());
            let mut at = 0;
            for find in finds {
                after.push_str(&before[at..find.range.start]);
                self.put(find.rule, &mut after);
                counts.add(find.rule);
                at = find.range.end;
            }
            after.push_str(&before[at..]);
            redacted = Some(after);
        }
        redacted
    }

    fn put(&self, rule: Rule, out: &mut String) {
        let name = match rule {
            Rule::Builtin(at) => BUILTIN[at].name,
            Rule::Own(at) => &self.own[at].name,
        };
        out.push_str(text::MARK);
        out.push_str(name);
        out.push(']');
    }
}

/// What is wrong with rules that costs little to know; of patterns that cannot be read, the first.
fn faults(own: &[OwnRule]) -> Vec<(usize, RuleFault)> {
    let mut unread = false;
    let fault = |(place, rule): (usize, &OwnRule)| {
        let taken = BUILTIN.iter().any(|builtin| builtin.name == rule.name)
            || own[..place].iter().any(|other| other.name == rule.name);
        let fault = if !is_name(&rule.name) {
            RuleFault::Name
        } else if taken || rule.name == "own" {
            RuleFault::NameTaken
        } else if rule.pattern.len() > PATTERN_BYTES_MAX {
            RuleFault::PatternTooLong(rule.pattern.len())
        } else if unread {
            return None;
        } else {
            let error = syntax::parse_with(&rule.pattern, &own_syntax()).err()?;
            unread = true;
            // The last line says what is wrong; those before draw the pattern.
            let told = error.to_string();
            RuleFault::Pattern(told.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        };
        Some((place, fault))
    };
    own.iter().enumerate().filter_map(fault).collect()
}

fn is_name(name: &str) -> bool {
    let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    name.len() <= RULE_NAME_BYTES_MAX && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.bytes().all(rest)
}

fn own_syntax() -> syntax::Config {
    syntax::Config::new().nest_limit(NEST_MAX)
}

/// What looks for all of these, which can be read.
fn own_regex(own: &[OwnRule]) -> Result<Regex, Vec<(usize, RuleFault)>> {
    let patterns: Vec<&str> = own.iter().map(|rule| &*rule.pattern).collect();
    let too_complex = |place| vec![(place, RuleFault::TooComplex)];
    // ORDER: what is refused must cost little, and the automaton below has larger bounds than this one.
    if small_automaton(&patterns, OWN_AUTOMATON_BYTES_MAX).is_none() {
        return Err(too_complex(most_complex(&patterns)));
    }
    // A whole automaton, so that all it takes is known now: one that is made bit by bit takes more later, in every thread.
    let whole = Some(WHOLE_AUTOMATON_BYTES_MAX * AUTOMATON_PARTS);
    let config = config().nfa_size_limit(Some(OWN_AUTOMATON_BYTES_MAX)).dfa_state_limit(None).dfa_size_limit(whole);
    let built = Regex::builder().configure(config).syntax(own_syntax()).build_many(&patterns);
    let built = built.map_err(|_| too_complex(own.len() - 1))?;
    match built.find("") {
        None => Ok(built),
        Some(empty) => Err(vec![(empty.pattern().as_usize(), RuleFault::Empty)]),
    }
}

/// What a deterministic automaton of these takes, in bytes; `None`: more than so many, or too much to make it. What has no
/// small one could take as many steps per byte of text as it has states.
fn small_automaton(patterns: &[&str], bytes_max: usize) -> Option<usize> {
    let limits = dense::Config::new()
        .dfa_size_limit(Some(bytes_max))
        .determinize_size_limit(Some(DETERMINIZE_BYTES_MAX))
        .unicode_word_boundary(true);
    let built = dfa::regex::Builder::new()
        .syntax(own_syntax())
        .thompson(thompson::Config::new().nfa_size_limit(Some(OWN_AUTOMATON_BYTES_MAX)))
        .dense(limits)
        .build_many(patterns)
        .ok()?;
    Some(built.forward().memory_usage().max(built.reverse().memory_usage()))
}

/// Which one to tell of patterns that are too complex together: that with which they have taken the room of all; else the
/// last.
fn most_complex(patterns: &[&str]) -> usize {
    if patterns.len() == 1 {
        return 0;
    }
    // All share one room, so that to find it out costs no more than the room of all.
    let mut left = OWN_AUTOMATON_BYTES_MAX;
    let over = patterns.iter().position(|pattern| match small_automaton(&[pattern], left) {
        Some(bytes) => {
            left = left.saturating_sub(bytes);
            false
        }
        None => true,
    });
    over.unwrap_or(patterns.len() - 1)
}

fn config() -> meta::Config {
    meta::Config::new().hybrid_cache_capacity(CACHE_BYTES_MAX)
}
