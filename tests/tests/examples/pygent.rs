//! `examples/pygent/chat.py`: a model's answer, streamed to who asked.

use serde_json::{Value, json};

use crate::dashboard::{self, Dashboard};
use crate::folder;
use crate::ollama::{MODEL, Ollama};

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_as_the_model_speaks() {
    let (cluster, ollama) = (dashboard::cluster().await, Ollama::start().await);
    let alice = Dashboard::of(&cluster);
    let url = ("OLLAMA_URL", format!("http://{}", ollama.address));
    let runner = folder::start("pygent/chat.py", &cluster, &[], &[url, ("OLLAMA_MODEL", MODEL.to_owned())]);
    let status = alice.event("model.status", "").await;
    assert_eq!((&status["data"]["is_ready"], &status["data"]["available_models"]), (&json!(true), &json!([MODEL])));
    assert_eq!(alice.event("model.list", "").await["data"]["models"][0]["name"], MODEL);
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
