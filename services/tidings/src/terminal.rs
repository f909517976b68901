//! What a person sees: whether there is a terminal, how wide it is, and colours for it.

pub(crate) mod plain;

use std::ffi::OsString;
use std::os::fd::AsFd;

/// Columns where the terminal does not tell.
const COLUMNS_DEFAULT: usize = 80;

/// What an output can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    /// A terminal that understands cursor movements, so lines can be redrawn.
    pub(crate) redraws: bool,
    /// Colours are wanted.
    pub(crate) colours: bool,
    /// Characters in a line.
    pub(crate) columns: usize,
}

impl Screen {
    /// Asks the output, and the environment (`NO_COLOR`, `TERM`).
    pub(crate) fn of(output: impl AsFd, variable: impl Fn(&str) -> Option<OsString>) -> Screen {
        let is_terminal = rustix::termios::isatty(&output);
        let is_dumb = variable("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
        let redraws = is_terminal && !is_dumb;
        let no_colour = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        Screen { redraws, colours: redraws && !no_colour, columns: columns(output) }
    }

    /// An output without any of it: a file or a pipe.
    #[cfg(test)]
    pub(crate) const PLAIN: Screen = Screen { redraws: false, colours: false, columns: COLUMNS_DEFAULT };
}

/// How wide the output's terminal is now.
pub(crate) fn columns(output: impl AsFd) -> usize {
    let columns = rustix::termios::tcgetwinsize(output).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { COLUMNS_DEFAULT } else { columns }
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// As the terminal writes.
    Plain,
    /// Less than the rest.
    Dim,
    /// More than the rest.
    Bold,
    /// It worked.
    Good,
    /// Someone should look.
    Warn,
    /// It failed.
    Bad,
    /// Cannot be overlooked.
    Alarm,
    /// One of [`TAGS`] colours that tell names apart.
    Tag(u8),
}

/// How many colours tell names apart: those of the basic sixteen that read on light and dark, and mean nothing else here.
pub(crate) const TAGS: u8 = 6;

impl Style {
    fn codes(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Dim => "\x1b[2m",
            Style::Bold => "\x1b[1m",
            Style::Good => "\x1b[32m",
            Style::Warn => "\x1b[33m",
            Style::Bad => "\x1b[31m",
            Style::Alarm => "\x1b[1;37;41m",
            Style::Tag(tag) => {
                ["\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[96m", "\x1b[95m", "\x1b[94m"][usize::from(tag % TAGS)]
            }
        }
    }

    /// Appends `text`, which must be [`plain::plain`] already, in this style.
    pub(crate) fn write(self, screen: Screen, text: &str, out: &mut String) {
        let codes = if screen.colours { self.codes() } else { "" };
        out.push_str(codes);
        out.push_str(text);
        if !codes.is_empty() {
            out.push_str("\x1b[0m");
        }
    }
}
