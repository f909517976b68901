//! The example of a receiver, in another language, takes what is signed here, and nothing else.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use tidings_log::encoding::{Encoding as _, Json};
use tidings_protocol::frames::Marks;
use tidings_protocol::network::Networks;
use tidings_protocol::settings::hooks::Secret;
use tidings_webhooks::body;
use tidings_webhooks::caller::{Caller, Delivered, Settings, Target, Why};
use tidings_webhooks::signature::{AGE_MAX, HEADER, sign};

const SECRET: &str = "ein geheimnis mit ä";

/// `receiver.py`, which ends with the test.
struct Receiver {
    child: Child,
    printed: Lines<BufReader<ChildStdout>>,
    url: String,
    /// It writes a line for each call: closed, it would fail.
    _log: BufReader<ChildStderr>,
}

impl Receiver {
    fn start() -> Receiver {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/webhooks/receiver.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args(["--port", "0"])
            .env("TIDINGS_WEBHOOK_SECRET", SECRET)
            .env("PYTHONUTF8", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        log.read_line(&mut line).expect("it says where it listens");
        let url = line.trim().strip_prefix("listening on ").expect("an address").to_owned();
        let printed = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Receiver { child, printed, url, _log: log }
    }

    fn target(&self, secret: &str) -> Target {
        let url = format!("{}/hooks", self.url).parse().expect("a URL");
        Target { url, secret: Secret::new(secret), previous_secret: None }
    }

    fn line(&mut self) -> String {
        self.printed.next().expect("it goes on").expect("text")
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn caller() -> Caller {
    let local = Networks(vec!["127.0.0.0/8".parse().expect("a network")]);
    Caller::new(Settings { allowed_networks: local, ..Settings::default() }).expect("a caller")
}

#[tokio::test]
async fn the_example_takes_what_is_signed_and_nothing_else() {
    let mut receiver = Receiver::start();
    let caller = caller();
    let deliver = async |target: &Target, id: &str, body: &'static str| {
        let delivered = caller.deliver(target, id, 1, body.into()).await;
        match delivered {
            Delivered::Taken { status, .. } => Ok(status),
            Delivered::Failed { why, told, .. } => Err((why, told)),
            other => panic!("{other:?}"),
        }
    };
    let target = receiver.target(SECRET);
    let refused = Err((Why::Status, "answered with status 401".to_owned()));
    assert_eq!(deliver(&receiver.target("another secret of some"), "d-0", r#"{"events":[{"n":0}]}"#).await, refused);
    assert_eq!(deliver(&target, "d-1", r#"{"events":[{"n":1},{"n":"ä"}]}"#).await, Ok(204));
    // Again, as it comes when its answer was lost.
    assert_eq!(deliver(&target, "d-1", r#"{"events":[{"n":1},{"n":"ä"}]}"#).await, Ok(204));
    let rotated = Target { previous_secret: Some(Secret::new(SECRET)), ..receiver.target("the next secret of 16") };
    assert_eq!(deliver(&rotated, "d-2", r#"{"events":[{"n":2}]}"#).await, Ok(204));
    let printed = [receiver.line(), receiver.line(), receiver.line()];
    assert_eq!(printed, [r#"{"n": 1}"#, r#"{"n": "\u00e4"}"#, r#"{"n": 2}"#]);
}

#[tokio::test]
async fn the_example_takes_what_is_sent_in_earnest() {
    let mut receiver = Receiver::start();
    let (caller, target) = (caller(), receiver.target(SECRET));
    let project = "demo".parse().expect("a name");
    let stored = r#"{"type":"error","id":"e-1","data":{"message":"x"}}"#;
    let event = tidings_protocol::wire::Event { json: stored.into(), ..Default::default() };
    let position = "5-0.k3f9a7c2m4xq".parse().expect("a position");
    let mut frame = Vec::new();
    Json.event(&project, position, &event, Marks::default(), &mut frame);
    let events = body::events("deploys", &project, &[frame.into()], position);
    assert!(matches!(caller.deliver(&target, "e-1", 1, events).await, Delivered::Taken { .. }));
    let line = receiver.line();
    assert!(line.starts_with(r#"{"type": "error", "id": "e-1""#), "{line}");
    assert!(line.ends_with(r#""position": "5-0.k3f9a7c2m4xq"}"#), "{line}");
    let command = body::command(&project, "r", br#"{"type":"chat","id":"c-1"}"#);
    assert!(matches!(caller.deliver(&target, "c-1", 1, command).await, Delivered::Taken { .. }));
    assert_eq!(receiver.line(), r#"{"project": "demo", "runner": "r", "command": {"type": "chat", "id": "c-1"}}"#);
}

#[tokio::test]
async fn the_example_takes_nothing_that_is_of_another_time() {
    let receiver = Receiver::start();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (secret, body) = (Secret::new(SECRET), r#"{"events":[]}"#);
    let post = async |signature: String| {
        let request = reqwest::Client::builder().no_proxy().build().expect("a client").post(&receiver.url);
        request.header(HEADER, signature).body(body).send().await.expect("an answer").status().as_u16()
    };
    let ago = AGE_MAX.as_secs();
    assert_eq!(post(sign([&secret], now_s - ago + 60, body.as_bytes())).await, 204);
    assert_eq!(post(sign([&secret], now_s - ago - 1, body.as_bytes())).await, 401);
    assert_eq!(post(sign([&secret], now_s + ago + 60, body.as_bytes())).await, 401);
    let good = sign([&secret], now_s, body.as_bytes());
    for bad in
        ["", "t=1", "nonsense", &good.replace("t=", "t=x"), &good.replace(",v1=", ",v2="), &format!("t=1,{good}")]
    {
        assert_eq!(post(bad.to_owned()).await, 401, "{bad}");
    }
    assert_eq!(post(good).await, 204);
}
