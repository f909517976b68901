//! `tidings key` and `tidings project`: keys, members and settings of a project, over HTTP with the scope `admin`.
//!
//! What scripts want goes to standard output: the key that was made, a line for each thing listed, settings as JSON.

#![expect(clippy::doc_markdown, reason = "the doc comments are what --help prints")]

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Map, Value, json};
use tidings_protocol::grant::{Scope, Scopes};
use tidings_protocol::project::Project;

use crate::client::access::Access;
use crate::client::refusal::Refusal;
use crate::client::{Address, cause, http};
use crate::terminal::plain::plain;
use crate::tool::say;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Largest answer that is read, in bytes: a project's 10,000 members.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Which project, where, and who asks.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The project
    #[arg(long)]
    project: Project,
    /// The ingest's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: Address,
    #[command(flatten)]
    access: Access,
}

/// What `tidings key` does.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make an API key, and print it: it is not kept, and never shown again
    Make {
        #[command(flatten)]
        place: Place,
        /// What it may do: read, publish, work, command, approve, admin
        #[arg(long, value_delimiter = ',', default_value = "publish,work")]
        scopes: Vec<Scope>,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        note: String,
        /// When it ends, as in 2027-01-31T12:00:00Z; without this, never
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Events that it may publish in a second; without this, what the services let any key
        #[arg(long, value_name = "COUNT")]
        events_per_second: Option<u32>,
        /// Bytes of events that it may publish in a second; without this, what the services let any key
        #[arg(long, value_name = "BYTES")]
        bytes_per_second: Option<u64>,
    },
    /// List the keys, revoked ones included: id, state, scopes, when it was made, note
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a key: it is refused everywhere within seconds
    Revoke {
        #[command(flatten)]
        place: Place,
        /// Its public id, as listed; the whole key will do
        id: String,
    },
}

/// What `tidings project` does.
#[derive(Debug, Subcommand)]
pub(crate) enum ProjectAction {
    /// Print what is set for the project, as JSON
    Show {
        #[command(flatten)]
        place: Place,
    },
    /// Change settings, as in retention.events=50000 redaction.builtin=true limits.events_per_second=null
    Set {
        #[command(flatten)]
        place: Place,
        /// FIELD=VALUE, the value as JSON; null goes back to the service's own
        #[arg(required = true, value_name = "FIELD=VALUE", value_parser = setting)]
        settings: Vec<(String, Value)>,
    },
    /// Users, and what they may do in the project
    Member {
        #[command(subcommand)]
        action: MemberAction,
    },
}

/// What `tidings project member` does.
#[derive(Debug, Subcommand)]
pub(crate) enum MemberAction {
    /// Add a member, or change what it may do
    Add {
        #[command(flatten)]
        place: Place,
        /// The user, as tokens name it
        user: String,
        /// What it may do: read, publish, work, command, approve, admin
        #[arg(long, value_delimiter = ',', default_value = "read")]
        scopes: Vec<Scope>,
    },
    /// Remove a member
    Remove {
        #[command(flatten)]
        place: Place,
        /// The user, as tokens name it
        user: String,
    },
    /// List the members: user, scopes
    List {
        #[command(flatten)]
        place: Place,
    },
}

