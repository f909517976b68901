//! Who may do what, against real services: every route without and with each wrong kind of credential; forged tokens on every
//! way in; what is open ends when its right does; a healthy viewer beside all of it notices nothing.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, Plan};
use tidings_tests::http;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::viewer::Said;
use tidings_tests::viewer::websocket::Connection;
use tidings_tests::wait::within;

mod ending;
mod floods;
mod issuers;
mod members;
mod places;
mod routes;

/// Services that share the tests' secret.
fn secured() -> Plan {
    Cluster::on_redis().set(SECRET_VARIABLE, SECRET)
}

/// `Authorization` of a token.
fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Publishes one event under an id, as somebody who may.
async fn publish(ingest: SocketAddr, project: &str, id: &str) {
    let answer = post_as(ingest, &token("runner", "*", "publish"), project, id).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Tries to publish one event.
async fn post_as(ingest: SocketAddr, token: &str, project: &str, id: &str) -> http::Answer {
    let headers = [("content-type", "application/json"), ("authorization", &bearer(token))];
    let event = json!({"type": "note", "id": id, "data": {}}).to_string();
    http::post(ingest, &format!("/v1/projects/{project}/events"), &headers, event).await.expect("an answer")
}

/// Asks for something with a token.
async fn get_as(address: SocketAddr, token: &str, path: &str) -> http::Answer {
    let request = http::client().get(format!("http://{address}{path}")).header("authorization", bearer(token));
    http::Answer::read(request.send().await.expect("an answer")).await.expect("a whole answer")
}

/// A connection that has subscribed.
async fn subscribed(gateway: SocketAddr, token: &str, project: &str) -> Connection {
    let mut connection = Connection::open_as(gateway, token).await.expect("it may connect");
    subscribe(&mut connection, project).await.expect("it may subscribe");
    connection
}

/// Subscribes from the start; the code of the refusal, if it is refused.
async fn subscribe(connection: &mut Connection, project: &str) -> Result<(), String> {
    let frame = json!({"op": "subscribe", "project": project, "after": "start", "ref": project});
    connection.say(&frame).await.expect("it is open");
    connection
        .hear_until("an answer to the subscription", |said| match said {
            Said::Subscribed { .. } => Some(Ok(())),
            Said::Error { code, reference } if reference.as_deref() == Some(project) => Some(Err(code)),
            _ => None,
        })
        .await
}

/// Waits for the event of this id.
async fn hears(connection: &mut Connection, id: &str) {
    connection.hear_until(id, |said| matches!(said, Said::Event(event) if &*event.id == id).then_some(())).await;
}

/// Waits until the server closes; the code, and the code in the reason.
async fn closed(connection: &mut Connection) -> (u16, String) {
    connection
        .hear_until("the close", |said| match said {
            Said::Closed { code, reason } => {
                let reason: Value = serde_json::from_str(&reason).expect("the reason is JSON");
                Some((code, reason["code"].as_str().unwrap_or_default().to_owned()))
            }
            _ => None,
        })
        .await
}

/// Says `refresh`; what is answered: `refreshed`, or a code.
async fn refresh(connection: &mut Connection, token: &str) -> String {
    connection.say(&json!({"op": "refresh", "token": token, "ref": "r"})).await.expect("it is open");
    connection
        .hear_until("an answer to the refresh", |said| match said {
            Said::Other(op) => Some(op),
            Said::Error { code, reference } if reference.as_deref() == Some("r") => Some(code),
            _ => None,
        })
        .await
}

/// The status that a WebSocket handshake with these headers is refused with; 101 if it is not.
async fn handshake(gateway: SocketAddr, headers: &[(&'static str, &str)]) -> u16 {
    use tokio_tungstenite::tungstenite::Error;
    within("a handshake", async {
        let stream = tokio::net::TcpStream::connect(gateway).await.expect("it listens");
        match Connection::over_with(stream, gateway, headers).await {
            Ok(_) => 101,
            Err(error) => match error.downcast_ref::<Error>() {
                Some(Error::Http(answer)) => answer.status().as_u16(),
                _ => panic!("neither yes nor no: {error:#}"),
            },
        }
    })
    .await
}
