//! Commands as a stream: server-sent events, or a line of JSON each. While it is open its runner is there.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, header};
use tidings_broker::inbox::Take;
use tidings_commands::counter::{Command, Handed};
use tidings_log::writer::Failure;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::project::Project;
use tidings_runtime::http::rights::Held;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::waits::Waiting;
use crate::Inner;
use crate::answer::{self, Rejected};

/// After so much silence something is sent, so that proxies keep the connection and a client that is gone is noticed.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Pause before a store that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// How commands are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Server-sent events.
    Sse,
    /// A line each.
    Ndjson,
}

impl Form {
    /// What a client accepts before all else; none: JSON.
    pub(super) fn of(headers: &HeaderMap) -> Option<Form> {
        let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let first = accepts.flat_map(|value| value.split(',')).next()?;
        match first.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Some(Form::Sse),
            "application/x-ndjson" => Some(Form::Ndjson),
            _ => None,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Form::Sse => "text/event-stream",
            Form::Ndjson => "application/x-ndjson",
        }
    }

    fn heartbeat(self) -> Bytes {
        Bytes::from_static(match self {
            Form::Sse => b":\n\n",
            Form::Ndjson => b"\n",
        })
    }

    fn write(self, commands: &[Command]) -> Bytes {
        let mut out = Vec::new();
        for Command { id, lease, json } in commands {
            match self {
                Form::Ndjson => {
                    out.extend_from_slice(json);
                    out.push(b'\n');
                }
                Form::Sse => {
                    out.extend_from_slice(format!("id: {id}/{lease}\ndata: ").as_bytes());
                    out.extend_from_slice(json);
                    out.extend_from_slice(b"\n\n");
                }
            }
        }
        out.into()
    }
}

/// Opens a stream: its task runs until the client goes, its right ends, or the service drains.
pub(super) async fn open(
    inner: &Arc<Inner>,
    project: Project,
    take: Take,
    (grant, waiting): (Grant, Option<Waiting>),
    form: Form,
) -> Result<Response, Rejected> {
    if inner.stop.is_cancelled() {
        let (code, detail) = answer::failure(Failure::Draining);
        return Err(Rejected::new(code, detail));
    }
    // What can be refused is refused while that can still be said.
    let first = inner.counter.take(&project, take.clone(), Instant::now(), &inner.stop).await?;
    let (chunks, mut body) = mpsc::channel::<Bytes>(1);
    let news = Arc::new(Notify::new());
    let told = news.clone();
    let held = inner.rights.hold(grant, vec![(project.clone(), Scope::Work)], move || told.notify_one());
    let stream = Stream { inner: inner.clone(), project, take, form, chunks, held, news, _waiting: waiting };
    inner.tasks.spawn(stream.run(first));
    let body = futures_util::stream::poll_fn(move |cx| {
        body.poll_recv(cx).map(|chunk| chunk.map(Ok::<Bytes, std::convert::Infallible>))
    });
    let headers = [
        (header::CONTENT_TYPE, form.media_type()),
        (header::CACHE_CONTROL, "no-store"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Stream {
    inner: Arc<Inner>,
    project: Project,
    take: Take,
    form: Form,
    /// One waits at most: who reads slowly is handed less.
    chunks: mpsc::Sender<Bytes>,
    held: Held,
    news: Arc<Notify>,
    _waiting: Option<Waiting>,
}

impl Stream {
    async fn run(self, first: Handed) {
        let ended = async {
            loop {
                self.news.notified().await;
                let news = self.held.take_news();
                if news.ended.is_some() || !news.withdrawn.is_empty() {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.follow(first) => {}
            () = ended => {}
            () = self.chunks.closed() => {}
            () = self.inner.stop.cancelled() => {}
        }
    }

    async fn follow(&self, first: Handed) {
        let mut handed = first;
        loop {
            let commands = &handed.commands;
            let chunk = if commands.is_empty() { self.form.heartbeat() } else { self.form.write(commands) };
            if self.chunks.send(chunk).await.is_err() {
                return;
            }
            handed = loop {
                let until = Instant::now() + HEARTBEAT;
                let take = Take { goes_on: true, ..self.take.clone() };
                match self.inner.counter.take(&self.project, take, until, &self.inner.stop).await {
                    Ok(handed) if handed.is_gone => return,
                    Ok(handed) => break handed,
                    Err(refusal) if refusal.code.is_retryable() => tokio::time::sleep(RETRY).await,
                    Err(_) => return,
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_type_that_is_accepted_counts() {
        let form = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().expect("a value"));
            Form::of(&headers)
        };
        assert_eq!(form("text/event-stream"), Some(Form::Sse));
        assert_eq!(form("application/x-ndjson;q=0.9, */*"), Some(Form::Ndjson));
        assert_eq!((form("application/json, text/event-stream"), form("*/*")), (None, None));
    }

    #[test]
    fn a_command_is_a_block_or_a_line() {
        let command = Command { id: "c-1".into(), lease: 2, json: "{}".into() };
        assert_eq!(Form::Sse.write(std::slice::from_ref(&command)), "id: c-1/2\ndata: {}\n\n");
        assert_eq!(Form::Ndjson.write(&[command.clone(), command]), "{}\n{}\n");
    }
}
