//! docs/protocol.md is the clients' contract: every example in it is what the code reads and writes.

use serde_json::{Value, json};
use tidings_protocol::codes::{CloseCode, ErrorCode};
use tidings_protocol::frames::{COMMAND, ClientFrame, ServerFrame, write_gap};
use tidings_protocol::gap::{Gap, GapCause};
use tidings_protocol::problem::Problem;

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

/// The lines of the fences of this kind.
fn examples(kind: &str) -> Vec<&'static str> {
    let opening = format!("```json {kind}");
    let mut lines = Vec::new();
    let mut inside = false;
    for line in PROTOCOL.lines() {
        match line {
            "```" => inside = false,
            _ if line == opening => inside = true,
            _ if inside => lines.push(line),
            _ => {}
        }
    }
    assert!(!lines.is_empty(), "no examples of {kind}");
    lines
}

fn value(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn what_clients_say_is_taken() {
    for line in examples("client") {
        if value(line)["op"] == COMMAND {
            // The gateway reads it by itself: a command's data pass byte for byte.
            let members: Vec<String> = value(line).as_object().expect(line).keys().cloned().collect();
            assert_eq!(members, ["command", "op", "project", "ref"], "{line}");
            continue;
        }
        serde_json::from_str::<ClientFrame>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        if let Some(after) = value(line)["after"].as_str() {
            after.parse::<tidings_protocol::frames::After>().expect(line);
        }
    }
}

#[test]
fn what_the_server_says_is_written_so() {
    let text = |value: &'_ Value, name: &str| value[name].as_str().map(str::to_owned);
    for line in examples("server") {
        let told = value(line);
        let named = text(&told, "project");
        let project = named.clone().unwrap_or_default();
        let reference = text(&told, "ref");
        let reference = reference.as_deref();
        let position = || text(&told, "position").expect(line).parse().expect(line);
        let viewer = text(&told, "viewer").unwrap_or_default();
        let server = text(&told, "server").unwrap_or_default();
        let message = text(&told, "message").unwrap_or_default();
        let frame = match told["op"].as_str().expect(line) {
            "hello" => {
                ServerFrame::Hello { viewer: &viewer, server: &server, ping_ms: told["ping_ms"].as_u64().expect(line) }
            }
            "subscribed" => ServerFrame::Subscribed { project: &project, position: position(), reference },
            "unsubscribed" => ServerFrame::Unsubscribed { project: &project, reference },
            "at" => ServerFrame::At { project: &project, position: position() },
            "degraded" => ServerFrame::Degraded { active: told["active"].as_bool().expect(line) },
            "draining" => ServerFrame::Draining { retry_after_ms: told["retry_after_ms"].as_u64().expect(line) },
            "error" => {
                let code = ErrorCode::parse(told["code"].as_str().expect(line)).expect(line);
                ServerFrame::Error { code: code.as_str(), message: &message, project: named.as_deref(), reference }
            }
            "refreshed" => ServerFrame::Refreshed { expires_in_ms: told["expires_in_ms"].as_u64(), reference },
            "pong" => ServerFrame::Pong { reference },
            "command" => {
                let (id, status) = (text(&told, "id").expect(line), text(&told, "status").expect(line));
                let frame = ServerFrame::Command { project: &project, id: &id, status: &status, reference };
                assert_eq!(String::from_utf8_lossy(&frame.to_json()), line);
                continue;
            }
            // These are written around the log's own bytes; the end-to-end tests read them.
            "event" | "events" | "presence" | "snapshot" => continue,
            other => panic!("{other} is no frame"),
        };
        assert_eq!(String::from_utf8_lossy(&frame.to_json()), line);
    }
}

#[test]
fn gaps_are_written_so() {
    for line in examples("gap") {
        let told = value(line);
        let position = |value: &Value| value.as_str().expect(line).parse().expect(line);
        let gap = Gap {
            after: position(&told["data"]["after"]),
            before: position(&told["data"]["before"]),
            cause: GapCause::parse(told["data"]["cause"].as_str().expect(line)).expect(line),
            lost: told["data"]["lost"].as_u64(),
            certain: told["data"]["certain"] == json!(true),
            position: position(&told["position"]),
        };
        let mut out = Vec::new();
        write_gap(&told["project"].as_str().expect(line).parse().expect(line), &gap, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), line);
    }
    for cause in GapCause::ALL {
        assert!(PROTOCOL.contains(&format!("| `{}` |", cause.as_str())), "{} is not described", cause.as_str());
    }
}

#[test]
fn problems_and_closes_are_those_of_the_code() {
    for line in examples("problem") {
        let problem: Problem = serde_json::from_str(line).expect(line);
        let code = ErrorCode::parse(&problem.code).expect(line);
        assert_eq!((problem.status, &*problem.title), (code.http_status(), code.title()), "{line}");
    }
    for code in CloseCode::ALL {
        let number = code.number().to_string();
        assert!(PROTOCOL.contains(&number), "close {number} is not described");
    }
}
