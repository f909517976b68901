//! Events for people: a line each, coloured by who and how, and messages that grow as their tokens come.
//!
//! A message that is being written is a line below all others, redrawn in place until it is complete; then it is written
//! for good, with the events around it in their order of completion. Without a terminal nothing is redrawn: a message is
//! written once, whole. Everything that came from outside goes through [`plain`].

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::describe::{Event, Words, describe, describe_gap};
use super::lines::Compacted;
use super::{Item, Output};
use crate::terminal::plain::{fit, fit_end, plain, width};
use crate::terminal::{Screen, Style, TAGS};

/// Messages that grow at once; when one more begins, the oldest is written as far as it got.
const GROWING_MAX: usize = 4;

/// Bytes that are kept of a growing message: its end is shown, and the whole comes when it is complete.
const GROWING_BYTES_MAX: usize = 8 * 1024;

/// Lines that one event may take.
const EVENT_LINES_MAX: usize = 14;

/// Characters of an event's text that are looked at.
const TEXT_CHARS_MAX: usize = 4_000;

/// Columns of the session and of the agent.
const NAME_COLUMNS: [usize; 2] = [18, 14];

/// Columns of an event's text, at least, however narrow the terminal.
const TEXT_COLUMNS_MIN: usize = 24;

/// Columns of a line that goes to no terminal.
const FILE_COLUMNS: usize = 200;

/// Writes events for people.
pub(super) struct Pretty {
    screen: Screen,
    /// Columns of the terminal at this moment: its window may be resized, and a line that wraps cannot be redrawn.
    columns: fn() -> usize,
    what: String,
    out: String,
    growing: VecDeque<Growing>,
    /// Growing lines that are on the screen.
    drawn: usize,
    changed: bool,
}

/// A message that is being written.
struct Growing {
    session: String,
    agent: String,
    message_id: String,
    time: String,
    text: String,
    is_cut: bool,
}

impl Output for Pretty {
    fn item(&mut self, item: &Item) {
        match item {
            Item::Event(json) => self.event(json),
            Item::Events(json) => {
                if let Ok(list) = serde_json::from_slice::<Compacted<'_>>(json) {
                    list.events.iter().for_each(|event| self.event(event.get().as_bytes()));
                }
            }
            Item::Degraded(true) => self.notice(Style::Warn, "the store is away: events may be late"),
            Item::Degraded(false) => self.notice(Style::Good, "the store is back"),
            Item::Connected => {
                let words = format!("following {}; Ctrl-C ends", self.what);
                self.notice(Style::Dim, &words);
            }
            Item::Away(why) => self.notice(Style::Warn, &format!("no connection ({why}); trying again")),
            Item::Back => self.notice(Style::Good, "connected again, going on behind the last event"),
        }
    }

    fn finish(&mut self) {
        while let Some(growing) = self.growing.pop_front() {
            self.settle(&growing);
        }
    }

    fn pending(&self) -> usize {
        self.out.len()
    }

    fn take(&mut self) -> Vec<u8> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let mut frame = String::with_capacity(self.out.len() + 256);
        if self.drawn > 0 {
            let _ = write!(frame, "\x1b[{}A\r\x1b[J", self.drawn);
        }
        frame.push_str(&self.out);
        self.out.clear();
        self.drawn = 0;
        if self.screen.redraws {
            self.screen.columns = (self.columns)();
            for growing in &self.growing {
                self.write_growing(growing, &mut frame);
            }
            self.drawn = self.growing.len();
        }
        frame.into_bytes()
    }
}

impl Pretty {
    /// Writes for this screen, which has so many `columns` now; `what` is followed.
    pub(super) fn new(screen: Screen, columns: fn() -> usize, what: &str) -> Pretty {
        let what = what.to_owned();
        Pretty { screen, columns, what, out: String::new(), growing: VecDeque::new(), drawn: 0, changed: false }
    }

    fn event(&mut self, json: &[u8]) {
        self.changed = true;
        let Ok(event) = serde_json::from_slice::<Event>(json) else {
            // A newer server's shape: shown rather than hidden.
            self.out.push_str(&plain(&String::from_utf8_lossy(json)));
            self.out.push('\n');
            return;
        };
        match event.kind.as_str() {
            "gap" => return self.gap(&event),
            "message.delta" => return self.grow(&event),
            "message.completed" => {
                let message_id = event.text("message_id").into_owned();
                self.growing.retain(|it| it.session != event.session || it.message_id != message_id);
            }
            "session.completed" | "session.failed" | "session.cancelled" | "session.lost" => {
                while let Some(at) = self.growing.iter().position(|it| it.session == event.session) {
                    if let Some(growing) = self.growing.remove(at) {
                        self.settle(&growing);
                    }
                }
            }
            _ => {}
        }
        self.line(&event.received, &event.session, &event.agent, &describe(&event), event.seen);
    }

