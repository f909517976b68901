use super::*;
use crate::gap::GapCause;

fn project() -> Project {
    "demo".parse().expect("a name")
}

#[test]
fn places_to_start_are_read() {
    let check = |text: &str, expected: Option<After>| assert_eq!(text.parse::<After>().ok(), expected, "{text}");
    check("start", Some(After::Start));
    check("now", Some(After::Now));
    check("-10m", Some(After::Ago(600_000)));
    check("-2d", Some(After::Ago(172_800_000)));
    check("0-0", Some(After::Position(Position::ZERO)));
    for bad in ["", "-", "-m", "-1w", "-1.5m", "10m", "later", "-9999999999s", "-é"] {
        check(bad, None);
    }
}

#[test]
fn an_event_is_told_with_project_and_position() {
    let event = wire::Event { json: bytes::Bytes::from_static(br#"{"type":"log","data":{}}"#), ..Default::default() };
    let position: Position = "5-7.abcdefghijkl".parse().expect("a position");
    let mut out = Vec::new();
    write_event(&project(), position, &event, Marks::default(), &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        r#"{"type":"log","data":{},"project":"demo","position":"5-7.abcdefghijkl"}"#
    );
    out.clear();
    write_event(&project(), position, &event, Marks { was: Some(&Position::ZERO), seen: true }, &mut out);
    let told: serde_json::Value = serde_json::from_slice(&out).expect("json");
    assert_eq!((&told["was"], &told["seen"]), (&"0-0".into(), &true.into()));
}

#[test]
fn a_gap_is_shaped_like_an_event() {
    let gap = Gap {
        after: Position::ZERO,
        before: "5-8.abcdefghijkl".parse().expect("a position"),
        cause: GapCause::Trimmed,
        lost: Some(7),
        certain: true,
        position: "5-7.abcdefghijkl".parse().expect("a position"),
    };
    let mut out = Vec::new();
    write_gap(&project(), &gap, &mut out);
    let told: serde_json::Value = serde_json::from_slice(&out).expect("json");
    assert_eq!(told["type"], "gap");
    assert_eq!(told["position"], "5-7.abcdefghijkl");
    assert_eq!(
        told["data"],
        serde_json::json!({"after":"0-0","before":"5-8.abcdefghijkl","cause":"trimmed","lost":7,"certain":true})
    );
}

#[test]
fn client_frames_are_strict() {
    let good = r#"{"op":"subscribe","project":"p","after":"-5m","filter":{"types":["agent"]},"lag":"compact","snapshot":"after_gap","ref":"1"}"#;
    let ClientFrame::Subscribe(subscribe) = serde_json::from_str(good).expect("taken") else {
        panic!("not a subscribe")
    };
    assert_eq!((subscribe.lag, subscribe.snapshot), (Lag::Compact, SnapshotWish::AfterGap));
    for bad in [
        r#"{"op":"subscribe"}"#,
        r#"{"op":"subscribe","project":"p","filters":{}}"#,
        r#"{"op":"subscribe","project":"p","filter":{"type":[]}}"#,
        r#"{"op":"shout"}"#,
        r#"{"op":"subscribe","project":"p","snapshot":"maybe"}"#,
    ] {
        assert!(serde_json::from_str::<ClientFrame>(bad).is_err(), "{bad} was taken");
    }
}
