//! The program that works on one command.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value, json};
use tidings_protocol::effects::cut_text;
use tidings_protocol::project::Project;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command as Process};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counter::{Command, Counter, Told, event};

/// Longest line that a program may print, in bytes: an event is no longer.
const LINE_BYTES_MAX: u64 = 512 * 1024;

/// What is told of what a failed program said on standard error, in bytes.
const ERROR_BYTES_MAX: usize = 2 * 1024;

/// How long a program without a deadline may take.
const LONGEST: Duration = Duration::from_hours(1);

/// What to start, and whom to tell.
pub(super) struct Program {
    pub(super) exec: Vec<String>,
    pub(super) project: Project,
    pub(super) counter: Arc<Counter>,
}

/// How the work on a command ended.
enum End {
    /// The program ended.
    Exited(ExitStatus),
    /// It answered by itself.
    Answered,
    /// The command is over without it.
    Over(String),
    /// What it printed was not taken.
    Invalid(String),
    /// It took too long.
    Deadline,
    /// It is told to stop.
    Cancelled,
    /// It did not even start.
    Failed(std::io::Error),
}

/// The processes that a program has started, itself among them; ended when this is dropped.
struct Group(Option<Pid>);

impl Group {
    /// That of a program which leads one.
    fn of(child: &Child) -> Group {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Group(id.and_then(Pid::from_raw))
    }

    /// It ended by itself.
    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone already, which is what is wanted.
            let _ = kill_process_group(group, Signal::Kill);
        }
    }
}

