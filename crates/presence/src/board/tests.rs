//! The machine against a store that a test plays.

use std::time::Duration;

use serde_json::Value;
use tidings_broker::presence::Listed;

use super::*;
use crate::Settings;

const LEASE_MS: u64 = 15_000;
const ROUND_MS: u64 = 2_000;

fn board() -> Board {
    let settings = Settings { lease: Duration::from_millis(LEASE_MS), round: Duration::from_millis(ROUND_MS) };
    Board::new("demo".parse().expect("a name"), "g-1".into(), &settings)
}

fn who(viewer: &str) -> Who {
    Who { viewer: viewer.into(), is_user: false }
}

fn enter(board: &mut Board, viewer: &str) {
    board.enter(&who(viewer), Transport::WebSocket, 1_000);
}

fn leave(board: &mut Board, viewer: &str) {
    board.leave(&viewer.into(), Transport::WebSocket);
}

/// A roll of these gateways, the board's own first.
fn roll(others: &[(&str, u64)]) -> Roll {
    let all = [("g-1", 1)].iter().chain(others);
    let gateways = all.map(|(name, version)| Listed { gateway: (*name).into(), version: *version }).collect();
    Roll { gateways, ..Roll::default() }
}

fn reported(roll: Roll) -> Reported {
    Reported { lapsed: false, roll }
}

/// A gateway that has these viewers.
fn has(version: u64, viewers: &[&str]) -> Members {
    let record = Bytes::from_static(br#"{"since":500,"connections":1,"transports":["sse"],"mood":"later"}"#);
    let named = viewers.iter().map(|name| ((*name).to_owned(), record.clone())).collect();
    Members { version, named, others: 0 }
}

fn report(board: &mut Board, now_ms: u64) -> Report {
    match board.begin(now_ms) {
        Call::Report(report) => report,
        Call::Leave => panic!("somebody is here"),
    }
}

/// A whole call: what others have is `others`.
fn round(board: &mut Board, now_ms: u64, others: &[(&str, u64, &[&str])]) {
    report(board, now_ms);
    let listed: Vec<(&str, u64)> = others.iter().map(|(name, version, _)| (*name, *version)).collect();
    let answer = reported(roll(&listed));
    let asked = board.reported(now_ms, &answer);
    let find = |name: &Arc<str>| {
        others.iter().find(|(other, ..)| **other == **name).map(|(_, version, who)| has(*version, who))
    };
    let reads = asked.iter().map(|name| (Arc::clone(name), Ok(find(name)))).collect();
    board.learned(now_ms, answer.roll, reads);
    board.tell(now_ms, now_ms);
}

/// What a watcher hears: events as `joined NAME` and `left NAME`, a list as its names and `!` if it is stale.
fn heard(board: &mut Board, told: &mut Option<u64>) -> Vec<String> {
    let untold = board.untold(*told, false);
    if untold.at > 0 {
        *told = Some(untold.at);
    }
    let mut heard = Vec::new();
    for said in untold.said {
        for text in said.texts() {
            let json: Value = serde_json::from_slice(text).expect("JSON");
            let name = |value: &Value| value["viewer"].as_str().or(value["runner"].as_str()).expect("who").to_owned();
            heard.push(match said.topic() {
                Topic::Full => {
                    let all = json["viewers"].as_array().into_iter().chain(json["runners"].as_array()).flatten();
                    let stale = if json["stale"] == true { "!" } else { "" };
                    format!("[{}]{stale}", all.map(name).collect::<Vec<_>>().join(" "))
                }
                Topic::Changes => {
                    let word = json["type"].as_str().and_then(|kind| kind.strip_prefix("presence.")).expect("a type");
                    format!("{word} {}", name(&json["data"]))
                }
            });
        }
    }
    heard
}

#[test]
fn a_change_is_reported_at_once_and_what_follows_is_gathered() {
    let mut board = board();
    assert_eq!(board.due_ms(), None, "nobody is here");
    enter(&mut board, "a");
    assert_eq!(board.due_ms(), Some(0));
    let first = report(&mut board, 7_000);
    assert_eq!(board.due_ms(), None, "one call at a time");
    let named = |report: &Report| {
        let members = report.members.as_ref().expect("all that are here");
        members.named.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!((first.version, named(&first)), (1, vec!["a".to_owned()]));
    enter(&mut board, "b");
    enter(&mut board, "c");
    board.reported(7_010, &reported(roll(&[])));
    board.learned(7_010, roll(&[]), Vec::new());
    assert_eq!(board.due_ms(), Some(7_000 + COALESCE_MS));
    let second = report(&mut board, 7_100);
    assert_eq!((second.version, named(&second).len()), (2, 3));
    board.learned(7_100, roll(&[]), Vec::new());
    assert_eq!(board.due_ms(), Some(7_100 + LEASE_MS / 3), "nobody wants to know: a lease is renewed");
    assert_eq!(report(&mut board, 12_100).members, None, "without a word on who is here");
    board.learned(12_100, roll(&[]), Vec::new());
    for viewer in ["a", "b", "c"] {
        leave(&mut board, viewer);
    }
    assert_eq!((board.due_ms(), board.is_idle()), (Some(12_200), false));
    assert_eq!(board.begin(12_200), Call::Leave);
    board.left(12_210);
    assert!(board.is_idle());
}

#[test]
fn what_is_reported_is_bounded() {
    let mut board = board();
    for viewer in 0..10_000 {
        enter(&mut board, &format!("v-{viewer}"));
    }
    let members = report(&mut board, 0).members.expect("all that are here");
    assert_eq!((members.named.len(), members.others), (200, 9_800));
}

#[test]
fn who_watches_hears_who_is_there_and_then_who_comes_and_goes() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    assert_eq!(heard(&mut board, &mut told), Vec::<String>::new(), "nothing is known yet");
    round(&mut board, 0, &[("g-2", 1, &["x"])]);
    assert_eq!(heard(&mut board, &mut told), ["[x a]"]);
    assert_eq!(board.due_ms(), Some(ROUND_MS));
    round(&mut board, ROUND_MS, &[("g-2", 2, &["y"]), ("g-3", 1, &["a"])]);
    enter(&mut board, "b");
    round(&mut board, 2 * ROUND_MS, &[("g-2", 2, &[]), ("g-3", 1, &[])]);
    assert_eq!(heard(&mut board, &mut told), ["left x", "joined y", "joined b"]);
    leave(&mut board, "a");
    round(&mut board, 3 * ROUND_MS, &[("g-2", 2, &[]), ("g-3", 1, &[])]);
    assert_eq!(heard(&mut board, &mut told), Vec::<String>::new(), "it is at another gateway, too");
    // The others died: nobody says so.
    round(&mut board, 4 * ROUND_MS, &[]);
    assert_eq!(heard(&mut board, &mut told), ["left a", "left y"]);
}

#[test]
fn who_is_too_far_behind_hears_all_that_are_there() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    round(&mut board, 0, &[]);
    heard(&mut board, &mut told);
    for turn in 1..=NEWS_MAX as u64 {
        enter(&mut board, &format!("b{turn}"));
        round(&mut board, turn * ROUND_MS, &[]);
    }
    assert_eq!(heard(&mut board, &mut told.clone()).len(), NEWS_MAX);
    enter(&mut board, "last");
    round(&mut board, 100 * ROUND_MS, &[]);
    let heard = heard(&mut board, &mut told);
    assert!(heard.len() == 1 && heard[0].starts_with('[') && heard[0].contains("last"), "{heard:?}");
}

