//! The command lines of the README, run as they stand but for their ports. What it says of them is what happens.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidings_tests::http;
use tidings_tests::process::{Process, free_port};
use tidings_tests::redis::{Durability, Redis};
use tidings_tests::service::{Launch, Role, binary, command};
use tidings_tests::viewer::{Said, sse};
use tidings_tests::wait::{eventually, within};

/// Where the README has its services, by default or by a flag.
const GATEWAY: &str = "127.0.0.1:8000";
const GATEWAY_ADMIN: &str = "127.0.0.1:9464";
const INGEST: &str = "127.0.0.1:8010";
const INGEST_ADMIN: &str = "127.0.0.1:9465";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository is there")
}

/// All blocks of shell.
fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.map(str::to_owned).collect()
}

/// The lines that call this program, of all blocks but those that set something for the lines behind it.
fn lines_of(program: &str) -> Vec<String> {
    let blocks: Vec<String> = blocks().into_iter().filter(|block| !block.starts_with("export ")).collect();
    let lines = blocks.iter().flat_map(|block| block.lines());
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    let word = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    for line in &lines {
        let tested = ["make", "curl", "tidings"].contains(&word(line).as_str());
        assert!(tested && !line.ends_with('\\'), "no test here runs this line of the README: {line}");
    }
    let called: Vec<String> = lines.into_iter().filter(|line| word(line) == program).map(str::to_owned).collect();
    assert!(!called.is_empty(), "the README has no line of {program}");
    called
}

/// A line as the shell runs it, in the repository, with the binary under test as `tidings`.
fn shell(line: &str) -> Command {
    let mut shell = Command::new("sh");
    // In the shell's place, so that a signal reaches the program itself.
    shell.arg("-c").arg(format!("exec {line}")).current_dir(root());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDINGS_") {
            shell.env_remove(name);
        }
    }
    let folder = binary().parent().expect("it lies in a folder").display().to_string();
    shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
    shell
}

/// What a line prints.
fn output(mut command: Command) -> String {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("output is text")
}

/// Runs the README's posts against a service elsewhere: the events as they were sent, each with its position.
fn post(address: &str) -> Vec<(Value, String)> {
    let run = |line: String| {
        let sent = line.split("-d '").nth(1).and_then(|rest| rest.split('\'').next()).expect("it posts an event");
        let sent = serde_json::from_str(sent).expect("the event is JSON");
        let answer: Value = serde_json::from_str(&output(shell(&line.replace(GATEWAY, address)))).expect("JSON");
        assert_eq!(answer["results"][0]["status"], "appended", "{answer}");
        (sent, answer["position"].as_str().expect("a position").to_owned())
    };
    lines_of("curl").into_iter().map(run).collect()
}

/// Asserts that an event was delivered as it was posted.
fn assert_same(sent: &Value, told: &Value) {
    for name in ["type", "session", "agent", "data"] {
        assert_eq!(sent[name], told[name], "{told}");
    }
}

