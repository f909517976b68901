//! Webhooks (docs/webhooks.md): what an ingest brings to receivers, and what its settings say of it.
//!
//! When and what is delivered is `tidings_webhooks`'; it is put together with the ingest's store and settings here, and what
//! receivers answer to commands goes the way of what runners post.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus::Registry;
use tidings_commands::counter::Lease;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Holder, ProjectPattern, Right, Scope};
use tidings_runtime::config::WebhooksConfig;
use tidings_webhooks::caller::{self, Caller};
use tidings_webhooks::dispatcher::{Dispatcher, Metrics, Rhythm};
use tidings_webhooks::runner::{Answers, Commands, NotTaken, RUNNER};

use crate::answer::Rejected;
use crate::commands::events;
use crate::{Inner, StartError};

/// Begins to deliver for the webhooks of projects, until the ingest stops. Must be called within a Tokio runtime.
pub(crate) fn begin(inner: &Arc<Inner>, config: &WebhooksConfig, registry: &Registry) -> Result<(), StartError> {
    let WebhooksConfig { allowed_networks, timeout, at_once } = config.clone();
    let metrics = Metrics::register(registry)?;
    // Where a machine knows no authorities nobody can be called by https, and an ingest has other work to do.
    let caller = match Caller::new(caller::Settings { allowed_networks, timeout }) {
        Ok(caller) => caller,
        Err(error) => {
            tracing::error!(%error, "this ingest delivers for no webhooks");
            return Ok(());
        }
    };
    let commands = Commands {
        counter: inner.counter.clone(),
        answers: Arc::new(Answered(inner.clone())),
        lease_ms: inner.commands.lease_ms,
    };
    let rhythm = Rhythm { at_once, ..Rhythm::default() };
    let (broker, settings) = (inner.broker.clone(), inner.settings.clone());
    let dispatcher = Dispatcher::new(broker, settings, Arc::new(caller), rhythm, metrics, Some(commands))?;
    inner.tasks.spawn(dispatcher.run(inner.stop.clone()));
    Ok(())
}

/// Takes what receivers answer.
struct Answered(Arc<Inner>);

impl Answers for Answered {
    fn take<'a>(&'a self, lease: &'a Lease, events: &'a [String]) -> BoxFuture<'a, Result<(), NotTaken>> {
        async move {
            let projects = ProjectPattern::Exact(lease.project.clone());
            let right = Right { projects, scopes: Scope::Work.into() };
            let grant = Grant::new(RUNNER, Holder::Anyone, vec![right]);
            // Told again, they are the same events, also where it is not known what became of them.
            let key = format!("{RUNNER} {}/{}", lease.id, lease.lease);
            let taken = events::taken(&self.0, &grant, lease, events, (false, Some(&key))).await;
            taken.map(drop).map_err(|rejected| not_taken(&rejected))
        }
        .boxed()
    }
}

fn not_taken(rejected: &Rejected) -> NotTaken {
    let code = rejected.code().unwrap_or(ErrorCode::Internal);
    let told = format!("its events were not taken: {}", code.as_str());
    match code.http_status() {
        _ if code.is_retryable() => NotTaken::Later(told),
        400 | 413 | 422 => NotTaken::Invalid(told),
        _ => NotTaken::Other(told),
    }
}