#[test]
fn news_are_kept_up_to_so_many_bytes_and_none_for_nobody() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    round(&mut board, 0, &[]);
    heard(&mut board, &mut told);
    let names: Vec<String> = (0..150).map(|index| format!("{}{index}", "x".repeat(200))).collect();
    let (many, nobody): (Vec<&str>, &[&str]) = (names.iter().map(String::as_str).collect(), &[]);
    for version in 1..=6 {
        let there = if version % 2 == 1 { &many[..] } else { nobody };
        round(&mut board, version * ROUND_MS, &[("g-2", version, there)]);
        let kept: usize = board.news.iter().map(|said| said.bytes()).sum();
        assert!(kept <= NEWS_BYTES_MAX && kept == board.news_bytes, "{kept} bytes");
    }
    assert!(board.news.len() < 6, "not all of it is kept");
    assert_eq!(heard(&mut board, &mut told), ["[a]"], "who is behind is told all that are there");
    board.unwatch();
    assert_eq!((board.news.len(), board.news_bytes), (0, 0));
}

#[test]
fn a_store_that_is_away_makes_the_list_stale_and_takes_nobody_off() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    round(&mut board, 0, &[("g-2", 1, &["x"]), ("g-3", 1, &["y"])]);
    heard(&mut board, &mut told);
    report(&mut board, ROUND_MS);
    board.failed();
    board.tell(ROUND_MS, 0);
    assert_eq!(heard(&mut board, &mut told), ["[x y a]!"]);
    assert_eq!(board.due_ms(), Some(2 * ROUND_MS));
    // It comes back when all leases have run out: g-2 is the first to renew.
    let back_ms = ROUND_MS + LEASE_MS;
    round(&mut board, back_ms, &[("g-2", 1, &[])]);
    assert_eq!(heard(&mut board, &mut told), Vec::<String>::new(), "g-3 had no chance yet");
    let doubtful = (back_ms + ROUND_MS..back_ms + LEASE_MS).step_by(2_000);
    doubtful.for_each(|now_ms| round(&mut board, now_ms, &[("g-2", 1, &[])]));
    assert_eq!(heard(&mut board, &mut told), Vec::<String>::new());
    round(&mut board, back_ms + LEASE_MS, &[("g-2", 1, &[])]);
    assert_eq!(heard(&mut board, &mut told), ["[x a]"], "g-3 is dead");
}

