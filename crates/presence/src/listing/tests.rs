use super::*;

fn project() -> Project {
    "demo".parse().expect("a name")
}

fn record(since: u64, connections: u32, transport: &str) -> ViewerRecord {
    ViewerRecord { user: false, since, connections, transports: vec![transport.to_owned()], told: 0 }
}

fn part<const N: usize>(viewers: [(&str, ViewerRecord); N], others: u64) -> Part {
    Part { viewers: viewers.into_iter().map(|(name, record)| (name.into(), record)).collect(), others }
}

fn listing(parts: &[(&str, Part)], runners: &Runners) -> Listing {
    let parts: Vec<(Arc<str>, &Part)> = parts.iter().map(|(name, part)| ((*name).into(), part)).collect();
    Listing::of(parts.iter().map(|(name, part)| (name, *part)), runners, 0)
}

fn json(listing: &Listing) -> serde_json::Value {
    serde_json::from_slice(&listing.json(&project(), false)).expect("JSON")
}

#[test]
fn a_viewer_at_several_gateways_is_one() {
    let user = ViewerRecord { user: true, ..record(2_000, 1, "sse") };
    let parts = [
        ("g-1", part([("alice", ViewerRecord { user: true, ..record(3_000, 2, "websocket") })], 0)),
        ("g-2", part([("alice", user), ("v-1", record(1_000, 1, "websocket"))], 4)),
        ("g-3", Part::default()),
    ];
    let runner = RunnerRecord { name: Some("Seven".into()), capabilities: vec!["chat".into()], ..Default::default() };
    let told = json(&listing(&parts, &Runners::from([("r-7".into(), (5_000, runner))])));
    let expected = serde_json::json!({
        "project": "demo",
        "viewers": [
            {"viewer": "v-1", "since": "1970-01-01T00:00:01.000Z", "connections": 1, "transports": ["websocket"],
                "gateways": ["g-2"]},
            {"viewer": "alice", "user": "alice", "since": "1970-01-01T00:00:02.000Z", "connections": 3,
                "transports": ["sse", "websocket"], "gateways": ["g-1", "g-2"]},
        ],
        "others": 4,
        "runners": [{"runner": "r-7", "since": "1970-01-01T00:00:05.000Z", "name": "Seven", "capabilities": ["chat"]}],
        "runners_others": 0,
        "gateways": ["g-1", "g-2", "g-3"],
        "stale": false,
    });
    assert_eq!(told, expected);
}

#[test]
fn whoever_is_there_for_the_longest_is_listed_and_the_others_are_counted() {
    let many = |from: u64| -> Part {
        let one = |index: u64| (format!("v-{}", from + index).into(), record(from + 2 * index, 1, "sse"));
        Part { viewers: (0..150).map(one).collect(), others: 7 }
    };
    let runners = (0..250).map(|index| (format!("r-{index:03}").into(), (0, RunnerRecord::default()))).collect();
    let told = json(&listing(&[("g-1", many(1_000)), ("g-2", many(1_201))], &runners));
    let names = |list: &str| told[list].as_array().expect("a list").len();
    assert_eq!((names("viewers"), &told["others"]), (200, &(300 - 200 + 14).into()));
    assert_eq!((names("runners"), &told["runners_others"]), (200, &50.into()));
    let newest = told["viewers"][199]["since"].as_str().expect("a time");
    assert!(told["viewers"].as_array().expect("a list").iter().all(|viewer| viewer["since"].as_str() <= Some(newest)));
    assert_eq!(told["viewers"][0]["viewer"], "v-1000");
}

#[test]
fn a_list_says_so_many_bytes_at_most() {
    let long = |bytes: usize| "\u{1}".repeat(bytes);
    let viewers = (0..200).map(|index| (format!("{}{index}", long(250)).into(), record(index, 1, "sse"))).collect();
    let heavy = RunnerRecord { labels: [("l".to_owned(), long(1_000))].into(), ..RunnerRecord::default() };
    let runners: Runners = (0..200).map(|index| (format!("r-{index:03}").into(), (0, heavy.clone()))).collect();
    let part = Part { viewers, others: 0 };
    let gateway: Arc<str> = "g-1".into();
    let listing = Listing::of([(&gateway, &part)].into_iter(), &runners, 50);
    let text = listing.json(&project(), false);
    assert!(text.len() <= 2 * LISTED_BYTES_MAX + 1_000, "{} bytes", text.len());
    let told = json(&listing);
    for (list, others, all) in [("viewers", "others", 200), ("runners", "runners_others", 250)] {
        let named = told[list].as_array().expect("a list").len() as u64;
        assert!((10..100).contains(&named), "{named} {list}");
        assert_eq!(told[others], all - named);
    }
    let (texts, _) = listing.changes(&Listing::default(), &project(), 0);
    assert!(texts.iter().map(Vec::len).sum::<usize>() <= 3 * LISTED_BYTES_MAX);
}

#[test]
fn changes_are_who_came_and_who_went() {
    let check = |before: &Listing, after: &Listing, expected: &[(&str, &str)]| {
        let (texts, tally) = after.changes(before, &project(), 1_000);
        let told = texts.iter().map(|text| serde_json::from_slice::<serde_json::Value>(text).expect("JSON"));
        let told: Vec<(String, String)> = told
            .map(|event| {
                assert_eq!((&event["project"], &event["time"]), (&"demo".into(), &"1970-01-01T00:00:01.000Z".into()));
                let who = event["data"]["viewer"].as_str().or(event["data"]["runner"].as_str()).expect("who");
                (event["type"].as_str().expect("a type").to_owned(), who.to_owned())
            })
            .collect();
        let expected: Vec<_> = expected.iter().map(|(kind, who)| ((*kind).to_owned(), (*who).to_owned())).collect();
        assert_eq!(told, expected);
        let counted = tally.viewers_joined + tally.viewers_left + tally.runners_joined + tally.runners_left;
        assert_eq!(counted, told.len() as u64);
    };
    let runner = |name: &str| Runners::from([(name.into(), (0, RunnerRecord::default()))]);
    let (a, b) = (("a", record(1, 1, "sse")), ("b", record(2, 1, "sse")));
    let first = listing(&[("g-1", part([a.clone(), b.clone()], 0))], &runner("r"));
    let moved = listing(&[("g-2", part([("a", record(9, 5, "websocket"))], 3))], &runner("s"));
    check(&Listing::default(), &first, &[(JOINED, "a"), (JOINED, "b"), (JOINED, "r")]);
    check(&first, &first, &[]);
    check(&first, &moved, &[(LEFT, "b"), (LEFT, "r"), (JOINED, "s")]);
    check(&moved, &Listing::default(), &[(LEFT, "a"), (LEFT, "s")]);
}
