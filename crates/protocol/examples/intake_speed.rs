//! How long the intake takes for an event, by kind of event: `cargo run --release -p tidings-protocol --example intake_speed`.

#![allow(clippy::print_stdout)] // A program that reports.

use std::hint::black_box;
use std::time::Instant;

use prost::Message as _;
use tidings_protocol::intake::{Intake, parse_body};
use tidings_protocol::limits::EventLimits;

const ROUNDS: u32 = 200_000;

fn main() {
    let text = "tokens and words ".repeat(240);
    let cases = [
        ("message.delta", r#"{"type":"message.delta","session":"session_abc","agent":"writer-1","data":{"message_id":"msg_1","text":" token"}}"#.to_owned()),
        ("agent.status", r#"{"type":"agent.status","id":"01JD0000000000000000000000","time":"2026-11-20T09:00:00.123Z","session":"session_abc","agent":"researcher-1","parent":"planner","data":{"name":"Researcher","status":"processing","progress":65,"message":"Reading sources"}}"#.to_owned()),
        ("log", r#"{"type":"log","session":"session_abc","agent":"researcher-1","data":{"level":"info","message":"fetched 12 pages from the index","source":"crawler"}}"#.to_owned()),
        ("unknown type", r#"{"type":"my.own","session":"session_abc","data":{"a":[1,2,3],"b":{"c":"d"}}}"#.to_owned()),
        ("4 KB of text", format!(r#"{{"type":"my.own","session":"session_abc","data":{{"text":"{text}"}}}}"#)),
    ];
    let limits = EventLimits::default();
    let mut next_id = || "01JD0000000000000000000000".to_owned();
    let mut intake = Intake {
        limits: &limits,
        received_ms: 1_795_165_200_123,
        next_id: &mut next_id,
        default_runner: None,
        default_traceparent: None,
        idempotency_key: None,
    };
    for (name, body) in cases {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            black_box(parse_body(black_box(body.as_bytes()), &mut intake)).expect("a good event");
        }
        let parsing = start.elapsed().as_nanos() / u128::from(ROUNDS);
        let event = parse_body(body.as_bytes(), &mut intake).expect("a good event").remove(0);
        let batch = tidings_protocol::wire::Batch { events: vec![event] };
        println!("{name:>14}: {parsing:>5} ns, {} bytes in, {} bytes stored", body.len(), batch.encoded_len());
    }
}
