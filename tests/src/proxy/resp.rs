//! The frames of Redis' protocol (RESP2 and RESP3), as far as a proxy must know them: where one ends, and the words of
//! a call. Shares no code with the services' client.

use bytes::Bytes;

/// What stands at the front of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Front {
    /// A frame of so many bytes.
    Frame(usize),
    /// The beginning of one.
    Partial,
    /// Something else: TLS, or what comes behind `PSYNC`.
    Foreign,
}

/// A call as a client sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The command's name and what stands behind it.
    pub words: Vec<Bytes>,
    /// All of it as it was sent.
    pub bytes: Bytes,
}

impl Call {
    /// Reads a call that is there as a whole; none: it is no array of words.
    pub(super) fn read(bytes: &Bytes) -> Option<Call> {
        let (b'*', count, mut at) = header(bytes)? else { return None };
        let mut words = Vec::new();
        for _ in 0..count {
            let (b'$', length, start) = header(&bytes[at..])? else { return None };
            let (start, length) = (at + start, usize::try_from(length).ok()?);
            words.push(bytes.slice(start..start + length));
            at = start + length + 2;
        }
        Some(Call { words, bytes: bytes.clone() })
    }

    /// The command's name, in capitals.
    pub fn name(&self) -> String {
        self.words.first().map(|word| String::from_utf8_lossy(word).to_uppercase()).unwrap_or_default()
    }

    /// Whether some word holds this text.
    pub fn mentions(&self, text: &str) -> bool {
        self.words.iter().any(|word| word.windows(text.len()).any(|window| window == text.as_bytes()))
    }

    /// Whether it calls the append script with events that hold this text.
    pub fn appends(&self, text: &str) -> bool {
        self.keys() == ["log", "meta", "ids", "state", "guards"] && self.mentions(text)
    }

    /// Whether it writes a checkpoint.
    pub fn checkpoints(&self) -> bool {
        self.keys() == ["log", "meta", "state"] && self.words.len() > 20
    }

    /// What the keys of a script's call end with, behind the last colon.
    fn keys(&self) -> Vec<String> {
        let is_script = matches!(self.name().as_str(), "EVAL" | "EVALSHA");
        let count = self.words.get(2).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
        let keys = self.words.iter().skip(3).take(count.filter(|_| is_script).unwrap_or(0));
        keys.map(|key| String::from_utf8_lossy(key).rsplit(':').next().unwrap_or_default().to_owned()).collect()
    }
}

/// What stands at the front.
pub(super) fn front(bytes: &[u8]) -> Front {
    if bytes.is_empty() {
        return Front::Partial;
    }
    if !b"*$+-:_,#!=(%~>".contains(&bytes[0]) {
        return Front::Foreign;
    }
    let Some(line) = bytes.windows(2).position(|two| two == b"\r\n") else { return Front::Partial };
    let end = line + 2;
    let Some((kind, count, _)) = header(bytes) else {
        // A line without a number is the whole frame.
        return if b"$*!=%~>".contains(&bytes[0]) { Front::Foreign } else { Front::Frame(end) };
    };
    let children = match kind {
        b'$' | b'!' | b'=' => {
            let whole = usize::try_from(count).map_or(end, |length| end + length + 2);
            return if bytes.len() >= whole { Front::Frame(whole) } else { Front::Partial };
        }
        b'*' | b'~' | b'>' => count,
        b'%' => count * 2,
        _ => 0,
    };
    let mut at = end;
    for _ in 0..children {
        match front(&bytes[at..]) {
            Front::Frame(length) => at += length,
            other => return other,
        }
    }
    Front::Frame(at)
}

/// Whether a frame is an answer to nothing: a message.
pub(super) fn is_push(frame: &[u8]) -> bool {
    frame.first() == Some(&b'>')
}

/// A frame's kind, the number behind it, and where its line ends.
fn header(bytes: &[u8]) -> Option<(u8, i64, usize)> {
    let line = bytes.windows(2).position(|two| two == b"\r\n")?;
    let number = std::str::from_utf8(&bytes[1..line]).ok()?.parse().ok()?;
    Some((bytes[0], number, line + 2))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn frames_end_where_they_end() {
        for whole in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":1\r\n",
            "_\r\n",
            "$-1\r\n",
            "$5\r\na\r\nbc\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:7\r\n",
            "%1\r\n+a\r\n~2\r\n:1\r\n,1.5\r\n",
            ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
        ] {
            let more = format!("{whole}+more\r\n");
            assert_eq!(front(more.as_bytes()), Front::Frame(whole.len()), "{whole:?}");
            for cut in 0..whole.len() {
                assert_eq!(front(&whole.as_bytes()[..cut]), Front::Partial, "{:?}", &whole[..cut]);
            }
        }
        assert_eq!(front(b"\x16\x03\x01\r\n"), Front::Foreign);
        assert_eq!(front(b"$EOF:0123\r\n"), Front::Foreign);
    }

    #[test]
    fn a_call_is_known_by_its_keys() {
        let words =
            ["EVALSHA", "f00", "5", "t:{p}:log", "t:{p}:meta", "t:{p}:ids", "t:{p}:state", "t:{p}:guards", "x-1"];
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            write!(text, "${}\r\n{word}\r\n", word.len()).expect("a string takes all");
        }
        let call = Call::read(&Bytes::from(text)).expect("a call");
        assert!(call.appends("x-1") && !call.appends("x-2") && !call.checkpoints());
        assert_eq!(Call::read(&Bytes::from_static(b"+OK\r\n")), None);
    }
}
