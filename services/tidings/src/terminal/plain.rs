//! Untrusted text on a terminal: nothing in it may move the cursor, change colours, turn the writing direction or hide.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character that is not plainly visible replaced by a picture of it; line breaks and tabs, too.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_active) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\t' => out.push(' '),
            // The pictures of control characters (U+2400 and on) stand in their order.
            '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?')),
            '\x7f' => out.push('␡'),
            c if is_active(c) => {
                let _ = write!(out, "<U+{:04X}>", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Control characters, line separators, and what is invisible or turns the writing direction.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0e}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// At most so many columns of `text`, the last of them `…` if it was cut. What is not plain ASCII counts as two columns
/// where it may take them: a line that is a little short does no harm, one that wraps does.
pub(crate) fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut room = columns.saturating_sub(1);
    let fits = text.chars().take_while(|c| {
        let takes = columns_of(*c);
        let fits = takes <= room;
        room = room.saturating_sub(takes);
        fits
    });
    let mut cut: String = fits.collect();
    if columns > 0 {
        cut.push('…');
    }
    Cow::Owned(cut)
}

/// The end of `text` in at most so many columns, the first of them `…` if it was cut.
pub(crate) fn fit_end(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut room = columns.saturating_sub(1);
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        let takes = columns_of(c);
        if takes > room {
            break;
        }
        room -= takes;
        start = at;
    }
    Cow::Owned(format!("{}{}", if columns > 0 { "…" } else { "" }, &text[start..]))
}

/// Columns that `text` takes at most.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    match c {
        '…' | '—' | '–' | '→' | '·' | '•' => 1,
        c if (c as u32) < 0x0300 => 1,
        c if (0x2500..0x25a0).contains(&(c as u32)) => 1,
        c if (c as u32) < 0x1100 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_gets_through() {
        let check = |text: &str, shown: &str| assert_eq!(plain(text), shown, "{text:?}");
        check("plain ünï ✓ 漢", "plain ünï ✓ 漢");
        check("\x1b[2J\x1b]0;owned\x07", "␛[2J␛]0;owned␇");
        check("a\r\nb\tc\x7f", "a␍␊b c␡");
        check("\u{9b}31m", "<U+009B>31m");
        check("user\u{202e}txt.exe", "user<U+202E>txt.exe");
        check("zero\u{200b}width\u{feff}", "zero<U+200B>width<U+FEFF>");
    }

    #[test]
    fn every_control_character_is_neutralised() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            let text = c.to_string();
            assert!(!plain(&text).chars().any(char::is_control), "{c:?}");
        }
    }

    #[test]
    fn lines_are_cut_to_columns() {
        let check = |text: &str, columns: usize, head: &str, tail: &str| {
            assert_eq!(fit(text, columns), head);
            assert_eq!(fit_end(text, columns), tail);
            assert!(width(&fit(text, columns)) <= columns && width(&fit_end(text, columns)) <= columns);
        };
        check("abcdef", 6, "abcdef", "abcdef");
        check("abcdef", 4, "abc…", "…def");
        check("漢字漢字", 5, "漢字…", "…漢字");
        check("abc", 0, "", "");
    }
}
