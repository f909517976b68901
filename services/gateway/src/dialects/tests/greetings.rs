//! What a client is told first, and again: greeting and stream meet without a hole.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_is_greeted_by_state_and_goes_on_from_exactly_there() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a"), ("note", "b")]).await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 2"]);
    rig.say(&[("mute", "c"), ("twice", "d"), ("mute", "e")]).await;
    rig.say(&[("mute", "f")]).await;
    rig.say(&[("note", "g")]).await;
    assert_eq!(client.hears_all().await, ["d", "d", "g"]);
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_others_have_had_goes_before_what_happened_since() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a")]).await;
    let mut first = rig.connect();
    assert_eq!(first.hears_all().await, ["hello demo", "greet 0 of 1"]);
    rig.say(&[("note", "b")]).await;
    rig.heard(2).await;
    // Nothing is encoded anew for it, and nothing is left out.
    let mut second = rig.connect();
    assert_eq!(second.hears_all().await, ["hello demo", "greet 0 of 1", "b"]);
}

#[tokio::test(start_paused = true)]
async fn what_happens_before_the_greeting_is_told_and_commands_wait_for_the_viewer() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a")]).await;
    let (mut client, open) = rig.connect_waiting().await;
    assert_eq!(client.hears().await, "hello demo");
    client.says("do").await;
    assert!(tokio::time::timeout(Duration::from_secs(5), client.hears()).await.is_err(), "nobody is asked yet");
    rig.say(&[("note", "b"), ("note", "c")]).await;
    rig.heard(3).await;
    open.send(()).expect("it waits");
    let heard: [String; 4] = client.hears_all().await;
    let (answers, told): (Vec<_>, Vec<_>) = heard.iter().partition(|text| text.starts_with("thing.do"));
    assert_eq!(answers, ["thing.do no_runner"]);
    assert_eq!(told, ["b", "c", "greet 0 of 3"]);
    rig.say(&[("note", "d")]).await;
    assert_eq!(client.hears().await, "d", "and from there");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_or_the_client_is_greeted_again() {
    for (quiet_gaps, expected) in [(false, "again 0 of 3"), (true, "gap log_reset")] {
        let mut rig = Rig::start_with(GatewayConfig::default(), PROFILE, |one| one.quiet_gaps = quiet_gaps).await;
        rig.say(&[("note", "a")]).await;
        let mut client = rig.connect();
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 1"]);
        rig.broker.reopen();
        rig.say(&[("note", "b")]).await;
        let heard = client.hears().await;
        assert_eq!(heard.split(' ').next(), expected.split(' ').next(), "{heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_told_by_a_new_greeting() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.writer.append(vec![wire::Event { session: "s".into(), ..event("a", 1) }]).await;
    assert_eq!(client.hears().await, "a");
    rig.writer.append(vec![deletion(Some("s"), "gone", 1)]).await;
    assert_eq!(client.hears_all().await, ["gone", "again 0 of 2"]);
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_back_all_at_once_share_what_they_are_greeted_by() {
    const CLIENTS: usize = 20;
    let mut rig = Rig::start().await;
    let names: Vec<String> = (0..CLIENTS).map(|client| format!("r{client}")).collect();
    for name in &names {
        let mut client = rig.connect_as(Some(name));
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    }
    // They come while events go on, each behind another one.
    let begun = tokio::time::Instant::now();
    let mut clients = Vec::new();
    for (n, name) in (1..).zip(&names) {
        rig.say(&[("note", "x")]).await;
        rig.heard(n).await;
        clients.push(rig.connect_as(Some(name)));
    }
    let stormy = begun.elapsed();
    let mut greeted_at = std::collections::BTreeSet::new();
    for client in &mut clients {
        let heard: [String; CLIENTS + 2] = client.hears_all().await;
        let greeted = heard.iter().position(|text| text.starts_with("again")).expect("it is greeted");
        assert_eq!(
            heard[greeted],
            format!("again 0 of {}", greeted - 1),
            "by the state that it had been told: {heard:?}"
        );
        greeted_at.insert(greeted);
    }
    let turns = 2 + usize::try_from(stormy.as_millis().div_ceil(TELL_EVERY.as_millis())).expect("few");
    assert!(turns < CLIENTS / 4, "the test took {stormy:?}");
    assert!(greeted_at.len() <= turns, "so many snapshots: {greeted_at:?}");
}

#[tokio::test(start_paused = true)]
async fn who_says_much_before_it_is_greeted_is_not_read_any_more() {
    let rig = Rig::start().await;
    let (mut client, open) = rig.connect_waiting().await;
    assert_eq!(client.hears().await, "hello demo");
    for _ in 0..40 {
        client.says("do").await;
    }
    client.says("x").await;
    assert!(tokio::time::timeout(Duration::from_secs(5), client.hears()).await.is_err(), "nothing was read so far");
    open.send(()).expect("it waits");
    let heard: [String; 42] = client.hears_all().await;
    let count = |word: &str| heard.iter().filter(|text| *text == word).count();
    assert_eq!((count("thing.do no_runner"), count("greet 0 of 0"), count("heard x")), (40, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_stood_still_for_a_greeting_has_the_one_that_was_made_meanwhile() {
    let mut rig = Rig::start().await;
    let mut first = rig.connect_as(Some("r"));
    assert_eq!(first.hears_all().await, ["hello demo", "greet 0 of 0"]);
    drop(first);
    rig.say(&[("note", "a")]).await;
    rig.heard(1).await;
    let (mut connection, mut client) = rig.connection_as(Some("r"));
    let told = async {
        tokio::select! {
            ended = &mut connection => panic!("{ended:?}"),
            heard = client.hears_all() => heard,
        }
    };
    assert_eq!(told.await, ["hello demo", "a"], "the greeting of a moment ago lacks it");
    tokio::time::sleep(TELL_EVERY).await;
    rig.say(&[("note", "b")]).await;
    rig.heard(2).await;
    assert_eq!(rig.connect().hears_all().await, ["hello demo", "greet 0 of 2"]);
    rig.say(&[("note", "c")]).await;
    rig.heard(3).await;
    tokio::spawn(connection);
    assert_eq!(client.hears_all().await, ["b", "again 0 of 2", "c"]);
}
