//! The forms of an export.

use bytes::Bytes;
use serde_json::Value;

/// Columns of the CSV form.
const COLUMNS: [&str; 8] = ["position", "received", "type", "session", "agent", "id", "time", "data"];

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One array of events as they are delivered.
    Json,
    /// RFC 4180 with a header; `data` as JSON.
    Csv,
    /// A line per event, for people.
    Text,
}

impl Format {
    pub(super) fn parse(word: &str) -> Option<Format> {
        [Format::Json, Format::Csv, Format::Text].into_iter().find(|format| format.as_str() == word)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Csv => "csv",
            Format::Text => "txt",
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Text => "text/plain; charset=utf-8",
        }
    }

    pub(super) fn opening(self) -> Bytes {
        match self {
            Format::Json => Bytes::from_static(b"["),
            Format::Csv => Bytes::from(COLUMNS.join(",") + "\r\n"),
            Format::Text => Bytes::from_static(b"\n"),
        }
    }

    pub(super) fn ending(self) -> Bytes {
        match self {
            Format::Json => Bytes::from_static(b"]"),
            Format::Csv | Format::Text => Bytes::new(),
        }
    }

    /// The rows of frames that hold objects with a comma behind each. `any`: whether there were rows before.
    pub(super) fn rows(self, frames: &[Bytes], any: &mut bool) -> Bytes {
        let mut out = Vec::new();
        for frame in frames.iter().filter(|frame| frame.len() > 1) {
            let objects = frame.strip_suffix(b",").unwrap_or(frame);
            if self == Format::Json {
                if std::mem::replace(any, true) {
                    out.push(b',');
                }
                out.extend_from_slice(objects);
                continue;
            }
            let list = [b"[", objects, b"]"].concat();
            let events: Vec<Value> = serde_json::from_slice(&list).unwrap_or_default();
            for event in &events {
                match self {
                    Format::Csv => write_csv(event, &mut out),
                    Format::Text | Format::Json => write_text(event, &mut out),
                }
            }
        }
        out.into()
    }
}

fn text_of<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().unwrap_or_default()
}

fn write_csv(event: &Value, out: &mut Vec<u8>) {
    let data = event.get("data").map(Value::to_string).unwrap_or_default();
    let cells = COLUMNS.map(|column| if column == "data" { data.as_str() } else { text_of(event, column) });
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_cell(cell, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// A cell that a spreadsheet would take for a formula gets an apostrophe, which it does not show.
fn write_cell(cell: &str, out: &mut Vec<u8>) {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if !formula && !cell.contains(['"', ',', '\n', '\r']) {
        out.extend_from_slice(cell.as_bytes());
        return;
    }
    out.push(b'"');
    if formula {
        out.push(b'\'');
    }
    out.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// `time  type  session/agent  what`, with control characters taken out: the line may be shown on a terminal.
fn write_text(event: &Value, out: &mut Vec<u8>) {
    let data = &event["data"];
    let said = ["message", "text", "content", "title", "name", "error", "status", "cause"]
        .iter()
        .find_map(|name| data[name].as_str())
        .map_or_else(|| data.to_string(), str::to_owned);
    let time = if event["received"].is_string() { text_of(event, "received") } else { text_of(event, "position") };
    let who = match (text_of(event, "session"), text_of(event, "agent")) {
        ("", "") => "-".to_owned(),
        (session, "") => session.to_owned(),
        (session, agent) => format!("{session}/{agent}"),
    };
    let line = format!("{time}  {}  {who}  {said}", text_of(event, "type"));
    out.extend(line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().into_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(format: Format, frames: &[&str]) -> String {
        let frames: Vec<Bytes> = frames.iter().map(|frame| Bytes::from((*frame).to_owned())).collect();
        String::from_utf8(format.rows(&frames, &mut false).to_vec()).expect("UTF-8")
    }

    #[test]
    fn json_rows_have_commas_between_them_only() {
        assert_eq!(rows(Format::Json, &["{\"a\":1},{\"a\":2},", "{\"a\":3},"]), "{\"a\":1},{\"a\":2},{\"a\":3}");
    }

    #[test]
    fn csv_cells_are_quoted_and_never_formulas() {
        let frame =
            r#"{"position":"1-1.a","type":"log","session":"=HYPERLINK(1)","agent":"a,b","data":{"x":"\"q\""}},"#;
        let row = rows(Format::Csv, &[frame]);
        assert_eq!(row, "1-1.a,,log,\"'=HYPERLINK(1)\",\"a,b\",,,\"{\"\"x\"\":\"\"\\\"\"q\\\"\"\"\"}\"\r\n");
    }

    #[test]
    fn text_lines_hold_no_control_characters() {
        let frame = r#"{"type":"log","received":"T","session":"s","data":{"message":"a\u001b[31mb\nc"}},"#;
        assert_eq!(rows(Format::Text, &[frame]), "T  log  s  a [31mb c\n");
    }
}
