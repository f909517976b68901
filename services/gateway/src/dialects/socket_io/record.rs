//! A session that polls, as its slip has it: whatever a gateway needs that its next request lands on. Fields that answers to
//! polls write and fields that posts write are different ones.

use tidings_broker::slip::{Slip, Turn};
use tidings_dialects::engine_io::session::{Session, Transport};
use tidings_dialects::engine_io::{PING_INTERVAL_MS, PING_TIMEOUT_MS};
use tidings_protocol::grant::{Grant, Holder};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;

use super::No;
use crate::shared::Shared;

/// A session whose client is not heard of any more is forgotten after that. Longer than a poll lasts: it ends by a ping.
pub(super) const KEPT_MS: u64 = PING_INTERVAL_MS + PING_TIMEOUT_MS + 15_000;

/// How long a WebSocket may take from its coming to its taking over, in milliseconds. Polls are not held back meanwhile.
pub(super) const UPGRADE_WAIT_MS: u64 = 10_000;

/// The field that says how the session travels.
pub(super) const CARRIER: &str = "carrier";
/// What stands there while it polls.
pub(super) const BY_POLLING: &str = "polling";
/// What stands there from when a WebSocket took it over.
pub(super) const BY_WEBSOCKET: &str = "websocket";

/// The field of the newest poll's name: no other one may be told anything.
pub(super) const POLL: &str = "poll";

/// The field of the WebSocket's name that is to take it over; empty: none is.
pub(super) const PROBE: &str = "probe";
/// Since when it is.
pub(super) const PROBED: &str = "probed";

/// Who a session belongs to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) project: String,
    pub(super) viewer: String,
    /// It was opened without a credential.
    pub(super) anonymous: bool,
}

impl Owner {
    /// Whose a session of such a grant is.
    pub(super) fn new(project: &Project, grant: &Grant) -> Owner {
        let anonymous = *grant.holder() == Holder::Anyone;
        Owner { project: project.to_string(), viewer: grant.viewer().to_owned(), anonymous }
    }
}

/// Who this session belongs to, and how it travels.
pub(super) async fn owner(shared: &Shared, sid: &str) -> Result<(Owner, Transport), No> {
    let slip = look(shared, sid, true).await?;
    let field = |name: &str| slip.fields.get(name).cloned().ok_or(No::Session);
    let owner = Owner { project: field("project")?, viewer: field("viewer")?, anonymous: is(&slip, "anonymous") };
    Ok((owner, transport(&slip)))
}

/// The slip as it is, perhaps without its lines.
pub(super) async fn look(shared: &Shared, sid: &str, fields_only: bool) -> Result<Slip, No> {
    step(shared, sid, Turn { fields_only, ..Turn::default() }).await
}

/// Does this to the slip, which lives on.
pub(super) async fn turn(shared: &Shared, sid: &str, turn: Turn) -> Result<Slip, No> {
    step(shared, sid, Turn { ttl_ms: KEPT_MS, ..turn }).await
}

async fn step(shared: &Shared, sid: &str, turn: Turn) -> Result<Slip, No> {
    let turned = shared.hub.broker().slips().turn(format!("socket_io:{sid}"), turn).await;
    let turned = turned.map_err(|error| {
        tracing::debug!(%error, "a polling session cannot be looked up");
        No::Store
    });
    turned?.ok_or(No::Session)
}

/// The session of a slip.
pub(super) fn session_of(sid: &str, slip: &Slip) -> Session {
    let number = |name: &str| text(slip, name).parse().unwrap_or_default();
    Session {
        sid: sid.to_owned(),
        socket: text(slip, "socket").to_owned(),
        who: text(slip, "who").to_owned(),
        transport: transport(slip),
        opened_ms: number("opened"),
        pinged_ms: number("pinged"),
        ponged_ms: number("ponged"),
        joined: is(slip, "joined"),
        met: is(slip, "met"),
        over: is(slip, "over"),
    }
}

/// What its client was told last, if it has joined.
pub(super) fn place(slip: &Slip) -> Option<Position> {
    text(slip, "at").parse().ok()
}

/// Whether this is so.
pub(super) fn is(slip: &Slip, name: &str) -> bool {
    text(slip, name) == "1"
}

/// A WebSocket is about to take it over.
pub(super) fn is_probed(slip: &Slip, now_ms: u64) -> bool {
    let since_ms: u64 = text(slip, PROBED).parse().unwrap_or_default();
    !text(slip, PROBE).is_empty() && now_ms.saturating_sub(since_ms) < UPGRADE_WAIT_MS
}

/// A field and what it is to be.
pub(super) fn field(name: &str, value: &dyn ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn transport(slip: &Slip) -> Transport {
    if text(slip, CARRIER) == BY_WEBSOCKET { Transport::WebSocket } else { Transport::Polling }
}

fn text<'a>(slip: &'a Slip, name: &str) -> &'a str {
    slip.fields.get(name).map_or("", String::as_str)
}
