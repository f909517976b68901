//! How far a replay is: a bar on a terminal, nothing elsewhere.

use std::io::{self, Write as _};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::recording::Step;
use crate::terminal::plain::plain;
use crate::terminal::{Screen, Style};

/// Columns of the bar itself.
const BAR_COLUMNS: usize = 30;

/// How often it is redrawn at most, and, while it waits, at least.
const REDRAW: Duration = Duration::from_millis(200);

/// Eighths of a column.
const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Shows how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    screen: Screen,
    posted: usize,
    /// What is left to play when so many steps are posted.
    left: Vec<Duration>,
    drawn_at: Option<Instant>,
}

impl Progress {
    /// Of these steps; `step` is the pause where none is known.
    pub(super) fn new(steps: &[Step], step: Duration, speed: f64) -> Progress {
        let mut left = vec![Duration::ZERO; steps.len() + 1];
        for (at, it) in steps.iter().enumerate().rev() {
            left[at] = left[at + 1] + it.pause.or(step).div_f64(speed);
        }
        let screen = Screen::of(io::stderr(), |name| std::env::var_os(name));
        Progress { screen, posted: 0, left, drawn_at: None }
    }

    /// How many events were posted.
    pub(super) fn posted(&self) -> usize {
        self.posted
    }

    /// So many are posted.
    pub(super) fn on_posted(&mut self, posted: usize) {
        self.posted = posted;
        if posted == self.left.len() - 1 || self.drawn_at.is_none_or(|at| at.elapsed() >= REDRAW) {
            self.draw(self.left[posted]);
        }
    }

    /// Shows how the time passes until `due`.
    pub(super) async fn wait_until(&mut self, due: Instant) {
        if !self.screen.redraws {
            return;
        }
        while due.saturating_duration_since(Instant::now()) > REDRAW {
            sleep_until(Instant::now() + REDRAW).await;
            let until_due = due.saturating_duration_since(Instant::now());
            let behind = self.left.get(self.posted + 1).copied().unwrap_or_default();
            self.draw(until_due + behind);
        }
    }

    /// Says something for people.
    pub(super) fn aside(&mut self, text: &str) {
        let clear = if self.screen.redraws { "\r\x1b[2K" } else { "" };
        // Where even standard error is gone, the replay goes on.
        let _ = writeln!(io::stderr(), "{clear}tidings: {}", plain(text));
    }

    /// Takes the bar away.
    pub(super) fn finish(&mut self) {
        if self.screen.redraws && self.drawn_at.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }

    fn draw(&mut self, left: Duration) {
        if !self.screen.redraws {
            return;
        }
        self.drawn_at = Some(Instant::now());
        let (posted, all) = (self.posted, self.left.len() - 1);
        let mut line = String::from("\r\x1b[2K  ");
        Style::Good.write(self.screen, &bar(posted, all), &mut line);
        let _ = std::fmt::Write::write_fmt(&mut line, format_args!("  {posted}/{all} events  {} left", clock(left)));
        let mut stderr = io::stderr();
        let _ = stderr.write_all(line.as_bytes()).and_then(|()| stderr.flush());
    }
}

/// A bar that is `posted` of `all` full, with thin walls.
fn bar(posted: usize, all: usize) -> String {
    let eighths = posted * BAR_COLUMNS * 8 / all.max(1);
    let (full, part) = (eighths / 8, PARTS[eighths % 8]);
    let bar = format!("{}{part}", "█".repeat(full));
    let space = BAR_COLUMNS - bar.chars().count();
    format!("▕{bar}{}▏", " ".repeat(space))
}

fn clock(left: Duration) -> String {
    let seconds = left.as_secs_f64().ceil();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive whole number; casts saturate"
    )]
    let seconds = seconds as u64;
    match seconds / 3_600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_keeps_its_width_and_the_clock_counts() {
        for posted in 0..=37 {
            assert_eq!(bar(posted, 37).chars().count(), BAR_COLUMNS + 2, "{posted}");
        }
        assert_eq!(bar(0, 5).trim_matches(['▕', '▏']).trim(), "");
        assert!(!bar(5, 5).contains(' '));
        let check = |ms: u64, shown: &str| assert_eq!(clock(Duration::from_millis(ms)), shown);
        check(0, "0:00");
        check(59_001, "1:00");
        check(3_725_000, "1:02:05");
    }
}
