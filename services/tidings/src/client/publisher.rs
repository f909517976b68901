//! Posting events so that each arrives once: under ids, in order, again and again while the server is away.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Url};
use serde_json::json;
use tidings_protocol::limits::{BATCH_EVENTS_MAX, REQUEST_BYTES_MAX};
use tidings_protocol::project::Project;
use tokio::time::Instant;

use super::access::Access;
use super::backoff::Backoff;
use super::draft::Draft;
use super::refusal::Refusal;
use super::{Address, cause, http};

/// How long an answer may take: longer than the server's own deadline.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// The first pause after a failed attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long the last events of a tool that ends may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// Bytes of events in a request; half of what a server takes by default, since a draft's size is an estimate.
const POST_BYTES_MAX: usize = REQUEST_BYTES_MAX / 2;

/// Posts events to one project.
pub(crate) struct Publisher {
    http: Client,
    url: Url,
    backoff: Backoff,
    open: OpenSessions,
}

/// What a publisher tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// It cannot post for this reason, and tries again. Told once per outage.
    Away(String),
    /// It can post again.
    Back,
}

impl Publisher {
    /// A publisher to this project.
    pub(crate) fn new(address: &Address, project: &Project, access: &Access) -> anyhow::Result<Publisher> {
        Ok(Publisher {
            http: http(address, ANSWER_TIMEOUT, access)?,
            url: address.events(project),
            backoff: Backoff::new(FIRST_PAUSE),
            open: OpenSessions::default(),
        })
    }

    /// Posts the events in order; they must have ids. Waits for a server that is away as long as it takes, and returns
    /// how long that was: the clock of what is played stands still meanwhile.
    ///
    /// # Errors
    /// When the server refuses; the events before the refused request have been taken.
    pub(crate) async fn post(&mut self, mut events: &[Draft], mut tell: impl FnMut(News)) -> Result<Duration, Refusal> {
        let mut away = Duration::ZERO;
        while !events.is_empty() {
            let (request, rest) = events.split_at(request_len(events));
            let body = Bytes::from(serde_json::to_vec(request).expect("events have string keys only"));
            // What is begun is noted before it is known to be there, what is over when it is: a caller that stops in between
            // cancels one session too many rather than one too few.
            self.open.note_begun(request);
            let mut failed_at: Option<Instant> = None;
            loop {
                let why = match self.attempt(body.clone()).await {
                    Ok(()) => break,
                    Err(Failed::Away(why)) => why,
                    Err(Failed::Refused(refusal)) if refusal.may_pass() => {
                        if let Some(pause) = refusal.retry_after() {
                            self.backoff.hint(pause);
                        }
                        refusal.to_string()
                    }
                    Err(Failed::Refused(refusal)) => return Err(refusal),
                };
                if failed_at.is_none() {
                    failed_at = Some(Instant::now());
                    tell(News::Away(why));
                }
                tokio::time::sleep(self.backoff.next(rand::random())).await;
            }
            if let Some(since) = failed_at {
                away += since.elapsed();
                tell(News::Back);
            }
            self.backoff = Backoff::new(FIRST_PAUSE);
            self.open.note_over(request);
            events = rest;
        }
        Ok(away)
    }

    /// Ends the sessions that were started and not ended: for a tool that is told to stop. One attempt; returns how
    /// many sessions it ended.
    pub(crate) async fn cancel_open(&mut self, reason: &str, mut id: impl FnMut() -> String) -> usize {
        let cancelled = |session: String| Draft {
            id: Some(id()),
            ..Draft::new("session.cancelled", &session, &json!({ "reason": reason }))
        };
        let events: Vec<Draft> = std::mem::take(&mut self.open.0).into_iter().map(cancelled).collect();
        let mut ended = 0;
        let post = async {
            for request in events.chunks(BATCH_EVENTS_MAX) {
                let body = serde_json::to_vec(request).expect("events have string keys only");
                if self.attempt(body.into()).await.is_ok() {
                    ended += request.len();
                }
            }
        };
        let _ = tokio::time::timeout(FAREWELL, post).await;
        ended
    }

    async fn attempt(&self, body: Bytes) -> Result<(), Failed> {
        let post = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        let response = post.send().await.map_err(|error| Failed::Away(cause(&error)))?;
        if !response.status().is_success() {
            return Err(Failed::Refused(Refusal::read(response).await));
        }
        // Reading it to the end gives the connection back.
        response.bytes().await.map_err(|error| Failed::Away(cause(&error)))?;
        Ok(())
    }
}

enum Failed {
    Away(String),
    Refused(Refusal),
}

/// How many of the events go into the next request.
fn request_len(events: &[Draft]) -> usize {
    let mut bytes = 0;
    let fits = events.iter().take(BATCH_EVENTS_MAX).take_while(|event| {
        bytes += event.bytes();
        bytes <= POST_BYTES_MAX
    });
    fits.count().max(1)
}

/// The sessions that were started and have not ended.
#[derive(Debug, Default)]
struct OpenSessions(BTreeSet<String>);

impl OpenSessions {
    fn note_begun(&mut self, events: &[Draft]) {
        let begun = events.iter().filter(|event| event.kind == "session.started");
        self.0.extend(begun.filter_map(|event| event.session.clone()));
    }

    fn note_over(&mut self, events: &[Draft]) {
        let is_end = |kind: &str| matches!(kind, "session.completed" | "session.failed" | "session.cancelled");
        for session in events.iter().filter(|event| is_end(&event.kind)).filter_map(|event| event.session.as_ref()) {
            self.0.remove(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, session: &str, text_bytes: usize) -> Draft {
        Draft::new(kind, session, &json!({ "text": "x".repeat(text_bytes) }))
    }

    #[test]
    fn requests_keep_within_both_limits_and_never_stand_still() {
        let check = |events: &[Draft], expected: usize| assert_eq!(request_len(events), expected);
        check(&vec![event("log", "s", 1); 1_500], 1_000);
        check(&vec![event("log", "s", 500_000); 9], 4);
        check(&vec![event("log", "s", 3_000_000); 2], 1);
    }

    #[test]
    fn sessions_are_open_until_they_end() {
        let mut open = OpenSessions::default();
        let kinds = [("session.started", "a"), ("session.started", "b"), ("log", "c"), ("session.failed", "a")];
        let events = kinds.map(|(kind, session)| event(kind, session, 0));
        open.note_begun(&events);
        assert_eq!(open.0.len(), 2);
        open.note_over(&events);
        assert_eq!(open.0.into_iter().collect::<Vec<_>>(), ["b"]);
    }
}
