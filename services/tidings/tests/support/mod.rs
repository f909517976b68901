//! Processes of the binary, and plain requests to what they serve.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// The binary, in an environment without settings.
pub(crate) fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDINGS_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A process that does not outlive its test.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Running {
        let mut child = tidings(arguments).stdout(Stdio::piped()).spawn().expect("the binary runs");
        let stdout = child.stdout.take().map(BufReader::new);
        Running { child, stdout }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("it was not closed");
        assert_ne!(stdout.read_line(&mut line).expect("text"), 0, "it ended");
        line
    }

    pub(crate) fn interrupt(&self) {
        let sent = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "the process is there");
    }

    /// Waits for its end: the exit code, and the rest of its output.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        if let Some(mut stdout) = self.stdout.take() {
            stdout.read_to_string(&mut rest).expect("text");
        }
        (self.child.wait().expect("it is our child").code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A dev server, and where it listens.
pub(crate) fn dev() -> (Running, SocketAddr) {
    let mut dev = Running::start(&["dev", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    loop {
        let line = dev.line();
        if let Some(url) = line.trim().strip_prefix("watch").and_then(|rest| rest.trim().strip_prefix("http://")) {
            let address = url.trim_end_matches('/').parse().expect("an address");
            return (dev, address);
        }
    }
}

/// A request, and the JSON of the answer, which must be 200.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str, body: &str) -> Value {
    let (status, answer) = call(address, method, path, body);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A request: the status and the JSON of the answer.
pub(crate) fn call(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut socket = TcpStream::connect(address).expect("the server listens");
    let head = format!(
        "{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).expect("the server reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the server answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
}
