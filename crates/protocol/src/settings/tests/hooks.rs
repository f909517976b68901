//! Webhooks: changes of their members, what is shown of them, and faults.

use serde_json::{Value, json};

use super::super::hooks::*;
use super::super::*;
use super::changed;

const SECRET: &str = "hush-hush-hush-hush";
const PREVIOUS: &str = "hush-before-hush-before";

fn all() -> Value {
    json!({
        "webhooks": {
            "deploys": {
                "url": "https://example.com/hooks/hush?token=hush", "types": ["session", "error"], "secret": SECRET,
                "previous_secret": PREVIOUS,
            },
            "all": {"url": "http://10.0.0.7:8080/", "secret": SECRET},
        },
        "commands": {"webhook": {
            "url": "https://runners.example.com/", "capabilities": ["chat", "session"], "in_hand": 4, "secret": SECRET,
        }},
    })
}

/// All faults of a change, as `field code limit/actual`.
fn faults(settings: &Settings, patch: &Value) -> Vec<String> {
    let told = change(settings, patch).expect_err("a faulty change").into_iter().map(|fault| {
        let limit = fault.limit.map_or(String::new(), |limit| format!(" {limit}/{}", fault.actual.unwrap_or_default()));
        format!("{} {}{limit}", fault.field.unwrap_or_default(), fault.code)
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

#[test]
fn webhooks_are_kept_with_their_secrets_and_shown_without() {
    let set = changed(&Settings::default(), &all());
    assert_eq!(read(&set.stored()).expect("its own JSON"), set);
    assert_eq!(serde_json::from_slice::<Value>(&set.stored()).expect("JSON"), all());
    assert_eq!(set.fields(), ["commands.webhook", "webhooks"]);
    let shown = serde_json::to_value(&set).expect("JSON");
    assert_eq!(shown["webhooks"]["deploys"]["secret"], "[redacted]");
    assert_eq!(shown["webhooks"]["deploys"]["previous_secret"], "[redacted]");
    assert_eq!(shown["webhooks"]["all"].get("previous_secret"), None);
    assert_eq!(shown["commands"]["webhook"]["secret"], "[redacted]");
    assert!(!shown.to_string().contains("hush-"), "{shown}");
    let printed = format!("{set:?}");
    assert!(!printed.contains("hush") && printed.contains("https://example.com/"), "{printed}");
    let printed = format!("{:?}", Change::read(&all()));
    assert!(!printed.contains("hush"), "{printed}");
}

#[test]
fn a_member_is_changed_by_itself() {
    let set = changed(&Settings::default(), &all());
    let deploys = |settings: &Settings| settings.webhooks["deploys"].clone();
    let to = |patch: Value| deploys(&changed(&set, &json!({"webhooks": {"deploys": patch}})));
    assert_eq!(to(json!({})), deploys(&set));
    assert_eq!(to(json!({"types": null})), Webhook { types: vec![], ..deploys(&set) });
    assert_eq!(to(json!({"previous_secret": null})), Webhook { previous_secret: None, ..deploys(&set) });
    let rotated = to(json!({"secret": "another secret of some", "previous_secret": SECRET}));
    assert_eq!(rotated.secret, Secret::new("another secret of some"));
    assert_eq!(rotated.previous_secret, Some(Secret::new(SECRET)));
    let fewer = json!({"commands": {"webhook": {"in_hand": null, "capabilities": ["chat"]}}});
    let commands = changed(&set, &fewer).commands;
    let before = set.commands.webhook.clone().expect("it is set");
    let expected = CommandWebhook { in_hand: None, capabilities: vec!["chat".into()], ..before };
    assert_eq!(commands.webhook, Some(expected));
    assert_eq!(deploys(&set).filter().types, ["session", "error"]);
}

#[test]
fn what_is_shown_can_be_given_back() {
    let set = changed(&Settings::default(), &all());
    let shown = serde_json::to_value(&set).expect("JSON");
    assert_eq!(changed(&set, &shown), set);
}

#[test]
fn webhooks_go_one_by_one_and_all_at_once() {
    let set = changed(&Settings::default(), &all());
    let fewer = changed(&set, &json!({"webhooks": {"deploys": null, "never-was": null}}));
    assert_eq!(fewer.webhooks.keys().collect::<Vec<_>>(), ["all"]);
    assert!(fewer.commands.webhook.is_some());
    let none = changed(&set, &json!({"webhooks": null, "commands": {"webhook": null}}));
    assert_eq!(none, Settings::default());
    assert_eq!(changed(&set, &json!({"commands": null})).commands, Commands::default());
    assert_eq!(changed(&set, &json!({"commands": null})).webhooks, set.webhooks);
}

#[test]
fn declared_ones_stand_in_the_place_of_stored_ones() {
    let set = changed(&Settings::default(), &all());
    let own = json!({"webhooks": {"own": {"url": "https://example.com/", "secret": SECRET}}});
    let declared = changed(&Settings::default(), &own);
    let both = declared.or(&set);
    assert_eq!(both.webhooks, declared.webhooks);
    assert_eq!(both.commands, set.commands);
    assert_eq!(Settings::default().or(&set), set);
    assert_eq!(Ceilings::NONE.clamp(set.clone()), set);
}

#[test]
fn all_faults_are_told_with_their_limits() {
    let long_url = format!("https://example.com/{}", "x".repeat(2_029));
    let patch = json!({
        "webhooks": {
            "-a": {},
            "b c": {},
            "a": {"url": "ftp://example.com/", "secret": "fifteen letters", "types": ["Session"], "colour": 1},
            "b": {"url": "https://user:secret@example.com/", "secret": "x".repeat(257), "types": "session"},
            "c": {"url": long_url, "secret": 7, "types": ["session", "", 7, "x".repeat(65)]},
            "d": {"url": "https://example.com/#here", "previous_secret": "short", "types": vec!["a"; 101]},
            "e": [],
        },
        "commands": {"webhook": {
            "url": "example.com", "capabilities": [], "in_hand": 0, "secret": SECRET, "types": [],
        }},
    });
    let expected = [
        "commands.webhook.capabilities invalid_field",
        "commands.webhook.in_hand invalid_field 1/0",
        "commands.webhook.types unknown_field",
        "commands.webhook.url invalid_field",
        "webhooks.-a invalid_field",
        "webhooks.a.colour unknown_field",
        "webhooks.a.secret invalid_field 16/15",
        "webhooks.a.types[0] invalid_field",
        "webhooks.a.url invalid_field",
        "webhooks.b c invalid_field",
        "webhooks.b.secret invalid_field 256/257",
        "webhooks.b.types invalid_field",
        "webhooks.b.url invalid_field",
        "webhooks.c.secret invalid_field",
        "webhooks.c.types[1] invalid_field 64/0",
        "webhooks.c.types[2] invalid_field",
        "webhooks.c.types[3] invalid_field 64/65",
        "webhooks.c.url invalid_field 2048/2049",
        "webhooks.d.previous_secret invalid_field 16/5",
        "webhooks.d.types invalid_field 100/101",
        "webhooks.d.url invalid_field",
        "webhooks.e invalid_field",
    ];
    assert_eq!(faults(&Settings::default(), &patch), expected);
    let of_commands = |capabilities: Value, in_hand: u64| {
        let hook = json!({"url": "https://a.b/", "secret": SECRET, "capabilities": capabilities, "in_hand": in_hand});
        faults(&Settings::default(), &json!({"commands": {"webhook": hook}}))
    };
    assert_eq!(of_commands(json!(["chat"]), 1_001), ["commands.webhook.in_hand invalid_field 1000/1001"]);
    let expected = "commands.webhook.capabilities invalid_field 32/33";
    assert_eq!(of_commands(json!(vec!["chat"; 33]), 1), [expected]);
    assert_eq!(of_commands(json!(["tidings:x"]), 1), ["commands.webhook.capabilities[0] invalid_field"]);
    assert_eq!(of_commands(json!(["a\nb"]), 1), ["commands.webhook.capabilities[0] invalid_field"]);
    assert_eq!(faults(&Settings::default(), &json!({"webhooks": []})), ["webhooks invalid_field"]);
}

#[test]
fn a_new_webhook_is_named_in_full_and_there_are_eight() {
    let empty = json!({"webhooks": {"a": {"secret": "[redacted]"}}, "commands": {"webhook": {}}});
    let expected = [
        "commands.webhook.capabilities missing_field",
        "commands.webhook.secret missing_field",
        "commands.webhook.url missing_field",
        "webhooks.a.secret missing_field",
        "webhooks.a.url missing_field",
    ];
    assert_eq!(faults(&Settings::default(), &empty), expected);
    let set = changed(&Settings::default(), &all());
    let unset = json!({"webhooks": {"all": {"secret": null}}, "commands": {"webhook": {"capabilities": null}}});
    let expected = ["commands.webhook.capabilities missing_field", "webhooks.all.secret missing_field"];
    assert_eq!(faults(&set, &unset), expected);
    let more = |count: usize| {
        let hook = json!({"url": "https://example.com/", "secret": SECRET});
        json!({"webhooks": (0..count).map(|at| (format!("w{at}"), hook.clone())).collect::<serde_json::Map<_, _>>()})
    };
    assert_eq!(changed(&set, &more(6)).webhooks.len(), 8);
    assert_eq!(faults(&set, &more(7)), ["webhooks invalid_field 8/9"]);
    let mut exchange = more(8);
    for gone in ["all", "deploys"] {
        exchange["webhooks"][gone] = Value::Null;
    }
    assert_eq!(changed(&set, &exchange).webhooks.len(), 8, "those that go make room");
}

#[test]
fn addresses_are_kept_as_they_are_called() {
    let url = |text: &str| text.parse::<HookUrl>().map(|url| url.as_url().to_string());
    assert_eq!(url("HTTPS://Example.COM:443/a b"), Ok("https://example.com/a%20b".into()));
    assert_eq!(url("http://0x7f.1/"), Ok("http://127.0.0.1/".into()));
    for (text, error) in [
        ("", HookUrlError::NoUrl),
        ("https://", HookUrlError::NoUrl),
        ("/x", HookUrlError::NoUrl),
        ("file:///etc/passwd", HookUrlError::NoUrl),
        ("https://a@b/", HookUrlError::User),
        ("https://:p@b/", HookUrlError::User),
        ("https://b/#", HookUrlError::Fragment),
    ] {
        assert_eq!(url(text), Err(error), "{text}");
    }
    let grows = format!("https://example.com/{}", " x".repeat(1_000));
    assert_eq!(url(&grows), Err(HookUrlError::TooLong(20 + 4_000)));
}
