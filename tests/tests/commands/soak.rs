//! Everything at once: gateways and ingests are killed one after the other while dashboards ask and forgetful runners work.
//! Whenever the kills fall, each command gets exactly one final answer.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tidings_tests::http::{self, Answer};
use tidings_tests::service::Service;
use tidings_tests::tokens::token;
use tidings_tests::wait::{HANG, within};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{PROJECT, secured};

/// Dashboards that ask, each its next command when the last one is answered.
const ASKERS: usize = 8;

/// Commands of each.
const COMMANDS: usize = 15;

/// Each service dies so often.
const ROUNDS: usize = 3;

/// One of these is forgotten before it is accepted, and one behind that.
const FORGOTTEN: u32 = 20;

/// Pause before whoever got no answer asks again: what a service needs to start must not go into asking it.
const PAUSE: Duration = Duration::from_millis(20);

/// Somebody who asks whichever of these services answers.
struct Caller {
    services: Arc<[SocketAddr]>,
    client: reqwest::Client,
    token: String,
    rng: StdRng,
}

impl Caller {
    fn new(user: &str, scopes: &str, services: &[Service], seed: u64) -> Caller {
        let services = services.iter().map(Service::address).collect();
        Caller {
            services,
            client: http::client(),
            token: token(user, PROJECT, scopes),
            rng: StdRng::seed_from_u64(seed),
        }
    }

    /// An answer to one request; none: the service went away, or cannot, and some time has passed.
    async fn once(&mut self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let answer = self.tries(method, path, body).await;
        if answer.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        answer
    }

    async fn tries(&mut self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let service = self.services[self.rng.random_range(0..self.services.len())];
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = self.client.request(method, format!("http://{service}/v1/projects/{PROJECT}/{path}"));
        let request = request.bearer_auth(&self.token).header("accept", "application/json");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = Answer::read(request.send().await.ok()?).await.ok()?;
        (answer.status < 500 && answer.status != 429).then_some(answer)
    }

    /// An answer, however often that takes.
    async fn sure(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        within(path, async {
            loop {
                if let Some(answer) = self.once(method, path, body).await {
                    return answer;
                }
            }
        })
        .await
    }
}

/// The final answers so far: where each command's stand.
type Finals = HashMap<String, Vec<String>>;

/// The type of the event behind which there is nothing.
const LAST: &str = "soak.over";

