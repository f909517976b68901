//! What is said and heard beside events: answers, pings, limits, bundles, good-byes.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_event_is_encoded_once_for_all_of_a_variant() {
    let mut rig = Rig::start().await;
    let (mut one, mut two) = (rig.connect(), rig.connect());
    for client in [&mut one, &mut two] {
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    }
    rig.say(&[("note", "a")]).await;
    assert_eq!((one.hears().await, two.hears().await), ("a".into(), "a".into()));
    assert_eq!(rig.encoded.load(Ordering::Relaxed), 1);
    two.says("louder").await;
    // Of a variant that there is not nothing comes.
    one.says("nonsense").await;
    for client in [&mut one, &mut two] {
        client.says("x").await;
        assert_eq!(client.hears().await, "heard x");
    }
    rig.say(&[("note", "b")]).await;
    assert_eq!((one.hears().await, two.hears().await), ("b".into(), "!b".into()));
    assert_eq!(rig.encoded.load(Ordering::Relaxed), 3, "once in each variant");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_is_heard_and_answered() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    client.says("do").await;
    assert_eq!(client.hears().await, "thing.do no_runner");
    client.says("state").await;
    client.says("state").await;
    assert_eq!(client.hears_all().await, ["Session(\"s\") 0 of 0", "Session(\"s\") 0 of 0"]);
    client.says("bye").await;
    assert_eq!(client.hears().await, "4001 so long");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_in_its_own_words() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    let since = tokio::time::Instant::now();
    assert_eq!(client.hears_all().await, ["ping", "ping"]);
    assert_eq!(since.elapsed().as_secs(), 60);
    tokio::time::sleep(Duration::from_secs(20)).await;
    client.says("x").await;
    assert_eq!(client.hears().await, "heard x");
    let since = tokio::time::Instant::now();
    assert_eq!(client.hears().await, "ping");
    assert_eq!(since.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn excess_is_dropped_or_closes_as_the_dialect_has_it() {
    for (excess, expected) in [(Excess::Drop, "heard late"), (Excess::Close, "4429 too much")] {
        let messages = Some((Rate::new(2, Duration::from_mins(1), 2), excess));
        let rig = Rig::start_with(GatewayConfig::default(), Profile { messages, ..PROFILE }, |_| {}).await;
        let mut client = rig.connect();
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
        for text in ["a", "b", "c", "d"] {
            client.says(text).await;
        }
        assert_eq!(client.hears_all().await, ["heard a", "heard b"]);
        if excess == Excess::Drop {
            tokio::time::sleep(Duration::from_secs(31)).await;
            assert_eq!(client.hears().await, "ping");
            client.says("late").await;
        }
        assert_eq!(client.hears().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_out_together_travels_as_one_where_that_was_asked_for() {
    let mut rig = Rig::start_with(GatewayConfig::default(), PROFILE, |one| one.bundles = true).await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a"), ("twice", "b")]).await;
    rig.say(&[("note", "c")]).await;
    let heard = client.hears().await;
    assert!(heard == "a+b+b" || heard == "a+b+b+c", "{heard}");
}

#[tokio::test(start_paused = true)]
async fn binary_messages_are_no_part_of_it() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    client.frame_out(2, b"x").await;
    assert_eq!(client.hears().await, "1003 ");
}

#[tokio::test(start_paused = true)]
async fn events_that_are_nothing_in_the_dialect_hold_nobody_up() {
    const MANY: usize = 6_000;
    let mut rig = Rig::start().await;
    let (mut connection, mut client) = rig.connection_as(None);
    let greeted = async {
        tokio::select! {
            ended = &mut connection => panic!("{ended:?}"),
            heard = client.hears_all() => heard,
        }
    };
    assert_eq!(greeted.await, ["hello demo", "greet 0 of 0"]);
    for _ in 0..MANY / 200 {
        rig.say(&[("mute", "m"); 200]).await;
    }
    rig.say(&[("note", "end")]).await;
    rig.heard(MANY as u64 + 1).await;
    assert!(futures_util::poll!(&mut connection).is_pending());
    let encoded = rig.encoded.load(Ordering::Relaxed);
    assert!((1..=MANY * 3 / 4).contains(&encoded), "others have their turn: {encoded}");
    tokio::spawn(connection);
    assert_eq!(client.hears().await, "end");
}

#[tokio::test(start_paused = true)]
async fn each_message_that_a_client_is_told_counts_once() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("mute", "a"), ("twice", "b"), ("note", "c")]).await;
    client.says("x").await;
    let mut heard: [String; 4] = client.hears_all().await;
    heard.sort_unstable();
    assert_eq!(heard, ["b", "b", "c", "heard x"]);
    let figures = rig.gateway.shared.presence.figures(&project()).await.expect("memory answers");
    assert_eq!(figures.viewers.iter().map(|figure| figure.told).collect::<Vec<_>>(), [6]);
}
