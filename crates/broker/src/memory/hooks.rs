//! Webhooks in memory. `lua/hooks.lua` does the same in Redis.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use parking_lot::Mutex;
use tidings_protocol::project::Project;

use super::MemoryBroker;
use crate::hooks::{Entered, Hooks, PLACES_MAX, Place, Swapped, check};
use crate::{CallError, ReadError, index};

/// The index, and places by project and name.
#[derive(Debug, Default)]
pub(super) struct HookBooks(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    entered: HashMap<Project, u64>,
    places: HashMap<Project, BTreeMap<String, Place>>,
}

impl HookBooks {
    /// As a restart leaves it.
    pub(super) fn clear(&self) {
        *self.0.lock() = Books::default();
    }
}

impl Books {
    fn enter(&mut self, now_ms: u64, project: Project) {
        let stamp = self.entered.entry(project).or_default();
        *stamp = now_ms.max(*stamp + 1);
    }

    fn leave(&mut self, entered: &Entered) -> bool {
        let same = self.entered.get(&entered.project) == Some(&entered.stamp);
        if same {
            self.entered.remove(&entered.project);
        }
        same
    }

    fn swap(&mut self, now_ms: u64, project: &Project, name: String, version: u64, record: Option<Bytes>) -> Swapped {
        let places = self.places.entry(project.clone()).or_default();
        let before = places.get(&name).map_or(0, |place| place.version);
        let swapped = match record {
            _ if before != version => Swapped::Moved,
            Some(_) if before == 0 && places.len() >= PLACES_MAX => Swapped::Full,
            Some(record) => {
                let version = now_ms.max(before + 1);
                places.insert(name, Place { version, record });
                Swapped::Done(version)
            }
            None => {
                places.remove(&name);
                Swapped::Done(0)
            }
        };
        if places.is_empty() {
            self.places.remove(project);
        }
        swapped
    }
}

impl Hooks for MemoryBroker {
    fn enter(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            self.0.hooks.0.lock().enter(self.0.clock.now_ms(), project);
            Ok(())
        }
        .boxed()
    }

    fn projects(&self, shard: u16) -> BoxFuture<'_, Result<Vec<Entered>, ReadError>> {
        async move {
            let books = self.0.hooks.0.lock();
            let ours = books.entered.iter().filter(|(project, _)| index::shard_of(project) == shard);
            Ok(ours.map(|(project, stamp)| Entered { project: project.clone(), stamp: *stamp }).collect())
        }
        .boxed()
    }

    fn leave(&self, entered: Entered) -> BoxFuture<'_, Result<bool, CallError>> {
        async move { Ok(self.0.hooks.0.lock().leave(&entered)) }.boxed()
    }

    fn places(&self, project: Project) -> BoxFuture<'_, Result<BTreeMap<String, Place>, ReadError>> {
        async move { Ok(self.0.hooks.0.lock().places.get(&project).cloned().unwrap_or_default()) }.boxed()
    }

    fn swap(
        &self,
        project: Project,
        name: String,
        version: u64,
        record: Option<Bytes>,
    ) -> BoxFuture<'_, Result<Swapped, CallError>> {
        check(&name, record.as_ref());
        async move { Ok(self.0.hooks.0.lock().swap(self.0.clock.now_ms(), &project, name, version, record)) }.boxed()
    }

    fn clear(&self, project: Project) -> BoxFuture<'_, Result<(), CallError>> {
        async move {
            self.0.hooks.0.lock().places.remove(&project);
            Ok(())
        }
        .boxed()
    }
}