impl Program {
    /// Works on a command until it is answered. Says how that ended, for people.
    pub(super) async fn work(&self, command: &Command, cancel: CancellationToken) -> String {
        if let Told::Over(why) | Told::Invalid(why) = self.counter.accept(command).await {
            return format!("not taken: {why}");
        }
        let mut process = Process::new(&self.exec[0]);
        process.args(&self.exec[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process.env("TIDINGS_PROJECT", self.project.as_str()).env("TIDINGS_COMMAND", &command.id);
        process.env("TIDINGS_COMMAND_TYPE", &command.kind).process_group(0).kill_on_drop(true);
        let (end, said) = match process.spawn() {
            Ok(child) => self.follow(command, child, cancel).await,
            Err(error) => (End::Failed(error), String::new()),
        };
        let (code, error) = match end {
            End::Exited(status) if status.success() => {
                return self.say(command, "command.completed", json!({}), "completed").await;
            }
            End::Answered => return "answered".to_owned(),
            End::Over(why) => return format!("over: {why}"),
            // The server tells the asker of a deadline, and of a cancellation.
            End::Deadline => return "over its deadline".to_owned(),
            End::Cancelled => ("stopped", "the runner stopped it".to_owned()),
            End::Invalid(why) => ("invalid_event", why),
            End::Failed(error) => ("not_started", format!("{}: {error}", self.exec[0])),
            End::Exited(status) if said.is_empty() => ("failed", status.to_string()),
            End::Exited(_) => ("failed", said),
        };
        let told = format!("failed ({code})");
        self.say(command, "command.failed", json!({"code": code, "error": error}), &told).await
    }

    async fn say(&self, command: &Command, kind: &str, data: Value, told: &str) -> String {
        match self.counter.tell(command, event(command, kind, data)).await {
            Told::Taken => told.to_owned(),
            Told::Over(why) | Told::Invalid(why) => format!("{told}, which was not taken: {why}"),
        }
    }

    /// Passes on what the program prints until it ends, or must. With it comes what it said on standard error last.
    async fn follow(&self, command: &Command, mut child: Child, cancel: CancellationToken) -> (End, String) {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return (End::Failed(std::io::ErrorKind::BrokenPipe.into()), String::new());
        };
        let line = format!("{}\n", command.line);
        // A program need not read what it is asked.
        let feeding = async move {
            let _ = stdin.write_all(line.as_bytes()).await;
            drop(stdin);
        };
        let group = Group::of(&child);
        let mut said = String::new();
        let working = async {
            let feeding = async {
                feeding.await;
                Ok(())
            };
            let listening = async {
                last_words(stderr, &mut said).await;
                Ok(())
            };
            match tokio::try_join!(self.pass_on(command, stdout), feeding, listening) {
                Ok((answered, (), ())) => match child.wait().await {
                    Ok(_) if answered => End::Answered,
                    Ok(status) => End::Exited(status),
                    Err(error) => End::Failed(error),
                },
                Err(end) => end,
            }
        };
        let end = tokio::select! {
            biased;
            () = cancel.cancelled() => End::Cancelled,
            () = tokio::time::sleep(left(command)) => End::Deadline,
            end = working => end,
        };
        if matches!(end, End::Exited(_) | End::Answered) {
            // What it leaves running in the background is its own matter.
            group.leave();
        }
        (end, said)
    }

    /// Tells each line as an event, and whether one of them was the final answer. An error: the work is over before the program is.
    async fn pass_on(&self, command: &Command, stdout: impl AsyncRead + Unpin) -> Result<bool, End> {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        let mut answered = false;
        loop {
            line.clear();
            let read = (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
            if read.is_err() || line.is_empty() {
                return Ok(answered);
            }
            if line.len() as u64 >= LINE_BYTES_MAX {
                return Err(End::Invalid(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim();
            if text.is_empty() || answered {
                continue;
            }
            let event = of_line(command, text);
            let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
            answered = matches!(kind, "command.completed" | "command.failed");
            match self.counter.tell(command, event).await {
                Told::Taken => {}
                Told::Over(why) => return Err(End::Over(why)),
                Told::Invalid(why) => return Err(End::Invalid(why)),
            }
        }
    }
}

/// The event that a line is: what is no JSON object with a type is progress, in words.
fn of_line(command: &Command, text: &str) -> Map<String, Value> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(mut event)) if event.contains_key("type") => {
            if let (false, Some(session)) = (event.contains_key("session"), &command.session) {
                event.insert("session".to_owned(), session.as_str().into());
            }
            event
        }
        _ => event(command, "command.progress", json!({"message": text})),
    }
}

/// How long an answer is of use.
fn left(command: &Command) -> Duration {
    command.deadline.map_or(LONGEST, |deadline| deadline.saturating_duration_since(Instant::now()))
}

/// Reads standard error to its end and keeps the last of it; it is printed here, too.
async fn last_words(stderr: impl AsyncRead + Unpin, said: &mut String) {
    let mut lines = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        if read.is_err() || line.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        super::say(text.trim_end());
        if !text.trim().is_empty() {
            *said = cut_text(text.trim(), ERROR_BYTES_MAX).into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        super::super::counter::Command::sample("s-1")
    }

    #[test]
    fn a_command_is_due_by_what_the_server_says_is_left() {
        let told = |more: &str| {
            let line = format!(r#"{{"id":"c-1","type":"chat","lease":1,"deadline":"2001-01-01T00:00:00.000Z"{more}}}"#);
            super::super::counter::Command::of(&serde_json::from_str(&line).expect("JSON")).expect("a command")
        };
        let hour = Duration::from_hours(1);
        let earliest = Instant::now() + hour;
        let deadline = told(r#","deadline_in_ms":3600000"#).deadline.expect("it is told");
        assert!((earliest..=Instant::now() + hour).contains(&deadline), "whatever this machine's clock says");
        assert_eq!(left(&told("")), LONGEST);
    }

    #[test]
    fn a_line_is_an_event_or_progress_in_words() {
        let check = |line: &str, expected: Value| {
            assert_eq!(Value::Object(of_line(&command(), line)), expected, "{line}");
        };
        check(r#"{"type":"log","data":{}}"#, json!({"type": "log", "data": {}, "session": "s-1"}));
        check(r#"{"type":"log","session":"s-2"}"#, json!({"type": "log", "session": "s-2"}));
        let progress = |text: &str| json!({"type": "command.progress", "session": "s-1", "data": {"message": text}});
        check("half of it", progress("half of it"));
        check("[1]", progress("[1]"));
        check(r#"{"a":1}"#, progress(r#"{"a":1}"#));
    }
}
