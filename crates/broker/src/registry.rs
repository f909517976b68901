//! What is kept of projects beside their logs: API keys, members, settings. Raw: what a record says is the caller's
//! matter; here it is bytes, and scopes.
//!
//! Every write is one atomic step on one place, and idempotent or compared, so that a call whose outcome is unknown may be
//! made again. Nothing here is cached, and nothing expires by itself. A store that is lost loses it all: what must survive
//! that is declared in a file.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tidings_protocol::grant::Scopes;
use tidings_protocol::project::Project;

use crate::{CallError, NothingWhy, ReadError};

/// Most API keys of one project, revoked ones included.
pub const KEYS_MAX: usize = 1_000;

/// Most members of one project.
pub const MEMBERS_MAX: usize = 10_000;

/// Keys, members and settings of projects.
pub trait Registry: Send + Sync + 'static {
    /// Keeps the record of a new API key with its project. An id is drawn at random and given once.
    ///
    /// Dropped or [`CallError::Unknown`]: the key may be listed, and may be good; remove it, or leave it, since nobody was
    /// told its secret.
    fn add_key(&self, project: Project, id: String, record: Bytes) -> BoxFuture<'_, Result<Added, CallError>>;

    /// Replaces the record of a key of this project. False: the project has no such key. It passes when the store is out
    /// of memory, too; if the new record finds no room even so, the key is gone, which revokes it as well.
    fn set_key(&self, project: Project, id: String, record: Bytes) -> BoxFuture<'_, Result<bool, CallError>>;

    /// Forgets a key of this project. False: the project has no such key.
    fn remove_key(&self, project: Project, id: String) -> BoxFuture<'_, Result<bool, CallError>>;

    /// The project and the record of the key of this id.
    fn key(&self, id: String) -> BoxFuture<'_, Result<Option<(Project, Bytes)>, ReadError>>;

    /// The records of all keys of a project, by id.
    fn keys(&self, project: Project) -> BoxFuture<'_, Result<Vec<(String, Bytes)>, ReadError>>;

    /// Says what a user may do in a project. False: the project has [`MEMBERS_MAX`] members, and this is none of them.
    fn set_member(&self, project: Project, user: String, scopes: Scopes) -> BoxFuture<'_, Result<bool, CallError>>;

    /// Ends a membership. False: there was none.
    fn remove_member(&self, project: Project, user: String) -> BoxFuture<'_, Result<bool, CallError>>;

    /// What a user may do in a project; nothing if it is no member.
    fn member(&self, project: Project, user: String) -> BoxFuture<'_, Result<Scopes, ReadError>>;

    /// All members of a project, by name.
    fn members(&self, project: Project) -> BoxFuture<'_, Result<Vec<(String, Scopes)>, ReadError>>;

    /// The settings of a project; version 0 and nothing while there are none.
    fn settings(&self, project: Project) -> BoxFuture<'_, Result<Versioned, ReadError>>;

    /// Replaces the settings of a project if they are of this version: their new version. `None`: they are of another one.
    fn swap_settings(
        &self,
        project: Project,
        version: u64,
        value: Bytes,
    ) -> BoxFuture<'_, Result<Option<u64>, CallError>>;
}

/// What became of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is kept.
    Done,
    /// There is a key of this id.
    Exists,
    /// The project has [`KEYS_MAX`] keys.
    Full,
}

/// A value, and how often it was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versioned {
    /// 0: it was never set.
    pub version: u64,
    /// Empty while it was never set.
    pub value: Bytes,
}

/// A store without a registry: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoRegistry;

type Answer<T, E> = BoxFuture<'static, Result<T, E>>;

impl NoRegistry {
    fn nothing<T: Send + 'static>() -> Answer<T, CallError> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }

    fn away<T: Send + 'static>() -> Answer<T, ReadError> {
        Box::pin(std::future::ready(Err(ReadError::Away("the store keeps no registry".into()))))
    }
}

impl Registry for NoRegistry {
    fn add_key(&self, _: Project, _: String, _: Bytes) -> BoxFuture<'_, Result<Added, CallError>> {
        NoRegistry::nothing()
    }

    fn set_key(&self, _: Project, _: String, _: Bytes) -> BoxFuture<'_, Result<bool, CallError>> {
        NoRegistry::nothing()
    }

    fn remove_key(&self, _: Project, _: String) -> BoxFuture<'_, Result<bool, CallError>> {
        NoRegistry::nothing()
    }

    fn key(&self, _: String) -> BoxFuture<'_, Result<Option<(Project, Bytes)>, ReadError>> {
        NoRegistry::away()
    }

    fn keys(&self, _: Project) -> BoxFuture<'_, Result<Vec<(String, Bytes)>, ReadError>> {
        NoRegistry::away()
    }

    fn set_member(&self, _: Project, _: String, _: Scopes) -> BoxFuture<'_, Result<bool, CallError>> {
        NoRegistry::nothing()
    }

    fn remove_member(&self, _: Project, _: String) -> BoxFuture<'_, Result<bool, CallError>> {
        NoRegistry::nothing()
    }

    fn member(&self, _: Project, _: String) -> BoxFuture<'_, Result<Scopes, ReadError>> {
        NoRegistry::away()
    }

    fn members(&self, _: Project) -> BoxFuture<'_, Result<Vec<(String, Scopes)>, ReadError>> {
        NoRegistry::away()
    }

    fn settings(&self, _: Project) -> BoxFuture<'_, Result<Versioned, ReadError>> {
        NoRegistry::away()
    }

    fn swap_settings(&self, _: Project, _: u64, _: Bytes) -> BoxFuture<'_, Result<Option<u64>, CallError>> {
        NoRegistry::nothing()
    }
}

/// Scopes as they are stored. Words of a newer version give nothing.
pub(crate) fn stored_scopes(text: &str) -> Scopes {
    text.split(' ').filter_map(|word| word.parse::<tidings_protocol::grant::Scope>().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_newer_version_give_nothing() {
        assert_eq!(stored_scopes("read conduct admin").to_string(), "read admin");
        assert_eq!(stored_scopes(""), Scopes::NONE);
    }
}
