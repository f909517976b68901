//! The contract as tests: one suite, run on every store. What it checks is what the layers above may rely on.
//!
//! A case is a function that takes a [`Subject`]: a store, and the few things that no broker can do to itself. The
//! `cases!` macro lists the cases of a module in `CASES` and, in this crate, makes a test of each on memory and on a
//! Redis server that the test starts.

mod append;
mod bookmarks;
#[cfg(test)]
mod cluster;
mod deletion;
mod fleet;
mod fold;
mod forks;
mod guards;
mod hooks;
mod inbox;
mod live;
mod presence;
mod producers;
mod quota;
mod read;
mod registry;
mod slips;
mod subject;
pub(crate) mod writer;

pub use subject::{MemorySubject, RedisSubject, Subject};

use std::time::Duration;

use futures_util::future::BoxFuture;

/// One case.
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Runs it; a failure panics. Each run needs a subject of its own.
    pub run: for<'a> fn(&'a mut dyn Subject) -> BoxFuture<'a, ()>,
}

/// All cases.
pub fn all() -> impl Iterator<Item = &'static Case> {
    let ways = [append::CASES, producers::CASES, forks::CASES, deletion::CASES];
    let all = ways.into_iter().chain([read::CASES, live::CASES, fold::CASES, quota::CASES, registry::CASES]);
    let all = all.chain([fleet::CASES, presence::CASES, guards::CASES, inbox::CASES, bookmarks::CASES]);
    let all = all.chain([slips::CASES, hooks::CASES]);
    all.flatten()
}

/// What takes longer than this does not come.
const WAIT_MAX: Duration = Duration::from_mins(1);

macro_rules! cases {
    ($($name:ident)*) => {
        /// The cases of this module.
        pub(super) const CASES: &[$crate::contract::Case] = &[
            $($crate::contract::Case { name: stringify!($name), run: |subject| Box::pin($name(subject)) }),*
        ];

        #[cfg(test)]
        mod on_memory {
            $(#[tokio::test]
            async fn $name() {
                super::super::run(super::$name(&mut $crate::contract::MemorySubject::new())).await;
            })*
        }

        #[cfg(test)]
        mod on_redis {
            $(#[tokio::test]
            async fn $name() {
                super::super::run(super::$name(&mut $crate::contract::RedisSubject::start().await)).await;
            })*
        }
    };
}
use cases;

#[cfg(test)]
async fn run(case: impl Future<Output = ()>) {
    tokio::time::timeout(WAIT_MAX, case).await.expect("the case ended");
}
