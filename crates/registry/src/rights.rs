//! The authenticator's stores: API keys and members as the registry keeps them.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_auth::{KeyId, KeyRecord, Keys, Members, StoreAway, Stores};
use tidings_broker::ReadError;
use tidings_broker::registry::Registry;
use tidings_protocol::grant::Scopes;
use tidings_protocol::project::Project;

/// Keys and members of this registry.
pub fn stores(registry: Arc<dyn Registry>) -> Stores {
    let kept = Arc::new(Kept(registry));
    Stores { keys: Some(kept.clone()), members: Some(kept) }
}

struct Kept(Arc<dyn Registry>);

fn away(error: &ReadError) -> StoreAway {
    tracing::warn!(%error, "the registry cannot be read");
    StoreAway
}

impl Keys for Kept {
    fn find<'a>(&'a self, id: &'a KeyId) -> BoxFuture<'a, Result<Option<KeyRecord>, StoreAway>> {
        async move {
            let found = self.0.key(id.as_str().to_owned()).await.map_err(|error| away(&error))?;
            let Some((project, record)) = found else { return Ok(None) };
            let record = serde_json::from_slice::<KeyRecord>(&record).map_err(|error| {
                tracing::warn!(%project, key = %id, %error, "the record of a key cannot be read");
                StoreAway
            })?;
            Ok(Some(record))
        }
        .boxed()
    }
}

impl Members for Kept {
    fn scopes<'a>(&'a self, project: &'a Project, user: &'a str) -> BoxFuture<'a, Result<Scopes, StoreAway>> {
        async move { self.0.member(project.clone(), user.to_owned()).await.map_err(|error| away(&error)) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_auth::{Authenticator, Closed, Config, Credential, NewKey, Reason};
    use tidings_broker::memory::MemoryBroker;
    use tidings_protocol::grant::Scope;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_good_until_it_is_revoked() {
        let broker = MemoryBroker::new();
        let demo: Project = "demo".parse().expect("a name");
        let closed = Config::Closed(Closed::default());
        let authenticator = Authenticator::new(closed, stores(Arc::new(broker.clone()))).expect("sound settings");
        let NewKey { key, mut record } = NewKey::make(vec![demo.clone().into()], Scope::Publish.into(), 1_000);
        let shown = Credential::new(key.expose());
        let put = |record: &KeyRecord| Bytes::from(serde_json::to_vec(record).expect("JSON"));
        let id = record.id.to_string();
        broker.add_key(demo.clone(), id.clone(), put(&record)).await.expect("an answer");
        let grant = authenticator.authenticate(&shown, 2_000).await.expect("a good key");
        assert!(grant.may_publish(&demo) && !grant.may_read(&demo));

        record.revoked_at = Some(2_000);
        assert!(broker.set_key(demo.clone(), id.clone(), put(&record)).await.expect("an answer"));
        tokio::time::advance(tidings_auth::limits::STORE_FRESH).await;
        let refused = authenticator.authenticate(&shown, 2_001).await.expect_err("it was revoked");
        assert_eq!(refused.reason, Reason::Revoked);
        assert!(authenticator.revalidate(&grant, 2_001).await.is_err(), "open connections end");

        broker.set_key(demo, id, Bytes::from_static(b"{}")).await.expect("an answer");
        tokio::time::advance(tidings_auth::limits::STORE_FRESH).await;
        let refused = authenticator.authenticate(&shown, 2_002).await;
        assert!(refused.is_err(), "what cannot be read is not good");
    }

    #[tokio::test(start_paused = true)]
    async fn members_have_what_is_kept_of_them() {
        let broker = MemoryBroker::new();
        let (demo, other): (Project, Project) = ("demo".parse().expect("a name"), "other".parse().expect("a name"));
        let stores = stores(Arc::new(broker.clone()));
        let members = stores.members.expect("members");
        broker.set_member(demo.clone(), "alice".into(), Scope::Read.into()).await.expect("an answer");
        assert_eq!(members.scopes(&demo, "alice").await, Ok(Scope::Read.into()));
        assert_eq!(members.scopes(&other, "alice").await, Ok(Scopes::NONE));
    }
}
