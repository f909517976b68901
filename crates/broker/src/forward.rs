//! For the stores of tests, which meddle with some calls and hand the others on: [`crate::forward!`].

pub use futures_util::future::BoxFuture;
pub use tidings_protocol::{head::Head, project::Project};
pub use tokio::sync::watch::Receiver;

/// Within an implementation of [`crate::Log`], [`crate::Index`] or [`crate::Probe`]: hands these methods on to the broker in
/// a field. `handles` are all those of `Index` that hand out another seam (`registry`, `inboxes`, ...).
///
/// ```text
/// impl Log for Meddled {
///     tidings_broker::forward!(memory: read, heads, checkpoint, state, subscribe);
///     // ... and `append` as the test wants it.
/// }
/// ```
#[macro_export]
macro_rules! forward {
    ($field:ident: $($method:ident),+ $(,)?) => {
        $($crate::forward_one!($field $method);)+
    };
}

/// One method of [`forward!`].
#[doc(hidden)]
#[macro_export]
macro_rules! forward_one {
    ($field:ident handles) => {
        $crate::forward!($field: registry, quotas, presences, fleet, bookmarks, slips, hooks, inboxes);
    };
    ($field:ident append) => {
        fn append(&self, project: $crate::forward::Project, call: $crate::AppendCall)
        -> $crate::forward::BoxFuture<'_, Result<$crate::Answer, $crate::CallError>> {
            $crate::Log::append(&self.$field, project, call)
        }
    };
    ($field:ident read) => {
        fn read(&self, project: $crate::forward::Project, span: $crate::Span, bytes_max: usize)
        -> $crate::forward::BoxFuture<'_, Result<$crate::Page, $crate::ReadError>> {
            $crate::Log::read(&self.$field, project, span, bytes_max)
        }
    };
    ($field:ident heads) => {
        fn heads(&self, projects: Vec<$crate::forward::Project>)
        -> $crate::forward::BoxFuture<'_, Vec<Result<$crate::forward::Head, $crate::ReadError>>> {
            $crate::Log::heads(&self.$field, projects)
        }
    };
    ($field:ident checkpoint) => {
        fn checkpoint(&self, project: $crate::forward::Project, step: $crate::CheckpointStep)
        -> $crate::forward::BoxFuture<'_, Result<$crate::CheckpointAnswer, $crate::CallError>> {
            $crate::Log::checkpoint(&self.$field, project, step)
        }
    };
    ($field:ident state) => {
        fn state(&self, project: $crate::forward::Project, fields: $crate::Fields)
        -> $crate::forward::BoxFuture<'_, Result<$crate::StateAt, $crate::ReadError>> {
            $crate::Log::state(&self.$field, project, fields)
        }
    };
    ($field:ident subscribe) => {
        fn subscribe(&self, project: $crate::forward::Project, sink: std::sync::Arc<dyn $crate::Sink>)
        -> $crate::forward::BoxFuture<'_, Result<$crate::Subscription, $crate::ReadError>> {
            $crate::Log::subscribe(&self.$field, project, sink)
        }
    };
    ($field:ident enter) => {
        fn enter(&self, project: $crate::forward::Project)
        -> $crate::forward::BoxFuture<'_, Result<(), $crate::CallError>> {
            $crate::Index::enter(&self.$field, project)
        }
    };
    ($field:ident projects) => {
        fn projects(&self, shard: u16)
        -> $crate::forward::BoxFuture<'_, Result<Vec<$crate::forward::Project>, $crate::ReadError>> {
            $crate::Index::projects(&self.$field, shard)
        }
    };
    ($field:ident lease) => {
        fn lease(&self, shard: u16, owner: String, ttl_ms: u64)
        -> $crate::forward::BoxFuture<'_, Result<bool, $crate::CallError>> {
            $crate::Index::lease(&self.$field, shard, owner, ttl_ms)
        }
    };
    ($field:ident sweep) => {
        fn sweep(&self, project: $crate::forward::Project, writers_ms: u64, producers_ms: u64)
        -> $crate::forward::BoxFuture<'_, Result<(), $crate::CallError>> {
            $crate::Index::sweep(&self.$field, project, writers_ms, producers_ms)
        }
    };
    ($field:ident held_bytes) => {
        fn held_bytes(&self, projects: Vec<$crate::forward::Project>)
        -> $crate::forward::BoxFuture<'_, Vec<Result<u64, $crate::ReadError>>> {
            $crate::Index::held_bytes(&self.$field, projects)
        }
    };
    ($field:ident refuse) => {
        fn refuse(&self, project: $crate::forward::Project, for_ms: u64)
        -> $crate::forward::BoxFuture<'_, Result<(), $crate::CallError>> {
            $crate::Index::refuse(&self.$field, project, for_ms)
        }
    };
    ($field:ident registry) => {
        fn registry(&self) -> std::sync::Arc<dyn $crate::registry::Registry> {
            $crate::Index::registry(&self.$field)
        }
    };
    ($field:ident quotas) => {
        fn quotas(&self) -> std::sync::Arc<dyn $crate::quota::Quotas> {
            $crate::Index::quotas(&self.$field)
        }
    };
    ($field:ident presences) => {
        fn presences(&self) -> std::sync::Arc<dyn $crate::presence::Presences> {
            $crate::Index::presences(&self.$field)
        }
    };
    ($field:ident fleet) => {
        fn fleet(&self) -> std::sync::Arc<dyn $crate::fleet::Fleet> {
            $crate::Index::fleet(&self.$field)
        }
    };
    ($field:ident bookmarks) => {
        fn bookmarks(&self) -> std::sync::Arc<dyn $crate::bookmark::Bookmarks> {
            $crate::Index::bookmarks(&self.$field)
        }
    };
    ($field:ident slips) => {
        fn slips(&self) -> std::sync::Arc<dyn $crate::slip::Slips> {
            $crate::Index::slips(&self.$field)
        }
    };
    ($field:ident hooks) => {
        fn hooks(&self) -> std::sync::Arc<dyn $crate::hooks::Hooks> {
            $crate::Index::hooks(&self.$field)
        }
    };
    ($field:ident inboxes) => {
        fn inboxes(&self) -> std::sync::Arc<dyn $crate::inbox::Inboxes> {
            $crate::Index::inboxes(&self.$field)
        }
    };
    ($field:ident probe) => {
        fn probe(&self) -> $crate::forward::BoxFuture<'_, Result<(), $crate::ReadError>> {
            $crate::Probe::probe(&self.$field)
        }
    };
    ($field:ident connected) => {
        fn connected(&self) -> $crate::forward::Receiver<bool> {
            $crate::Probe::connected(&self.$field)
        }
    };
    ($field:ident memory) => {
        fn memory(&self) -> $crate::forward::BoxFuture<'_, Result<$crate::MemoryUse, $crate::ReadError>> {
            $crate::Probe::memory(&self.$field)
        }
    };
}
