//! Settings of a project. A change names fields: what it does not name stays, `null` goes back to the service's own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::problem::{FieldProblem, Problem};
use tidings_protocol::project::Project;
use tidings_protocol::settings::{Change, SETTINGS_BYTES_MAX, Settings, brings_rules, read};
use tidings_webhooks::addresses::Addresses;
use tidings_webhooks::dispatcher::{Opened, Opening};
use tokio::sync::Semaphore;

use super::audit::told;
use super::{Refusals, answer, call_failed, json_of, ok, project_of, read_failed};
use crate::Inner;
use crate::answer::Rejected;
use crate::describe::ProblemBody;

/// How often a change is made again because another one came first.
const TRIES_MAX: usize = 8;

/// How long a change that brings redaction rules waits until no other one's rules are looked at.
const RULES_TURN_WITHIN: Duration = Duration::from_secs(2);

/// Whose redaction rules are looked at: it takes up to a part of a second of a processor, so it is done on a thread for such
/// work, one change at a time.
#[derive(Debug)]
pub(crate) struct RulesTurn(Arc<Semaphore>);

impl Default for RulesTurn {
    fn default() -> RulesTurn {
        RulesTurn(Arc::new(Semaphore::new(1)))
    }
}

impl RulesTurn {
    /// Reads a change, when it is its turn. Once begun it is read to its end, whoever waits for it.
    async fn read(&self, patch: Value) -> Result<Change, Rejected> {
        if !brings_rules(&patch) {
            return Change::read(&patch).map_err(refused);
        }
        let turn = tokio::time::timeout(RULES_TURN_WITHIN, self.0.clone().acquire_owned()).await;
        let Ok(turn) = turn.map(|turn| turn.expect("it is never closed")) else {
            return Err(Rejected::new(
                ErrorCode::Busy,
                "others bring redaction rules all the time; nothing was changed",
            ));
        };
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            Change::read(&patch)
        });
        read.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic())).map_err(refused)
    }
}

/// The settings of a project.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SettingsBody {
    /// Grows with each change of what is stored; 0: nothing was.
    version: u64,
    /// What is in effect. What is absent is the service's own value.
    #[schema(value_type = SettingsShape)]
    settings: Settings,
    /// The part that a file of the service declares: it wins, and cannot be changed here.
    #[schema(value_type = SettingsShape)]
    declared: Settings,
}

/// Settings. In a change, `null` in the place of a value unsets it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Settings)]
#[allow(dead_code, reason = "it is only described")]
pub(crate) struct SettingsShape {
    /// What the log keeps: `events`, `bytes`, `age_ms`.
    #[schema(example = json!({"events": 100_000, "bytes": 67_108_864, "age_ms": 86_400_000}))]
    retention: Option<Value>,
    /// What is hidden before it is stored: `builtin`, and own `rules` of `name` and `pattern`.
    #[schema(example = json!({"builtin": true, "rules": [{"name": "ticket", "pattern": "T-[0-9]+"}]}))]
    redaction: Option<Value>,
    /// What an acknowledgement waits for: `replicas`.
    #[schema(example = json!({"replicas": 1}))]
    acknowledgement: Option<Value>,
    /// What may be published: `events_per_second`, `bytes_per_second`.
    #[schema(example = json!({"events_per_second": 500, "bytes_per_second": 1_000_000}))]
    limits: Option<Value>,
    /// What becomes of commands: `answers` for the `asker` (if unset) or `everyone`; and a `webhook` that they are brought to,
    /// of `url`, `capabilities`, `in_hand`, `secret` and `previous_secret`.
    #[schema(example = json!({"answers": "everyone"}))]
    commands: Option<Value>,
    /// Who is called with events, by name: `url`, `types` (none: all events), `secret` and `previous_secret`. A change names
    /// the members that it changes. Secrets, of 16 to 256 bytes, are shown as `[redacted]`, which leaves them as they are.
    #[schema(example = json!({"deploys": {"url": "https://example.com/tidings", "types": ["session", "error"],
        "secret": "at least 16 bytes"}}))]
    webhooks: Option<Value>,
}

