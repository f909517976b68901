//! Polling and long-polling: the events behind a position, and where to go on.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use tidings_log::encoding::Json;
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::frames::{After, Lag, SnapshotWish};
use tidings_protocol::grant::Grant;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;

use super::head;
use super::params::{self, Read};
use crate::http::state::json;
use crate::metrics::Transport;
use crate::shared::Shared;
use crate::start;

/// Bytes of events that one answer holds, about.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Longest wait for a page when the client itself does not wait for events.
const PAGE_WAIT: Duration = Duration::from_secs(5);

/// Answers with what lies behind `after`, or waits for it.
pub(super) async fn poll(
    shared: &Arc<Shared>,
    project: &Project,
    after: After,
    read: Read,
    grant: Grant,
) -> Result<Response, Refused> {
    let _open = shared.metrics.open(Transport::Poll);
    let topic = shared.topic(project)?;
    params::started(&topic).await?;
    let at = params::within(start::locate(&topic, shared.hub.broker(), after)).await?;
    let wake = Arc::new(Wake::default());
    let registered = shared.register(wake.clone(), grant.clone(), &[project]);
    // Always full: a compacted stretch has one position, its end, and may hold more than `limit`.
    let wants = Wants { at, newcomer: false, filter: read.filter, lag: Lag::Full, snapshot: SnapshotWish::No, grant };
    let mut viewer = Viewer::new(topic, wants, wake.clone());
    let mut frames = Vec::new();
    let mut bytes_left = ANSWER_BYTES;
    let mut events_left = read.limit;
    let waits = !read.wait.is_zero();
    let taking = poll_fn(|cx| {
        loop {
            wake.register(cx.waker());
            wake.take();
            if let Some(refusal) = registered.refused() {
                return Poll::Ready(Err(refusal));
            }
            let mut pull = Pull { encoding: &Json, out: &mut frames, bytes_left, events_left, until: u64::MAX };
            let polled = viewer.poll_pull(cx, &mut pull);
            (bytes_left, events_left) = (pull.bytes_left, pull.events_left);
            if bytes_left == 0 || events_left == 0 {
                return Poll::Ready(Ok(()));
            }
            match polled {
                // More may lie behind what was taken.
                Poll::Ready(()) => {}
                Poll::Pending if frames.is_empty() && !head::is_reached(&viewer) => return Poll::Pending,
                Poll::Pending if !frames.is_empty() || !waits || registered.control.draining().is_some() => {
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    let taken = tokio::time::timeout(if waits { read.wait } else { PAGE_WAIT }, taking).await;
    if let Ok(Err(refusal)) = taken {
        return Err(refusal.into());
    }
    if taken.is_err() && viewer.at() == at && !head::is_reached(&viewer) {
        // There is something behind `after`, and the store does not give it.
        return Err(params::away());
    }
    Ok(answer(frames, &format!("\"next\":\"{}\"", viewer.at())))
}

/// `{"events":[...],MEMBERS}` from frames of [`Json`].
pub(super) fn answer(frames: Vec<Bytes>, members: &str) -> Response {
    let mut body = Vec::with_capacity(frames.iter().map(Bytes::len).sum::<usize>() + members.len() + 16);
    body.extend_from_slice(b"{\"events\":[");
    for frame in frames {
        body.extend_from_slice(&frame);
    }
    if body.last() == Some(&b',') {
        body.pop();
    }
    body.extend_from_slice(b"],");
    body.extend_from_slice(members.as_bytes());
    body.push(b'}');
    json(body)
}
