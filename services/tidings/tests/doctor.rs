//! `tidings doctor` against real servers: a good one, and ones with one fault each, which must be the one that is told.

use std::process::{Command, Output, Stdio};

use fred::interfaces::{HashesInterface as _, ServerInterface as _, SetsInterface as _, StreamsInterface as _};
use fred::prelude::ClientLike as _;
use fred::types::CustomCommand;
use serde_json::Value;
use tidings_tests::certificates::Papers;
use tidings_tests::http;
use tidings_tests::process::{Process, free_port};
use tidings_tests::redis::{Durability, Redis};
use tidings_tests::redis_cluster::RedisCluster;
use tidings_tests::sentinel::{Sentinels, rights};
use tidings_tests::wait::eventually;

/// As docs/operations.md wants a server to be.
const GOOD: [&str; 4] = ["--maxmemory", "256mb", "--client-output-buffer-limit", "pubsub 256mb 64mb 60"];

/// What depends on how busy the machine is.
const OF_THE_MOMENT: [&str; 2] = ["round trip", "clock"];

/// The binary, in an environment without settings.
fn tidings(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TIDINGS_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// What the doctor said, and the exit code.
struct Said {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Said {
    /// The check of this name.
    #[track_caller]
    fn check(&self, name: &str) -> &Value {
        self.checks
            .iter()
            .find(|check| check["check"] == name)
            .unwrap_or_else(|| panic!("no {name}: {:#?}", self.checks))
    }

    /// The checks with this verdict, but for those of the moment.
    fn of(&self, verdict: &str) -> Vec<&str> {
        let is_it = |check: &&Value| check["verdict"] == verdict;
        let names = self.checks.iter().filter(is_it).filter_map(|check| check["check"].as_str());
        names.filter(|name| !OF_THE_MOMENT.contains(name)).collect()
    }
}

fn doctor(url: &str, arguments: &[&str], settings: &[(&str, String)]) -> Said {
    let mut command = tidings(&["doctor", "--json", "--redis-url", url]);
    command.args(arguments).envs(settings.iter().map(|(name, value)| (name, value)));
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    let summary: Value =
        serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&stderr)));
    let checks = summary["checks"].as_array().expect("a list").clone();
    let failed = checks.iter().filter(|check| check["verdict"] == "fail").count();
    assert_eq!(summary["failed"], failed);
    Said { code: status.code(), checks }
}

async fn good() -> Redis {
    Redis::with(Durability::AppendOnlyFile, &GOOD).await
}

