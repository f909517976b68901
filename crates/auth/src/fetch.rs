//! Asks other services over HTTP: with a time limit over all of it, a limit on what is read, and no redirects.
//!
//! Redirects are refused because whoever answers for a configured address must not be able to send us to another one.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Request, Response, Url};

use crate::credential::Secret;

/// Why there is no answer. Tells no part of an address, which may hold a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the answer has status {0}")]
    Status(u16),
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    #[error("no answer: {0}")]
    Transport(String),
}

/// A client of one service.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    client: Client,
    bytes_max: usize,
}

impl Fetch {
    /// `timeout` is for all of a request, connecting and reading included. Fails when the system's roots of trust cannot
    /// be read.
    pub(crate) fn new(timeout: Duration, bytes_max: usize) -> Result<Fetch, FetchError> {
        let client = Client::builder().timeout(timeout).redirect(Policy::none());
        Ok(Fetch { client: client.build().map_err(transport)?, bytes_max })
    }

    /// The body of a 200. Cancel-safe: dropping it closes the connection.
    pub(crate) async fn get(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        let request = self.client.get(url.clone()).header("accept", "application/json").build().map_err(transport)?;
        let (status, body) = self.answer(request).await?;
        if status == 200 { Ok(body) } else { Err(FetchError::Status(status)) }
    }

    /// Status and body of the answer to this JSON.
    pub(crate) async fn post(
        &self,
        url: &Url,
        json: String,
        secret: Option<&Secret>,
    ) -> Result<(u16, Vec<u8>), FetchError> {
        let mut request = self.client.post(url.clone()).header("content-type", "application/json").body(json);
        if let Some(secret) = secret {
            request = request.bearer_auth(secret.expose());
        }
        self.answer(request.build().map_err(transport)?).await
    }

    async fn answer(&self, request: Request) -> Result<(u16, Vec<u8>), FetchError> {
        let mut response: Response = self.client.execute(request).await.map_err(transport)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > self.bytes_max {
                return Err(FetchError::TooLarge(self.bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((response.status().as_u16(), body))
    }
}

fn transport(error: reqwest::Error) -> FetchError {
    use std::error::Error;

    let error = error.without_url();
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        told = format!("{told}: {inner}");
        cause = inner.source();
    }
    FetchError::Transport(told)
}
