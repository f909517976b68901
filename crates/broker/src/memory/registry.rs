//! Keys, members and settings in memory.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _, ready};
use parking_lot::Mutex;
use tidings_protocol::grant::Scopes;
use tidings_protocol::project::Project;

use super::MemoryBroker;
use crate::registry::{Added, KEYS_MAX, MEMBERS_MAX, Registry, Versioned};
use crate::{CallError, ReadError};

/// What is kept of all projects.
#[derive(Debug, Default)]
pub(super) struct RegistryBooks(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    projects: HashMap<Project, Books>,
    /// The project of each key.
    keys: HashMap<String, Project>,
}

#[derive(Debug, Default)]
struct Books {
    keys: BTreeMap<String, Bytes>,
    members: BTreeMap<String, Scopes>,
    settings: Versioned,
}

impl RegistryBooks {
    /// As a restart leaves it.
    pub(super) fn clear(&self) {
        *self.0.lock() = Kept::default();
    }
}

impl Kept {
    fn add_key(&mut self, project: Project, id: String, record: Bytes) -> Added {
        let books = self.projects.entry(project.clone()).or_default();
        if books.keys.contains_key(&id) {
            return Added::Exists;
        }
        if books.keys.len() >= KEYS_MAX {
            return Added::Full;
        }
        books.keys.insert(id.clone(), record);
        self.keys.insert(id, project);
        Added::Done
    }

    fn remove_key(&mut self, project: &Project, id: &str) -> bool {
        let there = self.projects.get_mut(project).and_then(|books| books.keys.remove(id)).is_some();
        if there {
            self.keys.remove(id);
        }
        there
    }

    fn set_member(&mut self, project: Project, user: String, scopes: Scopes) -> bool {
        let members = &mut self.projects.entry(project).or_default().members;
        let fits = members.contains_key(&user) || members.len() < MEMBERS_MAX;
        if fits {
            members.insert(user, scopes);
        }
        fits
    }

    fn swap_settings(&mut self, project: Project, version: u64, value: Bytes) -> Option<u64> {
        let settings = &mut self.projects.entry(project).or_default().settings;
        (settings.version == version).then(|| {
            *settings = Versioned { version: version + 1, value };
            settings.version
        })
    }
}

impl MemoryBroker {
    /// A write; lazy, as every future.
    fn registry_write<'a, T: Send + 'a>(
        &'a self,
        write: impl FnOnce(&mut Kept) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, CallError>> {
        async move { Ok(write(&mut self.0.registry.0.lock())) }.boxed()
    }

    fn registry_read<T: Send + Default + 'static>(
        &self,
        project: &Project,
        read: impl FnOnce(&Books) -> T,
    ) -> BoxFuture<'_, Result<T, ReadError>> {
        let found = self.0.registry.0.lock().projects.get(project).map(read).unwrap_or_default();
        ready(Ok(found)).boxed()
    }
}

impl Registry for MemoryBroker {
    fn add_key(&self, project: Project, id: String, record: Bytes) -> BoxFuture<'_, Result<Added, CallError>> {
        self.registry_write(|kept| kept.add_key(project, id, record))
    }

    fn set_key(&self, project: Project, id: String, record: Bytes) -> BoxFuture<'_, Result<bool, CallError>> {
        self.registry_write(move |kept| {
            let found = kept.projects.get_mut(&project).and_then(|books| books.keys.get_mut(&id));
            found.map(|before| *before = record).is_some()
        })
    }

    fn remove_key(&self, project: Project, id: String) -> BoxFuture<'_, Result<bool, CallError>> {
        self.registry_write(move |kept| kept.remove_key(&project, &id))
    }

    fn key(&self, id: String) -> BoxFuture<'_, Result<Option<(Project, Bytes)>, ReadError>> {
        let kept = self.0.registry.0.lock();
        let found = kept.keys.get(&id).and_then(|project| {
            let record = kept.projects.get(project)?.keys.get(&id)?;
            Some((project.clone(), record.clone()))
        });
        ready(Ok(found)).boxed()
    }

    fn keys(&self, project: Project) -> BoxFuture<'_, Result<Vec<(String, Bytes)>, ReadError>> {
        self.registry_read(&project, |books| {
            books.keys.iter().map(|(id, record)| (id.clone(), record.clone())).collect()
        })
    }

    fn set_member(&self, project: Project, user: String, scopes: Scopes) -> BoxFuture<'_, Result<bool, CallError>> {
        self.registry_write(move |kept| kept.set_member(project, user, scopes))
    }

    fn remove_member(&self, project: Project, user: String) -> BoxFuture<'_, Result<bool, CallError>> {
        self.registry_write(move |kept| {
            kept.projects.get_mut(&project).and_then(|books| books.members.remove(&user)).is_some()
        })
    }

    fn member(&self, project: Project, user: String) -> BoxFuture<'_, Result<Scopes, ReadError>> {
        self.registry_read(&project, |books| books.members.get(&user).copied().unwrap_or_default())
    }

    fn members(&self, project: Project) -> BoxFuture<'_, Result<Vec<(String, Scopes)>, ReadError>> {
        self.registry_read(&project, |books| {
            books.members.iter().map(|(user, scopes)| (user.clone(), *scopes)).collect()
        })
    }

    fn settings(&self, project: Project) -> BoxFuture<'_, Result<Versioned, ReadError>> {
        self.registry_read(&project, |books| books.settings.clone())
    }

    fn swap_settings(
        &self,
        project: Project,
        version: u64,
        value: Bytes,
    ) -> BoxFuture<'_, Result<Option<u64>, CallError>> {
        self.registry_write(move |kept| kept.swap_settings(project, version, value))
    }
}
