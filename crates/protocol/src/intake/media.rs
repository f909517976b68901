//! Which of the body formats a request has, by its media type.

use super::Fault;
use crate::codes::ErrorCode;

/// The formats of a body of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// One event or an array: [`super::parse_body`].
    Json,
    /// An event a line, streamed: [`super::parse_line`].
    Ndjson,
    /// One event as `CloudEvents` writes it: [`super::cloudevents::parse_structured`].
    CloudEvent,
    /// An array of those: [`super::cloudevents::parse_batch`].
    CloudEventBatch,
    /// The data of one, its attributes in headers: [`super::cloudevents::parse_binary`].
    CloudEventBinary,
}

/// The format of a body by `Content-Type` and whether there is a `ce-specversion` header (then the content type is that
/// of the data). No content type means JSON.
pub fn body_format(content_type: Option<&str>, has_ce_specversion: bool) -> Result<BodyFormat, Fault> {
    let content_type = content_type.unwrap_or("application/json");
    let media = MediaType::new(content_type);
    let format = match media.essence.as_str() {
        "application/cloudevents+json" => Some(BodyFormat::CloudEvent),
        "application/cloudevents-batch+json" => Some(BodyFormat::CloudEventBatch),
        _ if has_ce_specversion => return Ok(BodyFormat::CloudEventBinary),
        "application/json" => Some(BodyFormat::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Some(BodyFormat::Ndjson)
        }
        _ => None,
    };
    format.filter(|_| media.is_utf8).ok_or_else(|| {
        let detail = "expected application/json, application/x-ndjson, application/cloudevents+json or \
                      application/cloudevents-batch+json, in UTF-8";
        Fault::new(ErrorCode::UnsupportedMediaType, detail)
    })
}

/// As much of a media type as matters here.
pub(super) struct MediaType {
    /// `type/subtype`, in lower case.
    pub(super) essence: String,
    /// No charset is named, or UTF-8 (or its subset US-ASCII) is.
    pub(super) is_utf8: bool,
}

impl MediaType {
    pub(super) fn new(text: &str) -> MediaType {
        let mut parts = text.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let charset = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
            name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
        });
        let is_utf8 = charset.is_none_or(|charset| matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii"));
        MediaType { essence, is_utf8 }
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self.essence.as_str(), "application/json" | "text/json") || self.essence.ends_with("+json")
    }

    pub(super) fn is_text(&self) -> bool {
        self.essence.starts_with("text/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_media_type() {
        for (content_type, binary, expected) in [
            (None, false, Some(BodyFormat::Json)),
            (None, true, Some(BodyFormat::CloudEventBinary)),
            (Some("application/json"), false, Some(BodyFormat::Json)),
            (Some("Application/JSON ; Charset=\"UTF-8\""), false, Some(BodyFormat::Json)),
            (Some("application/json; charset=latin1"), false, None),
            (Some("application/x-ndjson"), false, Some(BodyFormat::Ndjson)),
            (Some("application/cloudevents+json; charset=utf-8"), false, Some(BodyFormat::CloudEvent)),
            (Some("application/cloudevents+json"), true, Some(BodyFormat::CloudEvent)),
            (Some("application/cloudevents-batch+json"), false, Some(BodyFormat::CloudEventBatch)),
            (Some("application/cloudevents+avro"), false, None),
            (Some("image/png"), true, Some(BodyFormat::CloudEventBinary)),
            (Some("image/png"), false, None),
            (Some("application/x-www-form-urlencoded"), false, None),
            (Some(""), false, None),
        ] {
            let found = body_format(content_type, binary);
            assert_eq!(found.clone().ok(), expected, "{content_type:?}");
            if let Err(fault) = found {
                assert_eq!(fault.code, ErrorCode::UnsupportedMediaType);
            }
        }
    }
}
