use std::path::Path;

use serde_json::Value;

use super::*;

/// The kinds of a recording's events, and the text of each event.
fn read(text: &str) -> Recording {
    Recording::read(text.as_bytes(), "run.json").unwrap_or_else(|faults| panic!("{faults}"))
}

fn refused(text: &str) -> String {
    Recording::read(text.as_bytes(), "run.json").expect_err("it is malformed").to_string()
}

fn millis(step: &Step) -> Option<u128> {
    match step.pause {
        Pause::None => Some(0),
        Pause::Unknown => None,
        Pause::Known(pause) => Some(pause.as_millis()),
    }
}

use recording::{Format, Pause};

const DELIVERED: &str = r#"{"type":"session.started","id":"e1","time":"2026-11-20T09:00:00.000Z","session":"s","received":"2026-11-20T09:00:00.100Z","data":{"title":"Fix it"},"project":"p","position":"1-1.aaaaaaaaaaaa"}
{"type":"gap","data":{"after":"1-1.aaaaaaaaaaaa","before":"1-5.aaaaaaaaaaaa","cause":"trimmed","lost":3,"certain":true},"project":"p","position":"1-4.aaaaaaaaaaaa"}

{"type":"log","id":"e2","session":"s","agent":"a","producer":{"id":"r","epoch":1,"seq":9},"received":"2026-11-20T09:00:01.350Z","data":{"level":"info","message":"m","n":1.50e2},"project":"p","position":"1-5.aaaaaaaaaaaa","was":"1-3.bbbbbbbbbbbb","seen":true}
{"type":"session.lost","session":"s","data":{"runner":"r"},"received":"2026-11-20T09:00:02.000Z"}
{"type":"log","session":"s","received":"2026-11-20T09:00:00.000Z","data":{"level":"info","message":"the clock went back"}}
"#;

#[test]
fn native_lines_lose_what_the_server_added_and_keep_their_pauses() {
    let recording = read(DELIVERED);
    assert_eq!((recording.format, recording.gaps, recording.reserved), (Format::Native, 1, 1));
    let pauses: Vec<_> = recording.steps.iter().map(millis).collect();
    assert_eq!(pauses, [Some(0), Some(1_250), Some(0)]);
    let json: Vec<String> =
        recording.steps.iter().map(|step| String::from_utf8(step.event.to_json()).expect("UTF-8")).collect();
    assert_eq!(
        json[1],
        r#"{"type":"log","id":"e2","session":"s","agent":"a","data":{"level":"info","message":"m","n":1.50e2}}"#
    );
}

