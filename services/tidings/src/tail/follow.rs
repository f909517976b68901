//! A stream that goes on: connects, reads blocks, and after a cut connects again behind the last block.
//!
//! Each block is handed over once. Its id is kept as the place to resume at the same moment, so a cut at any byte neither
//! loses a block nor repeats one.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use tidings_protocol::project::Project;

use super::sse::{Block, Parser};
use crate::client::access::Access;
use crate::client::backoff::Backoff;
use crate::client::refusal::Refusal;
use crate::client::{Address, cause, http};

/// A stream without a byte for so long is cut: a server writes at least every 24 seconds.
const SILENCE: Duration = Duration::from_secs(50);

/// The pause before a reconnect until the server names one.
const RETRY_DEFAULT: Duration = Duration::from_secs(1);

/// The longest pause that a draining server may ask for.
const DRAIN_PAUSE_MAX: Duration = Duration::from_mins(1);

/// What a follower tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// One event, as delivered. Gaps are such events, too.
    Event(Vec<u8>),
    /// A compacted backlog: `{"compacted":true,"position":..,"events":[..]}`.
    Events(Vec<u8>),
    /// The store is away (or back): events may be late.
    Degraded(bool),
    /// The first connection stands.
    Connected,
    /// There is no connection for this reason; it is tried again. Told once per cut.
    Away(String),
    /// The connection stands again.
    Back,
}

/// Follows one stream.
pub(super) struct Follower {
    http: Client,
    url: Url,
    last_id: Option<String>,
    backoff: Backoff,
    link: Link,
    parser: Parser,
    ready: VecDeque<Block>,
    /// Told where the next item is: it comes before what the stream holds.
    told: Told,
}

enum Link {
    /// Connect after this pause.
    Apart(Duration),
    Open(Response),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Connected,
    Away,
}

#[derive(Deserialize)]
struct Degraded {
    active: bool,
}

#[derive(Deserialize)]
struct Draining {
    retry_after_ms: u64,
}

impl Follower {
    /// A follower of a project's stream with these parameters. Connects when asked for the first item.
    ///
    /// # Errors
    /// When there is nobody to hold the server's certificate against.
    pub(super) fn new(
        address: &Address,
        project: &Project,
        query: &[(&str, String)],
        access: &Access,
    ) -> anyhow::Result<Follower> {
        let mut url = address.events(project);
        url.query_pairs_mut().extend_pairs(query);
        Ok(Follower {
            http: http(address, SILENCE, access)?,
            url,
            last_id: None,
            backoff: Backoff::new(RETRY_DEFAULT),
            link: Link::Apart(Duration::ZERO),
            parser: Parser::new(),
            ready: VecDeque::new(),
            told: Told::Nothing,
        })
    }

    /// Whether the next item is here already.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The next item. Waits as long as it takes; dropping it loses nothing but the attempt to connect.
    ///
    /// # Errors
    /// When the server refuses for good, or what it sends is no such stream.
    pub(super) async fn next(&mut self) -> anyhow::Result<Item> {
        loop {
            while let Some(block) = self.ready.pop_front() {
                if let Some(item) = self.on_block(block) {
                    return Ok(item);
                }
            }
            let piece = match &mut self.link {
                Link::Open(response) => response.chunk().await,
                Link::Apart(pause) => {
                    let pause = *pause;
                    tokio::time::sleep(pause).await;
                    match self.connect().await? {
                        Some(item) => return Ok(item),
                        None => continue,
                    }
                }
            };
            match piece {
                Ok(Some(bytes)) => self.parser.feed(&bytes, &mut self.ready)?,
                Ok(None) => return Ok(self.on_cut("the server ended the stream".to_owned())),
                Err(error) => return Ok(self.on_cut(cause(&error))),
            }
        }
    }

    /// One attempt.
    async fn connect(&mut self) -> anyhow::Result<Option<Item>> {
        let mut request = self.http.get(self.url.clone()).header(ACCEPT, "text/event-stream");
        if let Some(id) = &self.last_id {
            request = request.header("last-event-id", id);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Ok(self.on_failed(cause(&error))),
        };
        if response.status() != StatusCode::OK {
            let refusal = Refusal::read(response).await;
            if !refusal.may_pass() {
                anyhow::bail!("{refusal}");
            }
            let item = self.on_failed(refusal.to_string());
            if let Some(pause) = refusal.retry_after() {
                self.link = Link::Apart(pause.min(DRAIN_PAUSE_MAX));
            }
            return Ok(item);
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            anyhow::bail!("{} answers with {kind:?}, no stream of events: is it a Tidings gateway?", self.url);
        }
        self.parser = Parser::new();
        self.link = Link::Open(response);
        Ok(match std::mem::replace(&mut self.told, Told::Connected) {
            Told::Nothing => Some(Item::Connected),
            Told::Away => Some(Item::Back),
            // A server that drains was left without a word.
            Told::Connected => None,
        })
    }

    fn on_failed(&mut self, why: String) -> Option<Item> {
        self.link = Link::Apart(self.backoff.next(rand::random()));
        (std::mem::replace(&mut self.told, Told::Away) != Told::Away).then_some(Item::Away(why))
    }

    fn on_cut(&mut self, why: String) -> Item {
        self.link = Link::Apart(self.backoff.next(rand::random()));
        self.told = Told::Away;
        Item::Away(why)
    }

    fn on_block(&mut self, block: Block) -> Option<Item> {
        self.backoff.reset();
        if let Some(retry_ms) = block.retry_ms {
            self.backoff.hint(Duration::from_millis(retry_ms));
        }
        if block.id.is_some() {
            self.last_id = block.id;
        }
        let data = block.data?;
        match block.name.as_str() {
            "" | "gap" => Some(Item::Event(data)),
            "events" => Some(Item::Events(data)),
            "degraded" => serde_json::from_slice(&data).ok().map(|Degraded { active }| Item::Degraded(active)),
            "draining" => {
                let pause = serde_json::from_slice(&data).map_or(0, |Draining { retry_after_ms }| retry_after_ms);
                self.link = Link::Apart(Duration::from_millis(pause).min(DRAIN_PAUSE_MAX));
                // What came behind it would come again.
                self.ready.clear();
                None
            }
            // A newer server's word.
            _ => None,
        }
    }
}
