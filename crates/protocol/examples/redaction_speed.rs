//! How long redaction takes for a KiB of text that holds no secret, by kind of text:
//! `cargo run --release -p tidings-protocol --example redaction_speed`.

#![allow(clippy::print_stdout)] // A program that reports.

use std::hint::black_box;
use std::time::Instant;

use tidings_protocol::redact::{Counts, OwnRule, Redactor};

const ROUNDS: usize = 2_000;
const BYTES: usize = 16 * 1024;

fn main() {
    let own = |name: &str, pattern: &str| OwnRule { name: name.into(), pattern: pattern.into() };
    let sets = [
        ("built-in", Redactor::new(true, &[])),
        (
            "built-in and two own",
            Redactor::new(true, &[own("ticket", r"T-\d+"), own("mail", r"(?i)[a-z0-9._]+@[a-z0-9._]+")]),
        ),
    ];
    let texts = [
        ("prose", "tokens and words, one after the other: nothing to hide. "),
        ("code", "let x = map.get(\\\"key\\\").unwrap_or(&0); if x == y { call(a, b) } "),
        ("other scripts", "日本語の文章、そして ещё немного слов. "),
        ("base64", "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24"),
    ];
    for (set, redactor) in &sets {
        let redactor = redactor.as_ref().expect("good rules");
        for (kind, text) in texts {
            let json = format!("{{\"text\":\"{}\"}}", text.repeat(BYTES / text.len()));
            let mut counts = Counts::default();
            let start = Instant::now();
            for _ in 0..ROUNDS {
                black_box(redactor.json(black_box(&json), &mut counts));
            }
            #[allow(clippy::cast_precision_loss, reason = "it is shown with two digits")]
            let per_kib = start.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64 / (json.len() as f64 / 1024.0);
            println!("{set:>20}, {kind:>13}: {per_kib:.2} us per KiB, {} found", counts.total());
        }
    }
}
