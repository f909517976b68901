//! `examples/tidings.py`: what is posted gets there, however long that takes.

use std::net::SocketAddr;
use std::process::Command;

use tidings_tests::process::Process;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::folder;

/// Lines of Python that have the module, with this server as theirs.
fn python(lines: &str, server: SocketAddr) -> Process {
    let mut command = Command::new("python3");
    command.arg("-c").arg(format!("import time, tidings\ntime.sleep = lambda _: None\n{lines}"));
    command.current_dir(folder::root().join("examples"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("TIDINGS_URL", format!("http://{server}"));
    Process::start("python", command)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let mut posting = python("tidings.Tidings('p').event('note')\nprint('posted')", address);
    let serving = tokio::spawn(async move {
        let mut bodies = Vec::new();
        for length in [20, 2] {
            let (socket, _) = listener.accept().await.expect("it asks");
            let mut socket = BufReader::new(socket);
            let (mut line, mut body) = (String::new(), Vec::new());
            while line != "\r\n" {
                line.clear();
                socket.read_line(&mut line).await.expect("a head");
                if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    body = vec![0; bytes.trim().parse().expect("a length")];
                }
            }
            socket.read_exact(&mut body).await.expect("a body");
            bodies.push(body);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{{}}");
            socket.write_all(answer.as_bytes()).await.expect("it reads");
        }
        bodies
    });
    posting.line("it is there", |line| (line == "posted").then_some(())).await;
    assert!(posting.ended().await.success(), "{}", posting.output());
    let bodies = serving.await.expect("it was asked twice");
    assert_eq!(bodies[0], bodies[1], "the same event, under its id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_be_away_for_hours() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], tidings_tests::process::free_port()));
    let lines =
        "try:\n  tidings.Tidings('p')._request('GET', '', None, attempts=1100)\nexcept OSError:\n  print('away')";
    let mut asking = python(lines, nobody);
    asking.line("it asked as often as it should", |line| (line == "away").then_some(())).await;
    assert!(asking.ended().await.success(), "{}", asking.output());
}
