//! `tidings commands`: a runner in the shell. A program is started for each command, gets it as a line of JSON on its
//! standard input, and prints events, a line each; when it ends well the command is completed, else it has failed.

mod counter;
mod program;

use std::collections::HashMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::future::BoxFuture;
use tidings_protocol::project::Project;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::client::Address;
use crate::client::access::Access;
use crate::client::backoff::Backoff;
use crate::terminal::plain::plain;
use counter::{Command, Counter, Taken};
use program::Program;

/// The first pause after an attempt that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The command that ends another one.
const CANCEL: &str = "command.cancel";

/// Which commands to take, and what works on them.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// The project whose commands are taken
    project: Project,
    /// Take commands of this capability; may be given again, or with commas
    #[arg(long = "capability", short, required = true, value_delimiter = ',', value_name = "NAME")]
    capabilities: Vec<String>,
    /// The program that works on a command, with its arguments: the last flag of the line
    #[arg(long, required = true, num_args = 1.., allow_hyphen_values = true, value_name = "PROGRAM")]
    exec: Vec<String>,
    /// What this runner is called, the same after a restart; without this, a new name each time
    #[arg(long, value_name = "NAME")]
    runner: Option<String>,
    /// So many programs at a time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "COUNT")]
    concurrency: u32,
    /// How long programs may go on when this is told to stop, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    grace: u64,
    /// The ingest's address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    url: Address,
    #[command(flatten)]
    access: Access,
}

/// Programs at work, by command.
#[derive(Default)]
struct Working {
    tasks: JoinSet<String>,
    cancels: HashMap<String, CancellationToken>,
}

impl Working {
    async fn ended(&mut self) {
        if let Some(Ok(id)) = self.tasks.join_next().await {
            self.cancels.remove(&id);
        }
    }

    fn start(&mut self, program: Program, command: Command) {
        let (id, cancel) = (command.id.clone(), CancellationToken::new());
        self.cancels.insert(id.clone(), cancel.clone());
        self.tasks.spawn(async move {
            say(&format!("{id} {}: begun", command.kind));
            let end = program.work(&command, cancel).await;
            say(&format!("{id} {}: {end}", command.kind));
            id
        });
    }
}

/// Takes commands until `stop`, then waits for what is at work.
pub(crate) async fn run(flags: &Flags, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let drawn = || format!("shell-{:08x}", rand::random::<u32>());
    let runner = flags.runner.clone().unwrap_or_else(drawn);
    let counter = Arc::new(Counter::new(&flags.url, &flags.project, &flags.access, &runner, &flags.capabilities)?);
    let mut working = Working::default();
    let mut backoff = Backoff::new(FIRST_PAUSE);
    say(&format!("{runner} takes {} of {} on {}", flags.capabilities.join(", "), flags.project, flags.url));
    let mut taking: BoxFuture<'_, Taken> = Box::pin(counter.take(flags.concurrency));
    loop {
        let taken = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = working.ended(), if !working.cancels.is_empty() => continue,
            taken = &mut taking => taken,
        };
        let pause = match taken {
            Taken::Commands(commands) => {
                backoff.reset();
                for command in commands {
                    take(flags, &counter, &mut working, command);
                }
                Duration::ZERO
            }
            Taken::Away { why, retry_after } => {
                say(&format!("cannot take commands: {why}"));
                if let Some(pause) = retry_after {
                    backoff.hint(pause);
                }
                backoff.next(rand::random())
            }
            Taken::Refused(refusal) => anyhow::bail!("the server refuses: {refusal}"),
        };
        let counter = &counter;
        taking = Box::pin(async move {
            tokio::time::sleep(pause).await;
            counter.take(flags.concurrency).await
        });
    }
    drop(taking);
    finish(working, Duration::from_secs(flags.grace)).await;
    counter.leave().await;
    Ok(ExitCode::SUCCESS)
}

fn take(flags: &Flags, counter: &Arc<Counter>, working: &mut Working, command: Command) {
    if command.is_notice {
        // Nobody waits for an answer. Programs hear of decisions by asking for them.
        if command.kind == CANCEL
            && let Some(cancel) = command.cancelled().and_then(|id| working.cancels.get(id))
        {
            cancel.cancel();
        }
        return;
    }
    if working.cancels.contains_key(&command.id) {
        // Handed out again, since its lease ran out while the server was away: it is at work here still.
        return;
    }
    let program = Program { exec: flags.exec.clone(), project: flags.project.clone(), counter: counter.clone() };
    working.start(program, command);
}

/// Waits for the programs that are at work; those that take too long are ended.
async fn finish(mut working: Working, grace: Duration) {
    let all = async {
        while !working.cancels.is_empty() {
            working.ended().await;
        }
    };
    if tokio::time::timeout(grace, all).await.is_err() {
        working.cancels.values().for_each(CancellationToken::cancel);
        while !working.tasks.is_empty() {
            working.ended().await;
        }
    }
}

/// Says something for people: standard output is nobody's here, and may be a program's.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", plain(text));
}
