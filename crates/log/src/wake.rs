//! How a topic wakes its readers: one flag and one waker per connection, however many topics it reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// A connection's wake-up: set by topics, taken by the connection's task.
#[derive(Debug, Default)]
pub struct Wake {
    news: AtomicBool,
    waker: AtomicWaker,
}

impl Wake {
    /// There is something new. Cheap when that was said already.
    pub fn wake(&self) {
        if !self.news.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Remembers whom to wake. Call before [`Wake::take`], or news may be missed.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether there was something new since the last call.
    pub fn take(&self) -> bool {
        self.news.swap(false, Ordering::AcqRel)
    }
}

/// The readers of one topic.
#[derive(Debug, Default)]
pub struct Readers {
    list: Mutex<Vec<(u64, std::sync::Arc<Wake>)>>,
}

impl Readers {
    /// Adds a reader under a key of its own.
    pub fn add(&self, key: u64, wake: std::sync::Arc<Wake>) {
        self.list.lock().push((key, wake));
    }

    /// Takes a reader out.
    pub fn remove(&self, key: u64) {
        let mut list = self.list.lock();
        if let Some(index) = list.iter().position(|(other, _)| *other == key) {
            list.swap_remove(index);
        }
    }

    /// Wakes all of them.
    pub fn wake_all(&self) {
        for (_, wake) in self.list.lock().iter() {
            wake.wake();
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
