//! What was found, and how it is told: a line for people as soon as it is known, or one JSON object for machines at the end.

use std::fmt::Write as _;

use serde::Serialize;

use crate::terminal::plain::{plain, width};
use crate::terminal::{Screen, Style};
use crate::tool::say;

/// Where the names of checks begin, and how much room they have.
const NAME_COLUMNS: usize = 15;

/// Where texts begin: behind the margin, a verdict and a name.
const TEXT_COLUMN: usize = 2 + 6 + NAME_COLUMNS;

/// Lines are not longer than this, however wide the terminal: longer ones are hard to read.
const COLUMNS_MAX: usize = 120;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and something may go wrong; or it cannot be seen.
    Warn,
    /// A promise does not hold.
    Fail,
}

/// A part of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct Page(pub(super) &'static str);

impl Page {
    pub(super) const REDIS: Page = Page("docs/operations.md#what-redis-must-be-set-to");
    pub(super) const REPLICAS: Page = Page("docs/operations.md#replicas-and-failover");
    pub(super) const SENTINEL: Page = Page("docs/operations.md#redis-sentinel");
    pub(super) const TLS: Page = Page("docs/operations.md#tls");
    pub(super) const ACCOUNTS: Page = Page("docs/operations.md#accounts");
    pub(super) const DOCTOR: Page = Page("docs/operations.md#doctor");
    pub(super) const KEYSPACE: Page = Page("docs/redis-keyspace.md");
    pub(super) const CONFIGURATION: Page = Page("docs/configuration.md");
}

/// The outcome of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The check's name: a word or two, the same in every run.
    pub(super) check: &'static str,
    /// Which node of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    pub(super) verdict: Verdict,
    /// What is there.
    pub(super) found: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<String>,
    /// Where it is explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) docs: Option<Page>,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding { check, node: None, verdict: Verdict::Ok, found: found.into(), advice: None, docs: None }
    }

    /// It works, and something may go wrong.
    pub(super) fn warn(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
        docs: Page,
    ) -> Finding {
        let (advice, docs) = (Some(advice.into()), Some(docs));
        Finding { verdict: Verdict::Warn, advice, docs, ..Finding::ok(check, found) }
    }

    /// A promise does not hold.
    pub(super) fn fail(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
        docs: Page,
    ) -> Finding {
        Finding { verdict: Verdict::Fail, ..Finding::warn(check, found, advice, docs) }
    }

    /// What this account may not see.
    pub(super) fn unseen(check: &'static str, what: &str, by_hand: &str, docs: Page) -> Finding {
        Finding::warn(check, format!("cannot see {what}: CONFIG GET is refused"), by_hand, docs)
    }

    /// Its lines for people.
    fn text(&self, screen: Screen) -> String {
        let (word, style) = match self.verdict {
            Verdict::Ok => ("ok", Style::Good),
            Verdict::Warn => ("warn", Style::Warn),
            Verdict::Fail => ("fail", Style::Bad),
        };
        let mut out = "  ".to_owned();
        style.write(screen, &format!("{word:<6}"), &mut out);
        Style::Bold.write(screen, &format!("{:<NAME_COLUMNS$}", self.check), &mut out);
        let node = self.node.as_ref().map_or(String::new(), |node| format!("{node}: "));
        wrap(&plain(&format!("{node}{}", self.found)), screen, TEXT_COLUMN, Style::Plain, &mut out);
        if let Some(advice) = &self.advice {
            let docs = self.docs.map_or(String::new(), |Page(page)| format!(" ({page})"));
            let _ = write!(out, "{:TEXT_COLUMN$}", "");
            wrap(&plain(&format!("→ {advice}{docs}")), screen, TEXT_COLUMN + 2, Style::Dim, &mut out);
        }
        out
    }
}

