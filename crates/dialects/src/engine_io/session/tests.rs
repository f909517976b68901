use proptest::prelude::*;

use super::*;

const START_MS: u64 = 1_000_000;

fn open() -> Session {
    Session::open("sid", "sock", Transport::WebSocket, &["websocket"], 1_000, START_MS).0
}

fn joined() -> Session {
    let mut session = open();
    let outputs = session.hear("40", START_MS);
    assert_eq!(outputs, [Output::Send(r#"40{"sid":"sock"}"#.to_owned()), Output::Joined]);
    session
}

#[test]
fn the_first_packet_says_how_to_go_on() {
    let (_, packet) = Session::open("a", "b", Transport::WebSocket, &["websocket"], 1_000, 0);
    let rest = r#""pingInterval":25000,"pingTimeout":20000,"maxPayload":1000}"#;
    assert_eq!(packet, format!(r#"0{{"sid":"a","upgrades":[],{rest}"#));
    let (_, packet) = Session::open("a", "b", Transport::Polling, &["websocket"], 1_000, 0);
    assert_eq!(packet, format!(r#"0{{"sid":"a","upgrades":["websocket"],{rest}"#));
}

#[test]
fn events_are_heard_once_the_client_has_joined_and_answered_where_asked() {
    let mut session = joined();
    let heard =
        |name: &str, id| Output::Heard(Event { namespace: "/".into(), id, name: name.into(), arguments: vec![] });
    assert_eq!(session.hear(r#"42["ping"]"#, START_MS), [heard("ping", None)]);
    assert_eq!(session.hear(r#"4212["ping"]"#, START_MS), [Output::Send("4312[]".into()), heard("ping", Some(12))]);
    assert_eq!(open().hear(r#"42["ping"]"#, START_MS), [Output::Close(Why::Fault)], "before joining");
}

#[test]
fn other_namespaces_are_refused_and_binary_data_is_not_taken() {
    let mut session = joined();
    let refused = r#"44/admin,{"message":"Invalid namespace"}"#;
    assert_eq!(session.hear(r#"40/admin,{"token":"x"}"#, START_MS), [Output::Send(refused.into())]);
    assert_eq!(session.hear(r#"42/admin,["x"]"#, START_MS), []);
    assert_eq!(session.hear(r#"451-["x",{"_placeholder":true,"num":0}]"#, START_MS), [Output::Binary]);
    assert_eq!(session.hear("bAQID", START_MS), [], "the attachment of what was refused");
    assert!(!session.over);
}

#[test]
fn who_leaves_hears_nothing_more_and_who_says_nonsense_is_cut_off() {
    let mut session = joined();
    assert_eq!(session.hear("41", START_MS), [Output::Left]);
    assert_eq!(session.hear(r#"42["late"]"#, START_MS), [], "it was on its way");
    assert_eq!(session.hear("1", START_MS), [Output::Close(Why::Bye)]);
    assert_eq!(session.hear("2", START_MS), [], "it is over");
    for nonsense in ["", "x", "9", "4", "4x", "42{}", "42[]", "42[7]", r#"42["connect"]"#, "40[]", "0{}", "40", "5x"] {
        assert_eq!(joined().hear(nonsense, START_MS), [Output::Close(Why::Fault)], "{nonsense:?}");
    }
}

#[test]
fn a_silent_client_is_pinged_and_then_let_go() {
    let mut session = joined();
    assert_eq!(session.wake_at_ms(), START_MS + 25_000);
    assert_eq!(session.tick(START_MS + 24_999), []);
    assert_eq!(session.tick(START_MS + 25_000), [Output::Send("2".into())]);
    assert_eq!(session.tick(START_MS + 25_001), [], "once");
    assert_eq!(session.hear("3", START_MS + 25_100), []);
    assert_eq!(session.wake_at_ms(), START_MS + 50_000);
    assert_eq!(session.tick(START_MS + 50_000), [Output::Send("2".into())]);
    assert_eq!(session.wake_at_ms(), START_MS + 70_000);
    assert_eq!(session.tick(START_MS + 69_999), []);
    assert_eq!(session.tick(START_MS + 70_000), [Output::Close(Why::PingTimeout)]);
}

#[test]
fn an_answer_counts_although_the_clock_of_who_hears_it_is_behind() {
    let mut session = joined();
    assert_eq!(session.tick(START_MS + 25_000), [Output::Send("2".into())]);
    session.hear("3", START_MS + 24_900);
    assert_eq!(session.wake_at_ms(), START_MS + 50_000);
    assert_eq!(session.tick(START_MS + 49_900), []);
    session.hear("3", START_MS + 25_200);
    assert_eq!(session.tick(START_MS + 50_000), [Output::Send("2".into())]);
}

#[test]
fn only_the_beginning_of_a_ping_is_said_back() {
    let mut session = joined();
    let said = format!("2{}é{}", "x".repeat(63), "y".repeat(1_000_000));
    assert_eq!(session.hear(&said, START_MS), [Output::Send(format!("3{}", "x".repeat(63)))]);
}

#[test]
fn who_never_joins_is_let_go() {
    let mut session = open();
    assert_eq!(session.tick(START_MS + 25_000), [Output::Send("2".into())]);
    session.hear("3", START_MS + 25_001);
    assert_eq!(session.wake_at_ms(), START_MS + 45_000);
    assert_eq!(session.tick(START_MS + 45_000), [Output::Close(Why::NeverJoined)]);
}

#[test]
fn a_websocket_that_is_to_take_over_is_probed_first() {
    assert_eq!(probe("2probe").as_deref(), Some("3probe"));
    assert_eq!(probe("2"), None);
    assert_eq!(probe("5"), None);
    let (mut session, _) = Session::open("a", "b", Transport::Polling, &["websocket"], 1_000, START_MS);
    session.hear("40", START_MS);
    assert_eq!(session.hear("5", START_MS), [], "not by what is posted");
    assert_eq!((session.transport, session.joined), (Transport::Polling, true));
}

/// What a session of this client answers to `joins`, and whom it takes the client for.
fn met(joins: &str) -> (String, String) {
    let mut session = open();
    session.who = "a".repeat(WHO_CHARS);
    let outputs = session.hear(joins, START_MS);
    let [Output::Send(welcome), Output::Joined] = outputs.as_slice() else { panic!("{outputs:?}") };
    (welcome.clone(), session.who)
}

#[test]
fn who_comes_back_is_known_by_what_it_was_told() {
    let (a, b) = ("a".repeat(WHO_CHARS), "b".repeat(WHO_CHARS));
    assert_eq!(met("40"), (format!(r#"40{{"pid":"{a}.sock","sid":"sock"}}"#), a.clone()));
    let back = format!(r#"40{{"pid":"{b}.other","offset":"x","token":7}}"#);
    assert_eq!(met(&back), (format!(r#"40{{"pid":"{b}.sock","sid":"sock"}}"#), b.clone()), "and told another text");
    for nobody in ["7", r#""""#, &format!("\"{b}\""), &format!("\"{b}b.x\""), &format!("\"{}.x\"", b.to_uppercase())] {
        assert_eq!(met(&format!(r#"40{{"pid":{nobody}}}"#)).1, a, "{nobody}");
    }
}

#[test]
fn a_stored_session_goes_on_as_it_was() {
    let mut session = joined();
    session.tick(START_MS + 25_000);
    let stored = serde_json::to_string(&session).expect("it is plain data");
    assert_eq!(serde_json::from_str::<Session>(&stored).expect("it is JSON"), session);
}

/// What a client might say, and time going on.
fn steps() -> impl Strategy<Value = Vec<(String, u64)>> {
    let said = prop_oneof![
        4 => prop::sample::select(vec![
            "40", "41", "1", "2", "2probe", "3", "5", "6", "b", "43[]", "431[]", r#"42["a",1]"#, r#"420["a"]"#,
            r#"42/x,["a"]"#, "40/x,", "41/x,", "450-[]", "0", "44{}",
        ]).prop_map(str::to_owned),
        1 => "[0-6][0-9/a-z,\\[\\]{}\":-]{0,12}",
        1 => ".*",
    ];
    prop::collection::vec((said, 0_u64..30_000), 0..40)
}

proptest! {
    /// Whatever a client says and when: events are heard between joining and leaving only, a session that is over stays
    /// so, no text of ours disconnects, and nobody waits for time that has passed.
    #[test]
    fn a_session_keeps_its_promises(steps in steps()) {
        let mut session = open();
        let (mut now_ms, mut joined, mut over) = (START_MS, false, false);
        for (said, after_ms) in steps {
            now_ms += after_ms;
            let mut outputs = session.tick(now_ms);
            outputs.extend(session.hear(&said, now_ms));
            for output in outputs {
                prop_assert!(!over);
                match output {
                    Output::Send(text) => prop_assert!(text != "41" && Packet::parse(&text).is_ok(), "{text}"),
                    Output::Joined => { prop_assert!(!joined); joined = true; }
                    Output::Heard(_) => prop_assert!(joined),
                    Output::Left => { prop_assert!(joined); joined = false; }
                    Output::Close(_) => { over = true; joined = false; }
                    Output::Binary => {}
                }
            }
            prop_assert_eq!((session.joined, session.over), (joined, over));
            prop_assert!(over || session.wake_at_ms() > now_ms || session.waits_for_pong());
        }
    }

    /// A client that answers its pings is never cut off; one that does not is, within one interval and one timeout.
    #[test]
    fn heartbeats_part_the_living_from_the_dead(delays in prop::collection::vec(0_u64..19_999, 1..50)) {
        let mut session = joined();
        let mut now_ms = START_MS;
        for delay_ms in delays {
            now_ms = session.wake_at_ms().max(now_ms);
            prop_assert_eq!(session.tick(now_ms), [Output::Send("2".to_owned())]);
            now_ms += delay_ms;
            session.hear("3", now_ms);
        }
        let quiet_ms = session.pinged_ms;
        let at_ms = session.wake_at_ms().max(now_ms);
        session.tick(at_ms);
        prop_assert_eq!(session.tick(session.wake_at_ms()), [Output::Close(Why::PingTimeout)]);
        prop_assert!(session.pinged_ms - quiet_ms <= PING_INTERVAL_MS);
    }
}
