//! Fan-out against peers: starts each server as a process of its own on core 0, connects viewers from core 1, posts events,
//! and prints deliveries per second of server CPU with latencies, in interleaved rounds.

mod client;
mod peers;
mod process;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Bytes of one event's JSON, about.
const EVENT_BYTES: usize = 256;

#[derive(Parser, Clone)]
struct Options {
    /// Viewers of the one project.
    #[arg(long, default_value_t = 1000)]
    viewers: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Interleaved rounds; the median is printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Events per second of the open loop.
    #[arg(long, default_value_t = 50)]
    rate: u64,
    /// Which peers, with commas between.
    #[arg(long, default_value = "limit,axum,axum-4k,tidings")]
    peers: String,
    /// The binary to measure.
    #[arg(long, default_value = "target/release/tidings")]
    tidings: PathBuf,
    /// Runs a peer instead (used by the bench itself).
    #[arg(long, hide = true)]
    serve: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(peer) = &options.serve {
        return runtime.block_on(peers::serve(peer));
    }
    process::pin_self(1);
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let peers: Vec<&str> = options.peers.split(',').collect();
    let mut rows: Vec<(String, Vec<client::Measured>)> = Vec::new();
    for round in 0..options.rounds {
        for peer in &peers {
            for rate in [None, Some(options.rate)] {
                let name = rate.map_or(format!("{peer} saturated"), |rate| format!("{peer} at {rate}/s"));
                let mut server = process::Server::start(peer, &options.tidings).await?;
                let measured = client::measure(&mut server, options.viewers, rate, Duration::from_secs(options.seconds)).await?;
                eprintln!("round {round}: {name}: {measured}");
                match rows.iter_mut().find(|(other, _)| *other == name) {
                    Some((_, all)) => all.push(measured),
                    None => rows.push((name, vec![measured])),
                }
            }
        }
    }
    let median = |all: &[client::Measured], of: fn(&client::Measured) -> f64| {
        let mut values: Vec<f64> = all.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    println!("{} viewers, {EVENT_BYTES}-byte events, {} s, medians of {} rounds", options.viewers, options.seconds, options.rounds);
    println!("| peer | 1000 deliveries/s | 1000 deliveries per server-CPU-s | ratio to limit | p50 ms | p99 ms | server RSS MB | lost |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    for (name, all) in &rows {
        let per_cpu = median(all, |m| m.per_cpu_second());
        let kind = name.split_once(' ').map_or("", |(_, kind)| kind);
        let limit = rows.iter().find(|(other, _)| *other == format!("limit {kind}")).map(|(_, all)| median(all, |m| m.per_cpu_second()));
        println!(
            "| {name} | {:.0} | {:.0} | {} | {:.2} | {:.2} | {:.0} | {} |",
            median(all, |m| m.per_second()) / 1e3,
            per_cpu / 1e3,
            limit.map_or("-".to_owned(), |limit| format!("{:.2}", per_cpu / limit)),
            median(all, |m| m.p50_ms),
            median(all, |m| m.p99_ms),
            median(all, |m| m.rss_mb),
            all.iter().map(|m| m.lost).sum::<u64>(),
        );
    }
    Ok(())
}
