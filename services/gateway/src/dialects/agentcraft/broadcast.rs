//! A word to every client of a project, on all gateways: an event in its log, told as it is.

use serde_json::Value;
use tidings_dialects::agentcraft::rest::broadcast_event;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::problem::Problem;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use crate::shared::Shared;

/// Says this. When it returns, the event stands in the log.
///
/// # Errors
/// The body is no JSON object, or the event was not taken: nobody is told, but for `outcome_unknown`.
pub(super) async fn to_everybody(shared: &Shared, project: &Project, body: &[u8]) -> Result<(), Refused> {
    let message = serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    let message = message.ok_or_else(|| Refused::new(ErrorCode::MalformedJson, "a broadcast is a JSON object"))?;
    let event = broadcast_event(&message).to_string();
    shared
        .commands
        .desk()
        .publish(project, event.as_bytes())
        .await
        .map_err(|refusal| Refused::from(Problem::from(refusal)))
}
