//! `examples/pygent/chat.py`: a model's answers and its reasoning, streamed to who asked: to a native viewer, and to a client of
//! PyGent Factory itself.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::process::Process;
use tidings_tests::tokens::{SECRET, SECRET_VARIABLE};
use tidings_tests::wait::within;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

use crate::dashboard::{self, Dashboard};
use crate::folder;
use crate::ollama::{MODEL, Ollama};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_as_the_model_speaks() {
    let (cluster, ollama) = (dashboard::cluster().await, Ollama::start().await);
    let alice = Dashboard::of(&cluster);
    let runner = runner(&cluster, &ollama);
    let status = alice.event("model.status", "").await;
    assert_eq!((&status["data"]["is_ready"], &status["data"]["available_models"]), (&json!(true), &json!([MODEL])));
    assert_eq!(alice.event("model.list", "").await["data"]["models"][0]["name"], MODEL);
    let metrics = alice.event("model.metrics", "").await["data"].clone();
    assert_eq!(metrics, json!({"total_models": 1, "total_size": 1000, "memory_usage": 500, "active_models": [MODEL]}));
    runner.line("it takes commands", |line| line.contains("answers chat").then_some(())).await;

    let ask = |text: &str| json!({"type": "chat", "session": "talk", "data": {"text": text}});
    let id = alice.begin(ask("good morning")).await;
    let delta = of(&alice, &id, "message.delta").await;
    assert_eq!((&delta["data"]["text"], &delta["session"]), (&json!("You said: "), &json!("talk")));
    ollama.go_on.notify_one();
    let answer = alice.answer(&id).await;
    assert_eq!(
        (&answer["type"], &answer["data"]["result"]["message_id"]),
        (&json!("command.completed"), &delta["data"]["message_id"])
    );
    let is_it = |event: &&Value| event["type"] == "message.completed" && event["data"]["role"] == "assistant";
    let said = alice.until("the answer", |events| events.iter().find(is_it).cloned()).await;
    assert_eq!((&said["data"]["text"], &said["data"]["command_id"]), (&json!("You said: good morning"), &json!(id)));
    let usage = of(&alice, &id, "usage").await["data"].clone();
    assert_eq!(
        (&usage["input_tokens"], &usage["output_tokens"], &usage["model"]),
        (&json!(26), &json!(5), &json!(MODEL))
    );

    let id = alice.begin(ask("now fail")).await;
    of(&alice, &id, "message.delta").await;
    ollama.go_on.notify_one();
    let answer = alice.answer(&id).await;
    assert_eq!((&answer["type"], &answer["data"]["code"]), (&json!("command.failed"), &json!("model_error")));
    assert_eq!(of(&alice, &id, "model.error").await["data"]["error"], "the model ran out of memory");
}

/// The first event of this type that a command brought.
async fn of(alice: &Dashboard, id: &str, kind: &str) -> Value {
    let is_it = |event: &&Value| event["type"] == kind && event["data"]["command_id"] == id;
    alice.until(kind, |events| events.iter().find(is_it).cloned()).await
}

fn runner(cluster: &Cluster, ollama: &Ollama) -> Process {
    let url = ("OLLAMA_URL", format!("http://{}", ollama.address));
    folder::start("pygent/chat.py", cluster, &[], &[url, ("OLLAMA_MODEL", MODEL.to_owned())])
}

type Client = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn say(client: &mut Client, kind: &str, data: Value) {
    let message = json!({"type": kind, "data": data}).to_string();
    client.send(Message::text(message)).await.expect("it is open");
}

/// What a client is told, up to the message that is the last one.
async fn told(client: &mut Client, is_last: impl Fn(&Value) -> bool) -> Vec<Value> {
    within("the last of these messages", async {
        let mut all: Vec<Value> = Vec::new();
        while !all.last().is_some_and(&is_last) {
            let message = client.next().await.expect("it is open").expect("a message");
            if let Message::Text(text) = message {
                all.push(serde_json::from_str(&text).expect("JSON"));
            }
        }
        all
    })
    .await
}

fn types(told: &[Value]) -> Vec<&str> {
    told.iter().map(|message| message["type"].as_str().expect("a type")).collect()
}

fn is(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["type"] == kind
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_pygent_sees_the_model_think_and_answer_in_its_order() {
    let plan = Cluster::on_redis().set(SECRET_VARIABLE, SECRET).set("TIDINGS_DIALECTS__SERVE", "pygent");
    let plan = plan.set("TIDINGS_DIALECTS__PYGENT_PROJECT", PROJECT);
    let cluster = plan.set("TIDINGS_DIALECTS__PYGENT_SCOPES", "read,command").start().await;
    let ollama = Ollama::start().await;
    let runner = runner(&cluster, &ollama);
    runner.line("it takes commands", |line| line.contains("answers chat").then_some(())).await;
    let url = format!("ws://{}/ws", cluster.gateways[0].address());
    let (mut client, _) = connect_async(url).await.expect("a gateway");

    // The runner says that it is there, and then asks for commands: no signal tells when.
    within("the runner is there", async {
        loop {
            say(&mut client, "stop_reasoning", json!({})).await;
            let said = told(&mut client, is("reasoning_error")).await;
            if said.last().expect("one")["data"]["error"] == "No active reasoning session" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;

    say(&mut client, "chat_message", json!({"content": "at once: good morning", "agent": "coding"})).await;
    let said = told(&mut client, |message| message["data"]["typing"] == false).await;
    let order = [
        "typing_indicator",
        "agent_activity",
        "reasoning_update",
        "reasoning_update",
        "reasoning_complete",
        "chat_response",
        "typing_indicator",
    ];
    assert_eq!(types(&said), order, "{said:?}");
    assert_eq!(said[1]["data"]["activity_type"], "thinking");
    assert_eq!((&said[2]["data"]["content"], &said[3]["data"]["step"]), (&json!("It is a greeting."), &json!(2)));
    let message = &said[5]["data"]["message"];
    assert_eq!(
        (&message["content"], &message["agentId"], &message["metadata"]["reasoning_path"]),
        (&json!("You said: at once: good morning"), &json!("coding"), &json!(["It is a greeting.", "So I greet."]))
    );

    say(&mut client, "chat_message", json!({"content": "at once fail"})).await;
    let said = told(&mut client, |message| message["data"]["typing"] == false).await;
    assert_eq!(said.iter().filter(|message| message["data"]["typing"] == false).count(), 1, "{said:?}");
    let broken = said.iter().find(|message| message["type"] == "chat_response").expect("a response");
    assert_eq!(broken["data"]["message"]["error"], true);

    say(&mut client, "start_reasoning", json!({"problem": "at once: why?", "mode": "tot_only"})).await;
    let said = told(&mut client, is("reasoning_result")).await;
    let order = [
        "reasoning_started",
        "reasoning_update",
        "reasoning_update",
        "reasoning_update",
        "reasoning_complete",
        "reasoning_result",
    ];
    assert_eq!(
        types(&said).into_iter().filter(|kind| kind.starts_with("reasoning")).collect::<Vec<_>>(),
        order,
        "{said:?}"
    );
    assert_eq!(said.last().expect("one")["data"]["result"], "You said: at once: why?");

    say(&mut client, "start_reasoning", json!({"problem": "endless"})).await;
    told(&mut client, is("reasoning_started")).await;
    say(&mut client, "stop_reasoning", json!({})).await;
    let said = told(&mut client, is("reasoning_stopped")).await;
    assert_eq!(said.last().expect("one")["data"]["reason"], "user_requested", "{said:?}");
}
