//! What clients say, checked: text to requests, or a refusal with a code.

use serde::Deserialize;
use serde_json::value::RawValue;
use tidings_commands::command::Command;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::echo;
use tidings_protocol::frames::{After, CLIENT_OPS, COMMAND, ClientFrame, REF_MAX, ShownToken};
use tidings_protocol::project::Project;

use super::subscriptions::Wish;

/// A checked request.
#[derive(Debug)]
pub(super) enum Request {
    /// Start or replace a subscription.
    Subscribe(Wish),
    /// End one.
    Unsubscribe {
        /// To this project.
        project: Project,
        /// Echoed.
        reference: Option<String>,
    },
    /// Ask runners.
    Command {
        /// Of this project.
        project: Project,
        /// What.
        command: Command,
        /// Echoed.
        reference: Option<String>,
    },
    /// Go on with another credential.
    Refresh {
        /// Which.
        token: ShownToken,
        /// Echoed.
        reference: Option<String>,
    },
    /// Answer with `pong`.
    Ping {
        /// Echoed.
        reference: Option<String>,
    },
}

/// Why a frame was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Stable code.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Echo, where it could be read.
    pub reference: Option<String>,
}

/// The members that every frame has; the others depend on `op`.
#[derive(Deserialize)]
struct Outline {
    op: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// A command's frame. Its data must pass as it stands, so it is not read with the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandFrame<'a> {
    #[serde(rename = "op")]
    _op: String,
    project: String,
    #[serde(borrow)]
    command: &'a RawValue,
    #[serde(default, rename = "ref")]
    _reference: Option<String>,
}

fn command(text: &str, reference: Option<String>) -> Result<Request, Refused> {
    let refused = |code, message: String| Refused { code, message, reference: reference.clone() };
    let frame: CommandFrame<'_> =
        serde_json::from_str(text).map_err(|error| refused(ErrorCode::InvalidFrame, echo::parse_error(&error)))?;
    let project = frame.project.parse::<Project>();
    let project = project.map_err(|error| refused(ErrorCode::InvalidProject, error.to_string()))?;
    let command = Command::parse(frame.command.get()).map_err(|refusal| refused(refusal.code, refusal.detail))?;
    Ok(Request::Command { project, command, reference })
}

/// Reads a client's frame.
pub(super) fn parse(text: &str) -> Result<Request, Refused> {
    let refused =
        |code, message: String, reference: &Option<String>| Refused { code, message, reference: reference.clone() };
    let outline: Outline = serde_json::from_str(text).map_err(|error| {
        refused(ErrorCode::MalformedJson, format!("not a JSON object with `op`: {}", echo::parse_error(&error)), &None)
    })?;
    let reference = outline.reference.filter(|reference| reference.len() <= REF_MAX);
    let op = outline.op.unwrap_or_default();
    if !CLIENT_OPS.contains(&op.as_str()) {
        let message = format!("`op` is one of {}", CLIENT_OPS.join(", "));
        return Err(refused(ErrorCode::UnknownOp, message, &reference));
    }
    if op == COMMAND {
        return command(text, reference);
    }
    let frame: ClientFrame = serde_json::from_str(text)
        .map_err(|error| refused(ErrorCode::InvalidFrame, echo::parse_error(&error), &reference))?;
    let project = |name: String| {
        name.parse::<Project>().map_err(|error| refused(ErrorCode::InvalidProject, error.to_string(), &reference))
    };
    match frame {
        ClientFrame::Ping { .. } => Ok(Request::Ping { reference }),
        ClientFrame::Refresh { token, .. } => Ok(Request::Refresh { token, reference }),
        ClientFrame::Unsubscribe { project: name, .. } => {
            Ok(Request::Unsubscribe { project: project(name)?, reference })
        }
        ClientFrame::Subscribe(subscribe) => {
            let project = project(subscribe.project)?;
            let after = match subscribe.after {
                None => After::Now,
                Some(text) => text.parse().map_err(|error: tidings_protocol::frames::AfterError| {
                    refused(ErrorCode::InvalidPosition, error.to_string(), &reference)
                })?,
            };
            if let Some((list, words)) = subscribe.filter.too_long() {
                let limit = tidings_protocol::filter::FILTER_WORDS_MAX;
                let message = format!("filter.{list} has {words} words, at most {limit} are allowed");
                return Err(refused(ErrorCode::InvalidFilter, message, &reference));
            }
            Ok(Request::Subscribe(Wish {
                project,
                after,
                filter: subscribe.filter,
                lag: subscribe.lag,
                snapshot: subscribe.snapshot,
                presence: subscribe.presence,
                reference,
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_frames_are_refused_by_name_and_echo_their_ref() {
        let check = |text: &str, code: ErrorCode, reference: Option<&str>| {
            let refused = parse(text).expect_err(text);
            assert_eq!((refused.code, refused.reference.as_deref()), (code, reference), "{text}");
        };
        check("{", ErrorCode::MalformedJson, None);
        check("[]", ErrorCode::MalformedJson, None);
        check(r#"{"op":"shout","ref":"1"}"#, ErrorCode::UnknownOp, Some("1"));
        check(r#"{"ref":"2"}"#, ErrorCode::UnknownOp, Some("2"));
        check(r#"{"op":"subscribe","ref":"3"}"#, ErrorCode::InvalidFrame, Some("3"));
        check(r#"{"op":"command","project":"p","ref":"4"}"#, ErrorCode::InvalidFrame, Some("4"));
        check(r#"{"op":"command","project":"p","command":{"type":"A"},"ref":"5"}"#, ErrorCode::InvalidField, Some("5"));
        check(r#"{"op":"command","project":"/","command":{"type":"a"}}"#, ErrorCode::InvalidProject, None);
        check(r#"{"op":"subscribe","project":"../x"}"#, ErrorCode::InvalidProject, None);
        check(r#"{"op":"subscribe","project":"p","after":"yesterday"}"#, ErrorCode::InvalidPosition, None);
        let words = vec!["\"w\""; 101].join(",");
        let text = format!(r#"{{"op":"subscribe","project":"p","filter":{{"types":[{words}]}}}}"#);
        check(&text, ErrorCode::InvalidFilter, None);
    }
}
