//! `tidings tail`: follows a project. Pretty on a terminal, NDJSON in a pipe; goes on by itself behind the last event
//! after a cut, so that every event is written once, in order, and what cannot be had is written as a gap.

mod describe;
mod follow;
mod lines;
mod pretty;
mod sse;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tidings_protocol::filter::Lane;
use tidings_protocol::frames::After;
use tidings_protocol::project::Project;
use tokio::io::{AsyncWriteExt as _, Stdout};
use tokio_util::sync::CancellationToken;

use crate::client::Address;
use crate::client::access::Access;
use crate::terminal::{self, Screen};
use follow::{Follower, Item};
use lines::Lines;
use pretty::Pretty;

/// How long what was begun may still be written once the tool is told to stop.
const LAST_WRITE: Duration = Duration::from_millis(500);

/// Bytes that are written at once, at most, before the next look at the stream.
const WRITE_BYTES: usize = 64 * 1024;

/// What to follow, and how to show it.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The project to follow
    project: Project,
    /// The gateway's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: Address,
    #[command(flatten)]
    access: Access,
    /// Where to start: now, start, a time back like -10m, or a position
    #[arg(long, value_name = "PLACE", default_value = "now", allow_hyphen_values = true, value_parser = place)]
    after: String,
    /// Only these types, by whole segments: `agent` takes `agent.status`, too
    #[arg(long, value_delimiter = ',')]
    types: Vec<String>,
    /// Only these sessions
    #[arg(long, value_delimiter = ',')]
    sessions: Vec<String>,
    /// Only these agents
    #[arg(long, value_delimiter = ',')]
    agents: Vec<String>,
    /// Only these lanes: control, delta, latest
    #[arg(long, value_delimiter = ',', value_parser = lane)]
    lanes: Vec<String>,
    /// What to do with a backlog: get every event, or its compaction
    #[arg(long, value_enum, default_value_t = Lag::Full)]
    lag: Lag,
    /// How to write; without this, pretty on a terminal and NDJSON elsewhere
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// What to do with a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lag {
    /// Get every event
    Full,
    /// Get less, to the same final state
    Compact,
}

/// How to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line or more for people
    Pretty,
    /// A line of JSON per event, as delivered
    Ndjson,
}

fn place(text: &str) -> Result<String, String> {
    text.parse::<After>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn lane(text: &str) -> Result<String, String> {
    Lane::parse(text).map(|_| text.to_owned()).ok_or_else(|| "lanes are control, delta and latest".to_owned())
}

impl Flags {
    /// The parameters of the request.
    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("after", self.after.clone())];
        let lists =
            [("types", &self.types), ("sessions", &self.sessions), ("agents", &self.agents), ("lanes", &self.lanes)];
        query.extend(lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, list.join(","))));
        if self.lag == Lag::Compact {
            query.push(("lag", "compact".to_owned()));
        }
        query
    }
}

/// Follows until `stop`, or until nobody reads any more.
pub(crate) async fn run(flags: &Flags, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let is_terminal = io::stdout().is_terminal();
    let format = flags.format.unwrap_or(if is_terminal { Format::Pretty } else { Format::Ndjson });
    let mut output: Box<dyn Output> = match format {
        Format::Pretty => {
            let screen = Screen::of(io::stdout(), |name| std::env::var_os(name));
            let what = format!("{} on {}", flags.project, flags.url);
            Box::new(Pretty::new(screen, || terminal::columns(io::stdout()), &what))
        }
        Format::Ndjson => Box::new(Lines::default()),
    };
    let mut follower = Follower::new(&flags.url, &flags.project, &flags.query(), &flags.access)?;
    let mut stdout = tokio::io::stdout();
    let ended = loop {
        let item = tokio::select! {
            biased;
            () = stop.cancelled() => break Ok(()),
            item = follower.next() => match item {
                Ok(item) => item,
                Err(error) => break Err(error),
            },
        };
        output.item(&item);
        if follower.has_ready() && output.pending() < WRITE_BYTES {
            continue;
        }
        if !write(&mut stdout, &output.take(), &stop).await? {
            return Ok(ExitCode::SUCCESS);
        }
    };
    output.finish();
    write(&mut stdout, &output.take(), &stop).await?;
    ended.with_context(|| format!("cannot follow {}", flags.project))?;
    Ok(ExitCode::SUCCESS)
}

/// A way of writing what is followed. Nothing is written before it is taken.
trait Output {
    /// Adds an item.
    fn item(&mut self, item: &Item);
    /// No more comes.
    fn finish(&mut self);
    /// Bytes to be taken.
    fn pending(&self) -> usize;
    /// What to write now.
    fn take(&mut self) -> Vec<u8>;
}

/// Writes all of it. False: nobody reads any more, or the tool is told to stop and the reader takes nothing.
async fn write(stdout: &mut Stdout, bytes: &[u8], stop: &CancellationToken) -> anyhow::Result<bool> {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(LAST_WRITE).await;
    };
    let written = async {
        stdout.write_all(bytes).await?;
        stdout.flush().await
    };
    tokio::select! {
        written = written => match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error).context("cannot write"),
        },
        () = late => Ok(false),
    }
}

/// Says something beside the events, where they are not for people.
fn aside(text: &str) {
    // Where even standard error is gone, the events still tell.
    let _ = writeln!(io::stderr(), "tidings: {text}");
}
