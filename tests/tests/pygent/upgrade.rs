//! Sessions that begin by polling and go on over a WebSocket, and those that do not come so far.

use std::net::SocketAddr;
use std::process::Command;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Method;
use serde_json::json;
use tidings_tests::balancer::Balancer;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::process::Process;
use tidings_tests::service::Service;
use tidings_tests::wait::within;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::socket_io::{Polling, happens, memory, typed, typing};
use crate::{Goes, cluster, end_its_gateway, folder};

/// Clients of one run.
const CLIENTS: usize = 12;

async fn over_the_upgrade(goes: Goes) {
    let mut cluster = cluster().await;
    let clients_go = Balancer::over(cluster.gateways.iter().map(Service::address).collect()).await;
    let files = tempfile::tempdir().expect("there is room");
    let lost = files.path().join("lost");
    let mut node = Command::new("node");
    node.arg("upgrade.mjs").current_dir(folder("pygent"));
    node.env("TIDINGS_URL", format!("http://{}", clients_go.address())).env("TIDINGS_LOST", &lost);
    node.env("TIDINGS_INGEST", format!("http://{}", cluster.ingests[0].address())).env("TIDINGS_PROJECT", PROJECT);
    node.env("TIDINGS_CLIENTS", CLIENTS.to_string());
    let mut clients = Process::start("upgrade.mjs", node);
    clients.line("that a gateway may go", |line| (line == "lose it").then_some(())).await;
    end_its_gateway(&mut cluster, goes).await;
    std::fs::write(lost, "").expect("there is room");
    let ended = clients.ended().await;
    assert!(ended.success(), "{}", clients.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_over_the_upgrade_nor_when_a_gateway_is_killed() {
    over_the_upgrade(Goes::Killed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_over_the_upgrade_nor_when_a_gateway_stops() {
    over_the_upgrade(Goes::Drained).await;
}

/// A WebSocket that is to take a session over.
struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Opens it at this gateway; else the status of the refusal.
    async fn of(session: &Polling, gateway: SocketAddr) -> Result<Socket, u16> {
        let url = format!("ws://{gateway}/socket.io/?EIO=4&transport=websocket{}", session.sid);
        let stream = TcpStream::connect(gateway).await.expect("the gateway listens");
        match client_async(url, stream).await {
            Ok((socket, _)) => Ok(Socket(socket)),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.expect("it is open");
    }

    /// The next text; none: it is closed.
    async fn hear(&mut self) -> Option<String> {
        let next = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        within("a text, or the end", next).await
    }

    /// A WebSocket that was probed.
    async fn probed(session: &Polling, gateway: SocketAddr) -> Socket {
        let mut socket = Socket::of(session, gateway).await.expect("it may come");
        socket.say("2probe").await;
        assert_eq!(socket.hear().await.as_deref(), Some("3probe"));
        socket
    }
}

fn gateway(cluster: &Cluster) -> SocketAddr {
    cluster.gateways[0].address()
}

#[tokio::test]
async fn a_websocket_goes_on_where_the_polls_were() {
    let cluster = memory(None).await;
    let session = Polling::open(gateway(&cluster), None).await;
    happens(&cluster, typing("polled")).await;
    assert_eq!(session.poll().await, typed("polled"));
    let waiting = session.poll();
    let upgrading = async {
        let mut socket = Socket::probed(&session, gateway(&cluster)).await;
        // What is answered to a post before, too.
        assert_eq!(session.say("42[\"dance\"]").await, 200);
        socket.say("42[\"early\"]").await;
        assert_eq!(socket.hear().await, None, "nothing but that it takes over");
        let mut socket = Socket::probed(&session, gateway(&cluster)).await;
        happens(&cluster, typing("between")).await;
        socket.say("5").await;
        socket
    };
    let (mut polled, mut socket) = tokio::join!(waiting, upgrading);
    // The poll that waited is over: with nothing, or with what came first. Answers and events are two orders.
    let mut heard = Vec::new();
    let error = r#"42["error",{"message":"Unknown message type: dance"}]"#;
    let mut expected = vec![error.to_owned(), typed("between"), typed("after")];
    happens(&cluster, typing("after")).await;
    if polled == "6" {
        polled.clear();
    }
    heard.extend(polled.split('\u{1e}').filter(|text| !text.is_empty()).map(str::to_owned));
    while heard.len() < expected.len() {
        heard.push(socket.hear().await.expect("it is told"));
    }
    let mut events = heard.clone();
    events.retain(|text| text != error);
    assert_eq!(events, expected[1..]);
    heard.sort_unstable();
    expected.sort_unstable();
    assert_eq!(heard, expected);
    socket.say("2").await;
    assert_eq!(socket.hear().await.as_deref(), Some("3"));
    // It polls no more, and nothing else takes it over.
    let refused = json!({ "code": 3, "message": "Bad request" });
    for method in [Method::GET, Method::POST] {
        let answer = session.ask(method, "2".to_owned()).await;
        assert_eq!((answer.status, answer.json()), (400, refused.clone()));
    }
    assert_eq!(Socket::of(&session, gateway(&cluster)).await.err(), Some(400));
}

#[tokio::test]
async fn an_upgrade_that_comes_to_nothing_leaves_the_session_polling() {
    let cluster = memory(None).await;
    let session = Polling::open(gateway(&cluster), None).await;
    // One that never says a word, and one that is cut behind its probe.
    let silent = Socket::of(&session, gateway(&cluster)).await.expect("it may come");
    let probed = Socket::probed(&session, gateway(&cluster)).await;
    assert_eq!(session.poll().await, "6", "polls end soon while something is to take over");
    drop(probed);
    for user in ["one", "two"] {
        happens(&cluster, typing(user)).await;
        let told = within("an event", async {
            loop {
                // Until the gateway has seen that the socket is gone.
                let told = session.poll().await;
                if told != "6" {
                    return told;
                }
            }
        });
        assert_eq!(told.await, typed(user));
    }
    assert_eq!(session.say("2").await, 200);
    assert_eq!(session.poll().await, "3");
    drop(silent);
    // It may try again.
    let mut socket = Socket::probed(&session, gateway(&cluster)).await;
    socket.say("5").await;
    happens(&cluster, typing("three")).await;
    assert_eq!(socket.hear().await, Some(typed("three")));
}

#[tokio::test]
async fn nobody_takes_over_what_is_not_his() {
    let cluster = memory(None).await;
    let mut session = Polling::open(gateway(&cluster), None).await;
    session.sid = "&sid=nobody".to_owned();
    assert_eq!(Socket::of(&session, gateway(&cluster)).await.err(), Some(400));
}

#[tokio::test]
async fn who_comes_back_is_told_what_it_missed_and_nobody_else_is_it() {
    let cluster = memory(None).await;
    let first = Polling::open(gateway(&cluster), None).await;
    happens(&cluster, typing("had")).await;
    assert_eq!(first.poll().await, typed("had"));
    happens(&cluster, typing("repeated")).await;
    assert_eq!(first.poll().await, typed("repeated"));
    // It asks again, so it has that; but the answer never comes.
    let cut = http::client().get(format!("http://{}/socket.io/?EIO=4&transport=polling{}", first.address, first.sid));
    let cut = tokio::spawn(cut.send());
    let pid = first.welcome["pid"].as_str().expect("a text").to_owned();
    happens(&cluster, typing("missed")).await;
    let told = within("its last answer", cut).await.expect("it is asked").expect("an answer");
    assert_eq!(told.text().await.expect("a text"), typed("missed"));
    happens(&cluster, typing("away")).await;
    let back = Polling::joins(gateway(&cluster), None, &format!("40{}", json!({ "pid": pid }))).await;
    assert_ne!(back.welcome["pid"], first.welcome["pid"], "no library takes it for the session that it had");
    let mut told = Vec::new();
    while told.last() != Some(&typed("away")) {
        told.extend(back.poll().await.split('\u{1e}').map(str::to_owned));
    }
    assert!(told.ends_with(&[typed("missed"), typed("away")]), "{told:?}");
    let stranger = Polling::joins(gateway(&cluster), None, r#"40{"pid":"0123.x"}"#).await;
    happens(&cluster, typing("new")).await;
    assert_eq!(stranger.poll().await, typed("new"), "it begins where it came");
}
