//! The tools against a server that speaks TLS: with its authority they work as ever, without it they say what is missing.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tidings_tests::certificates::Papers;

/// The binary, in an environment without settings.
fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDINGS_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A process that does not outlive its test, and what it writes.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Running { child, stdout }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.stdout.read_line(&mut line).expect("text"), 0, "it ended");
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_tools_speak_tls() {
    let papers = Papers::issue();
    let mut dev = tidings(&["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    dev.env("TIDINGS_GATEWAY__TLS_CERT_FILE", papers.path("server.pem"));
    dev.env("TIDINGS_GATEWAY__TLS_KEY_FILE", papers.path("server.key"));
    let mut dev = Running::start(&mut dev);
    let url = loop {
        if let Some(url) = dev.line().trim().strip_prefix("watch") {
            break url.trim().trim_end_matches('/').to_owned();
        }
    };
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let ca = papers.path("ca.pem").display().to_string();
    let trusting = ["--url", &url, "--ca", &ca];

    let demo = ["demo", "--project", "play", "--seed", "7", "--speed", "5", "--for", "1"];
    let demo = tidings(&demo).args(trusting).output().expect("the binary runs");
    assert!(demo.status.success(), "{}", String::from_utf8_lossy(&demo.stderr));
    let mut tail = Running::start(tidings(&["tail", "play", "--after", "start"]).args(trusting));
    let event: Value = serde_json::from_str(&tail.line()).expect("a line is an event");
    assert_eq!(event["type"], "session.started");
    let made = tidings(&["key", "make", "--project", "play"]).args(trusting).output().expect("the binary runs");
    assert!(made.stdout.starts_with(b"tdk_"), "{}", String::from_utf8_lossy(&made.stderr));

    let refuses = |arguments: &[&str], part: &str| {
        let show = ["project", "show", "--project", "play"];
        let Output { status, stderr, .. } = tidings(&show).args(arguments).output().expect("the binary runs");
        let error = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), error.contains(part)), (Some(1), true), "{arguments:?}: {error}");
    };
    refuses(&["--url", &url], "nobody that we trust has signed its certificate; --ca names who did");
    refuses(&["--url", &url, "--ca", &format!("{ca}.gone")], "cannot read");
    let key = papers.path("server.key").display().to_string();
    refuses(&["--url", &url, "--ca", &key], "holds no certificate");
    refuses(&["--url", &url.replace("https", "http")], "is it https://?");
    let strangers = Papers::issue();
    refuses(&["--url", &url, "--ca", &strangers.path("ca.pem").display().to_string()], "nobody that we trust");
    refuses(&["--url", &url.replace("127.0.0.1", "localhost"), "--ca", &ca], "not valid for name");
}
