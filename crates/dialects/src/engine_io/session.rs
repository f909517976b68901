//! One client's session: opening, heartbeats, the namespace, who it is, and the probe of a WebSocket that is to take it over.
//!
//! [`Session::hear`] takes what the client says, [`Session::tick`] what time does; both say what is to be done. A session of
//! the polling transport lives wherever the next request lands, so its fields are what a store keeps. What the answers to
//! a poll write (`pinged_ms`) and what posts write (`ponged_ms`, `joined`) are different fields: neither undoes the other.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::packet::{Event, Packet, Said};
use super::{CONNECT_TIMEOUT_MS, PING_INTERVAL_MS, PING_TIMEOUT_MS};

/// How long [`Session::who`] is, in hexadecimal digits: 128 bits that nobody guesses.
pub const WHO_CHARS: usize = 32;

/// What stands behind [`Session::who`] in what the client is told.
const WHO_ENDS: char = '.';

/// What is said back of a ping, in bytes.
const PONG_BYTES_MAX: usize = 64;

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Requests that wait.
    Polling,
    /// A WebSocket.
    WebSocket,
}

/// A session. Times are milliseconds of whatever clock the caller has; those of services that serve one session in turn
/// may differ by less than a ping and its answer may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The transport's name of it.
    pub sid: String,
    /// The namespace's name of it.
    pub socket: String,
    /// What the client is known by, over its sessions: it is told as `pid` when it joins, and a library that comes back
    /// says it again. Nobody else is told. Empty: nothing is told, and nothing taken.
    pub who: String,
    /// How it travels.
    pub transport: Transport,
    /// When it was opened.
    pub opened_ms: u64,
    /// When the server last pinged; 0: not yet.
    pub pinged_ms: u64,
    /// When the client last answered; 0: not yet.
    pub ponged_ms: u64,
    /// It has joined the root namespace, and not left it.
    pub joined: bool,
    /// It joined once: a second time is a fault.
    pub met: bool,
    /// It is over.
    pub over: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this packet.
    Send(String),
    /// It joined: events may be sent from now on.
    Joined,
    /// It said this, in the namespace that it joined.
    Heard(Event),
    /// It sent binary data, which is not taken: say so.
    Binary,
    /// It left the namespace: no event may be sent any more. It closes the transport itself.
    Left,
    /// Close the transport, without a word about disconnecting.
    Close(Why),
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The client said so.
    Bye,
    /// A ping was not answered.
    PingTimeout,
    /// It did not join in time.
    NeverJoined,
    /// It said what makes no sense.
    Fault,
}

impl Session {
    /// A new session, and its first packet. A client that came by polling is offered `upgrades`; it may send payloads of at
    /// most `bytes_max`.
    pub fn open(
        sid: &str,
        socket: &str,
        transport: Transport,
        upgrades: &[&str],
        bytes_max: usize,
        now_ms: u64,
    ) -> (Session, String) {
        let session = Session {
            sid: sid.to_owned(),
            socket: socket.to_owned(),
            who: String::new(),
            transport,
            opened_ms: now_ms,
            pinged_ms: 0,
            ponged_ms: 0,
            joined: false,
            met: false,
            over: false,
        };
        let upgrades = if transport == Transport::Polling { upgrades } else { &[] };
        // Written out: clients take any order, and people read this one.
        let open = format!(
            "0{{\"sid\":{},\"upgrades\":{},\"pingInterval\":{PING_INTERVAL_MS},\"pingTimeout\":{PING_TIMEOUT_MS},\"maxPayload\":{bytes_max}}}",
            json!(sid),
            json!(upgrades)
        );
        (session, open)
    }

    /// What the client says: one packet.
    pub fn hear(&mut self, text: &str, now_ms: u64) -> Vec<Output> {
        if self.over {
            return Vec::new();
        }
        match Packet::parse(text) {
            Ok(Packet::Message(message)) => self.hear_message(&message),
            Ok(Packet::Pong(_)) => {
                // Whoever pinged may have had a clock that is ahead of this one: it is an answer all the same.
                self.ponged_ms = self.ponged_ms.max(now_ms).max(self.pinged_ms);
                Vec::new()
            }
            // Only the server pings in this version of the protocol; a probe ([`probe`]) comes on the transport that is to take
            // over, and so does the word that it does.
            Ok(Packet::Ping(mut said)) => {
                said.truncate(said.floor_char_boundary(PONG_BYTES_MAX));
                vec![Output::Send(Packet::Pong(said).text())]
            }
            Ok(Packet::Close) => self.close(Why::Bye),
            // Binary is the attachment of an event that was refused when it was announced, as over a WebSocket.
            Ok(Packet::Upgrade | Packet::Noop | Packet::Binary) => Vec::new(),
            Ok(Packet::Open(_)) | Err(_) => self.close(Why::Fault),
        }
    }

