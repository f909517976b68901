//! How a world comes to rest: everything heals, and everybody pulls until nothing moves.

use std::time::Duration;

use super::schedule::Op;
use super::watcher::{Kind, Watcher};
use super::world::World;

/// Rounds after which a world that has not come to rest never will.
const ROUNDS_MAX: usize = 80;

impl World {
    /// Everything heals: calls arrive, the old primary follows, everybody talks to the new one, until nothing moves.
    pub(crate) async fn settle(&mut self) {
        self.store.lock().say(|| "--- settle".to_owned());
        for node in &mut self.store.lock().nodes {
            node.frozen = false;
        }
        while !self.late.is_empty() {
            self.arrive_late(0, 1);
        }
        self.store.lock().rejoin();
        (0..4).for_each(|who| self.follow_main(who));
        {
            let mut store = self.store.lock();
            store.calm = true;
            for asked in std::mem::take(&mut store.asked) {
                asked.serve(&mut store);
            }
        }
        (0..2).for_each(|gateway| self.store.lock().resubscribe(gateway));
        let mut quiet = 0;
        let mut before = String::new();
        for _ in 0..ROUNDS_MAX {
            self.round().await;
            let mark = self.mark();
            quiet = if mark == before { quiet + 1 } else { 0 };
            if quiet == 6 {
                return self.last_look().await;
            }
            before = mark;
        }
        self.store.lock().bad(format!("never at rest: {before}"));
    }

    async fn round(&mut self) {
        for ingest in 0..2 {
            let now = self.now();
            self.ingests[ingest].probe(&self.store.lock(), now);
            for _ in 0..6 {
                let main = self.store.lock().main;
                if self.ingests[ingest].air.as_ref().is_some_and(|air| air.node != main && air.answer.is_none()) {
                    self.time_out(ingest);
                }
                self.travel(Op::Go, ingest);
            }
        }
        (0..2).for_each(|gateway| self.hear(gateway, usize::MAX));
        tokio::time::sleep(Duration::from_secs(1)).await;
        for index in 0..self.watchers.len() {
            if self.watchers[index].link.is_none() {
                self.connect(index, index % 2);
            }
            for _ in 0..4 {
                self.watchers[index].pull(usize::MAX, 0, &mut self.store.lock());
                tokio::task::yield_now().await;
            }
        }
    }

    fn mark(&self) -> String {
        let store = self.store.lock();
        let ingests: Vec<_> = self.ingests.iter().map(|ingest| ingest.machine.is_idle()).collect();
        let told = |watcher: &Watcher| {
            let account = &watcher.account;
            (account.position, account.told.len(), account.gaps.len(), account.needs_snapshot)
        };
        let viewers: Vec<_> = self.watchers.iter().map(told).collect();
        format!("{} {ingests:?} {viewers:?}", store.primary().data.head("").last)
    }

    /// Late joiners get a snapshot of everything.
    async fn last_look(&mut self) {
        for gateway in 0..2 {
            let mut joiner = Watcher::new(10 + gateway, Kind::Newcomer);
            joiner.connect(gateway, &self.gateways[gateway].hub, &self.project, &mut self.store.lock());
            for _ in 0..20 {
                joiner.pull(usize::MAX, 0, &mut self.store.lock());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let mut store = self.store.lock();
            let last = store.primary().data.head("").last;
            if joiner.account.snapshot_at != Some(last) {
                store.bad(format!("P4: who joins at g{gateway} is shown {:?}, not {last}", joiner.account.snapshot_at));
            }
        }
    }

    /// Ends the gateways' tasks.
    pub(crate) fn end(&mut self) {
        self.watchers.clear();
        self.gateways.iter().for_each(|gateway| gateway.stop.cancel());
    }
}
