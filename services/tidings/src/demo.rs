//! `tidings demo`: plays a small swarm into a running server, so that a newcomer sees life at once.
//!
//! What is played is written by `script`, from a seed; here it meets the clock and the server. While the server is away
//! the play stands still; when the demo is told to stop it ends the sessions that it started.

mod scene;
mod script;
mod stories;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tidings_protocol::project::Project;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::client::Address;
use crate::client::access::Access;
use crate::client::draft::Draft;
use crate::client::publisher::{News, Publisher};
use script::Script;

/// Events in one request, at most.
const POST_EVENTS_MAX: usize = 100;

/// The longest wait between two looks at the script.
const LOOK: Duration = Duration::from_secs(1);

/// Characters of a run's name in the ids of its sessions.
const RUN_CHARS: usize = 4;

/// What to play, where.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The ingest's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: Address,
    #[command(flatten)]
    access: Access,
    /// The project to play into
    #[arg(long, default_value = "demo")]
    project: Project,
    /// How many times as fast
    #[arg(long, value_name = "N", default_value = "1", value_parser = crate::tool::positive)]
    speed: f64,
    /// Stop after so many seconds; without this, play until Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = crate::tool::positive)]
    seconds: Option<f64>,
    /// Play the same again: the same seed gives the same play, under new ids
    #[arg(long)]
    seed: Option<u64>,
}

/// Plays until it is told to stop, or its time is over.
pub(crate) async fn run(flags: &Flags, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    // Small enough to be typed again.
    let seed = flags.seed.unwrap_or_else(|| rand::random_range(1..10_000));
    let run = Ulid::new().to_string().to_lowercase();
    let short = &run[run.len() - RUN_CHARS..];
    let mut publisher = Publisher::new(&flags.url, &flags.project, &flags.access)?;
    crate::tool::say(&introduction(flags, seed))?;
    let play = play(&mut publisher, Script::new(seed, short), flags.speed);
    let over = async {
        match flags.seconds {
            Some(seconds) => sleep(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        refused = play => anyhow::bail!("the server refuses the demo's events: {refused}"),
        () = stop.cancelled() => {}
        () = over => {}
    }
    let ended = publisher.cancel_open("the demo was stopped", || Ulid::new().to_string()).await;
    crate::tool::say(&match ended {
        0 => "Stopped.\n".to_owned(),
        1 => "Stopped; the session that was running is cancelled.\n".to_owned(),
        many => format!("Stopped; the {many} sessions that were running are cancelled.\n"),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Plays without end; returns only when the server refuses.
async fn play(publisher: &mut Publisher, mut script: Script, speed: f64) -> crate::client::refusal::Refusal {
    let begin = Instant::now();
    let mut away = Duration::ZERO;
    loop {
        let played = begin.elapsed().saturating_sub(away).mul_f64(speed);
        let due: Vec<Draft> = std::iter::from_fn(|| script.due(played)).take(POST_EVENTS_MAX).collect();
        if due.is_empty() {
            let wait = script.next_at().saturating_sub(played).div_f64(speed);
            sleep(wait.min(LOOK)).await;
            continue;
        }
        match publisher.post(&due, tell).await {
            Ok(waited) => away += waited,
            Err(refusal) => return refusal,
        }
    }
}

fn tell(news: News) {
    let text = match news {
        News::Away(why) => format!("the server does not take events ({why}); trying again"),
        News::Back => "the server is back, the play goes on".to_owned(),
    };
    // Where even standard error is gone, the play goes on.
    let _ = writeln!(std::io::stderr(), "tidings: {text}");
}

fn introduction(flags: &Flags, seed: u64) -> String {
    let Flags { url, project, .. } = flags;
    let elsewhere = if url.to_string() == "http://127.0.0.1:8000" { String::new() } else { format!(" --url {url}") };
    let page = url.page(project);
    format!(
        "Playing a small swarm into project {project}, seed {seed}: planners, researchers and coders on three tasks at a
time. Within a minute one of them asks for approval, and one fails.

  watch    {page}
  or       tidings tail {project}{elsewhere}
  stop     Ctrl-C (the sessions that run are cancelled then)

"
    )
}
