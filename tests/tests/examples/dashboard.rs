//! Somebody who watches and asks: over plain requests to a gateway.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http::{self, Answer};
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE, token};
use tidings_tests::wait::{eventually, within};

/// Services that ask for tokens.
pub(crate) async fn cluster() -> Cluster {
    Cluster::on_redis().set(SECRET_VARIABLE, SECRET).start().await
}

/// A viewer who may ask and decide.
pub(crate) struct Dashboard {
    gateway: SocketAddr,
    token: String,
    client: reqwest::Client,
}

impl Dashboard {
    /// Of this cluster's first gateway.
    pub(crate) fn of(cluster: &Cluster) -> Dashboard {
        let token = token("alice", PROJECT, "read command approve");
        Dashboard { gateway: cluster.gateways[0].address(), token, client: http::client() }
    }

    fn url(&self, rest: &str) -> String {
        format!("http://{}/v1/projects/{PROJECT}{rest}", self.gateway)
    }

    /// What a route tells.
    pub(crate) async fn get(&self, rest: &str) -> Value {
        let request = self.client.get(self.url(rest)).bearer_auth(&self.token).header("accept", "application/json");
        let answer = Answer::read(request.send().await.expect("a gateway")).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Asks, and waits for the final answer.
    pub(crate) async fn ask(&self, command: Value) -> Value {
        let id = self.begin(command).await;
        self.answer(&id).await
    }

    /// Asks, as soon as a runner is there: the command's id.
    pub(crate) async fn begin(&self, command: Value) -> String {
        eventually("a runner is there", async || {
            let request = self.client.post(self.url("/commands")).bearer_auth(&self.token).json(&command);
            let answer = Answer::read(request.send().await.expect("a gateway")).await.expect("an answer");
            if answer.code() == "no_runner" {
                return None;
            }
            assert_eq!(answer.status, 202, "{}", answer.text());
            Some(answer.json()["id"].as_str().expect("an id").to_owned())
        })
        .await
    }

    /// A command's final answer.
    pub(crate) async fn answer(&self, id: &str) -> Value {
        let is_final = |event: &&Value| {
            event["data"]["command_id"] == id
                && (event["type"] == "command.completed" || event["type"] == "command.failed")
        };
        self.until("a final answer", |events| events.iter().find(is_final).cloned()).await
    }

    /// Answers an approval.
    pub(crate) async fn decide(&self, approval: &str, session: &str, decision: &str, reason: Option<&str>) -> Value {
        let data = json!({"approval_id": approval, "decision": decision, "reason": reason});
        self.ask(json!({"type": "approval.answer", "session": session, "data": data})).await
    }

    /// Reads from the start until there is something in what was told so far.
    pub(crate) async fn until<T>(&self, what: &str, mut find: impl FnMut(&[Value]) -> Option<T>) -> T {
        within(what, async {
            let (mut events, mut after) = (Vec::new(), "start".to_owned());
            loop {
                let page = self.get(&format!("/events?after={after}&limit=1000&wait=25")).await;
                events.extend(page["events"].as_array().cloned().unwrap_or_default());
                page["next"].as_str().expect("a position").clone_into(&mut after);
                if let Some(found) = find(&events) {
                    return found;
                }
            }
        })
        .await
    }

    /// The first event of this type in this session; of any, where it is empty.
    pub(crate) async fn event(&self, kind: &str, session: &str) -> Value {
        let is_it = |event: &&Value| event["type"] == kind && (session.is_empty() || event["session"] == session);
        self.until(kind, |events| events.iter().find(is_it).cloned()).await
    }
}
