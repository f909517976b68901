//! Commands of viewers: `POST /v1/projects/{project}/commands`, and what every protocol asks with.
//!
//! Who may ask, and how often, is decided here; what becomes of a command is `tidings_commands`' desk's matter.

mod audit;

use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::FuturesUnordered;
use http::{StatusCode, header};
use std::sync::Arc;
use tidings_commands::Refusal;
use tidings_commands::asker::Asker;
use tidings_commands::command::Command;
use tidings_commands::desk::{Asked, Desk};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::problem::Problem;
use tidings_protocol::project::Project;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::rights::Rights;

use crate::dialects;
use crate::http::params;
use crate::limits::{Caller, Limits};
use crate::openapi;
use crate::shared::Shared;

/// Largest body of a request, in bytes: a command's data, the rest of it, and white space within reason.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// How long it may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Commands that one connection may have on their way into the inbox.
const ASKING_MAX: usize = 16;

/// When to come back, where waiting helps, in seconds.
const RETRY_S: u32 = 2;

/// The command that cancels another one: that of others too, for who has the scope `admin`.
const CANCEL: &str = "command.cancel";

/// What a command came to.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct CommandAsked {
    /// Its id: to ask again under it asks the same.
    id: String,
    /// `queued`, `leased`, `accepted` or `answered`.
    status: String,
}

/// A command.
#[derive(utoipa::ToSchema)]
#[allow(dead_code, reason = "describes bytes that are written elsewhere")]
pub(crate) struct CommandBody {
    /// What is asked: grammar of event types.
    #[schema(example = "session.stop", max_length = 64)]
    r#type: String,
    /// Makes retries harmless; given by the server if absent.
    #[schema(max_length = 128)]
    id: Option<String>,
    /// For the runner that holds this session.
    #[schema(max_length = 128)]
    session: Option<String>,
    /// For the runner that holds this agent.
    #[schema(max_length = 128)]
    agent: Option<String>,
    /// Which runners may take it; the type's first segment if absent.
    #[schema(max_length = 64)]
    capability: Option<String>,
    /// Anything for the runner, at most 32 KiB.
    data: Option<serde_json::Value>,
    /// When an answer is of no use any more, from now.
    #[schema(minimum = 1_000, maximum = 3_600_000)]
    deadline_ms: Option<u64>,
}

/// Asks runners, for all protocols. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Commands {
    desk: Desk,
    rights: Rights,
    limits: Limits,
}

impl Commands {
    pub(crate) fn new(desk: Desk, rights: Rights, limits: Limits) -> Commands {
        Commands { desk, rights, limits }
    }

    /// Asks a command for who has this grant, if he may and is within his rate. `asker`: who that is to runners, and where the
    /// answers go; [`Asker::of`] the grant, unless the protocol knows better.
    ///
    /// # Errors
    /// `forbidden`, `rate_limited`, and those of [`Desk::ask`].
    pub(crate) async fn ask(
        &self,
        grant: &Grant,
        caller: &Caller,
        asker: &Asker,
        project: &Project,
        command: Command,
    ) -> Result<Asked, Refusal> {
        command.check()?;
        let (cancels, of) = (command.kind == CANCEL, target(&command));
        let scope = if command.kind == "approval.answer" { Scope::Approve } else { Scope::Command };
        let mut asker = Asker { is_admin: self.rights.is_open(), ..asker.clone() };
        if let Err(refusal) = self.may(grant, project, scope).await {
            if !cancels {
                return Err(refusal);
            }
            self.may(grant, project, Scope::Admin).await.map_err(|_| refusal)?;
            asker.is_admin = true;
        }
        self.limits.command(caller).await?;
        let mut asked = self.desk.ask(project, &asker, command.clone()).await;
        // Nothing has happened: it is somebody else's.
        let is_anothers = asked.as_ref().is_err_and(|refusal| refusal.code == ErrorCode::Forbidden);
        if cancels && is_anothers && !asker.is_admin && self.may(grant, project, Scope::Admin).await.is_ok() {
            asker.is_admin = true;
            asked = self.desk.ask(project, &asker, command).await;
        }
        if asker.is_admin && cancels {
            audit::cancelled(grant, caller, project, &of, &asked);
        }
        asked
    }

    /// Whether he may do this in the project.
    async fn may(&self, grant: &Grant, project: &Project, scope: Scope) -> Result<(), Refusal> {
        if self.rights.is_open() {
            return Ok(());
        }
        let refused = |refusal: tidings_auth::Refusal| Refusal::new(refusal.code(), refusal.message());
        self.rights.authorize(grant, project, scope).await.map(drop).map_err(refused)
    }

    /// Who may ask something or other in this project.
    async fn admitted(&self, grant: Grant, project: &Project) -> Result<Grant, Refused> {
        let may = [Scope::Approve, Scope::Admin].into_iter().any(|scope| grant.allows(project, scope));
        if self.rights.is_open() || may {
            return Ok(grant);
        }
        match self.rights.authorize(&grant, project, Scope::Command).await {
            Ok(granted) => Ok(granted),
            // A membership may say more than the credential.
            Err(refused) => Ok(self.rights.authorize(&grant, project, Scope::Approve).await.map_err(|_| refused)?),
        }
    }

