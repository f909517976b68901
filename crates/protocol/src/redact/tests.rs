//! What is found, what is not, and what holds for any text.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn builtin() -> Redactor {
    Redactor::new(true, &[]).expect("the built-in rules are good")
}

fn own(rules: &[(&str, &str)]) -> Result<Redactor, Vec<(usize, RuleFault)>> {
    let rule = |(name, pattern): &(&str, &str)| OwnRule { name: (*name).into(), pattern: (*pattern).into() };
    Redactor::new(false, &rules.iter().map(rule).collect::<Vec<_>>())
}

fn text(redactor: &Redactor, text: &str) -> String {
    redactor.text(text, &mut Counts::default()).unwrap_or_else(|| text.to_owned())
}

fn json(redactor: &Redactor, json: &str) -> String {
    redactor.json(json, &mut Counts::default()).unwrap_or_else(|| json.to_owned())
}

/// One secret for each rule. Put together here, so that scanners of this repository find none.
fn samples() -> Vec<(&'static str, String)> {
    let long = |length: usize| "a1B2c3D4e5".repeat(6)[..length].to_owned();
    vec![
        ("aws_access_key_id", format!("AKIA{}", "ABCDEFGH12345678")),
        ("github_token", format!("ghp_{}", long(36))),
        ("gitlab_token", format!("glpat-{}", long(20))),
        ("slack_token", format!("xoxb-{}-{}", "123456789012", long(24))),
        ("anthropic_key", format!("sk-ant-api03-{}", long(40))),
        ("openai_key", format!("sk-proj-{}", long(40))),
        ("google_api_key", format!("AIza{}", long(35))),
        ("stripe_key", format!("sk_live_{}", long(24))),
        ("tidings_key", format!("tdk_{}_{}", long(16), long(43))),
        ("private_key", format!("-----BEGIN RSA {0}-----\nMIIE\nabc==\n-----END RSA {0}-----", "PRIVATE KEY")),
        ("jwt", format!("eyJ{}.eyJ{}.{}", long(20), long(30), long(43))),
        ("aws_secret_access_key", format!("aws_secret_access_key = {}", long(40))),
        ("authorization", format!("Bearer {}", long(24))),
        ("url_password", "://user:hunter2@".to_owned()),
        ("password", "DB_PASSWORD=hunter2".to_owned()),
    ]
}

#[test]
fn each_rule_finds_its_secret_and_counts_it() {
    let redactor = builtin();
    let samples = samples();
    assert_eq!(samples.iter().map(|(name, _)| *name).collect::<Vec<_>>(), BUILTIN.map(|rule| rule.name));
    for (name, secret) in samples {
        let mut counts = Counts::default();
        let found = redactor.text(&format!("say {secret} now"), &mut counts).expect(name);
        assert_eq!(found, format!("say [redacted:{name}] now"));
        assert_eq!(counts.iter().filter(|(_, finds)| *finds > 0).collect::<Vec<_>>(), [(name, 1)]);
    }
}

