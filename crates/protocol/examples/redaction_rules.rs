//! What it costs to take own rules of redaction, and to refuse them, by the worst kinds known:
//! `cargo run --release -p tidings-protocol --example redaction_rules`.

#![allow(clippy::print_stdout)] // A program that reports.

use std::time::Instant;

use tidings_protocol::redact::{OWN_RULES_MAX, OwnRule, PATTERN_BYTES_MAX, Redactor};

fn main() {
    let repeat = |piece: &str| piece.repeat(PATTERN_BYTES_MAX / piece.len());
    let kinds = [
        ("one word", "T-[0-9]+".to_owned()),
        ("counted twice", "(?-u)(?:[a-z0-9]{0,40}q){1,6}".to_owned()),
        ("counted thrice", "(?-u)(?:(?:[a-z]{0,9}q){0,9}z){0,9}x".to_owned()),
        ("one long", "(?-u)[ab]*a[ab]{100}[0-9]|[ab]".to_owned()),
        ("wide sets", "(?-u)(?:a?){2000}b".to_owned()),
        ("wide sets of all bytes", "(?s-u:.{0,900})q".to_owned()),
        ("words of all scripts", r"\w{2}x".to_owned()),
        ("words, counted", r"\w{0,20}x".to_owned()),
        ("many classes", repeat(r"\w")),
        ("many folded classes", format!("(?i){}", &repeat(r"\P{L}")[..PATTERN_BYTES_MAX - 7])),
        ("many words", repeat("ab|") + "c"),
        ("many letters of either case", format!("(?i-u){}", "k".repeat(500))),
        ("many optional letters", format!("(?-u){}x", "[a-z]?".repeat(80))),
        ("near the bound", "(?-u)[a-z]{200}".to_owned()),
    ];
    for (kind, pattern) in kinds {
        for count in [1, OWN_RULES_MAX] {
            let rule = |at| {
                let pattern: String = pattern.chars().take(PATTERN_BYTES_MAX - 2).collect();
                OwnRule { name: format!("r{at}"), pattern: format!("{pattern}{at:x}") }
            };
            let rules: Vec<OwnRule> = (0..count).map(rule).collect();
            let start = Instant::now();
            let made = Redactor::new(true, &rules);
            let took = start.elapsed().as_secs_f64() * 1e3;
            let told = match &made {
                Ok(redactor) => format!("taken, {} KiB", redactor.memory_bytes() / 1024),
                Err(faults) => format!("refused at {}: {}", faults[0].0, faults[0].1),
            };
            println!("{kind:>28} x{count:<2} {took:8.2} ms  {told}");
        }
    }
}
