//! Fan-out against peers: starts each server as a process of its own on core 0, connects viewers from core 1, posts events,
//! and prints what a delivery costs the server in CPU, what viewers cost that are told nothing, and latencies, in
//! interleaved rounds.

mod client;
mod load;
mod peers;
mod process;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use load::Load;
use process::{Peer, Server};
use table::Table;

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
    /// Loads, with commas between: `idle`, events per second of an open loop, `saturated`, or `posts:N`, requests of N
    /// events that nobody watches (Tidings alone).
    #[arg(long, default_value = "idle,1,10,100,saturated", value_delimiter = ',')]
    loads: Vec<Load>,
    /// Which peers, with commas between; `NAME=PATH` is another binary of Tidings.
    #[arg(long, default_value = "limit,axum,axum-4k,tidings", value_delimiter = ',')]
    peers: Vec<String>,
    /// The binary of the peer `tidings`.
    #[arg(long, default_value = "target/release/tidings")]
    tidings: PathBuf,
    /// Runs a peer instead (used by the bench itself).
    #[arg(long, hide = true)]
    serve: Option<String>,
}

impl Options {
    fn peers(&self) -> Vec<Peer> {
        let peer = |text: &String| match text.split_once('=') {
            Some((name, path)) => Peer { name: name.to_owned(), tidings: Some(path.into()) },
            None => Peer { name: text.clone(), tidings: (text == "tidings").then(|| self.tidings.clone()) },
        };
        self.peers.iter().map(peer).collect()
    }
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
    let time = Duration::from_secs(options.seconds);
    let mut table = Table::default();
    for round in 0..options.rounds {
        for load in &options.loads {
            for peer in &options.peers() {
                let mut server = Server::start(peer).await?;
                let measured = client::measure(&mut server, options.viewers, *load, time).await?;
                eprintln!("round {round}: {} {load}: {measured}", peer.name);
                table.add(*load, &peer.name, measured);
            }
        }
    }
    let Options { viewers, seconds, rounds, .. } = options;
    println!("{viewers} viewers, {EVENT_BYTES}-byte events, {seconds} s, medians of {rounds} rounds\n\n{table}");
    Ok(())
}