/// Show the settings of a project.
#[utoipa::path(
    get,
    path = "/v1/projects/{project}/settings",
    operation_id = "getSettings",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo")),
    responses(
        (status = 200, description = "The settings.", body = SettingsBody),
        Refusals,
    ),
)]
pub(crate) async fn show(State(inner): State<Arc<Inner>>, Path(project): Path<String>) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        let (version, stored) = stored(&inner, &project).await?;
        Ok(ok(StatusCode::OK, &body(&inner, &project, version, &stored)))
    };
    answer(&inner, answered.await)
}

/// Change settings of a project.
///
/// A JSON merge patch (RFC 7396): what it does not name stays, `null` unsets, lists are replaced. All of it is done, or
/// nothing. Takes effect within two seconds on every service.
#[utoipa::path(
    patch,
    path = "/v1/projects/{project}/settings",
    operation_id = "changeSettings",
    tag = "admin",
    params(("project" = String, Path, description = "The project's name.", min_length = 1, max_length = 128,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", example = "demo")),
    request_body(content((SettingsShape = "application/merge-patch+json"), (SettingsShape = "application/json"))),
    responses(
        (status = 200, description = "The settings after the change.", body = SettingsBody),
        Refusals,
        (status = 413, description = "Too large.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Something is not valid: nothing was changed.", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 504, description = "It may have been changed.", body = ProblemBody,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set(State(inner): State<Arc<Inner>>, Path(project): Path<String>, body: Body) -> Response {
    let answered = async {
        let project = project_of(&project)?;
        let (version, settings, fields) = changed(&inner, &project, json_of(body).await?).await?;
        let changed = ok(StatusCode::OK, &self::body(&inner, &project, version, &settings));
        // Names alone: what was set may tell what is to be hidden.
        Ok(told(changed, format!("version {version}, fields {}", fields.join(" "))))
    };
    answer(&inner, answered.await)
}

/// What is stored after a change, and the names of the fields that it set.
async fn changed(
    inner: &Inner,
    project: &Project,
    patch: Value,
) -> Result<(u64, Settings, Vec<&'static str>), Rejected> {
    let change = inner.rules_turn.read(patch).await?;
    let fields = change.fields().clone();
    for _ in 0..TRIES_MAX {
        let opening = Opening::begin(&inner.broker, project).await.map_err(|error| call_failed(&error))?;
        let (version, before) = stored(inner, project).await?;
        let after = change.of(&before).map_err(refused)?;
        let declared = inner.settings.declared(project).fields();
        let fixed = fields.iter().filter(|field| declared.contains(field));
        let faults: Vec<FieldProblem> = fixed
            .map(|field| {
                FieldProblem::new(ErrorCode::Reserved).field(*field).expected("a file of the service declares it")
            })
            .collect();
        let beyond = inner.settings.ceilings().faults(&after, &fields);
        let uncalled = uncalled(&inner.addresses, &before, &after);
        let faults: Vec<FieldProblem> = faults.into_iter().chain(beyond).chain(uncalled).collect();
        if !faults.is_empty() {
            return Err(refused(faults));
        }
        let json = after.stored();
        if json.len() > SETTINGS_BYTES_MAX {
            let fault = FieldProblem::new(ErrorCode::RequestTooLarge).limit(SETTINGS_BYTES_MAX, json.len());
            return Err(refused(vec![fault]));
        }
        match opening.open(&before, &after).await.map_err(|error| call_failed(&error))? {
            Opened::Ready => {}
            Opened::Again => continue,
        }
        let swapped = inner.registry.swap_settings(project.clone(), version, json.into()).await;
        if let Some(version) = swapped.map_err(|error| call_failed(&error))? {
            return Ok((version, after, fields));
        }
    }
    Err(Rejected::new(ErrorCode::Busy, "others change these settings all the time"))
}

/// Webhooks that a change brought to an address which is not called. Names are judged when they are called.
fn uncalled(addresses: &Addresses, before: &Settings, after: &Settings) -> Vec<FieldProblem> {
    let events = after.webhooks.iter().map(|(name, hook)| {
        (format!("webhooks.{name}.url"), &hook.url, before.webhooks.get(name).map(|before| &before.url))
    });
    let commands = after.commands.webhook.iter().map(|hook| {
        let before = before.commands.webhook.as_ref().map(|before| &before.url);
        ("commands.webhook.url".to_owned(), &hook.url, before)
    });
    let changed = events.chain(commands).filter(|(_, url, before)| Some(*url) != *before);
    let faults = changed.filter_map(|(field, url, _)| {
        let forbidden = addresses.check(url.as_url()).err()?;
        Some(FieldProblem::new(ErrorCode::InvalidField).field(field).expected(forbidden.to_string()))
    });
    faults.collect()
}

/// All faults of a change, under the code that they share.
fn refused(faults: Vec<FieldProblem>) -> Rejected {
    let first = faults.first().and_then(|fault| ErrorCode::parse(&fault.code)).unwrap_or(ErrorCode::InvalidField);
    let same = faults.iter().all(|fault| fault.code == first.as_str());
    let code = if same { first } else { ErrorCode::InvalidField };
    let told = faults.first().map_or_else(String::new, |fault| {
        let what = fault.detail.as_deref().unwrap_or(&fault.code);
        format!("`{}`: {what}", fault.field.as_deref().unwrap_or("settings"))
    });
    let more = if faults.len() > 1 { format!("; {} more", faults.len() - 1) } else { String::new() };
    Problem { errors: faults, ..Problem::new(code, format!("{told}{more}")) }.into()
}

async fn stored(inner: &Inner, project: &Project) -> Result<(u64, Settings), Rejected> {
    let found = inner.registry.settings(project.clone()).await.map_err(|error| read_failed(&error))?;
    let settings = read(&found.value).map_err(|error| {
        tracing::error!(%project, %error, "stored settings are malformed");
        Rejected::new(ErrorCode::Internal, "the stored settings cannot be read; the service's log says more")
    })?;
    Ok((found.version, settings))
}

fn body(inner: &Inner, project: &Project, version: u64, stored: &Settings) -> SettingsBody {
    let declared = inner.settings.declared(project);
    SettingsBody { version, settings: inner.settings.ceilings().clamp(declared.or(stored)), declared }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(pattern: &str) -> Value {
        json!({"redaction": {"rules": [{"name": "own-rule", "pattern": pattern}]}})
    }

    #[tokio::test(start_paused = true)]
    async fn rules_are_looked_at_one_change_at_a_time_and_nothing_else_waits() {
        let turn = RulesTurn::default();
        assert!(turn.read(rules("x")).await.is_ok());
        let refused = turn.read(rules("(")).await.expect_err("it cannot be read");
        assert_eq!(refused.code(), Some(ErrorCode::InvalidField));
        let another = turn.0.clone().acquire_owned().await.expect("it is never closed");
        let busy = turn.read(rules("x")).await.expect_err("another one has the turn");
        assert_eq!(busy.code(), Some(ErrorCode::Busy));
        assert!(turn.read(json!({"redaction": {"rules": null}, "retention": {"events": 7}})).await.is_ok());
        drop(another);
        assert!(turn.read(rules("x")).await.is_ok(), "turns are given back");
    }
    #[test]
    fn webhooks_inside_are_refused_when_they_are_set_and_not_later() {
        let hook = |url: &str| json!({"url": url, "secret": "hush-hush-hush-hush", "capabilities": ["chat"]});
        let of = |url: &str| {
            let mut events = hook(url);
            events.as_object_mut().expect("members").remove("capabilities");
            let all = json!({"webhooks": {"a": events}, "commands": {"webhook": hook(url)}});
            tidings_protocol::settings::change(&Settings::default(), &all).expect("sound by itself").0
        };
        let told = |addresses: &Addresses, before: &Settings, after: &Settings| {
            let faults = uncalled(addresses, before, after).into_iter();
            faults.map(|fault| fault.field.unwrap_or_default()).collect::<Vec<_>>()
        };
        let (none, inside) = (Addresses::default(), of("http://10.0.0.7/"));
        assert_eq!(told(&none, &Settings::default(), &inside), ["webhooks.a.url", "commands.webhook.url"]);
        assert!(told(&none, &inside, &inside).is_empty(), "it stood before");
        assert!(told(&none, &Settings::default(), &of("https://example.com/")).is_empty());
        let network = "10.0.0.0/8".parse().expect("a network");
        let allowing = Addresses::new(tidings_protocol::network::Networks(vec![network]));
        assert!(told(&allowing, &Settings::default(), &inside).is_empty());
    }
}
