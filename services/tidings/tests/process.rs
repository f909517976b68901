//! The binary as whoever starts it sees it: what it prints, its exit codes, and how it stops.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

/// The binary, in an environment without settings.
fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDINGS_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is text");
    (status.code(), text(stdout), text(stderr))
}

/// A dev server on free ports, killed when dropped.
struct Dev {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    stdout: BufReader<ChildStdout>,
}

impl Dev {
    fn start(arguments: &[&str]) -> Dev {
        let mut child = tidings(&["dev", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut found = (None, None);
        while found.0.is_none() || found.1.is_none() {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).expect("text"), 0, "it ended before it said where it listens");
            let address = |word| address_behind(&line, word);
            found = (found.0.or(address("watch")), found.1.or(address("health")));
        }
        let (Some(address), Some(admin)) = found else { unreachable!("the loop goes on until both are there") };
        Dev { child, address, admin, stdout }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "the process is there");
    }

    /// Waits for the end: exit code and what was logged.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().expect("it is our child");
        let mut log = String::new();
        self.child.stderr.take().expect("it is piped").read_to_string(&mut log).expect("logs are text");
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).expect("output is text");
        (status.code(), log)
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It has ended already where the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in `  watch    http://127.0.0.1:8000/`.
fn address_behind(line: &str, word: &str) -> Option<SocketAddr> {
    let url = line.trim().strip_prefix(word)?.trim().strip_prefix("http://")?;
    url.split('/').next()?.parse().ok()
}

/// A GET request and the whole answer.
fn get(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("the server listens");
    write!(socket, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("the server reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the server answers");
    answer
}

#[test]
fn every_fault_of_the_configuration_is_told_and_the_code_is_64() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("tidings.toml");
    std::fs::write(&file, "[gateway]\nlissten = \"x\"\n[redis]\nprefix = \"\"\n").expect("the file");
    for subcommand in [&["config", "check"][..], &["gateway"], &["ingest"], &["all"], &["dev"]] {
        let mut command = tidings(subcommand);
        command.arg("--config").arg(&file).env("TIDINGS_LIMITS__BATCH", "1");
        let (code, stdout, stderr) = run(&mut command);
        assert_eq!(code, Some(64), "{subcommand:?}: {stderr}");
        for part in ["3 faults", "did you mean gateway.listen?", "redis.prefix", "TIDINGS_LIMITS__BATCH"] {
            assert!(stderr.contains(part), "{subcommand:?}: {stderr}");
        }
        assert_eq!(stdout, "");
    }
}

#[test]
fn no_service_listens_beyond_loopback() {
    for subcommand in ["gateway", "ingest", "all", "dev"] {
        for flag in ["--listen", "--admin-listen"] {
            let (code, _, stderr) = run(&mut tidings(&[subcommand, flag, "0.0.0.0:0"]));
            assert_eq!(code, Some(64), "{subcommand} {flag}: {stderr}");
            assert!(stderr.contains("not a loopback address"), "{stderr}");
        }
    }
}

#[test]
fn what_is_in_effect_is_shown_without_secrets() {
    let (code, shown, _) = run(&mut tidings(&["config", "show", "--redis-url", "redis://user:s3cret@localhost:6379"]));
    assert_eq!(code, Some(0));
    assert!(shown.contains("url = \"redis://user:[redacted]@localhost:6379\" # --redis-url"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert_eq!(run(&mut tidings(&["config", "check"])).0, Some(0));
}

#[test]
fn a_taken_port_is_a_clear_message() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for subcommand in ["gateway", "ingest", "all", "dev"] {
        let (code, _, stderr) = run(&mut tidings(&[subcommand, "--listen", &address, "--admin-listen", "127.0.0.1:0"]));
        assert_eq!(code, Some(1), "{stderr}");
        let message = format!(
            "tidings: cannot listen on {address}: another process does already; stop it or choose another port\n"
        );
        assert!(stderr.ends_with(&message), "{stderr}");
    }
}

#[test]
fn dev_mode_serves_both_services_and_stops_at_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let dev = Dev::start(&["--admin-listen", "127.0.0.1:0"]);
        let document = get(dev.address, "/openapi.json");
        assert!(document.contains("\"get\":{\"tags\":[\"gateway\"]") && document.contains("\"post\":"), "{document}");
        assert!(get(dev.address, "/").contains("<!doctype html>"));
        assert!(get(dev.admin, "/livez").starts_with("HTTP/1.1 200 "));
        dev.signal(signal);
        assert_eq!(dev.end(), (Some(0), String::new()), "{signal}");
    }
}

/// A viewer's open stream is told to go; the process does not wait for its deadline.
#[test]
fn an_open_stream_ends_with_the_shutdown() {
    let dev = Dev::start(&["--admin-listen", "127.0.0.1:0"]);
    let mut viewer = TcpStream::connect(dev.address).expect("the server listens");
    let request = "GET /v1/projects/demo/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    viewer.write_all(request.as_bytes()).expect("the server reads");
    let mut stream = BufReader::new(viewer);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).expect("text"), 0, "{head}");
    }
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    dev.signal("-TERM");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).expect("the stream ends");
    assert!(rest.contains("event: draining"), "{rest}");
    assert_eq!(dev.end().0, Some(0));
}

/// What the system would let the process have, it takes.
#[test]
fn a_service_raises_its_limit_of_descriptors() {
    let mut shell = Command::new("sh");
    let arguments = "--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
    let line = format!("ulimit -S -n 64 && exec {} dev {arguments}", env!("CARGO_BIN_EXE_tidings"));
    let mut child = shell.args(["-c", &line]).stdout(Stdio::piped()).spawn().expect("a shell runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut lines = String::new();
    while !lines.contains("watch") {
        assert_ne!(stdout.read_line(&mut lines).expect("text"), 0, "it ended: {lines}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id()));
    let _ = child.kill();
    let _ = child.wait();
    let limits = limits.expect("it ran");
    let of_files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    let [soft, hard, ..] = of_files.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{of_files}") };
    assert_eq!(soft, hard);
    assert_ne!(soft, "64", "the machine of this test must allow more");
}