    fn hear_message(&mut self, message: &str) -> Vec<Output> {
        match Said::parse(message) {
            Ok(Said::Connect { namespace, .. }) if namespace != "/" => {
                let data = json!({ "message": "Invalid namespace" });
                vec![send(&Said::ConnectError { namespace, data })]
            }
            Ok(Said::Connect { .. }) if self.met => self.close(Why::Fault),
            Ok(Said::Connect { namespace, auth }) => {
                (self.joined, self.met) = (true, true);
                vec![send(&Said::Connect { namespace, auth: Some(self.welcome(auth.as_ref())) }), Output::Joined]
            }
            // Of namespaces that it never joined: nothing to leave, nothing to hear.
            Ok(Said::Disconnect { namespace }) if namespace == "/" && self.joined => {
                self.joined = false;
                vec![Output::Left]
            }
            Ok(Said::Event(event)) if event.namespace == "/" && self.joined => {
                let mut outputs = Vec::with_capacity(2);
                if let Some(id) = event.id {
                    // Whoever waits for an answer must not wait for ever; what the event leads to comes as events.
                    outputs.push(send(&Said::Ack { namespace: "/".to_owned(), id, arguments: Vec::new() }));
                }
                outputs.push(Output::Heard(event));
                outputs
            }
            Ok(Said::Binary) => vec![Output::Binary],
            Ok(Said::Disconnect { .. } | Said::Ack { .. }) => Vec::new(),
            // As after a `41`: what was on its way when it left.
            Ok(Said::Event(_)) if self.met => Vec::new(),
            Ok(Said::Event(_) | Said::ConnectError { .. }) | Err(_) => self.close(Why::Fault),
        }
    }

    /// What is answered to who joins. A client that has been here says what it was told then, and is known by it from now on.
    fn welcome(&mut self, auth: Option<&Value>) -> Value {
        if self.who.is_empty() {
            return json!({ "sid": self.socket });
        }
        if let Some(who) = auth.and_then(|auth| auth["pid"].as_str()).and_then(told_as) {
            who.clone_into(&mut self.who);
        }
        // Never the same text twice: a library that is told its own again says that it has missed nothing and is told
        // nothing twice, which is more than is known here.
        json!({ "sid": self.socket, "pid": format!("{}{WHO_ENDS}{}", self.who, self.socket) })
    }

    /// What time does: a ping that is due, or the end. To be called at [`Session::wake_at_ms`] at the latest.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        if self.over {
            return Vec::new();
        }
        if !self.met && now_ms >= self.opened_ms + CONNECT_TIMEOUT_MS {
            return self.close(Why::NeverJoined);
        }
        if self.waits_for_pong() {
            return if now_ms >= self.pinged_ms + PING_TIMEOUT_MS { self.close(Why::PingTimeout) } else { Vec::new() };
        }
        if now_ms < self.ping_at_ms() {
            return Vec::new();
        }
        self.pinged_ms = now_ms;
        vec![Output::Send(Packet::Ping(String::new()).text())]
    }

    /// When [`Session::tick`] has something to do next, unless the client says something before.
    pub fn wake_at_ms(&self) -> u64 {
        let beat = if self.waits_for_pong() { self.pinged_ms + PING_TIMEOUT_MS } else { self.ping_at_ms() };
        if self.met { beat } else { beat.min(self.opened_ms + CONNECT_TIMEOUT_MS) }
    }

    fn waits_for_pong(&self) -> bool {
        self.pinged_ms > self.ponged_ms
    }

    fn ping_at_ms(&self) -> u64 {
        self.pinged_ms.max(self.opened_ms) + PING_INTERVAL_MS
    }

    fn close(&mut self, why: Why) -> Vec<Output> {
        (self.over, self.joined) = (true, false);
        vec![Output::Close(why)]
    }
}

/// Who is known by what was told as `pid`.
fn told_as(pid: &str) -> Option<&str> {
    let (who, _) = pid.split_once(WHO_ENDS)?;
    let is_ours = who.len() == WHO_CHARS && who.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_ours.then_some(who)
}

/// What a WebSocket that wants to take a polling session over says first, and its answer.
pub fn probe(text: &str) -> Option<String> {
    match Packet::parse(text) {
        Ok(Packet::Ping(said)) if said == "probe" => Some(Packet::Pong(said).text()),
        _ => None,
    }
}

fn send(said: &Said) -> Output {
    Output::Send(Packet::Message(said.text()).text())
}

#[cfg(test)]
mod tests;
