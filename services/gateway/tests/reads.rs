//! Polls, history and lists: what is refused, by which name, and that going on from an answer leads somewhere.

mod support;

use serde_json::Value;
use support::log::{Writer, event};
use support::store::Reads;
use support::{EVENTS, Rig};

#[tokio::test(start_paused = true)]
async fn parameters_of_another_face_are_refused_by_name() {
    let rig = Rig::start().await;
    for (accept, query, field) in [
        ("application/json", "lag=compact", "lag"),
        ("application/json", "after=start&snapshot=true", "snapshot"),
        ("application/json", "before=now&lag=full", "lag"),
        ("application/json", "before=now&wait=3", "wait"),
        ("text/event-stream", "wait=3", "wait"),
        ("text/event-stream", "after=start&limit=5", "limit"),
        ("text/event-stream", "before=now", "before"),
    ] {
        let answer = rig.get_as(&format!("{EVENTS}?{query}"), accept).await;
        assert_eq!(answer.assert_problem(400, "invalid_parameter"), field, "{accept} {query}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_representation_is_negotiated() {
    let rig = Rig::start().await;
    for (accept, expected) in [
        ("text/*", "text/event-stream"),
        ("*/*", "application/json"),
        ("application/json;q=0.2, text/event-stream;q=0.3", "text/event-stream"),
    ] {
        let answer = rig.open(EVENTS, accept).await;
        assert_eq!(answer.status(), 200, "{accept}");
        assert_eq!(answer.headers()["content-type"], expected, "{accept}");
    }
    for accept in ["text/html", "*/*;q=0"] {
        rig.get_as(EVENTS, accept).await.assert_problem(406, "not_acceptable");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_for_what_the_store_does_not_give_is_told_to_come_back() {
    let mut rig = Rig::start_with_small_rings().await;
    let last = rig.say(5).await;
    assert_eq!(rig.get(&format!("{EVENTS}?after={last}")).await.status, 200);
    for trouble in [Reads::Away, Reads::Held] {
        rig.store.reads.send_replace(trouble);
        for query in ["after=start", "after=start&wait=3"] {
            let answer = rig.get(&format!("{EVENTS}?{query}")).await;
            answer.assert_problem(503, "redis_away");
            assert_eq!(answer.headers["retry-after"], "2", "{trouble:?} {query}");
        }
        // What the gateway knows it tells.
        let known = rig.get(&format!("{EVENTS}?after={last}")).await;
        assert_eq!((known.status, known.json()["next"].as_str()), (200, Some(last.to_string().as_str())));
    }
    rig.store.reads.send_replace(Reads::Pass);
    assert_eq!(rig.get(&format!("{EVENTS}?after=start")).await.told(), ["e1", "e2", "e3", "e4", "e5"]);
}

/// Goes back from `before`, an event at a time, and returns what was told, in the order of the answers.
async fn walk_back(rig: &Rig, before: &str) -> Vec<String> {
    let mut told = Vec::new();
    let mut before = before.to_owned();
    for _ in 0..20 {
        let answer = rig.get(&format!("{EVENTS}?before={before}&limit=1")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        told.extend(answer.told());
        match &answer.json()["prev"] {
            Value::String(prev) => before.clone_from(prev),
            end => {
                assert_eq!(*end, Value::Null);
                return told;
            }
        }
    }
    panic!("it goes round in a circle: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn history_goes_on_behind_the_gap_that_answers_a_position_of_another_log() {
    let mut rig = Rig::start().await;
    let last = rig.say(3).await;
    let all = ["log_reset", "e3", "e2", "e1"];
    assert_eq!(walk_back(&rig, "5-9.zzzzzzzzzzzz").await, all, "an unknown branch");
    let ahead = format!("{}-{}.{}", last.ms(), last.n() + 7, last.branch);
    assert_eq!(walk_back(&rig, &ahead).await, all, "above the head");
    assert_eq!(walk_back(&rig, "now").await, all[1..]);
    assert_eq!(walk_back(&rig, &last.to_string()).await, all[2..]);
}

#[tokio::test(start_paused = true)]
async fn history_before_a_made_up_time_comes_to_an_end() {
    let mut rig = Rig::start().await;
    let mut last = rig.say(3).await;
    for _ in 0..80 {
        last = rig.writer.append(vec![event("big", 60 * 1024)]).await;
    }
    let made_up = format!("9999999999999-3.{}", last.branch);
    assert_eq!(walk_back(&rig, &made_up).await, ["e2", "e1"]);
}

#[tokio::test(start_paused = true)]
async fn summaries_of_a_list_are_read_side_by_side_but_not_all_at_once() {
    let rig = Rig::start().await;
    let mut names: Vec<String> = (0..40).map(|index| format!("p{index:02}")).collect();
    for name in &names {
        Writer::new(&rig.store.memory, name).await.append(vec![event("e", 1)]).await;
    }
    names.insert(0, "demo".to_owned());
    rig.store.states.send_replace(Reads::Held);
    let mut waiting = rig.store.states_waiting.subscribe();
    let listed = async { rig.get("/v1/projects?limit=1000").await };
    let release = async {
        waiting.wait_for(|(now, _)| *now == 16).await.expect("its sender lives");
        rig.store.states.send_replace(Reads::Pass);
    };
    let (listed, ()) = tokio::join!(listed, async {
        // A request that gives up first was reading them one by one.
        let _ = tokio::time::timeout(std::time::Duration::from_secs(4), release).await;
    });
    assert_eq!(listed.status, 200, "{}", listed.body);
    let rows = listed.json()["projects"].as_array().expect("rows").clone();
    assert_eq!(rows.iter().map(|row| row["project"].as_str().expect("a name")).collect::<Vec<_>>(), names);
    assert_eq!(rig.store.states_waiting.borrow().1, 16);
}

#[tokio::test(start_paused = true)]
async fn a_log_of_a_newer_format_hides_no_other_project() {
    let rig = Rig::start().await;
    for name in ["a", "b", "c"] {
        Writer::new(&rig.store.memory, name).await.append(vec![event("e", 1)]).await;
    }
    let newer = "b".parse().expect("a name");
    let mut log = rig.store.memory.copy(&newer);
    log.set_format(2);
    rig.store.memory.restore(&newer, log);
    let listed = rig.get("/v1/projects").await;
    assert_eq!(listed.status, 200, "{}", listed.body);
    let rows = listed.json()["projects"].as_array().expect("rows").clone();
    assert_eq!(rows.iter().map(|row| row["project"].as_str().expect("a name")).collect::<Vec<_>>(), ["a", "c", "demo"]);
}
