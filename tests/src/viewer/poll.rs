//! A viewer that long-polls.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Leave, Plan, Record, Said};
use crate::http::Answer;

#[derive(Deserialize)]
struct Events<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
    next: String,
}

/// One request.
pub(super) async fn visit(
    client: &reqwest::Client,
    gateway: SocketAddr,
    plan: &Plan,
    record: &mut Record,
    leave: &mut Leave,
) -> anyhow::Result<()> {
    // A poll is a visit of its own: the next one may go to any gateway.
    let Plan { project, after, .. } = plan;
    let is_first = record.position().is_none();
    let after = record.position().unwrap_or(after);
    // Where `now` is, is said by an answer that does not wait.
    let wait = if is_first && after == "now" { 0 } else { 20 };
    let url = format!("http://{gateway}/v1/projects/{project}/events?after={after}&limit=500&wait={wait}");
    let asking = async { Answer::read(client.get(url).send().await?).await };
    tokio::pin!(asking);
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer?,
            () = leave.changed() => if leave.is_due(record) { return Ok(()) },
        }
    };
    anyhow::ensure!(answer.status == 200, "{}: {}", answer.status, answer.text());
    let read: Events<'_> = serde_json::from_slice(&answer.body)?;
    for raw in &read.events {
        let said = Said::from_event(raw.get())?;
        if let (Said::Event(event), None) = (&said, record.start) {
            record.begin_before(&event.position);
        }
        record.hear(said);
    }
    record.move_to(read.next);
    Ok(())
}
