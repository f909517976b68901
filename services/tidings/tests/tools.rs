//! The tools against a real server, as whoever starts them sees them: nothing lost or doubled over cuts, exit codes,
//! what is left behind when they are stopped.

mod support;

use std::io::Read as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use support::{Running, dev, request, tidings};

fn post(address: SocketAddr, project: &str, ids: std::ops::Range<u32>) {
    let event = |n| {
        let text = "x".repeat(usize::try_from(n % 40).expect("small") * 10);
        json!({ "type": "log", "id": format!("e{n}"), "session": "s", "data": { "level": "info", "message": text } })
    };
    let events: Vec<Value> = ids.map(event).collect();
    request(address, "POST", &format!("/v1/projects/{project}/events"), &json!(events).to_string());
}

fn events(address: SocketAddr, project: &str) -> Vec<Value> {
    let answer = request(address, "GET", &format!("/v1/projects/{project}/events?after=start&limit=1000"), "");
    answer["events"].as_array().expect("a list").clone()
}

/// Passes connections on, each of the first ones only for so many bytes of answers; then passes everything.
fn cutting_proxy(to: SocketAddr, cuts: &'static [usize]) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    // Both threads of a connection end with it; the last one ends with the test's process.
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let budget = cuts.get(count.fetch_add(1, Ordering::SeqCst)).copied();
            let server = TcpStream::connect(to).expect("the server listens");
            let (mut from, mut into) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            std::thread::spawn(move || std::io::copy(&mut from, &mut into));
            std::thread::spawn(move || {
                let limit = budget.map_or(u64::MAX, |bytes| bytes as u64);
                let _ = std::io::copy(&mut (&server).take(limit), &mut &client);
                let _ = client.shutdown(Shutdown::Both);
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    (address, made)
}

#[test]
fn tail_goes_on_behind_cuts_at_any_byte_and_loses_and_doubles_nothing() {
    // In the head, at the first block, and in the middle of events.
    const CUTS: &[usize] = &[20, 300, 1_000, 5_555];
    let (_dev, address) = dev();
    post(address, "cut", 0..300);
    let (proxy, connections) = cutting_proxy(address, CUTS);
    let url = format!("http://{proxy}");
    let mut tail = Running::start(&["tail", "cut", "--url", &url, "--after", "start"]);
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 400 {
        if seen.len() == 300 {
            post(address, "cut", 300..400);
        }
        let event: Value = serde_json::from_str(&tail.line()).expect("a line is an event");
        seen.push(event["id"].as_str().expect("an id").to_owned());
    }
    let expected: Vec<String> = (0..400).map(|n| format!("e{n}")).collect();
    assert_eq!(seen, expected);
    assert_eq!(connections.load(Ordering::SeqCst), CUTS.len() + 1);
    tail.interrupt();
    assert_eq!(tail.end(), (Some(0), String::new()));
}

#[test]
fn tail_ends_in_peace_when_nobody_reads_any_more() {
    let (_dev, address) = dev();
    post(address, "pipe", 0..1);
    let url = format!("http://{address}");
    let mut tail = Running::start(&["tail", "pipe", "--url", &url, "--after", "start"]);
    assert!(tail.line().contains("\"e0\""));
    tail.stdout = None;
    post(address, "pipe", 1..2);
    assert_eq!(tail.end().0, Some(0));
}

#[test]
fn tail_says_why_it_cannot() {
    let (_dev, address) = dev();
    let url = format!("http://{address}");
    let check = |arguments: &[&str], code: i32, part: &str| {
        let output = tidings(arguments).output().expect("the binary runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), error.contains(part)), (Some(code), true), "{arguments:?}: {error}");
    };
    check(&["tail", "a b"], 2, "a project's name is 1 to 128 characters");
    check(&["tail", "demo", "--after", "tomorrow"], 2, "expected a position, `start`, `now`");
    check(&["tail", "demo", "--url", "wss://h"], 2, "starts with http:// or https://");
    let many = vec!["log"; 2_000].join(",");
    check(&["tail", "demo", "--url", &url, "--types", &many], 1, "types: at most");
}

#[test]
fn a_demo_that_is_over_leaves_no_session_running() {
    let (_dev, address) = dev();
    let url = format!("http://{address}");
    let demo =
        Running::start(&["demo", "--url", &url, "--project", "play", "--seed", "7", "--speed", "5", "--for", "2"]);
    let (code, output) = demo.end();
    assert_eq!(code, Some(0));
    assert!(output.contains(&format!("{url}/#play")) && output.contains("cancelled"), "{output}");
    let events = events(address, "play");
    let of = |kinds: &[&str]| -> Vec<&str> {
        let found = events.iter().filter(|event| kinds.contains(&event["type"].as_str().unwrap_or_default()));
        let mut sessions: Vec<&str> = found.filter_map(|event| event["session"].as_str()).collect();
        sessions.sort_unstable();
        sessions
    };
    let started = of(&["session.started"]);
    assert!(!started.is_empty());
    assert_eq!(started, of(&["session.completed", "session.failed", "session.cancelled"]));
}

fn recording(name: &str, lines: &[Value]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text: Vec<String> = lines.iter().map(Value::to_string).collect();
    std::fs::write(&path, text.join("\n")).expect("the folder can be written");
    path
}

#[test]
fn a_replay_is_a_new_run_each_time_and_with_kept_ids_the_same_one() {
    let (_dev, address) = dev();
    let url = format!("http://{address}");
    let log = |id: &str, text: &str| {
        json!({ "type": "log", "id": id, "session": "s", "position": "1-1.aaaaaaaaaaaa",
                "data": { "level": "info", "message": text } })
    };
    let path = recording("twice.ndjson", &[log("a", "one"), json!({ "type": "gap" }), log("b", "two")]);
    let path = path.to_str().expect("text");
    let replay = |project: &str, more: &[&str]| {
        let arguments = [&["replay", path, "--project", project, "--speed", "100", "--url", &url], more].concat();
        let (code, output) = Running::start(&arguments).end();
        assert_eq!(code, Some(0), "{output}");
        assert!(output.contains("1 gap rows") && output.contains("Posted 2 of 2 events"), "{output}");
    };
    for _ in 0..2 {
        replay("fresh", &[]);
        replay("kept", &["--keep-ids"]);
    }
    let texts = |project: &str| -> Vec<String> {
        let text = |event: &Value| event["data"]["message"].as_str().expect("a text").to_owned();
        events(address, project).iter().map(text).collect()
    };
    assert_eq!(texts("fresh"), ["one", "two", "one", "two"]);
    assert_eq!(texts("kept"), ["one", "two"]);
    let sessions: Vec<Value> = events(address, "fresh").iter().map(|event| event["session"].clone()).collect();
    assert!(sessions[0] == sessions[1] && sessions[1] != sessions[2], "{sessions:?}");
}

#[test]
fn a_malformed_recording_is_refused_before_anything_is_posted() {
    let (_dev, address) = dev();
    let good = json!({ "type": "log", "session": "s", "data": { "level": "info", "message": "m" } });
    let bad = json!({ "type": "log", "session": "s", "data": { "level": "loud", "message": "m" } });
    let path = recording("malformed.ndjson", &[good, bad]);
    let url = format!("http://{address}");
    let arguments = ["replay", path.to_str().expect("text"), "--project", "none", "--url", &url];
    let output = tidings(&arguments).output().expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("nothing was posted") && error.contains("line 2: log: `data.level`"), "{error}");
    assert_eq!(events(address, "none"), Vec::<Value>::new());
}
