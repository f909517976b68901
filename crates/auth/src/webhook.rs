//! The authorizer: asked `POST {"subject", "project"}`, answers `200 {"scopes": [..]}`; 403 and 404 are "none".
//!
//! An answer is held for 30 s and is good for 5 minutes more while the authorizer does not answer. After that it gives
//! nothing: an authorizer that is down must not keep open what it would have closed. Claims and members are not touched.
//!
//! It is asked a bounded number of questions at one time. Who finds no turn is told so; that is no failure of the
//! authorizer, so it neither rests nor is a stale answer given in its place.

use serde::{Deserialize, Serialize};
use tidings_protocol::grant::{Scope, Scopes};
use tidings_protocol::project::Project;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::cache::{Cache, Lacking, NoAnswer, Terms, Unanswered};
use crate::config::{WebhookConfig, trusted_url};
use crate::credential::Secret;
use crate::fetch::{Fetch, FetchError};
use crate::limits::{WEBHOOK_BYTES_MAX, WEBHOOK_CALLS_MAX, WEBHOOK_ENTRIES_MAX, WEBHOOK_TURN_WAIT};

pub(crate) struct Webhook {
    url: reqwest::Url,
    secret: Option<Secret>,
    fetch: Fetch,
    cache: Cache<Scopes>,
    /// One slow authorizer must not be asked by all viewers at the same time.
    calls: Semaphore,
    /// Of its own for whom it knows: projects can be made up, memberships cannot.
    renewals: Semaphore,
}

#[derive(Serialize)]
struct Question<'a> {
    subject: &'a str,
    project: &'a str,
}

/// Words that are no scopes are passed over: the authorizer may be newer than the service.
#[derive(Deserialize)]
struct Answer {
    scopes: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the answer is not `{{\"scopes\": [..]}}`")]
    Form,
}

impl Webhook {
    pub(crate) fn new(config: WebhookConfig) -> Result<Webhook, String> {
        let url = trusted_url(&config.url)?;
        let fetch = Fetch::new(config.timeout, WEBHOOK_BYTES_MAX).map_err(|error| error.to_string())?;
        let terms = Terms {
            fresh: config.fresh,
            stale: config.stale,
            // The time of the question itself is limited where it is put.
            timeout: WEBHOOK_TURN_WAIT + config.timeout,
            entries_max: WEBHOOK_ENTRIES_MAX,
        };
        let cache = Cache::sorting(terms, |scopes| *scopes != Scopes::NONE);
        let [calls, renewals] = [WEBHOOK_CALLS_MAX; 2].map(Semaphore::new);
        Ok(Webhook { url, secret: config.secret, fetch, cache, calls, renewals })
    }

    /// What it says of this user in this project, asked or held.
    pub(crate) async fn scopes(&self, project: &Project, user: &str) -> Result<Scopes, Lacking<Scopes>> {
        let ask = async |known: bool| {
            let turns = if known { &self.renewals } else { &self.calls };
            let turn = timeout(WEBHOOK_TURN_WAIT, turns.acquire()).await.map_err(|_| Unanswered::Busy)?;
            let _turn = turn.expect("it is never closed");
            self.ask(project, user).await.map_err(|_| Unanswered::Failed)
        };
        self.cache.get_in_turn(&key(project, user), ask).await
    }

    /// What it said a moment ago; `None`: it must be asked.
    pub(crate) fn held(&self, project: &Project, user: &str) -> Option<Result<Scopes, NoAnswer>> {
        self.cache.held(&key(project, user))
    }

    /// Whether it said last that this user may do something in this project.
    pub(crate) fn knows(&self, project: &Project, user: &str) -> bool {
        self.cache.knows(&key(project, user))
    }

    async fn ask(&self, project: &Project, user: &str) -> Result<Scopes, AskError> {
        let question = Question { subject: user, project: project.as_str() };
        let question = serde_json::to_string(&question).expect("texts are JSON");
        let answered = match self.fetch.post(&self.url, question, self.secret.as_ref()).await {
            Ok((200, body)) => serde_json::from_slice(&body).map_err(|_| AskError::Form),
            Ok((403 | 404, _)) => Ok(Answer { scopes: Vec::new() }),
            Ok((status, _)) => Err(FetchError::Status(status).into()),
            Err(error) => Err(error.into()),
        };
        match answered {
            Ok(answer) => Ok(answer.scopes.iter().filter_map(|word| word.parse::<Scope>().ok()).collect()),
            Err(error) => {
                tracing::warn!(%error, "the authorizer does not answer");
                Err(error)
            }
        }
    }
}

/// A project's name has no space, so no other pair is written alike.
fn key(project: &Project, user: &str) -> String {
    format!("{project} {user}")
}

#[cfg(test)]
mod tests;
