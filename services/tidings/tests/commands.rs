//! `tidings commands` against a real server: what a program in the shell says of a command is what the asker is told.

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use support::{Running, call, dev, request};

/// Pause before something that gives no signal is looked at again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What the runner does, by the command's type.
const PROGRAM: &str = r#"
read -r line
case "$TIDINGS_COMMAND_TYPE" in
  work.fine)
    echo 'half of it'
    echo
    printf '{"type":"command.progress","data":{"got":%s}}\n' "$line"
    echo '{"type":"log","session":"own","data":{"level":"info","message":"from inside"}}' ;;
  work.bad) echo 'reading' >&2; echo 'no such file' >&2; exit 3 ;;
  work.answers) echo '{"type":"command.completed","data":{"result":{"n":7}}}'; echo 'too late'; exit 1 ;;
  work.invalid) echo '{"type":"log","data":{"level":"loud"}}'; sleep 600 ;;
  work.long) sleep 600 & echo "{\"type\":\"command.progress\",\"data\":{\"pid\":$!}}"; wait ;;
esac
"#;

/// A dev server and a runner there, one program at a time.
fn rig() -> (Running, Running, SocketAddr) {
    let (server, address) = dev();
    let url = format!("http://{address}");
    let begun = ["commands", "demo", "--capability", "work", "--runner", "shell", "--grace", "1", "--url", &url];
    let runner = Running::start(&[&begun[..], &["--exec", "sh", "-c", PROGRAM]].concat());
    (server, runner, address)
}

/// Asks, as soon as the runner is there: the command's id.
fn ask(address: SocketAddr, command: &Value) -> String {
    loop {
        let (status, answer) = call(address, "POST", "/v1/projects/demo/commands", &command.to_string());
        if answer["code"] == "no_runner" {
            std::thread::sleep(AGAIN_AFTER);
            continue;
        }
        assert_eq!(status, 202, "{answer}");
        return answer["id"].as_str().expect("an id").to_owned();
    }
}

/// What the asker was told of a command, up to an event of this kind, or its final answer.
fn told_until(address: SocketAddr, id: &str, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let (mut told, mut after) = (Vec::new(), "start".to_owned());
    loop {
        let page = request(address, "GET", &format!("/v1/projects/demo/events?after={after}&limit=1000&wait=25"), "");
        page["next"].as_str().expect("a position").clone_into(&mut after);
        let of_it = page["events"].as_array().expect("a list").iter().filter(|event| event["data"]["command_id"] == id);
        for event in of_it {
            told.push(event.clone());
            if is_last(event) || is_final(event) {
                return told;
            }
        }
    }
}

fn is_final(event: &Value) -> bool {
    event["type"] == "command.completed" || event["type"] == "command.failed"
}

/// Asks for work of this kind: all that was told of it.
fn work(address: SocketAddr, kind: &str) -> Vec<Value> {
    let id = ask(address, &json!({"type": kind, "data": {"n": 1}}));
    told_until(address, &id, is_final)
}

/// Asks for work without an end: its id, and the program's process once it is there.
fn long(address: SocketAddr, deadline_ms: u64) -> (String, String) {
    let id = ask(address, &json!({"type": "work.long", "deadline_ms": deadline_ms}));
    let told = told_until(address, &id, |event| event["data"]["pid"].is_u64());
    let last = told.last().expect("it was told");
    if last["data"]["code"] == "deadline" {
        // The machine is too slow to begin in that time.
        return long(address, 2 * deadline_ms);
    }
    assert!(last["data"]["pid"].is_u64(), "{last}");
    (id, last["data"]["pid"].to_string())
}

fn is_there(pid: &str) -> bool {
    // One that has ended stays in the list until somebody asks for its end.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until a process is gone: ended, a moment ago, by a signal.
fn ends(pid: &str) {
    while is_there(pid) {
        std::thread::sleep(AGAIN_AFTER);
    }
}

#[test]
fn a_program_says_what_becomes_of_a_command() {
    let (_server, runner, address) = rig();
    let told = work(address, "work.fine");
    let kinds: Vec<&Value> = told.iter().map(|event| &event["type"]).collect();
    assert_eq!(kinds, ["command.accepted", "command.progress", "command.progress", "log", "command.completed"]);
    assert_eq!(told[1]["data"]["message"], "half of it");
    let got = &told[2]["data"]["got"];
    assert_eq!((&got["type"], &got["data"], &got["by"]), (&json!("work.fine"), &json!({"n": 1}), &json!("anyone")));
    assert_eq!((&told[3]["data"]["message"], &told[3]["session"]), (&json!("from inside"), &json!("own")));
    assert_eq!(told[0]["data"]["runner"], "shell");

    let failed = work(address, "work.bad").pop().expect("an answer");
    let data = &failed["data"];
    assert_eq!((&data["code"], &data["error"]), (&json!("failed"), &json!("no such file")), "{failed}");

    let own = work(address, "work.answers");
    assert_eq!((own.len(), &own[1]["data"]["result"]), (2, &json!({"n": 7})), "{own:?}");

    let invalid = work(address, "work.invalid").pop().expect("an answer");
    assert_eq!(invalid["data"]["code"], "invalid_event", "{invalid}");

    runner.interrupt();
    assert_eq!(runner.end().0, Some(0));
    let (status, answer) = call(address, "POST", "/v1/projects/demo/commands", r#"{"type":"work.fine"}"#);
    assert_eq!((status, &answer["code"]), (503, &json!("no_runner")), "it said good-bye");
}

#[test]
fn a_program_ends_when_its_command_does() {
    let (_server, runner, address) = rig();
    let (id, pid) = long(address, 60_000);
    assert!(is_there(&pid), "it works");
    let cancel = json!({"type": "command.cancel", "data": {"command_id": id}});
    let cancel = ask(address, &cancel);
    let failed = told_until(address, &id, is_final).pop().expect("an answer");
    assert_eq!(failed["data"]["code"], "cancelled", "{failed}");
    assert_eq!(told_until(address, &cancel, is_final).pop().expect("an answer")["type"], "command.completed");
    // Its hands were full: it takes the next one only once the program has ended.
    assert_eq!(work(address, "work.answers")[1]["data"]["result"]["n"], 7);
    ends(&pid);

    let (id, pid) = long(address, 1_500);
    let failed = told_until(address, &id, is_final).pop().expect("an answer");
    assert_eq!(failed["data"]["code"], "deadline", "{failed}");
    assert_eq!(work(address, "work.answers")[1]["data"]["result"]["n"], 7);
    ends(&pid);

    let (id, pid) = long(address, 60_000);
    assert!(is_there(&pid), "it works");
    runner.interrupt();
    assert_eq!(runner.end().0, Some(0), "programs have some time, then they are ended");
    ends(&pid);
    let failed = told_until(address, &id, is_final).pop().expect("an answer");
    assert_eq!(failed["data"]["code"], "stopped", "{failed}");
}
