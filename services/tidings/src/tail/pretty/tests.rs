use serde_json::json;

use super::*;

const TERMINAL: Screen = Screen { redraws: true, colours: false, columns: 80 };

fn event(kind: &str, session: &str, agent: &str, data: &serde_json::Value) -> Item {
    let event = json!({
        "type": kind, "session": session, "agent": agent, "received": "2026-11-20T09:00:01.123Z",
        "project": "demo", "position": "1-1.aaaaaaaaaaaa", "data": data,
    });
    Item::Event(event.to_string().into_bytes())
}

fn delta(message: &str, text: &str) -> Item {
    event("message.delta", "s", "a", &json!({ "message_id": message, "text": text }))
}

fn written(pretty: &mut Pretty, items: &[Item]) -> String {
    for item in items {
        pretty.item(item);
    }
    String::from_utf8(pretty.take()).expect("UTF-8")
}

#[test]
fn an_event_is_a_line_with_time_session_and_agent() {
    let mut pretty = Pretty::new(Screen::PLAIN, || 80, "demo");
    let tool =
        event("tool.failed", "fix-login", "coder", &json!({ "name": "cargo", "error": "exit 101\nsecond line" }));
    let expected = "09:00:01  fix-login           coder           ✗ cargo · exit 101\n\
                    \x20                                               second line\n";
    assert_eq!(written(&mut pretty, &[tool]), expected);
}

#[test]
fn tokens_of_a_message_grow_on_one_line_until_it_is_complete() {
    let mut pretty = Pretty::new(TERMINAL, || 80, "demo");
    let first = written(&mut pretty, &[delta("m", "Hel"), delta("m", "lo")]);
    assert!(first.ends_with("❝ Hello\n") && first.lines().count() == 1, "{first:?}");
    let log = event("log", "s", "b", &json!({ "level": "info", "message": "between" }));
    let second = written(&mut pretty, &[log, delta("m", " you")]);
    let lines: Vec<&str> = second.lines().collect();
    assert!(lines[0].starts_with("\x1b[1A\r\x1b[J") && lines[0].ends_with("i between"), "{second:?}");
    assert!(lines[1].ends_with("❝ Hello you") && lines.len() == 2, "{second:?}");
    let completed =
        event("message.completed", "s", "a", &json!({ "message_id": "m", "role": "assistant", "text": "Hello you!" }));
    let third = written(&mut pretty, &[completed]);
    assert!(third.starts_with("\x1b[1A\r\x1b[J") && third.ends_with("❝ Hello you!\n"), "{third:?}");
    assert!(written(&mut pretty, &[]).is_empty(), "nothing is left to redraw");
}

#[test]
fn a_message_that_nobody_completes_is_written_when_its_session_ends() {
    let mut pretty = Pretty::new(Screen::PLAIN, || 80, "demo");
    assert_eq!(written(&mut pretty, &[delta("m", "half"), delta("m", " a word")]), "", "no terminal, no redrawing");
    let ended = event("session.failed", "s", "", &json!({ "error": "gone" }));
    let lines = written(&mut pretty, &[ended]);
    let texts: Vec<&str> = lines.lines().filter_map(|line| line.get(44..)).map(str::trim).collect();
    assert_eq!(texts, ["❝ half a word …", "✘ failed · gone"]);
}

#[test]
fn one_message_more_than_may_grow_settles_the_oldest() {
    let mut pretty = Pretty::new(TERMINAL, || 80, "demo");
    let items: Vec<Item> = (0..=GROWING_MAX).map(|at| delta(&format!("m{at}"), &format!("text {at}"))).collect();
    let shown = written(&mut pretty, &items);
    let texts: Vec<&str> = shown.lines().filter_map(|line| line.split_once("❝ ")).map(|(_, text)| text).collect();
    assert_eq!(texts, ["text 0 …", "text 1", "text 2", "text 3", "text 4"]);
    assert_eq!(pretty.drawn, GROWING_MAX);
}

#[test]
fn a_growing_message_keeps_within_its_line_and_its_bytes() {
    let mut pretty = Pretty::new(TERMINAL, || 80, "demo");
    let items: Vec<Item> = (0..5_000).map(|_| delta("m", "häppy ")).collect();
    let shown = written(&mut pretty, &items);
    assert_eq!(shown.lines().count(), 1);
    assert!(width(shown.trim_end_matches('\n')) <= 80 && shown.contains("❝ …"), "{shown:?}");
    assert!(pretty.growing[0].text.len() <= GROWING_BYTES_MAX);
}

#[test]
fn gaps_are_loud() {
    let screen = Screen { colours: true, ..TERMINAL };
    let mut pretty = Pretty::new(screen, || 80, "demo");
    let gap = br#"{"type":"gap","data":{"after":"1-1.a","before":"1-9.a","cause":"trimmed","lost":7,"certain":true}}"#;
    let shown = written(&mut pretty, &[Item::Event(gap.to_vec())]);
    assert!(shown.starts_with("\x1b[1;37;41m  GAP  7 events are missing"), "{shown:?}");
    assert_eq!(width(shown.trim_start_matches("\x1b[1;37;41m").trim_end_matches("\x1b[0m\n")), 80);
}

#[test]
fn what_comes_from_outside_moves_no_cursor() {
    let mut pretty = Pretty::new(TERMINAL, || 80, "demo");
    let evil = "\x1b[2J\x1b[31mred\r\u{9b}1A\u{202e}";
    let items = [
        event("log", evil, evil, &json!({ "level": "info", "message": evil })),
        event("tool.started", evil, evil, &json!({ "name": evil, "input": { "a": evil } })),
        event("tool.failed", "s", "a", &json!({ "name": evil, "error": evil })),
        event("my.own", "s", "a", &json!({ evil: evil })),
        event("gap", "s", "a", &json!({ "cause": evil })),
        Item::Event(evil.as_bytes().to_vec()),
        Item::Away(evil.to_owned()),
    ];
    let shown = written(&mut pretty, &items);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n') && !shown.contains('\u{202e}'), "{shown:?}");
    let grown = written(&mut pretty, &[delta(evil, evil)]);
    assert!(!grown.chars().any(|c| c.is_control() && c != '\n'), "{grown:?}");
}

#[test]
fn long_texts_are_wrapped_between_words_and_end() {
    let check = |text: &str, columns: usize, expected: &[&str]| assert_eq!(wrapped(text, columns), expected);
    check("one two three", 8, &["one two ", "three"]);
    check("abcdefghij", 4, &["abcd", "efgh", "ij"]);
    check("a\n\nb", 9, &["a", "", "b"]);
    check("", 9, &[""]);
    let mut pretty = Pretty::new(TERMINAL, || 80, "demo");
    let long = "line\n".repeat(40);
    let shown = written(&mut pretty, &[event("output", "s", "a", &json!({ "content": long }))]);
    assert_eq!(shown.lines().count(), EVENT_LINES_MAX + 1);
    assert!(shown.ends_with("… 26 more lines\n"), "{shown:?}");
}
