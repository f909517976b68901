//! Lines out of a stream of bytes: cut at line breaks, bounded in length. A line that is too long is skipped to its end and
//! reported; the ones behind it are not harmed.

/// A line, without its break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// Its bytes.
    Whole(&'a [u8]),
    /// It was longer than allowed: so many bytes.
    TooLong(usize),
}

/// Cuts lines.
#[derive(Debug)]
pub(crate) struct Lines {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Bytes of a line that is being skipped.
    skipped: usize,
    bytes_max: usize,
}

impl Lines {
    pub(crate) fn new(bytes_max: usize) -> Lines {
        Lines { partial: Vec::new(), skipped: 0, bytes_max }
    }

    /// Takes bytes, and tells of each line that ends in them, until it is told false. Returns how many bytes it took.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>) -> bool) -> usize {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let head = &rest[..end];
            rest = &rest[end + 1..];
            let go_on = if self.skipped > 0 {
                each(Line::TooLong(std::mem::take(&mut self.skipped) + head.len()))
            } else if self.partial.is_empty() {
                each(self.judge(head))
            } else {
                self.partial.extend_from_slice(head);
                let line = std::mem::take(&mut self.partial);
                each(self.judge(&line))
            };
            if !go_on {
                return bytes.len() - rest.len();
            }
        }
        if self.skipped > 0 {
            self.skipped += rest.len();
            return bytes.len();
        }
        self.partial.extend_from_slice(rest);
        // One more for the carriage return that a break may begin with.
        if self.partial.len() > self.bytes_max + 1 {
            self.skipped = self.partial.len();
            self.partial = Vec::new();
        }
        bytes.len()
    }

    /// The last line, if the stream ended without a break behind it.
    pub(crate) fn end(&mut self) -> Option<Vec<u8>> {
        let partial = std::mem::take(&mut self.partial);
        (!partial.is_empty()).then_some(partial)
    }

    /// Whether the stream stands in the middle of a line.
    pub(crate) fn is_mid_line(&self) -> bool {
        self.skipped > 0 || !self.partial.is_empty()
    }

    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Bytes of the line that was being skipped when the stream ended.
    pub(crate) fn skipped(&self) -> Option<usize> {
        (self.skipped > 0).then_some(self.skipped)
    }

    fn judge<'a>(&self, line: &'a [u8]) -> Line<'a> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > self.bytes_max { Line::TooLong(line.len()) } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, chunk: usize) -> (Vec<String>, Option<String>) {
        let mut lines = Lines::new(5);
        let mut out = Vec::new();
        for bytes in text.as_bytes().chunks(chunk) {
            let mut left = bytes;
            // It stops behind each line, and goes on there.
            while !left.is_empty() {
                let taken = lines.push(left, |line| {
                    out.push(match line {
                        Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                        Line::TooLong(bytes) => format!("<{bytes}>"),
                    });
                    false
                });
                left = &left[taken..];
            }
            assert!(lines.held() < 64, "{}", lines.held());
        }
        (out, lines.end().map(|line| String::from_utf8_lossy(&line).into_owned()))
    }

    #[test]
    fn a_line_that_is_too_long_is_not_held() {
        let mut lines = Lines::new(5);
        for _ in 0..1_000 {
            lines.push(b"1234567890", |line| panic!("{line:?} has not ended"));
            assert!(lines.held() <= 16, "{} bytes are held", lines.held());
        }
        let mut out = Vec::new();
        lines.push(b"\nab\n", |line| {
            out.push(format!("{line:?}"));
            true
        });
        assert_eq!(out, ["TooLong(10000)", "Whole([97, 98])"]);
    }

    #[test]
    fn lines_are_the_same_whatever_the_chunks() {
        let text = "ab\n\nabcde\r\nabcdef\nabcdefghijklmnop\nc\nde";
        for chunk in 1..=text.len() {
            let (lines, last) = cut(text, chunk);
            assert_eq!(lines, ["ab", "", "abcde", "<6>", "<16>", "c"], "by {chunk}");
            assert_eq!(last.as_deref(), Some("de"));
        }
    }
}
