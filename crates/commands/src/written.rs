//! Writing what the services themselves say: several events of one project by one call.

use tidings_log::writer::{Options, Outcome, Writers};
use tidings_protocol::project::Project;
use tidings_protocol::wire;

/// Appends events, and says what became of each; none: it is not known, or it could not be written now.
pub(crate) async fn write_all(writers: &Writers, project: &Project, events: Vec<wire::Event>) -> Vec<Option<Outcome>> {
    match writers.submit(project, events, Options::new()).await {
        Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
        Err(error) => {
            tracing::debug!(%project, %error, "not all can be written yet");
            error.results
        }
    }
}