#[test]
fn make_does_what_the_readme_says() {
    // Said, not done: what is built and tested there is under test right now.
    let dry = |line: &str| {
        let mut command = shell(line);
        command.env("MAKEFLAGS", "n").env_remove("MAKELEVEL").env_remove("MFLAGS");
        output(command)
    };
    let said: Vec<String> = lines_of("make").iter().map(|line| dry(line)).collect();
    let [run, test] = &said[..] else { panic!("other lines of make than run and test: {said:?}") };
    assert!(run.contains("--package tidings -- dev"), "{run}");
    assert!(test.contains("scripts/setup") && test.contains("scripts/test"), "{test}");
    assert!(dry("make demo").contains("--package tidings -- demo"));
    let mut show = command();
    show.args(["config", "show"]);
    let shown = output(show);
    let listens: Vec<_> =
        shown.lines().filter_map(|line| line.split_once("listen = \"")?.1.split('"').next()).collect();
    assert_eq!(listens, [GATEWAY, GATEWAY_ADMIN, INGEST, INGEST_ADMIN], "the defaults that the README names");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_posted_by_curl_is_there_when_curl_returns() {
    let dev = Launch::new(Role::Dev, None, Vec::new()).start().await;
    let page = http::get(dev.address(), "/").await.expect("a page");
    assert_eq!((page.status, page.header("content-type").split(';').next()), (200, Some("text/html")));
    let events = format!("http://{}/v1/projects/demo/events", dev.address());
    let mut stream = sse::Stream::open(&http::client(), &events, None).await.expect("it streams");
    let posted = post(&dev.address().to_string());
    // Without waiting for it.
    let polled = http::get(dev.address(), "/v1/projects/demo/events?after=start").await.expect("an answer").json();
    assert_eq!(polled["events"].as_array().map(Vec::len), Some(posted.len()), "{polled}");
    for (index, (sent, position)) in posted.iter().enumerate() {
        assert_same(sent, &polled["events"][index]);
        let heard = within("the stream says it", async {
            loop {
                if let Said::Event(event) = stream.hear().await.expect("it goes on") {
                    return event;
                }
            }
        });
        assert_eq!(heard.await.position, *position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_redis_start_services_that_work_together() {
    let redis = Redis::start(Durability::Memory).await;
    let local = || format!("127.0.0.1:{}", free_port());
    let (gateway, gateway_admin, ingest, ingest_admin) = (local(), local(), local(), local());
    let (all, all_admin) = (local(), local());
    let is_look = |line: &String| line.starts_with("tidings doctor ");
    let (looks, lines): (Vec<String>, Vec<String>) = lines_of("tidings").into_iter().partition(is_look);
    let there = |line: &String| line.replace("redis://127.0.0.1:6379", &redis.url());
    let start = |line: &String| {
        let line = there(line).replace(GATEWAY, &gateway);
        let line = line.replace(GATEWAY_ADMIN, &gateway_admin).replace(INGEST, &ingest);
        let mut command = shell(&line.replace(INGEST_ADMIN, &ingest_admin));
        // For the line that leaves the addresses to the configuration; flags win over these.
        command.env("TIDINGS_GATEWAY__LISTEN", &all).env("TIDINGS_GATEWAY__ADMIN_LISTEN", &all_admin);
        Process::start(line, command)
    };
    let running: Vec<Process> = lines.iter().map(start).collect();
    assert_eq!(running.len(), 3, "a gateway, an ingest and both in one: {lines:?}");
    for admin in [&gateway_admin, &ingest_admin, &all_admin] {
        let admin = admin.parse().expect("an address");
        eventually(&format!("ready: {admin}"), || async move {
            let answer = http::get(admin, "/readyz").await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    let [look] = &looks[..] else { panic!("one line that looks at Redis: {looks:?}") };
    let said = output(shell(&there(look)));
    assert!(said.contains("  ok    memory policy  noeviction\n") && said.contains("  ok    an event "), "{said}");
    let posted = [post(&ingest), post(&all)].concat();
    for viewed in [&gateway, &all] {
        let address = viewed.parse().expect("an address");
        let told = http::get(address, "/v1/projects/demo/events?after=start&wait=25").await.expect("an answer").json();
        assert_eq!(told["events"].as_array().map(Vec::len), Some(posted.len()), "{viewed}: {told}");
        for (index, (sent, position)) in posted.iter().enumerate() {
            assert_same(sent, &told["events"][index]);
            assert_eq!(told["events"][index]["position"], **position);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_with_rights_start_services_that_ask_for_the_token_of_the_last_one() {
    let block: Vec<String> = blocks().into_iter().filter(|block| block.starts_with("export ")).collect();
    let [block] = &block[..] else { panic!("one block with rights: {block:?}") };
    let lines: Vec<&str> = block.lines().collect();
    let [export, all, mint] = lines[..] else { panic!("a secret, services, a token: {block}") };
    let set = output(shell(&format!("sh -c '{export}; printenv TIDINGS_AUTH__SECRET'")));
    let redis = Redis::start(Durability::Memory).await;
    let (address, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let mut services = shell(&all.replace("redis://127.0.0.1:6379", &redis.url()));
    services.env("TIDINGS_GATEWAY__LISTEN", &address).env("TIDINGS_GATEWAY__ADMIN_LISTEN", &admin);
    services.env("TIDINGS_AUTH__SECRET", set.trim());
    let _running = Process::start(all, services);
    let admin = admin.parse().expect("an address");
    eventually("ready", || async move { (http::get(admin, "/readyz").await.ok()?.status == 200).then_some(()) }).await;
    let mut minting = shell(mint);
    minting.env("TIDINGS_AUTH__SECRET", set.trim());
    let authorization = format!("Bearer {}", output(minting).trim());
    let ask = async |headers: &[(&str, &str)]| {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        let event = r#"{"type":"note","data":{}}"#;
        let posted = http::post(address.parse().expect("an address"), "/v1/projects/demo/events", &headers, event);
        posted.await.expect("an answer").status
    };
    assert_eq!(ask(&[]).await, 401);
    assert_eq!(ask(&[("authorization", &authorization)]).await, 200);
}