#[test]
fn forms_of_secrets() {
    let redactor = builtin();
    let jwt = samples()[10].1.clone();
    for (told, expected) in [
        (r#"{"password": "correct horse battery"}"#.to_owned(), r#"{"[redacted:password]"}"#),
        (r"{\u0022api_key\u0022: 1}".to_owned(), r"{\u0022api_key\u0022: 1}"),
        (r#"curl -H "Authorization: Basic dXNlcjpwYXNz" x"#.to_owned(), r#"curl -H "[redacted:authorization]" x"#),
        (format!("authorization: bearer {jwt}"), "authorization: bearer [redacted:jwt]"),
        ("redis://:s3cret@host:6379/0".to_owned(), "redis[redacted:url_password]host:6379/0"),
        ("MY_API_KEY='x y z' run".to_owned(), "[redacted:password]' run"),
        ("client_secret => abcdef;".to_owned(), "[redacted:password];"),
        (format!("-----BEGIN {}-----\nMIIE", "PRIVATE KEY"), "[redacted:private_key]"),
        (
            format!("password:\n-----BEGIN {0}-----\nMIIE\n-----END {0}-----", "PRIVATE KEY"),
            "password:\n[redacted:private_key]",
        ),
    ] {
        assert_eq!(text(&redactor, &told), expected, "{told}");
    }
}

#[test]
fn words_and_code_pass() {
    for told in [
        "the password was changed",
        "3 tokens and 12 words: all fine",
        "https://example.com/a?b=c",
        "sk-folding-cube",
        "user@example.com",
        "if password == other",
        "key: value",
        "eyJhbGci",
        "AKIA",
        "basic internationalization",
        "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----",
        "risk-assessment-of-the-whole-project-and-more",
        "http://[::1]:8000/x",
        "12:30:45",
        "bearer of bad news",
        "5f0c6a1e-8b7d-4c3a-9e2f-1a2b3c4d5e6f",
    ] {
        assert_eq!(text(&builtin(), told), told);
    }
}

#[test]
fn strings_of_json_are_redacted_as_they_are_meant() {
    let redactor = builtin();
    let aws = &samples()[0].1;
    let escaped = aws.replace('A', "\\u0041");
    for (data, expected) in [
        (format!(r#"{{"a":["x {aws} y",1,null],"{aws}":2}}"#), format!(r#"{{"a":["x [redacted:aws_access_key_id] y",1,null],"{aws}":2}}"#)),
        (format!(r#"{{"a":"\u00e4\"{escaped}\"\n"}}"#), r#"{"a":"ä\"[redacted:aws_access_key_id]\"\n"}"#.to_owned()),
        (format!(r#""{aws}""#), r#""[redacted:aws_access_key_id]""#.to_owned()),
        (format!(r#"{{"k":"-----BEGIN {0}-----\nMI\n-----END {0}-----\n"}}"#, "PRIVATE KEY"), r#"{"k":"[redacted:private_key]\n"}"#.to_owned()),
        (r#"{"password":"x","Api-Key":"y","pwd":["z"],"secret":{"a":"b"},"passwd":5}"#.to_owned(),
            r#"{"password":"[redacted:password]","Api-Key":"[redacted:password]","pwd":["z"],"secret":{"a":"b"},"passwd":5}"#.to_owned()),
        (r#"{"a":"\ud83d cut","b":1.50e3}"#.to_owned(), r#"{"a":"\ud83d cut","b":1.50e3}"#.to_owned()),
        (format!(r#"{{"a":"\ud83d {aws}"}}"#), "{\"a\":\"\u{fffd} [redacted:aws_access_key_id]\"}".to_owned()),
    ] {
        assert_eq!(json(&redactor, &data), expected, "{data}");
    }
    assert!(redactor.json(r#"{"a":"plain"}"#, &mut Counts::default()).is_none());
}

#[test]
fn own_rules_find_what_they_say() {
    let redactor = own(&[("ticket", r"T-\d{3,}"), ("name", "(?i)alice")]).expect("good rules");
    let mut counts = Counts::default();
    let found = redactor.text("ALICE did T-1234, not T-1; password=x1234", &mut counts);
    assert_eq!(found.as_deref(), Some("[redacted:name] did [redacted:ticket], not T-1; password=x1234"));
    assert_eq!((counts.total(), counts.iter().last()), (2, Some(("own", 2))));
    assert_eq!(json(&redactor, r#"{"password":"alice2"}"#), r#"{"password":"[redacted:name]2"}"#);
    assert_eq!(text(&own(&[("a", "redacted|e")]).expect("good"), "[redacted:jwt] e"), "[redacted:jwt] [redacted:a]");
}

/// Why this alone cannot be read.
fn expected_of(pattern: &str) -> RuleFault {
    own(&[("a", pattern)]).expect_err(pattern).remove(0).1
}

#[test]
fn faulty_rules_are_refused_by_their_place() {
    let check = |rules: &[(&str, &str)], expected: &[(usize, RuleFault)]| {
        assert_eq!(own(rules).expect_err("faulty"), expected);
    };
    check(&[("Bad", "x"), ("ok", "x"), ("", "x")], &[(0, RuleFault::Name), (2, RuleFault::Name)]);
    check(&[("jwt", "x"), ("a", "x"), ("a", "y")], &[(0, RuleFault::NameTaken), (2, RuleFault::NameTaken)]);
    check(&[("a", "x*"), ("b", "")], &[(0, RuleFault::Empty)]);
    check(&[("a", "x"), ("b", "y*"), ("c", "")], &[(1, RuleFault::Empty)]);
    check(&[("a", "x"), ("b", "y|")], &[(1, RuleFault::Empty)]);
    check(&[("a", &"x".repeat(513))], &[(0, RuleFault::PatternTooLong(513))]);
    check(&[("a", r"(\w{500}){500}")], &[(0, RuleFault::TooComplex)]);
    // Small as written, but a search of it would take thousands of steps per byte.
    check(&[("a", "[ab]*a[ab]{100}[0-9]|[ab]")], &[(0, RuleFault::TooComplex)]);
    // Looked at up to the first that is at fault: others cost nothing.
    let complex = "(?-u)(?:[a-z0-9]{0,40}q){1,6}";
    check(&[("ok", "x"), ("a", complex), ("b", complex), ("c", "(")], &[(3, expected_of("("))]);
    check(&[("ok", "x"), ("a", complex), ("b", complex)], &[(1, RuleFault::TooComplex)]);
    check(&[("ok", "x"), ("a", "("), ("b", ")")], &[(1, expected_of("("))]);
    // None by itself, but all together.
    let word = |at: usize| (format!("r{at}"), format!("(?i-u){}{at:x}", "k".repeat(490)));
    let words: Vec<(String, String)> = (0..16).map(word).collect();
    let words: Vec<(&str, &str)> = words.iter().map(|(name, pattern)| (&**name, &**pattern)).collect();
    assert!(words.iter().all(|word| own(&[*word]).is_ok()));
    let faults = own(&words).map(|_| "taken").expect_err("they are too complex together");
    assert!(matches!(faults[..], [(1.., RuleFault::TooComplex)]), "{faults:?}");
    for pattern in ["(", r"(a)\1", "(?=a)b", &"(".repeat(200)] {
        let faults = own(&[("a", pattern)]).expect_err(pattern);
        assert!(matches!(&faults[..], [(0, RuleFault::Pattern(why))] if !why.is_empty()), "{pattern}: {faults:?}");
    }
}

#[test]
fn a_rule_that_makes_each_search_long_is_bounded() {
    // Each find is one letter, but is certain only at the end of the text: left alone, the time would be its square.
    let redactor = own(&[("slow", "[a-z]*[0-9]|[a-z]")]).expect("a good rule");
    let mut counts = Counts::default();
    let found = redactor.text(&"x".repeat(256 * 1024), &mut counts).expect("finds");
    assert_eq!((counts.total(), found.len()), (MATCHES_MAX as u64, MATCHES_MAX * "[redacted:slow]".len()));
}

/// Texts that are full of secrets, halves of them, and what stands around them.
fn secretive() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        (0..BUILTIN_COUNT).prop_map(|at| samples()[at].1.clone()),
        (0..BUILTIN_COUNT, 0..40_usize).prop_map(|(at, cut)| samples()[at].1.chars().take(cut).collect()),
        (0..BUILTIN_COUNT, 0..40_usize).prop_map(|(at, cut)| samples()[at].1.chars().skip(cut).collect()),
        (0..BUILTIN_COUNT).prop_map(|at| format!("[redacted:{}]", BUILTIN[at].name)),
        "[ a-zA-Z0-9_=:;,.'\"\\\\/@\\[\\]é\n-]{0,6}",
        "(password|secret|api_key|bearer|authorization|://)[ =:\"']{0,3}".prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// The same shape, whatever the strings.
fn same_shape(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(_), Value::String(_)) => true,
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_shape(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.keys().eq(b.keys()) && a.values().zip(b.values()).all(|(a, b)| same_shape(a, b))
        }
        (a, b) => a == b,
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        secretive().prop_map(Value::String),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null)
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let name = prop_oneof![Just("password".to_owned()), "[a-z\"\\\\]{0,4}", secretive()];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((name, inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn done_again_it_changes_nothing(told in secretive()) {
        let redactor = builtin();
        let once = text(&redactor, &told);
        prop_assert_eq!(text(&redactor, &once), once);
    }

    #[test]
    fn json_stays_json_of_the_same_shape(data in value()) {
        let redactor = Redactor::new(true, &[OwnRule { name: "q".into(), pattern: "[\"\\\\]+|é".into() }]).expect("good");
        let once = json(&redactor, &data.to_string());
        let read: Value = serde_json::from_str(&once).expect("JSON");
        prop_assert!(same_shape(&read, &data), "{data} {once}");
        let certain = samples();
        for (_, secret) in certain.iter().take(11) {
            // A whole secret between spaces never passes.
            let told = Value::from(format!("a {secret} b")).to_string();
            prop_assert!(!json(&redactor, &told).contains(Value::from(&**secret).to_string().trim_matches('"')));
        }
    }
}
