//! What viewers ask for: frames of a WebSocket, and the parameters and `Accept` of reads over HTTP.

#[path = "../../../services/gateway/src/ws/requests.rs"]
mod frames;
// Its parent, which the source above takes the shape of a checked wish from.
#[allow(dead_code, reason = "only the negotiation is used here")]
#[path = "../../../services/gateway/src/http/accept.rs"]
mod accept;
#[allow(dead_code, reason = "only the reading of parameters is used here")]
#[path = "../../../services/gateway/src/http/params.rs"]
mod params;
mod subscriptions;

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use tidings_protocol::filter::{FILTER_WORDS_MAX, Filter};
use tidings_protocol::frames::{After, Lag, REF_MAX, SnapshotWish};
use tidings_protocol::limits::ECHO_BYTES_MAX;

use crate::input::Input;
use accept::Representation;
use frames::{Request, parse};
use params::{LIMIT_MAX, Read, WAIT_MAX};

/// What an answer may say beside what it repeats.
const MESSAGE_BYTES_MAX: usize = 512;

/// A frame that is understood is understood again when it is written anew; a refusal echoes a `ref` within bounds.
pub(crate) fn frame(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(request) => {
            let again = parse(&text_of(&request)).map(|again| format!("{again:?}"));
            assert_eq!(again, Ok(format!("{request:?}")));
        }
        Err(refused) => {
            assert!(refused.reference.is_none_or(|reference| reference.len() <= REF_MAX));
            assert!(refused.message.len() <= MESSAGE_BYTES_MAX, "{}", refused.message);
        }
    }
}

/// Stands where a command's data go, which pass byte for byte.
const DATA: &str = "data-of-a-command-0f1c";

/// The frame of a request, as text.
fn text_of(request: &Request) -> String {
    let text = written(request).to_string();
    match request {
        Request::Command { command, .. } => {
            text.replace(&format!("\"{DATA}\""), command.data.as_deref().unwrap_or("null"))
        }
        _ => text,
    }
}

/// The frame of a request.
fn written(request: &Request) -> Value {
    let (mut frame, reference) = match request {
        Request::Ping { reference } => (json!({"op": "ping"}), reference),
        Request::Refresh { token, reference } => (json!({"op": "refresh", "token": token.0}), reference),
        Request::Unsubscribe { project, reference } => {
            (json!({"op": "unsubscribe", "project": project.as_str()}), reference)
        }
        Request::Command { project, command, reference } => {
            let command = json!({
                "type": command.kind, "id": command.id, "session": command.session, "agent": command.agent,
                "capability": command.capability, "data": DATA, "deadline_ms": command.deadline_ms,
            });
            (json!({"op": "command", "project": project.as_str(), "command": command}), reference)
        }
        Request::Subscribe(wish) => {
            let snapshot = match wish.snapshot {
                SnapshotWish::No => json!(false),
                SnapshotWish::Now => json!(true),
                SnapshotWish::AfterGap => json!("after_gap"),
            };
            assert!(wish.filter.too_long().is_none());
            let frame = json!({
                "op": "subscribe", "project": wish.project.as_str(), "after": place(wish.after),
                "filter": wish.filter, "lag": wish.lag, "snapshot": snapshot, "presence": wish.presence,
            });
            (frame, &wish.reference)
        }
    };
    if let Some(reference) = reference {
        assert!(reference.len() <= REF_MAX);
        frame["ref"] = json!(reference);
    }
    frame
}

/// A place to start, as text.
fn place(after: After) -> String {
    match after {
        After::Position(position) => position.to_string(),
        After::Start => "start".to_owned(),
        After::Now => "now".to_owned(),
        After::Ago(ms) => format!("-{}s", ms / 1_000),
    }
}

/// A query that is understood is understood again when it is written anew, and asks for no more than may be asked for.
pub(crate) fn query(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };
    let (query, accept) = text.split_once('\n').unwrap_or((text, ""));
    let mut headers = http::HeaderMap::new();
    if let Ok(value) = http::HeaderValue::from_str(accept) {
        headers.append(http::header::ACCEPT, value);
    }
    let negotiated = Representation::negotiate(&headers);
    let _ = params::project(query);
    let other = if choice & 1 == 0 { Representation::Json } else { Representation::Stream };
    let representation = negotiated.unwrap_or(other);
    match params::read(Some(query), representation) {
        Ok(read) => {
            assert!((1..=LIMIT_MAX).contains(&read.limit) && read.wait <= WAIT_MAX);
            let again =
                params::read(Some(&written_query(&read)), representation).map_err(|error| error.problem().clone());
            assert_eq!(again, Ok(read));
        }
        Err(refused) => {
            let json = refused.problem().to_json();
            // The beginning of a name is repeated in the sentence and in the fault, where a character may be escaped.
            assert!(json.len() <= 12 * ECHO_BYTES_MAX + 2 * MESSAGE_BYTES_MAX, "{} bytes", json.len());
        }
    }
}

fn written_query(read: &Read) -> String {
    let mut query = String::new();
    let mut pair = |name: &str, value: &str| {
        write!(query, "{name}={}&", utf8_percent_encode(value, NON_ALPHANUMERIC)).expect("a string takes all");
    };
    for (name, after) in [("after", read.after), ("before", read.before)] {
        if let Some(after) = after {
            pair(name, &place(after));
        }
    }
    let unsaid = Read::default();
    if read.limit != unsaid.limit {
        pair("limit", &read.limit.to_string());
    }
    if read.wait != unsaid.wait {
        pair("wait", &read.wait.as_secs().to_string());
    }
    if read.lag == Lag::Compact {
        pair("lag", "compact");
    }
    match read.snapshot {
        SnapshotWish::No => {}
        SnapshotWish::Now => pair("snapshot", "true"),
        SnapshotWish::AfterGap => pair("snapshot", "after_gap"),
    }
    let Filter { types, sessions, agents, lanes } = &read.filter;
    let lanes = json!(lanes);
    let lanes = lanes.as_array().expect("a list of lanes").iter().map(|lane| lane.as_str().expect("a word").to_owned());
    let lists = [("types", types), ("sessions", sessions), ("agents", agents), ("lanes", &lanes.collect())];
    for (name, words) in lists {
        assert!(words.len() <= FILTER_WORDS_MAX);
        if !words.is_empty() {
            pair(name, &words.join(","));
        }
    }
    query
}