/// `tidings key`.
pub(crate) async fn key(action: KeyAction) -> anyhow::Result<ExitCode> {
    match action {
        KeyAction::Make { place, scopes, note, expires, events_per_second, bytes_per_second } => {
            let scopes: Scopes = scopes.into_iter().collect();
            let mut wish = json!({"scopes": scopes, "note": note});
            let limits =
                [("events_per_second", events_per_second.map(u64::from)), ("bytes_per_second", bytes_per_second)];
            for (name, limit) in limits.into_iter().filter_map(|(name, limit)| Some((name, limit?))) {
                wish[name] = limit.into();
            }
            if let Some(expires) = expires {
                wish["expires"] = expires.into();
            }
            let made = place.ask(Method::POST, &["keys"], Some(&wish)).await?;
            say(&format!("{}\n", word(&made, "key")))?;
        }
        KeyAction::List { place } => {
            let answer = place.ask(Method::GET, &["keys"], None).await?;
            for key in answer["keys"].as_array().into_iter().flatten() {
                let state = if key["revoked"].is_string() { "revoked" } else { "good" };
                let told = [word(key, "id"), state.into(), words(key), word(key, "created"), word(key, "note")];
                say(&format!("{}\n", told.join("  ").trim_end()))?;
            }
        }
        KeyAction::Revoke { place, id } => {
            // Of a whole key only the id is sent.
            let id = id.strip_prefix("tdk_").and_then(|rest| rest.split('_').next()).unwrap_or(&id);
            place.ask(Method::DELETE, &["keys", id], None).await?;
            told(&format!("{} is revoked", plain(id)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `tidings project`.
pub(crate) async fn project(action: ProjectAction) -> anyhow::Result<ExitCode> {
    match action {
        ProjectAction::Show { place } => {
            let answer = place.ask(Method::GET, &["settings"], None).await?;
            say(&format!("{answer:#}\n"))?;
        }
        ProjectAction::Set { place, settings } => {
            let answer = place.ask(Method::PATCH, &["settings"], Some(&patch(settings)?)).await?;
            say(&format!("{answer:#}\n"))?;
        }
        ProjectAction::Member { action } => match action {
            MemberAction::Add { place, user, scopes } => {
                let scopes: Scopes = scopes.into_iter().collect();
                place.ask(Method::PUT, &["members", &user], Some(&json!({"scopes": scopes}))).await?;
                told(&format!("{} may now: {scopes}", plain(&user)))?;
            }
            MemberAction::Remove { place, user } => {
                place.ask(Method::DELETE, &["members", &user], None).await?;
                told(&format!("{} is no member any more", plain(&user)))?;
            }
            MemberAction::List { place } => {
                let answer = place.ask(Method::GET, &["members"], None).await?;
                for member in answer["members"].as_array().into_iter().flatten() {
                    say(&format!("{}  {}\n", word(member, "user"), words(member)))?;
                }
            }
        },
    }
    Ok(ExitCode::SUCCESS)
}

impl Place {
    /// A request below the project; the answer, `null` if there is none.
    async fn ask(&self, method: Method, below: &[&str], body: Option<&Value>) -> anyhow::Result<Value> {
        let http = http(&self.url, ANSWER_TIMEOUT, &self.access)?;
        let url: Url = self.url.below(&self.project, below);
        let request = http.request(method, url);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let sent = request.send().await;
        let mut response = sent.map_err(|error| anyhow::anyhow!("{}: {}", self.url, cause(&error)))?;
        if !response.status().is_success() {
            bail!("{}", Refusal::read(response).await);
        }
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(Value::Null);
        }
        let mut whole = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| anyhow::anyhow!("{}", cause(&error)))? {
            whole.extend_from_slice(&chunk);
            if whole.len() > ANSWER_BYTES_MAX {
                bail!("the answer is larger than {ANSWER_BYTES_MAX} bytes");
            }
        }
        serde_json::from_slice(&whole).context("the answer is no JSON; does a Tidings server listen at this address?")
    }
}

/// A word for people, beside what scripts read.
fn told(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stderr(), "{text}").context("cannot write")
}

fn word(value: &Value, name: &str) -> String {
    plain(value[name].as_str().unwrap_or_default()).to_string()
}

fn words(value: &Value) -> String {
    let scopes: Vec<&str> = value["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    plain(&scopes.join(",")).to_string()
}

/// Reads `field=value`.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (field, value) = text.split_once('=').filter(|(field, _)| !field.is_empty()).ok_or("expected FIELD=VALUE")?;
    let value = serde_json::from_str(value).map_err(|error| format!("the value is not JSON: {error}"))?;
    Ok((field.to_owned(), value))
}

/// Fields with dots as a merge patch.
fn patch(settings: Vec<(String, Value)>) -> anyhow::Result<Value> {
    let mut patch = Map::new();
    for (field, value) in settings {
        let given = match field.split_once('.') {
            None => patch.insert(field.clone(), value),
            Some((section, name)) => {
                let section = patch.entry(section).or_insert_with(|| Value::Object(Map::new()));
                let Some(section) = section.as_object_mut() else {
                    bail!("`{field}`: its section is given as a whole, too")
                };
                section.insert(name.to_owned(), value)
            }
        };
        if given.is_some() {
            bail!("`{field}` is given twice");
        }
    }
    Ok(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_dots_become_a_patch() {
        let read = |texts: &[&str]| patch(texts.iter().map(|text| setting(text).expect("a setting")).collect());
        let expected =
            json!({"retention": {"events": 5, "bytes": null}, "redaction": {"builtin": true}, "limits": null});
        let texts = ["retention.events=5", "retention.bytes=null", "redaction.builtin=true", "limits=null"];
        assert_eq!(read(&texts).expect("a patch"), expected);
        for twice in [["a.b=1", "a.b=2"], ["a=1", "a.b=2"], ["a.b=1", "a=2"]] {
            assert!(read(&twice).is_err(), "{twice:?}");
        }
        for wrong in ["a", "=1", "a=", "a=x"] {
            assert!(setting(wrong).is_err(), "{wrong}");
        }
    }
}
