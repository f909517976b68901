//! Whether services say that they are ready.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::finding::{Finding, Page};
use crate::client::access::Access;
use crate::client::{Address, cause, http};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What `/readyz` answers.
#[derive(Debug, Deserialize)]
struct Report {
    ready: bool,
    conditions: BTreeMap<String, Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    ready: bool,
    #[serde(default)]
    detail: String,
}

/// Asks a service; `check`: what it is.
pub(super) async fn check(check: &'static str, address: &Address) -> Finding {
    match ask(address).await {
        Ok(Report { ready: true, .. }) => Finding::ok(check, format!("{address} is ready")),
        Ok(Report { conditions, .. }) => {
            let why = |(name, Condition { ready, detail }): (&String, &Condition)| {
                (!ready).then(|| if detail.is_empty() { name.clone() } else { format!("{name}: {detail}") })
            };
            let why: Vec<String> = conditions.iter().filter_map(why).collect();
            let found = format!("{address} is not ready: {}", why.join("; "));
            let advice = "look into its log; what is said of Redis above may be why";
            Finding::fail(check, found, advice, Page::DOCTOR)
        }
        Err(why) => {
            let advice = "name the address of its admin port (admin_listen), as in http://127.0.0.1:9464";
            Finding::fail(check, format!("{address}: {why}"), advice, Page::DOCTOR)
        }
    }
}

async fn ask(address: &Address) -> Result<Report, String> {
    // The admin port asks nobody for a token: none is shown to whoever may listen there.
    let http = http(address, ANSWER_TIMEOUT, &Access::default()).map_err(|error| format!("{error:#}"))?;
    let sent = http.get(address.at(&["readyz"])).timeout(ANSWER_TIMEOUT).send().await;
    let mut response = sent.map_err(|error| cause(&error))?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| cause(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    serde_json::from_slice(&body).map_err(|_| format!("it answers {} and no report of readiness", status.as_u16()))
}
