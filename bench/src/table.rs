//! The results: medians of all rounds, by load and peer.

use std::fmt;

use crate::client::Measured;
use crate::load::Load;

/// Results, in the order in which they first came.
#[derive(Default)]
pub struct Table(Vec<Row>);

struct Row {
    load: Load,
    peer: String,
    rounds: Vec<Measured>,
}

impl Row {
    fn median(&self, of: fn(&Measured) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }
}

impl Table {
    /// Takes a round's.
    pub fn add(&mut self, load: Load, peer: &str, measured: Measured) {
        match self.0.iter_mut().find(|row| row.load == load && row.peer == peer) {
            Some(row) => row.rounds.push(measured),
            None => self.0.push(Row { load, peer: peer.to_owned(), rounds: vec![measured] }),
        }
    }

    /// The first peer's, which the others of a load are held against.
    fn first(&self, load: Load) -> Option<&Row> {
        self.0.iter().find(|row| row.load == load)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| load | peer | deliveries/s | CPU us each | to the first | core % | p50 ms | p99 ms | kB a viewer | RSS MB | lost |"
        )?;
        writeln!(f, "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        for row in &self.0 {
            let against = self.first(row.load).map_or(f64::NAN, |first| first.median(Measured::cpu_us));
            let cpu_us = row.median(Measured::cpu_us);
            let (each, ratio) = match row.load {
                Load::Idle => ("-".to_owned(), "-".to_owned()),
                Load::Rate(_) | Load::Saturated | Load::Posts(_) => {
                    (format!("{cpu_us:.2}"), format!("{:.2}", cpu_us / against))
                }
            };
            writeln!(
                f,
                "| {} | {} | {:.0} | {each} | {ratio} | {:.2} | {:.2} | {:.2} | {:.1} | {:.0} | {} |",
                row.load,
                row.peer,
                row.median(Measured::per_second),
                row.median(Measured::core_percent),
                row.median(|measured| measured.p50_ms),
                row.median(|measured| measured.p99_ms),
                row.median(|measured| measured.viewer_kb),
                row.median(|measured| measured.rss_mb),
                row.rounds.iter().map(|measured| measured.lost).sum::<u64>(),
            )?;
        }
        Ok(())
    }
}
