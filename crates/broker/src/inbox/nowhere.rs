//! No inboxes.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tidings_protocol::project::Project;

use super::{Due, Found, Guarded, Here, Inboxes, Lapsed, LeaseAnswer, LeaseStep, Owned, Placed, Put, Standing, Take};
use crate::{CallError, NothingWhy, ReadError, Sink, Subscription};

/// A store that keeps no inboxes: it is always away.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoInboxes;

type Answered<T, E> = BoxFuture<'static, Result<T, E>>;

impl NoInboxes {
    fn nothing<T: Send + 'static>() -> Answered<T, CallError> {
        Box::pin(std::future::ready(Err(CallError::Nothing(NothingWhy::Away))))
    }

    fn away<T: Send + 'static>() -> Answered<T, ReadError> {
        Box::pin(std::future::ready(Err(ReadError::Away("the store keeps no inboxes".into()))))
    }
}

impl Inboxes for NoInboxes {
    fn put(&self, _: Project, _: Put) -> BoxFuture<'_, Result<Placed, CallError>> {
        NoInboxes::nothing()
    }

    fn take(&self, _: Project, _: Take) -> BoxFuture<'_, Result<Here, CallError>> {
        NoInboxes::nothing()
    }

    fn leave(&self, _: Project, _: String, _: String) -> BoxFuture<'_, Result<bool, CallError>> {
        NoInboxes::nothing()
    }

    fn answer(
        &self,
        _: Project,
        _: String,
        _: String,
        _: Vec<LeaseStep>,
    ) -> BoxFuture<'_, Result<Vec<LeaseAnswer>, CallError>> {
        NoInboxes::nothing()
    }

    fn settle(&self, _: Project, _: Vec<String>) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn look(&self, _: Project, _: Vec<String>) -> BoxFuture<'_, Result<Vec<Standing>, ReadError>> {
        NoInboxes::away()
    }

    fn find(&self, _: Project, _: String) -> BoxFuture<'_, Result<Option<Found>, ReadError>> {
        NoInboxes::away()
    }

    fn guard(&self, _: Project, _: String) -> BoxFuture<'_, Result<Option<Guarded>, ReadError>> {
        NoInboxes::away()
    }

    fn due(&self, _: Project) -> BoxFuture<'_, Result<Due, CallError>> {
        NoInboxes::nothing()
    }

    fn forget(&self, _: Project, _: Vec<Lapsed>) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn own(&self, _: Project, _: Vec<Owned>) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn projects(&self, _: u16) -> BoxFuture<'_, Result<Vec<Project>, ReadError>> {
        NoInboxes::away()
    }

    fn clear(&self, _: Project) -> BoxFuture<'_, Result<(), CallError>> {
        NoInboxes::nothing()
    }

    fn watch(&self, _: Project, _: Arc<dyn Sink>) -> BoxFuture<'_, Result<Subscription, ReadError>> {
        NoInboxes::away()
    }
}