/// Reads everything, up to the last event.
async fn reads(mut caller: Caller, finals: watch::Sender<Finals>) {
    let mut after = "start".to_owned();
    loop {
        let answer = caller.sure("GET", &format!("events?after={after}&limit=1000&wait=1"), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page = answer.json();
        page["next"].as_str().expect("a position").clone_into(&mut after);
        let events = page["events"].as_array().expect("events");
        for event in events {
            if let ("command.completed" | "command.failed", Some(id)) =
                (event["type"].as_str().expect("a type"), event["data"]["command_id"].as_str())
            {
                let position = event["position"].as_str().expect("a position").to_owned();
                finals.send_modify(|finals| finals.entry(id.to_owned()).or_default().push(position));
            }
        }
        if events.iter().any(|event| event["type"] == LAST) {
            return;
        }
    }
}

/// Asks one command after the other.
async fn asks(asker: usize, mut caller: Caller, mut finals: watch::Receiver<Finals>, asked: watch::Sender<usize>) {
    for number in 0..COMMANDS {
        let id = format!("{asker}-{number}");
        let command = json!({"type": "chat", "id": id, "deadline_ms": 8_000});
        // There is no runner before the first one has asked: until then it is not now.
        let answer = caller.sure("POST", "commands", Some(&command)).await;
        assert_eq!(answer.status, 202, "{id}: {}", answer.text());
        asked.send_modify(|asked| *asked += 1);
        let answered = finals.wait_for(|finals| finals.contains_key(&id));
        let waited = tokio::time::timeout(HANG, answered).await;
        let answered = waited.unwrap_or_else(|_| panic!("{id} has no answer within {HANG:?}"));
        drop(answered.expect("somebody reads"));
    }
}

/// Takes commands and answers them, but for those that it forgets.
async fn works(name: &'static str, mut caller: Caller, over: CancellationToken) {
    while !over.is_cancelled() {
        let path = format!("commands?runner={name}&capability=chat&wait=1&in_hand=8");
        let Some(answer) = caller.once("GET", &path, None).await else { continue };
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        for taken in answer.json()["commands"].as_array().expect("commands") {
            let (id, lease) = (taken["id"].as_str().expect("an id"), &taken["lease"]);
            let path = format!("commands/{id}/events?runner={name}&lease={lease}");
            let says = match caller.rng.random_range(0..FORGOTTEN) {
                0 => &[][..],
                1 => &["command.accepted"],
                dice if dice % 2 == 0 => &["command.accepted", "command.completed"],
                _ => &["command.completed"],
            };
            for kind in says {
                let event = json!({"type": kind, "id": format!("{kind}-{id}-{lease}")});
                let answer = caller.sure("POST", &path, Some(&event)).await;
                // Its lease ran out while it was trying, or the deadline came first.
                assert!(matches!(answer.status, 200 | 409 | 410), "{name}: {kind} of {id}: {}", answer.text());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_when_each_command_has_exactly_one_final_answer() {
    let plan = secured().gateways(2).ingests(2).durable();
    let plan = plan.set("TIDINGS_PROJECTS__COMMAND_LEASE_MS", 2_000).set("TIDINGS_LIMITS__COMMANDS_PER_SECOND", 1_000);
    let mut cluster = plan.start().await;
    let (finals, heard) = watch::channel(Finals::new());
    let (asked, progress) = watch::channel(0);
    let over = CancellationToken::new();

    let mut runners = JoinSet::new();
    for (seed, name) in ["r1", "r2", "r3"].into_iter().enumerate() {
        let caller = Caller::new(name, "publish work", &cluster.ingests, seed as u64);
        runners.spawn(works(name, caller, over.clone()));
    }
    let mut askers = JoinSet::new();
    for asker in 0..ASKERS {
        let caller = Caller::new("alice", "read command", &cluster.gateways, 100 + asker as u64);
        askers.spawn(asks(asker, caller, heard.clone(), asked.clone()));
    }
    let reader = Caller::new("alice", "read command", &cluster.gateways, 1_000);
    let reading = tokio::spawn(reads(reader, finals));

    // Kills are spread over what is asked.
    let kills = ROUNDS * 4;
    for kill in 0..kills {
        let reached = (kill + 1) * ASKERS * COMMANDS / (kills + 1);
        let mut progress = progress.clone();
        within("commands are asked", progress.wait_for(|asked| *asked >= reached)).await.expect("they ask");
        let service = match kill % 4 {
            gateway @ (0 | 2) => &mut cluster.gateways[gateway / 2],
            ingest => &mut cluster.ingests[ingest / 2],
        };
        service.kill_and_restart().await;
    }
    while let Some(done) = askers.join_next().await {
        done.expect("every command is answered");
    }
    over.cancel();
    while let Some(done) = runners.join_next().await {
        done.expect("runners only forget");
    }
    // Nothing comes behind the last answer. Whichever ingest can takes it.
    let mut narrator = Caller::new("narrator", "publish", &cluster.ingests, 2_000);
    let last = narrator.sure("POST", "events", Some(&json!({"type": LAST, "id": LAST, "data": {}}))).await;
    assert_eq!(last.status, 200, "{}", last.text());
    within("the last event", reading).await.expect("it read to the end");
    let finals = heard.borrow();
    let twice: Vec<_> = finals.iter().filter(|(_, answers)| answers.len() != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(finals.len(), ASKERS * COMMANDS);
}
