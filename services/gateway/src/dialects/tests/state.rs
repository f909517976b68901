//! Present state: what is due behind events, and what clients ask for.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_due_is_told_behind_its_events_once_for_many() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    // The greeting's state is a moment old: the next one is made when that is not recent any more.
    rig.say(&[("step", "a"), ("step", "b"), ("note", "c")]).await;
    assert_eq!(client.hears_all().await, ["a", "b", "c", "Sessions 0 of 3"]);
    let told_at = tokio::time::Instant::now();
    for id in ["d", "e"] {
        rig.say(&[("step", id)]).await;
        assert_eq!(client.hears().await, id);
    }
    assert_eq!(client.hears().await, "Sessions 0 of 5");
    assert!(told_at.elapsed() >= TELL_EVERY, "not more often");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_true_where_it_stands_among_the_events() {
    let mut rig = Rig::start().await;
    let (mut connection, mut client) = rig.connection_as(None);
    let greeted = async {
        tokio::select! {
            ended = &mut connection => panic!("{ended:?}"),
            heard = client.hears_all() => heard,
        }
    };
    assert_eq!(greeted.await, ["hello demo", "greet 0 of 0"]);
    tokio::time::sleep(TELL_EVERY).await;
    // It asks, and what it asks for is made for somebody else while events go on.
    client.says("state").await;
    rig.say(&[("note", "a")]).await;
    rig.heard(1).await;
    assert_eq!(rig.connect().hears_all().await, ["hello demo", "greet 0 of 1"]);
    rig.say(&[("note", "b")]).await;
    rig.heard(2).await;
    tokio::spawn(connection);
    assert_eq!(client.hears_all().await, ["a", "Session(\"s\") 0 of 1", "b"]);
    // And right behind an event.
    rig.say(&[("note", "c")]).await;
    assert_eq!(client.hears().await, "c");
    client.says("state").await;
    assert_eq!(client.hears().await, "Session(\"s\") 0 of 3");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_things_are_told_one_by_one_and_what_is_too_much_all_together() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    let parts: Vec<String> = (0..100).map(|part| format!("p{part:02}")).collect();
    rig.say(&parts.iter().map(|id| ("part", id.as_str())).collect::<Vec<_>>()).await;
    for part in &parts {
        assert_eq!(client.hears().await, format!("Other(\"{part}\") 0 of 100"));
    }
    let long: Vec<String> = parts.iter().map(|part| part.repeat(DUES_BYTES_MAX / 100 / 3)).collect();
    rig.say(&long.iter().map(|id| ("part", id.as_str())).collect::<Vec<_>>()).await;
    assert_eq!(client.hears().await, "again 0 of 200");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_its_time_is_told_the_rest_by_a_newer_state() {
    let mut rig = Rig::start_with(GatewayConfig::default(), PROFILE, |one| one.padding = ".".repeat(100 * 1024)).await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    tokio::time::sleep(TELL_EVERY).await;
    rig.say(&[("part", "a"), ("part", "b"), ("part", "c"), ("part", "d"), ("part", "e")]).await;
    let mut heard = Vec::new();
    let mut hear = async |count: usize| {
        for _ in 0..count {
            heard.push(client.hears().await.trim_end_matches('.').to_owned());
        }
    };
    hear(1).await;
    rig.say(&[("note", "f")]).await;
    rig.heard(6).await;
    tokio::time::sleep(TELL_EVERY).await;
    hear(5).await;
    // Not more than is written at once is made before the client takes it.
    let of =
        |n: u64, parts: &[&str]| parts.iter().map(|part| format!("Other(\"{part}\") 0 of {n}")).collect::<Vec<_>>();
    assert_eq!(heard, [of(5, &["a", "b", "c"]), vec!["f".into()], of(6, &["d", "e"])].concat());
}
