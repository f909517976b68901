//! Who asks on a route of a dialect, and what he may do there.

use http::header::{AUTHORIZATION, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use tidings_auth::{Credential, Reason, Refusal};
use tidings_protocol::codes::CloseCode;
use tidings_protocol::grant::{Grant, Holder, ProjectPattern, Right, Scope, Scopes};
use tidings_protocol::project::Project;
use tidings_runtime::http::client::ClientAddress;
use tidings_runtime::http::problem::Refused;
use tidings_runtime::http::rights::Requests as _;

use super::served::{Farewell, Profile};
use crate::shared::Shared;

/// Why somebody may not.
#[derive(Debug)]
pub(crate) enum Turned {
    /// By what he showed, or because of whom he is.
    Refused(Refusal),
    /// He asks too often.
    TooOften(Refused),
}

impl Turned {
    /// What a WebSocket is closed with.
    pub(crate) fn farewell(&self, profile: &Profile) -> Farewell {
        match self {
            Turned::TooOften(_) => profile.flooded,
            Turned::Refused(refusal) => match refusal.close_code() {
                Some(CloseCode::Forbidden) => profile.forbidden,
                Some(CloseCode::Unauthenticated) => profile.unauthenticated,
                // Nobody can tell now, or too much was refused of it lately.
                Some(_) | None => profile.farewell(CloseCode::Overloaded),
            },
        }
    }
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Turned {
        Turned::Refused(refusal)
    }
}

/// What those have who show no credential, under this id, in one project: nothing else.
pub(crate) fn anyone(viewer: &str, project: &Project, scopes: Scopes) -> Grant {
    let right = Right { projects: ProjectPattern::Exact(project.clone()), scopes };
    Grant::new(viewer, Holder::Anyone, vec![right])
}

impl Shared {
    /// Who asks: by the one credential of the request (`Authorization`, a subprotocol, or `token`, the query's where the
    /// dialect has it there), or where it shows none, `anyone`. Its request is counted; the caller goes on as an extension.
    ///
    /// # Errors
    /// There is no credential where one is needed, or one that is not good; or he asks too often.
    pub(crate) async fn asker(
        &self,
        parts: &mut Parts,
        token: Option<&str>,
        anyone: Option<Grant>,
    ) -> Result<Grant, Turned> {
        let client = parts.extensions.get::<ClientAddress>().copied();
        let client = client.unwrap_or(ClientAddress(std::net::Ipv4Addr::UNSPECIFIED.into()));
        let shown = shown(parts, token)?;
        let grant = match (shown, anyone) {
            (Credential::None, Some(anyone)) => anyone,
            // What an open service is shown is not even read.
            (_, Some(anyone)) if self.rights.is_open() => anyone,
            (shown, _) => self.rights.authenticate(&shown, client).await?,
        };
        self.count(&grant, &mut parts.extensions).await.map_err(Turned::TooOften)?;
        Ok(grant)
    }

    /// The grant with what it may do in this project as a member, if it may do this there.
    ///
    /// # Errors
    /// It may not, or nobody can tell now.
    pub(crate) async fn allowed(&self, grant: &Grant, project: &Project, scope: Scope) -> Result<Grant, Turned> {
        if grant.allows(project, scope) {
            return Ok(grant.clone());
        }
        if *grant.holder() == Holder::Anyone {
            return Err(Refusal { reason: Reason::NoRight, needed: Some(scope) }.into());
        }
        Ok(self.rights.authorize(grant, project, scope).await?)
    }
}

fn shown(parts: &Parts, token: Option<&str>) -> Result<Credential, Refusal> {
    let lines = |name: &HeaderName| -> Result<Vec<&str>, Refusal> {
        let texts = parts.headers.get_all(name).iter().map(|line| line.to_str().map_err(|_| Reason::Malformed));
        Ok(texts.collect::<Result<Vec<_>, _>>()?)
    };
    let authorization = match lines(&AUTHORIZATION)?.as_slice() {
        [] => None,
        [one] => Some(*one),
        _ => return Err(Reason::Malformed.into()),
    };
    let offered = lines(&SEC_WEBSOCKET_PROTOCOL)?.join(",");
    Credential::of_request(authorization, Some(&offered), token)
}
