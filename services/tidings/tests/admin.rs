//! `tidings key` and `tidings project` against a dev server, as whoever starts them sees them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The binary, in an environment without settings.
fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDINGS_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A dev server that does not outlive its test.
struct Dev {
    child: Child,
    url: String,
}

impl Dev {
    fn start() -> Dev {
        let arguments = ["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        let mut child = tidings(&arguments).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let watch = stdout.lines().map_while(Result::ok).find_map(|line| {
            let url = line.trim().strip_prefix("watch")?.trim().trim_end_matches('/').to_owned();
            Some(url)
        });
        Dev { child, url: watch.expect("it says where it listens") }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let place = ["--project", "demo", "--url", &self.url];
        let all: Vec<&str> = arguments.iter().copied().chain(place).collect();
        tidings(&all).output().expect("the binary runs")
    }

    /// Standard output of a run that must succeed.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Standard error of a run that must fail.
    #[track_caller]
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8(output.stderr).expect("text")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let dev = Dev::start();
    let made = dev.ok(&["key", "make", "--scopes", "publish", "--note", "nightly"]);
    let key = made.strip_suffix('\n').expect("one line");
    assert!(key.starts_with("tdk_") && !key.contains(char::is_whitespace), "{key}");
    let id = &key[4..20];
    let listed = dev.ok(&["key", "list"]);
    let words: Vec<&str> = listed.split_whitespace().collect();
    assert_eq!((words.len(), words[0], words[1], words[2], words[4]), (5, id, "good", "publish", "nightly"));
    dev.ok(&["key", "revoke", key]);
    assert!(dev.ok(&["key", "list"]).contains("revoked"));
    assert!(dev.fails(&["key", "revoke", "0123456789abcdef"]).contains("no such key"));
}

#[test]
fn members_and_settings_are_shown_as_they_were_set() {
    let dev = Dev::start();
    dev.ok(&["project", "member", "add", "alice@example.com", "--scopes", "read,approve"]);
    assert_eq!(dev.ok(&["project", "member", "list"]), "alice@example.com  read,approve\n");
    dev.ok(&["project", "member", "remove", "alice@example.com"]);
    assert_eq!(dev.ok(&["project", "member", "list"]), "");

    dev.ok(&["project", "set", "retention.events=500", "redaction.builtin=true"]);
    dev.ok(&["project", "set", "retention.events=null", "limits.events_per_second=7"]);
    let shown: Value = serde_json::from_str(&dev.ok(&["project", "show"])).expect("JSON");
    let expected = serde_json::json!({"redaction": {"builtin": true}, "limits": {"events_per_second": 7}});
    assert_eq!((&shown["settings"], &shown["version"]), (&expected, &serde_json::json!(2)));
    let told = dev.fails(&["project", "set", "retention.events=0", "colour=1"]);
    assert!(told.contains("retention.events") && told.contains("colour"), "{told}");
}