    /// The desk behind it.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }
}

/// What dialects ask with. Their viewers have ids of their own, so answers are for the viewer that asked.
impl dialects::Desk for Commands {
    fn ask(
        &self,
        project: &Project,
        grant: &Grant,
        caller: &Caller,
        command: &tidings_dialects::Command,
    ) -> BoxFuture<'static, Result<String, dialects::Refusal>> {
        let (this, project, grant, caller) = (self.clone(), project.clone(), grant.clone(), caller.clone());
        let tidings_dialects::Command { kind, id, session, agent, data } = command.clone();
        let data = Some(data.to_string()).filter(|_| !data.is_null());
        let command = Command { id, session, agent, data, ..Command::new(kind) };
        async move {
            let asked = Commands::ask(&this, &grant, &caller, &Asker::viewer(grant.viewer()), &project, command).await;
            let refused = |refusal: Refusal| dialects::Refusal { code: refusal.code.as_str(), message: refusal.detail };
            asked.map(|asked| asked.id).map_err(refused)
        }
        .boxed()
    }
}

/// What became of a command of a connection.
pub(crate) struct Said {
    pub(crate) project: Project,
    pub(crate) asked: Result<Asked, Refusal>,
    /// Echoed.
    pub(crate) reference: Option<String>,
}

/// The commands of one connection that are on their way into the inbox.
pub(crate) struct Asking {
    commands: Commands,
    caller: Caller,
    /// None before the first: most viewers never ask anything.
    pending: Option<FuturesUnordered<BoxFuture<'static, Said>>>,
}

impl Asking {
    pub(crate) fn new(commands: Commands, caller: Caller) -> Asking {
        Asking { commands, caller, pending: None }
    }

    /// Whether as many are on their way as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.len() >= ASKING_MAX)
    }

    /// Asks; [`Asking::poll_said`] tells what became of it.
    pub(crate) fn ask(&mut self, grant: Grant, project: Project, command: Command, reference: Option<String>) {
        let (commands, caller) = (self.commands.clone(), self.caller.clone());
        let asking = async move {
            let asker = Asker::of(&grant);
            let asked = commands.ask(&grant, &caller, &asker, &project, command).await;
            Said { project, asked, reference }
        };
        self.pending.get_or_insert_default().push(asking.boxed());
    }

    /// What became of one of them. Pending: nothing yet, or none is on its way.
    pub(crate) fn poll_said(&mut self, cx: &mut Context<'_>) -> Poll<Said> {
        let Some(pending) = &mut self.pending else { return Poll::Pending };
        match pending.poll_next_unpin(cx) {
            Poll::Ready(Some(said)) => Poll::Ready(said),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// Ask the runners of a project
///
/// One runner at a time gets the command, and who asks gets exactly one final answer, as an event: `command.completed` or
/// `command.failed`. Needs `command`, for `approval.answer` `approve`. `command.cancel` cancels the asker's own command; with
/// `admin` any of the project, and `data.cancelled_by` of its answer says who did.
#[utoipa::path(
    post,
    path = "/v1/projects/{project}/commands",
    tag = "gateway",
    params(("project" = String, Path, description = "The project's name")),
    request_body = CommandBody,
    responses(
        (status = 202, description = "It is taken", body = CommandAsked),
        openapi::Refusals,
        (status = 404, description = "An answer to an approval that is not open in this session", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 409, description = "The id is another asker's command", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 410, description = "What is to be cancelled is over, or never was", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 413, description = "Too large", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 422, description = "Something is not valid", body = openapi::Problem, content_type = "application/problem+json"),
        (status = 504, description = "It may be taken: to ask again under the same id is harmless", body = openapi::Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn ask(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    Extension(caller): Extension<Caller>,
    Path(project): Path<String>,
    body: Body,
) -> Result<Response, Refused> {
    let project = params::project(&project)?;
    // Before anything is read: who may neither ask nor decide has nothing to say here.
    let grant = shared.commands.admitted(grant, &project).await?;
    let body = tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await;
    let body = body.map_err(|_| Refused::new(ErrorCode::RequestTimeout, "the body did not arrive in time"))?;
    let body = body.map_err(|_| {
        Refused::new(ErrorCode::RequestTooLarge, format!("the body is larger than {BODY_BYTES_MAX} bytes, or was cut"))
    })?;
    let text = std::str::from_utf8(&body).map_err(|_| Refused::new(ErrorCode::InvalidUtf8, "the body is not UTF-8"))?;
    let command = Command::parse(text).map_err(refused)?;
    let asker = Asker::of(&grant);
    let asked = shared.commands.ask(&grant, &caller, &asker, &project, command).await.map_err(refused)?;
    let json = serde_json::to_vec(&asked).expect("it has string keys only");
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::ACCEPTED, headers, json).into_response())
}

/// The command that a cancellation is for, as far as it says so.
fn target(command: &Command) -> String {
    let data = command.data.as_deref().and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok());
    data.and_then(|data| data["command_id"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// A refusal as an answer.
fn refused(refusal: Refusal) -> Refused {
    let retry = refusal.code.is_retryable();
    let refused = Refused::from(Problem::from(refusal));
    if retry { refused.retry_after(RETRY_S) } else { refused }
}