#[test]
fn a_short_trouble_is_no_reason_for_doubt() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    round(&mut board, 0, &[("g-2", 1, &["x"])]);
    report(&mut board, ROUND_MS);
    board.failed();
    board.tell(ROUND_MS, 0);
    round(&mut board, 2 * ROUND_MS, &[]);
    assert_eq!(heard(&mut board, &mut told), ["[a]"], "g-2 left meanwhile");
}

#[test]
fn a_store_that_lost_everything_is_told_again_and_takes_nobody_off() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    round(&mut board, 0, &[("g-2", 1, &["x"])]);
    heard(&mut board, &mut told);
    assert_eq!(report(&mut board, ROUND_MS).members, None);
    let empty = Reported { lapsed: true, roll: Roll::default() };
    assert_eq!(board.reported(ROUND_MS, &empty), Vec::<Arc<str>>::new());
    board.learned(ROUND_MS, empty.roll, Vec::new());
    board.tell(ROUND_MS, 0);
    assert_eq!(heard(&mut board, &mut told), ["[x a]!"]);
    assert_eq!(board.due_ms(), Some(ROUND_MS + COALESCE_MS));
    let again = report(&mut board, ROUND_MS + COALESCE_MS);
    assert_eq!((again.version, again.members.map(|all| all.named.len())), (2, Some(1)));
}

#[test]
fn runners_come_and_go_and_stay_while_there_is_doubt() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    let step = |board: &mut Board, now_ms: u64, version: u64, names: Option<&[&str]>| {
        report(board, now_ms);
        let runner = |name: &&str| Runner { name: (*name).into(), since_ms: 0, record: Bytes::from_static(b"?") };
        let runners = names.map(|names| names.iter().map(runner).collect());
        let runners_others = if runners.is_some() { version } else { 0 };
        let answer = reported(Roll { runners_version: version, runners, runners_others, ..roll(&[]) });
        board.reported(now_ms, &answer);
        board.learned(now_ms, answer.roll, Vec::new());
        board.tell(now_ms, 0);
    };
    step(&mut board, 0, 5, Some(&["r", "s"]));
    assert_eq!(
        (heard(&mut board, &mut told), board.runners()),
        (vec!["[a r s]".to_owned()], 2 + 5),
        "others are counted"
    );
    assert_eq!(report(&mut board, 1_000).known_runners, 5);
    board.failed();
    step(&mut board, 2_000, 5, None);
    step(&mut board, 3_000, 6, Some(&["s"]));
    assert_eq!(heard(&mut board, &mut told), ["left r"]);
    let late_ms = 3_000 + LEASE_MS;
    step(&mut board, late_ms, 0, Some(&[]));
    assert_eq!(heard(&mut board, &mut told), ["[a s]!"]);
    let doubtful = (late_ms + ROUND_MS..late_ms + LEASE_MS).step_by(2_000);
    doubtful.for_each(|now_ms| step(&mut board, now_ms, 9, Some(&["t"])));
    assert_eq!(heard(&mut board, &mut told), ["joined t"]);
    step(&mut board, late_ms + LEASE_MS, 9, Some(&["t"]));
    assert_eq!(heard(&mut board, &mut told), ["[a t]"]);
    board.unwatch();
    assert_eq!(board.runners(), 0);
}

#[test]
fn what_others_have_is_read_again_when_somebody_wants_to_know_again() {
    let (mut board, mut told) = (board(), None);
    enter(&mut board, "a");
    board.watch();
    round(&mut board, 0, &[("g-2", 1, &["x"])]);
    board.unwatch();
    round(&mut board, 5_000, &[("g-2", 3, &["y"])]);
    board.watch();
    assert_eq!(heard(&mut board, &mut told), Vec::<String>::new(), "what is old is not told");
    assert_eq!(board.due_ms(), Some(5_000 + COALESCE_MS));
    round(&mut board, 5_100, &[("g-2", 3, &["y"])]);
    assert_eq!(heard(&mut board, &mut told), ["[y a]"]);
}

#[test]
fn what_a_viewer_is_told_goes_with_the_next_renewal_and_makes_no_call_of_its_own() {
    let mut board = board();
    enter(&mut board, "ann");
    round(&mut board, 0, &[]);
    let count = board.count("ann");
    count.add(3);
    assert_eq!(board.due_ms(), Some(LEASE_MS / 3), "nobody watches");
    let members = report(&mut board, LEASE_MS / 3).members.expect("it was told something");
    let record: Value = serde_json::from_slice(&members.named[0].1).expect("JSON");
    assert_eq!((members.version, &record["told"]), (2, &Value::from(3)));
    board.learned(LEASE_MS / 3, roll(&[]), Vec::new());
    assert!(report(&mut board, LEASE_MS).members.is_none(), "nothing since");
}