#[test]
fn native_events_are_read_from_an_array_and_from_a_polls_answer_too() {
    let event = r#"{"type":"log","session":"s","data":{"level":"info","message":"m"}}"#;
    for text in [event.to_owned(), format!("[{event},{event}]"), format!(r#"{{"events":[{event}],"next":"1-1.a"}}"#)] {
        let recording = read(&format!("\u{feff}{text}"));
        assert_eq!(recording.format, Format::Native);
        assert!(recording.steps.iter().skip(1).all(|step| millis(step).is_none()));
    }
}

#[test]
fn a_replay_is_a_run_of_its_own_unless_ids_are_kept() {
    let mut steps = read(DELIVERED).steps;
    let names = rename(&mut steps, false, "r4f2");
    assert_eq!(names, ["s-r4f2"]);
    assert!(steps.iter().all(|step| step.event.session.as_deref() == Some("s-r4f2") && step.event.time.is_none()));
    assert!(steps.iter().all(|step| step.event.id.as_deref().is_some_and(|id| id.len() == 26)));
    let mut kept = read(DELIVERED).steps;
    assert_eq!(rename(&mut kept, true, "r4f2"), ["s"]);
    assert_eq!(kept[0].event.id.as_deref(), Some("e1"));
    assert_eq!(kept[0].event.time.as_deref(), Some("2026-11-20T09:00:00.000Z"));
    assert!(kept[2].event.id.is_some(), "retries need an id");
    assert_eq!(renamed(&"ä".repeat(64), "r4f2").len(), 122 + 5);
}

#[test]
fn what_is_malformed_is_named_by_its_place() {
    let check = |text: &str, expected: &str| assert_eq!(refused(text), expected, "{text}");
    check("", "the file: holds no events");
    check("[]", "the file: holds no events");
    let none = "the file: is none of native events as NDJSON or JSON, a SWE-agent trajectory, or AG-UI events";
    check("not json\nat all", &format!("{none}; line 1 is no event: expected ident"));
    check("[7]", &format!("{none}; [0] is no event: invalid type: integer `7`, expected struct Row"));
    let good = r#"{"type":"log","session":"s","data":{"level":"info","message":"m"}}"#;
    check(&format!("{good}\n{{\"type\":\"log\"\n"), "line 2: is no event: EOF while parsing an object");
    check(&format!("{good}\n{{\"kind\":\"log\"}}\n"), &{
        let names = "`type`, `id`, `time`, `session`, `agent`, `parent`, `runner`, `key`, `traceparent`, `data`, \
                     `received`, `project`, `position`, `was`, `seen`, `producer`";
        format!("line 2: is no event: unknown field `kind`, expected one of {names}")
    });
    check(
        &format!("[{good},{{\"type\":\"log\",\"session\":\"s\",\"data\":{{\"level\":\"loud\",\"message\":\"m\"}}}}]"),
        "[1]: log: `data.level`: expected one of debug, info, success, warning, error",
    );
    check(&format!("{good}\n{good}x\n{{\"type\":\"log\"}}\n"), "line 2: is no event: trailing characters");
    check(r#"{"trajectory":[{"action":"a","observation":"o"},{"action":1,"observation":"o"},7]}"#, {
        "\n  trajectory[1]: `action` is no string\n  trajectory[2]: is no object"
    });
    check(
        r#"{"first":[{"type":"RUN_STARTED","threadId":"t","runId":"r"},{"type":"TOOL_CALL_END"}]}"#,
        "first[1]: has no `toolCallId`",
    );
    let bytes = Recording::read(b"{}\n\xff", "f").expect_err("no UTF-8").to_string();
    assert_eq!(bytes, "line 2: is not UTF-8");
}

/// Real recordings, where there are some: the folder that `TIDINGS_RECORDINGS` names, with one folder per source.
#[test]
fn real_recordings_map_to_valid_events() {
    let Some(folder) = std::env::var_os("TIDINGS_RECORDINGS") else { return };
    let mut count = 0;
    for (source, format) in [("swe-agent", Format::SweAgent), ("ag-ui", Format::AgUi)] {
        for entry in std::fs::read_dir(Path::new(&folder).join(source)).expect("the folder has both sources") {
            let path = entry.expect("readable").path();
            if !path.extension().is_some_and(|kind| kind == "json" || kind == "traj") {
                continue;
            }
            let bytes = std::fs::read(&path).expect("readable");
            let recording = Recording::read(&bytes, "run").unwrap_or_else(|faults| panic!("{path:?}: {faults}"));
            assert_eq!(recording.format, format, "{path:?}");
            assert!(recording.steps.len() > 4, "{path:?}");
            let kinds: Vec<&str> = recording.steps.iter().map(|step| step.event.kind.as_str()).collect();
            assert!(kinds.contains(&"session.started"), "{path:?}: {kinds:?}");
            count += 1;
        }
    }
    assert!(count > 0, "the folder holds no recordings");
}

/// `kind agent data` of each step, for the mappers' tests.
pub(super) fn told(recording: &Recording) -> Vec<String> {
    let tell = |step: &Step| {
        let data: Value = serde_json::from_str(step.event.data.as_ref().expect("data").get()).expect("JSON");
        let pause = match step.pause {
            Pause::None => String::new(),
            Pause::Unknown => "... ".to_owned(),
            Pause::Known(pause) => format!("{}ms ", pause.as_millis()),
        };
        format!("{pause}{} {data}", step.event.kind)
    };
    recording.steps.iter().map(tell).collect()
}
