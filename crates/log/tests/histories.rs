//! Random histories: appends, lost messages, forks with and without losses, healing, trims, and viewers that pull, stop
//! and roam between two gateways. A seed is a history; at the end every viewer's account must be whole (promise 1):
//! each event that the log ever acknowledged and still knows was told exactly once, or a gap covers it.

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use support::{Reader, World};
use tidings_broker::memory::LogData;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::position::Position;
use tidings_protocol::wire;

const SEEDS: u64 = 2_000;
const STEPS: usize = 120;

/// One viewer's account of what it was told.
struct Account {
    reader: Option<Reader>,
    position: Position,
    /// By event: on which connection it was told last.
    told: HashMap<String, u64>,
    /// Connections so far.
    links: u64,
    /// Running counts of the stretches that gaps say are missing.
    missing: Vec<(u64, u64)>,
    failovers: usize,
    last_n: u64,
}

impl Account {
    fn take(&mut self, lines: &[String], seed: u64) {
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "E" => {
                    self.position = words[2].parse().expect("a position");
                    // Told again after a reconnect amid healing: under the same id, so that the viewer can tell.
                    let before = self.told.insert(words[1].to_owned(), self.links);
                    assert!(before.is_none_or(|link| link < self.links), "seed {seed}: told twice: {line}");
                    assert!(self.position.n() > self.last_n, "seed {seed}: {line} after {}", self.last_n);
                    self.last_n = self.position.n();
                }
                "G" => {
                    let (cause, after): (_, Position) = (words[1], words[2].parse().expect("a position"));
                    self.position = words[3].parse().expect("a position");
                    match cause {
                        "trimmed" => {
                            // `after` may lie on a branch that was cut: the count says where it goes on in this log.
                            let lost: u64 = words[4].parse().expect("a count");
                            let from = after.n().min((self.position.n() - lost).saturating_sub(1));
                            self.missing.push((from, self.position.n()));
                        }
                        "failover" => self.failovers += 1,
                        // A branch that the surviving history never knew: whatever lies below counts as missing.
                        "log_reset" => {
                            self.told.clear();
                            self.missing.push((0, self.position.n()));
                        }
                        other => panic!("seed {seed}: unexpected gap {other}"),
                    }
                    self.last_n = self.position.n();
                }
                "A" | "S" => self.position = words[1].parse().expect("a position"),
                other => panic!("seed {seed}: {other}"),
            }
        }
    }
}

struct History {
    world: World,
    /// A second gateway over the same log.
    other: World,
    rng: StdRng,
    copies: Vec<(LogData, usize)>,
    /// Events in the order they were acknowledged: id and every position at which it stood.
    acked: Vec<(String, Vec<Position>)>,
    /// Ids that no surviving history holds and nobody puts back.
    gone: HashSet<String>,
}

impl History {
    async fn append(&mut self, count: u64) {
        let events: Vec<wire::Event> = (0..count).map(|_| self.world.event()).collect();
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        let positions = self.world.append(events).await;
        self.acked.extend(ids.into_iter().zip(positions.into_iter().map(|position| vec![position])));
    }

    /// A failover to an older copy; what it lacks is put back (by a living ingest) or lost with its ingest.
    async fn fail_over(&mut self) {
        let Some((copy, acked)) = self.copies.pop() else { return };
        let heal = self.rng.random_bool(0.7);
        self.copies.clear();
        self.world.broker.inner.restore(&self.world.project, copy);
        let incarnation = format!("i{}", self.rng.random::<u64>());
        self.world.broker.inner.set_incarnation(&incarnation);
        for index in acked..self.acked.len() {
            let (id, positions) = self.acked[index].clone();
            if self.gone.contains(&id) {
                continue;
            }
            if heal {
                let was = positions.iter().map(ToString::to_string).collect();
                let stands = self.world.append(vec![wire::Event { was, ..support::event(&id) }]).await;
                self.acked[index].1.extend(stands);
            } else {
                self.gone.insert(id);
            }
        }
    }

    async fn step(&mut self, accounts: &mut [Account], seed: u64) {
        match self.rng.random_range(0..20) {
            0..=5 => {
                let count = self.rng.random_range(1..4);
                self.append(count).await;
            }
            6 => {
                let deaf = self.rng.random_bool(0.5);
                let world = if self.rng.random_bool(0.5) { &self.world } else { &self.other };
                world.broker.deaf.store(deaf, Ordering::Relaxed);
            }
            7 => self.world.broker.inner.interrupt(),
            8 => self.copies.push((self.world.broker.inner.copy(&self.world.project), self.acked.len())),
            9 if self.rng.random_bool(0.3) => self.fail_over().await,
            10 if self.rng.random_bool(0.2) => {
                self.copies.clear();
                self.world.sync().await;
                self.world.trim(self.rng.random_range(5..40)).await;
            }
            11 => tokio::time::sleep(std::time::Duration::from_secs(6)).await,
            12 | 13 => {
                let index = self.rng.random_range(0..accounts.len());
                let world = if self.rng.random_bool(0.5) { &self.world } else { &self.other };
                let at = accounts[index].position;
                let reader = world.viewer_with(at, Lag::Full, SnapshotWish::No, Filter::default()).await;
                accounts[index].reader = Some(reader);
                accounts[index].links += 1;
            }
            14 => {
                let index = self.rng.random_range(0..accounts.len());
                accounts[index].reader = None;
            }
            _ => {
                let account = &mut accounts[self.rng.random_range(0..4)];
                let limit = self.rng.random_range(1..6);
                if let Some(reader) = &mut account.reader {
                    let taking = reader.take(1 << 20, limit);
                    if let Ok(lines) = tokio::time::timeout(std::time::Duration::from_millis(1), taking).await {
                        account.take(&lines, seed);
                    }
                }
            }
        }
        for _ in 0..self.rng.random_range(0..8) {
            tokio::task::yield_now().await;
        }
    }
}

async fn run(seed: u64) {
    let world = World::new(3_000);
    let other = World::sharing(&world, 3_000);
    let rng = StdRng::seed_from_u64(seed);
    let mut history = History { world, other, rng, copies: vec![], acked: vec![], gone: HashSet::new() };
    history.append(1).await;
    let mut accounts: Vec<Account> = (0..4)
        .map(|_| Account {
            reader: None,
            position: Position::ZERO,
            told: HashMap::new(),
            links: 0,
            missing: vec![],
            failovers: 0,
            last_n: 0,
        })
        .collect();
    for _ in 0..STEPS {
        history.step(&mut accounts, seed).await;
    }
    history.world.broker.deaf.store(false, Ordering::Relaxed);
    history.other.broker.deaf.store(false, Ordering::Relaxed);
    for account in &mut accounts {
        let at = account.position;
        let mut reader = if let Some(reader) = account.reader.take() {
            reader
        } else {
            account.links += 1;
            history.world.viewer(at).await
        };
        loop {
            history.append(1).await;
            let last = format!("E {} ", history.acked.last().expect("some").0);
            let lines = reader.until_any(&[&last, "G log_reset"]).await;
            account.take(&lines, seed);
            if lines.iter().any(|line| line.starts_with(&last)) {
                break;
            }
        }
        for (id, positions) in &history.acked {
            let covered =
                positions.iter().any(|p| account.missing.iter().any(|(after, to)| *after < p.n() && p.n() <= *to));
            let gone = history.gone.contains(id) && account.failovers > 0;
            assert!(
                account.told.contains_key(id) || covered || gone,
                "seed {seed}: {id} at {positions:?} was never told"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_lost_silently_over_random_histories() {
    for seed in 0..SEEDS {
        run(seed).await;
    }
}
