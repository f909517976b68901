//! The authorizer: asked `POST {"subject", "project"}`, answers `200 {"scopes": [..]}`; 403 and 404 are "none".
//!
//! An answer is held for 30 s and is good for 5 minutes more while the authorizer does not answer. After that it gives
//! nothing: an authorizer that is down must not keep open what it would have closed. Claims and members are not touched.

use serde::{Deserialize, Serialize};
use tidings_protocol::grant::{Scope, Scopes};
use tidings_protocol::project::Project;
use tokio::sync::Semaphore;

use crate::cache::{Cache, NoAnswer, Terms};
use crate::config::{WebhookConfig, trusted_url};
use crate::credential::Secret;
use crate::fetch::{Fetch, FetchError};
use crate::limits::{WEBHOOK_BYTES_MAX, WEBHOOK_CALLS_MAX, WEBHOOK_ENTRIES_MAX};

pub(crate) struct Webhook {
    url: reqwest::Url,
    secret: Option<Secret>,
    fetch: Fetch,
    cache: Cache<Scopes>,
    /// One slow authorizer must not be asked by all viewers at the same time.
    calls: Semaphore,
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
            timeout: config.timeout,
            entries_max: WEBHOOK_ENTRIES_MAX,
        };
        let (cache, calls) = (Cache::new(terms), Semaphore::new(WEBHOOK_CALLS_MAX));
        Ok(Webhook { url, secret: config.secret, fetch, cache, calls })
    }

    /// What it says of this user in this project, asked or held.
    pub(crate) async fn scopes(&self, project: &Project, user: &str) -> Result<Scopes, NoAnswer> {
        self.cache.get(&format!("{project} {user}"), || self.ask(project, user)).await
    }

    async fn ask(&self, project: &Project, user: &str) -> Result<Scopes, AskError> {
        let _call = self.calls.acquire().await.expect("it is never closed");
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

#[cfg(test)]
mod tests;