async fn account(redis: &Redis, rules: &str) {
    let words: Vec<String> = ["SETUSER"].into_iter().chain(rules.split_whitespace()).map(str::to_owned).collect();
    let client = redis.client().await;
    let _: String =
        client.custom(CustomCommand::new_static("ACL", None::<u16>, false), words).await.expect("sound rules");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_redis_is_ok_and_as_before() {
    let redis = good().await;
    let said = doctor(&redis.url(), &[], &[]);
    assert_eq!(
        (said.code, said.of("ok").len()),
        (Some(0), said.checks.len() - OF_THE_MOMENT.len()),
        "{:#?}",
        said.checks
    );
    assert!(
        said.check("an event")["found"].as_str().expect("text").contains("heard on the channel and read from the log")
    );
    let left: u64 = redis.client().await.dbsize().await.expect("an answer");
    assert_eq!(left, 0, "it leaves nothing behind");
    // For people: a line for each, and the sum.
    let output = tidings(&["doctor", "--redis-url", &redis.url()]).output().expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("  ok    memory policy  noeviction\n"), "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fault_of_a_server_is_the_one_that_is_told() {
    let redis = good().await;
    redis.configure("maxmemory-policy", "allkeys-lru").await;
    let said = doctor(&redis.url(), &[], &[]);
    assert_eq!((said.code, said.of("fail"), said.of("warn")), (Some(1), vec!["memory policy"], vec![]));
    assert_eq!(said.check("memory policy")["found"], "allkeys-lru");
    redis.configure("maxmemory-policy", "noeviction").await;

    redis.configure("client-output-buffer-limit", "pubsub 32mb 8mb 60").await;
    let said = doctor(&redis.url(), &[], &[]);
    assert_eq!((said.code, said.of("fail"), said.of("warn")), (Some(0), vec![], vec!["buffers"]));
    redis.configure("client-output-buffer-limit", "pubsub 256mb 64mb 60").await;

    let waits = [("TIDINGS_PROJECTS__WAIT_REPLICAS", "1".to_owned())];
    let said = doctor(&redis.url(), &[], &waits);
    assert_eq!((said.code, said.of("fail")), (Some(1), vec!["replicas", "an event"]), "{:#?}", said.checks);
    let left: u64 = redis.client().await.dbsize().await.expect("an answer");
    assert_eq!(left, 0, "an event that failed is removed, too");

    let client = redis.client().await;
    let _: () = client.sadd("tidings:index:07", "demo").await.expect("an answer");
    let _: () = client.hset("tidings:{demo}:meta", ("format", "99")).await.expect("an answer");
    let said = doctor(&redis.url(), &[], &[]);
    assert_eq!((said.code, said.of("fail")), (Some(1), vec!["logs"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_no_place_for_services() {
    let primary = good().await;
    let replica = Redis::replica_of(primary.port()).await;
    let said = doctor(&replica.url(), &[], &[]);
    assert_eq!((said.code, said.of("fail")), (Some(1), vec!["role"]), "{:#?}", said.checks);
    let found = said.check("role")["found"].as_str().expect("text");
    assert!(found.contains(&primary.port().to_string()), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_account_passes_and_what_another_one_lacks_is_named() {
    let redis = good().await;
    account(&redis, &rights("tidings")).await;
    let url = redis.url().replace("redis://", "redis://tidings:s3cret@");
    let said = doctor(&url, &[], &[]);
    assert_eq!((said.code, said.of("fail")), (Some(0), vec![]), "{:#?}", said.checks);
    assert_eq!(said.check("account")["verdict"], "ok");
    assert_eq!(said.check("an event")["verdict"], "ok");
    // Services may not see settings, so neither may the doctor by their account.
    assert_eq!(said.of("warn"), ["persistence", "buffers", "idle links"]);
    for check in said.of("warn") {
        let check = said.check(check);
        assert!(check["found"].as_str().expect("text").starts_with("cannot see"), "{check}");
        assert!(check["do"].as_str().expect("text").contains("by hand"), "{check}");
    }
    for (rule, lacks) in [("-xtrim", "+xtrim"), ("-subscribe", "+subscribe"), ("-set", "+set")] {
        account(&redis, &format!("tidings {rule}")).await;
        let said = doctor(&url, &[], &[]);
        assert_eq!((said.code, &said.check("account")["verdict"]), (Some(1), &"fail".into()), "{rule}");
        assert_eq!(said.check("account")["found"], format!("tidings lacks {lacks}"));
        account(&redis, &format!("tidings {lacks}")).await;
    }
    account(&redis, "tidings resetkeys ~other:*").await;
    assert_eq!(doctor(&url, &[], &[]).check("account")["found"], "tidings lacks ~tidings:*");
    // An account that may ask what it may: nothing is tried.
    account(&redis, "asker on >s3cret ~tidings:* resetchannels &tidings:* +@all -xtrim").await;
    let said = doctor(&redis.url().replace("redis://", "redis://asker:s3cret@"), &[], &[]);
    assert_eq!(said.check("account")["found"], "asker lacks +xtrim");
}

#[test]
fn a_redis_that_cannot_be_reached_is_one_clear_line() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let said = doctor(&url, &[], &[]);
    assert_eq!((said.code, said.checks.len(), said.of("fail")), (Some(1), 1, vec!["connection"]));
    let found = said.check("connection")["found"].as_str().expect("text");
    assert!(found.ends_with(": connection refused"), "{found}");
    let output = tidings(&["doctor", "--redis-url", "nonsense"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(64), "a configuration with faults is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_asked_by_tls_with_the_documented_accounts() {
    let sentinels = Sentinels::start(Some(Papers::issue())).await;
    let settings = sentinels.settings();
    let settings: Vec<(&str, String)> = settings.into_iter().collect();
    let said = doctor(&sentinels.url(), &[], &settings);
    assert_eq!((said.code, said.of("fail")), (Some(0), vec![]), "{:#?}", said.checks);
    let primary = sentinels.nodes[sentinels.primary().await].port().to_string();
    let found = said.check("sentinels")["found"].as_str().expect("text");
    assert!(found.contains("3 of 3 answer") && found.contains(&primary), "{found}");
    assert!(said.check("connection")["found"].as_str().expect("text").ends_with(", by TLS"));
    for check in ["account", "an event"] {
        assert_eq!(said.check(check)["verdict"], "ok");
    }
    let wrong = [&settings[..], &[("TIDINGS_REDIS__SENTINEL_PASSWORD", "wrong".to_owned())]].concat();
    let said = doctor(&sentinels.url(), &[], &wrong);
    assert_eq!((said.code, said.of("fail")), (Some(1), vec!["sentinels"]), "{:#?}", said.checks);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_primary_of_a_cluster_is_looked_at() {
    let cluster = RedisCluster::start().await;
    let said = doctor(&cluster.url(), &[], &[]);
    assert_eq!((said.code, said.of("fail")), (Some(0), vec![]), "{:#?}", said.checks);
    let connection = said.check("connection")["found"].as_str().expect("text");
    assert_eq!(connection.split(", ").count(), 3, "{connection}");
    for check in ["memory policy", "account", "an event"] {
        assert_eq!(said.check(check)["verdict"], "ok");
        assert!(said.check(check)["node"].is_null(), "what holds for all is told once: {:#?}", said.checks);
    }
    cluster.nodes[1].configure("maxmemory-policy", "allkeys-lru").await;
    let said = doctor(&cluster.url(), &[], &[]);
    assert_eq!((said.code, said.of("fail")), (Some(1), vec!["memory policy"]), "{:#?}", said.checks);
    let failed = said.checks.iter().find(|check| check["verdict"] == "fail").expect("one fails");
    assert_eq!(failed["node"], format!("127.0.0.1:{}", cluster.nodes[1].port()));
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_asked_and_an_event_goes_through_them() {
    let redis = good().await;
    let (address, admin) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let all = ["all", "--redis-url", &redis.url(), "--listen", &address, "--admin-listen", &admin];
    let _service = Process::start("all", tidings(&all));
    let at = admin.parse().expect("an address");
    eventually("ready", || async move { (http::get(at, "/readyz").await.ok()?.status == 200).then_some(()) }).await;
    let (url, ready) = (format!("http://{address}"), format!("http://{admin}"));
    let said = doctor(&redis.url(), &["--url", &url, "--gateway", &ready, "--ingest", &ready], &[]);
    assert_eq!((said.code, said.of("fail"), said.of("warn")), (Some(0), vec![], vec![]), "{:#?}", said.checks);
    assert!(said.check("an event")["found"].as_str().expect("text").contains(&url));
    for service in ["gateway", "ingest"] {
        assert_eq!(said.check(service)["found"], format!("{ready} is ready"));
    }
    let entries: Vec<(String, std::collections::HashMap<String, String>)> =
        redis.client().await.xrange("tidings:{tidings-doctor}:log", "-", "+", None).await.expect("a stream");
    assert!(entries.iter().all(|(_, fields)| !fields.contains_key("events")), "its project is deleted: {entries:?}");

    let nobody = format!("http://127.0.0.1:{}", free_port());
    let said = doctor(&redis.url(), &["--url", &nobody, "--gateway", &nobody, "--ingest", &url], &[]);
    assert_eq!((said.code, said.of("fail")), (Some(1), vec!["an event", "gateway", "ingest"]), "{:#?}", said.checks);
}
