//! `tidings replay`: posts a recorded run, with the pauses that it had.
//!
//! A recording is read, mapped and checked as a whole before anything is posted. Played again it gets new ids and new
//! session names, so that every replay is a run of its own; with `--keep-ids` it stays what it was, and posting it twice
//! changes nothing.

mod ag_ui;
mod cut;
mod native;
mod progress;
mod recording;
mod swe_agent;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tidings_protocol::limits::NAME_BYTES_MAX;
use tidings_protocol::project::Project;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::client::Address;
use crate::client::access::Access;
use crate::client::publisher::{News, Publisher};
use crate::client::refusal::Refusal;
use crate::terminal::plain::plain;
use progress::Progress;
use recording::{Recording, Step};

/// The pause before a step whose recording holds no times.
const STEP: Duration = Duration::from_millis(300);

/// Steps that are due within this are posted together.
const TOGETHER: Duration = Duration::from_millis(5);

/// Events in one request, at most.
const POST_EVENTS_MAX: usize = 100;

/// Bytes of a recording: it is read as a whole.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Characters of a replay's name behind the names of its sessions.
const RUN_CHARS: usize = 4;

/// What to post, where.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The recording: events as NDJSON or JSON (as `tail` and exports write them), a SWE-agent trajectory, or AG-UI events
    file: PathBuf,
    /// The project to post to
    #[arg(long)]
    project: Project,
    /// How many times as fast
    #[arg(long, value_name = "N", default_value = "1", value_parser = crate::tool::positive)]
    speed: f64,
    /// Keep ids, times and session names as recorded: what is there already is not posted again
    #[arg(long)]
    keep_ids: bool,
    /// The ingest's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: Address,
    #[command(flatten)]
    access: Access,
}

/// Posts the recording to its end, or until it is told to stop.
pub(crate) async fn run(flags: &Flags, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let shown = flags.file.display();
    let bytes = read(&flags.file).with_context(|| format!("cannot read {shown}"))?;
    let name = flags.file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut recording = Recording::read(&bytes, &name).with_context(|| format!("nothing was posted: {shown}"))?;
    drop(bytes);
    let run = Ulid::new().to_string().to_lowercase();
    let sessions = rename(&mut recording.steps, flags.keep_ids, &run[run.len() - RUN_CHARS..]);
    crate::tool::say(&introduction(flags, &recording, &sessions))?;
    let mut publisher = Publisher::new(&flags.url, &flags.project, &flags.access)?;
    let mut progress = Progress::new(&recording.steps, STEP, flags.speed);
    let played = tokio::select! {
        played = play(&mut publisher, &recording.steps, flags.speed, &mut progress) => played.map(Some),
        () = stop.cancelled() => Ok(None),
    };
    progress.finish();
    match played {
        Err(refusal) => anyhow::bail!("the server refuses the recording after {} events: {refusal}", progress.posted()),
        Ok(Some(())) => {}
        Ok(None) => {
            if !flags.keep_ids {
                publisher.cancel_open("the replay was stopped", || Ulid::new().to_string()).await;
            }
            crate::tool::say("Stopped. ")?;
        }
    }
    crate::tool::say(&format!("Posted {} of {} events.\n", progress.posted(), recording.steps.len()))?;
    Ok(ExitCode::SUCCESS)
}

async fn play(publisher: &mut Publisher, steps: &[Step], speed: f64, progress: &mut Progress) -> Result<(), Refusal> {
    let mut due = Instant::now();
    let mut at = 0;
    while at < steps.len() {
        let pause = |step: &Step| step.pause.or(STEP).div_f64(speed);
        due += pause(&steps[at]);
        progress.wait_until(due).await;
        sleep_until(due).await;
        let mut batch = vec![steps[at].event.clone()];
        at += 1;
        while let Some(step) = steps.get(at)
            && batch.len() < POST_EVENTS_MAX
            && due + pause(step) <= Instant::now() + TOGETHER
        {
            due += pause(step);
            batch.push(step.event.clone());
            at += 1;
        }
        let away = publisher.post(&batch, |news| progress.aside(&told(news))).await?;
        // The recording stands still while the server is away.
        due += away;
        progress.on_posted(at);
    }
    Ok(())
}

fn told(news: News) -> String {
    match news {
        News::Away(why) => format!("the server does not take events ({why}); trying again"),
        News::Back => "the server is back, the replay goes on".to_owned(),
    }
}

fn read(file: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let bytes = std::fs::metadata(file)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("{bytes} bytes; at most {FILE_BYTES_MAX} are read")));
    }
    std::fs::read(file)
}

/// Gives every event an id and, unless they are kept, every session a new name; returns the names.
fn rename(steps: &mut [Step], keep_ids: bool, run: &str) -> Vec<String> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut order = Vec::new();
    for Step { event, .. } in steps {
        if !keep_ids {
            event.time = None;
            event.traceparent = None;
            event.id = None;
        }
        event.id.get_or_insert_with(|| Ulid::new().to_string());
        let Some(session) = &mut event.session else { continue };
        let name = names.entry(session.clone()).or_insert_with(|| {
            let name = if keep_ids { session.clone() } else { renamed(session, run) };
            order.push(name.clone());
            name
        });
        session.clone_from(name);
    }
    order
}

/// A session's name in this run, within the limit on names.
fn renamed(session: &str, run: &str) -> String {
    let room = NAME_BYTES_MAX - run.len() - 1;
    let end = (0..=session.len().min(room)).rev().find(|at| session.is_char_boundary(*at)).unwrap_or(0);
    format!("{}-{run}", &session[..end])
}

fn introduction(flags: &Flags, recording: &Recording, sessions: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = sessions.iter().take(SHOWN).map(|name| plain(name)).collect();
    let more = if sessions.len() > SHOWN { format!(" and {} more", sessions.len() - SHOWN) } else { String::new() };
    let mut text = format!(
        "Replaying {}: {}, {} events.\n\n  watch    {}\n",
        plain(&flags.file.display().to_string()),
        recording.format.name(),
        recording.steps.len(),
        flags.url.page(&flags.project),
    );
    if !sessions.is_empty() {
        let _ = writeln!(text, "  session  {}{more}", shown.join(", "));
    }
    for (count, what) in [
        (recording.gaps, "gap rows are left out: what they stand for is not in the file"),
        (recording.reserved, "events are left out: only a server says such things"),
        (recording.cut, "texts were too long and are cut"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  note     {count} {what}");
        }
    }
    text.push_str("  stop     Ctrl-C\n\n");
    text
}

#[cfg(test)]
mod tests;