    fn grow(&mut self, event: &Event) {
        let message_id = event.text("message_id").into_owned();
        let is_same = |it: &Growing| it.session == event.session && it.message_id == message_id;
        if !self.growing.iter().any(is_same) {
            if self.growing.len() == GROWING_MAX
                && let Some(oldest) = self.growing.pop_front()
            {
                self.settle(&oldest);
            }
            self.growing.push_back(Growing {
                session: event.session.clone(),
                agent: event.agent.clone(),
                message_id: message_id.clone(),
                time: event.received.clone(),
                text: String::new(),
                is_cut: false,
            });
        }
        let Some(growing) = self.growing.iter_mut().find(|it| is_same(it)) else { return };
        growing.text.push_str(&event.text("text"));
        if growing.text.len() > GROWING_BYTES_MAX {
            let from = growing.text.len() - GROWING_BYTES_MAX / 2;
            let from = (from..growing.text.len()).find(|at| growing.text.is_char_boundary(*at)).unwrap_or(0);
            growing.text.drain(..from);
            growing.is_cut = true;
        }
    }

    /// Writes a message for good that nobody completed.
    fn settle(&mut self, growing: &Growing) {
        self.changed = true;
        let lead = if growing.is_cut { "… " } else { "" };
        let text = format!("{lead}{} …", growing.text.trim_end());
        let words = Words { sign: "❝", style: Style::Plain, text, whole: true };
        self.line(&growing.time, &growing.session, &growing.agent, &words, false);
    }

    fn gap(&mut self, event: &Event) {
        let words = format!("  GAP  {}  ", plain(&describe_gap(event)));
        let columns = if self.screen.redraws { self.screen.columns } else { 0 };
        let words = format!("{words:<columns$}");
        Style::Alarm.write(self.screen, &words, &mut self.out);
        self.out.push('\n');
    }

    fn notice(&mut self, style: Style, text: &str) {
        self.changed = true;
        style.write(self.screen, &format!("-- {}", plain(text)), &mut self.out);
        self.out.push('\n');
    }

    fn line(&mut self, time: &str, session: &str, agent: &str, words: &Words, seen: bool) {
        let mut out = std::mem::take(&mut self.out);
        let margin = self.margin(time, session, agent, &mut out);
        let style = if seen { Style::Dim } else { words.style };
        style.write(self.screen, words.sign, &mut out);
        out.push(' ');
        let text: String = words.text.chars().take(TEXT_CHARS_MAX).collect();
        let columns = if self.screen.redraws { self.screen.columns } else { FILE_COLUMNS };
        let columns = columns.saturating_sub(margin + 2).max(TEXT_COLUMNS_MIN);
        let text = if seen { format!("(again) {text}") } else { text };
        if words.whole {
            let lines = wrapped(&text, columns);
            let hidden = lines.len().saturating_sub(EVENT_LINES_MAX);
            for (at, line) in lines.iter().take(EVENT_LINES_MAX).enumerate() {
                if at > 0 {
                    out.push_str(&" ".repeat(margin + 2));
                }
                style.write(self.screen, line, &mut out);
                out.push('\n');
            }
            if hidden > 0 {
                out.push_str(&" ".repeat(margin + 2));
                Style::Dim.write(self.screen, &format!("… {hidden} more lines"), &mut out);
                out.push('\n');
            }
        } else {
            style.write(self.screen, &fit(&plain(&one_line(&text)), columns), &mut out);
            out.push('\n');
        }
        self.out = out;
    }

    /// The end of a message that is being written, in one line.
    fn write_growing(&self, growing: &Growing, out: &mut String) {
        let margin = self.margin(&growing.time, &growing.session, &growing.agent, out);
        Style::Bold.write(self.screen, "❝", out);
        out.push(' ');
        // One column stays free: some terminals wrap when the last one is written.
        let columns = self.screen.columns.saturating_sub(margin + 3);
        out.push_str(&fit_end(&plain(&one_line(&growing.text)), columns));
        out.push('\n');
    }

    /// Time, session and agent; returns how many columns they take.
    fn margin(&self, time: &str, session: &str, agent: &str, out: &mut String) -> usize {
        // `2026-11-20T09:00:00.123Z`
        let clock = time.get(11..19).unwrap_or("        ");
        Style::Dim.write(self.screen, &plain(clock), out);
        let mut margin = 8;
        for (name, columns) in [(session, NAME_COLUMNS[0]), (agent, NAME_COLUMNS[1])] {
            let shown = plain(name);
            let shown = fit(&shown, columns);
            out.push_str("  ");
            let style = if name.is_empty() { Style::Plain } else { Style::Tag(tag(name)) };
            style.write(self.screen, &shown, out);
            out.push_str(&" ".repeat(columns - width(&shown).min(columns)));
            margin += 2 + columns;
        }
        out.push_str("  ");
        margin + 2
    }
}

/// The same name has the same colour, always.
fn tag(name: &str) -> u8 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u8::try_from(hash % u32::from(TAGS)).unwrap_or(0)
}

/// A text with each stretch of white space, line breaks too, as one space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The lines of a text, each plain and at most so wide; broken between words where that is possible.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.trim().lines() {
        let line = plain(line);
        let mut current = String::new();
        let mut used = 0;
        for word in line.split_inclusive(' ') {
            let takes = width(word.trim_end());
            if used > 0 && used + takes > columns {
                lines.push(std::mem::take(&mut current));
                used = 0;
            }
            for c in word.chars() {
                let one = width(c.encode_utf8(&mut [0; 4]));
                if used + one > columns {
                    lines.push(std::mem::take(&mut current));
                    used = 0;
                    if c == ' ' {
                        continue;
                    }
                }
                current.push(c);
                used += one;
            }
        }
        lines.push(current);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

#[cfg(test)]
mod tests;