/// Writes `text` from the present column on, which is `indent` but for a hanging first line, broken between words.
fn wrap(text: &str, screen: Screen, indent: usize, style: Style, out: &mut String) {
    let room = screen.columns.min(COLUMNS_MAX).saturating_sub(indent).max(20);
    let mut line = String::new();
    let mut lines = Vec::new();
    for word in text.split(' ') {
        if !line.is_empty() && width(&line) + 1 + width(word) > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            let _ = write!(out, "{:indent$}", "");
        }
        style.write(screen, line, out);
        out.push('\n');
    }
}

/// All findings so far.
pub(super) struct Report {
    findings: Vec<Finding>,
    /// None: one JSON object at the end.
    screen: Option<Screen>,
}

/// The whole, for machines.
#[derive(Serialize)]
struct Summary<'a> {
    verdict: Verdict,
    ok: usize,
    warnings: usize,
    failed: usize,
    checks: &'a [Finding],
}

impl Report {
    /// A report for a screen; without one: for machines.
    pub(super) fn new(screen: Option<Screen>) -> Report {
        Report { findings: Vec::new(), screen }
    }

    /// A line above the findings, for people alone.
    pub(super) fn title(&self, text: &str) -> anyhow::Result<()> {
        if self.screen.is_some() { say(&format!("{}\n\n", plain(text))) } else { Ok(()) }
    }

    /// Adds a finding, and tells it at once where people look on.
    pub(super) fn add(&mut self, finding: Finding) -> anyhow::Result<()> {
        if let Some(screen) = self.screen {
            say(&finding.text(screen))?;
        }
        self.findings.push(finding);
        Ok(())
    }

    /// Tells the sum. The worst verdict of all.
    pub(super) fn finish(self) -> anyhow::Result<Verdict> {
        let count = |verdict| self.findings.iter().filter(|finding| finding.verdict == verdict).count();
        let (ok, warnings, failed) = (count(Verdict::Ok), count(Verdict::Warn), count(Verdict::Fail));
        let verdict = self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        match self.screen {
            None => {
                let summary = Summary { verdict, ok, warnings, failed, checks: &self.findings };
                say(&format!("{}\n", serde_json::to_string_pretty(&summary)?))?;
            }
            Some(screen) => {
                let plural = if warnings == 1 { "" } else { "s" };
                let (text, style) = match verdict {
                    Verdict::Ok => (format!("All {ok} checks are ok."), Style::Good),
                    Verdict::Warn => (format!("{warnings} warning{plural}, {ok} ok."), Style::Warn),
                    Verdict::Fail => (format!("{failed} failed, {warnings} warning{plural}, {ok} ok."), Style::Bad),
                };
                let mut out = "\n  ".to_owned();
                style.write(screen, &text, &mut out);
                out.push('\n');
                say(&out)?;
            }
        }
        Ok(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_to_do_and_keeps_within_the_screen() {
        let advice = "set maxmemory to at most 60 % of the machine's memory, so that Redis refuses appends before the \
                      kernel kills it";
        let found = "no limit \x1b[2J";
        let finding = Finding::warn("maxmemory", found, advice, Page::REDIS);
        let text = finding.text(Screen::PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "  warn  maxmemory      no limit ␛[2J");
        assert!(lines[1].starts_with("                       → set maxmemory to at most"), "{text}");
        assert!(lines[2].starts_with("                         "), "{text}");
        assert!(lines.iter().all(|line| width(line) <= Screen::PLAIN.columns), "{text}");
        assert!(text.trim_end().ends_with("(docs/operations.md#what-redis-must-be-set-to)"), "{text}");
    }

    /// Every page and section that a finding may name is there.
    #[test]
    fn the_manual_has_what_findings_point_to() {
        let operations = include_str!("../../../../docs/operations.md");
        let sections: Vec<String> = operations
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(|title| title.to_lowercase().replace(' ', "-"))
            .collect();
        let pages = [Page::REDIS, Page::REPLICAS, Page::SENTINEL, Page::TLS, Page::ACCOUNTS, Page::DOCTOR];
        for Page(page) in pages {
            let section = page.strip_prefix("docs/operations.md#").expect("of this page").to_owned();
            assert!(sections.contains(&section), "{page} is not among {sections:?}");
        }
    }
}
