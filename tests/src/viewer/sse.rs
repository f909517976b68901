//! A viewer over server-sent events.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::{Buf as _, BytesMut};

use super::{Leave, Plan, Record, Said};

/// A stream of blocks.
#[derive(Debug)]
pub struct Stream {
    answer: reqwest::Response,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no end of a block.
    searched: usize,
}

impl Stream {
    /// Opens a stream of this address, behind an id.
    pub async fn open(client: &reqwest::Client, url: &str, last_event_id: Option<&str>) -> anyhow::Result<Stream> {
        let mut request = client.get(url).header("accept", "text/event-stream");
        if let Some(id) = last_event_id {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await?;
        let status = answer.status();
        anyhow::ensure!(status == 200, "{status}: {}", answer.text().await.unwrap_or_default());
        Ok(Stream { answer, buffer: BytesMut::new(), searched: 0 })
    }

    /// The next thing that is said; an error when the stream ends.
    pub async fn hear(&mut self) -> anyhow::Result<Said> {
        loop {
            while let Some(at) = self.buffer[self.searched..].windows(2).position(|two| two == b"\n\n") {
                let block = self.buffer.split_to(self.searched + at);
                self.buffer.advance(2);
                self.searched = 0;
                if let Some(said) = read(std::str::from_utf8(&block)?)? {
                    return Ok(said);
                }
            }
            self.searched = self.buffer.len().saturating_sub(1);
            // CANCEL SAFETY: a chunk is taken whole or not at all.
            let chunk = self.answer.chunk().await?.context("the stream ended")?;
            self.buffer.extend_from_slice(&chunk);
        }
    }
}

fn read(block: &str) -> anyhow::Result<Option<Said>> {
    let (mut name, mut id, mut data) = ("", None, String::new());
    for line in block.lines() {
        match line.split_once(": ") {
            Some(("event", value)) => name = value,
            Some(("id", value)) => id = Some(value),
            Some(("data", value)) => data.push_str(value),
            Some(("retry", _)) => {}
            _ => anyhow::ensure!(line.starts_with(':'), "not a line of server-sent events: {line:?}"),
        }
    }
    Said::from_block(name, id, &data)
}

/// One visit to a gateway.
pub(super) async fn visit(
    client: &reqwest::Client,
    gateway: SocketAddr,
    plan: &Plan,
    record: &mut Record,
    leave: &mut Leave,
) -> anyhow::Result<()> {
    let Plan { project, after, lag, snapshot, .. } = plan;
    let snapshot = if *snapshot && record.position().is_some() { "after_gap" } else { &snapshot.to_string() };
    let url = format!("http://{gateway}/v1/projects/{project}/events?after={after}&lag={lag}&snapshot={snapshot}");
    let mut stream = Stream::open(client, &url, record.position()).await?;
    while !leave.is_due(record) {
        let said = tokio::select! {
            said = stream.hear() => said?,
            () = leave.changed() => continue,
        };
        record.hear(said);
    }
    Ok(())
}
