use super::*;
use crate::doctor::finding::Verdict;
use Verdict::{Fail, Ok, Warn};

const GOOD: &str = "redis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\nmaxmemory:1073741824\r\n\
                    used_memory:104857600\r\naof_enabled:1\r\naof_last_write_status:ok\r\nrdb_last_bgsave_status:ok\r\n";

const SET: [(&str, &str); 7] = [
    ("appendfsync", "everysec"),
    ("save", ""),
    ("client-output-buffer-limit", "normal 0 0 0 slave 536870912 268435456 60 pubsub 268435456 67108864 60"),
    ("min-replicas-to-write", "0"),
    ("min-replicas-max-lag", "10"),
    ("timeout", "0"),
    ("tcp-keepalive", "300"),
];

const ONE: &str = "slave0:ip=10.0.0.2,port=6379,state=online,offset=14,lag=1\r\n";

/// The verdicts that differ from "ok", with facts that differ from the good ones.
#[track_caller]
fn check(info: &str, settings: &[(&str, &str)], expected: &[(&str, Verdict)]) {
    check_with(&Config::default(), info, settings, expected);
}

#[track_caller]
fn check_with(config: &Config, info: &str, settings: &[(&str, &str)], expected: &[(&str, Verdict)]) {
    // The later line wins.
    let facts = Facts::read(&format!("{GOOD}{info}")).with(&SET).with(settings);
    let found = checks(&facts, config);
    let bad: Vec<_> =
        found.iter().filter(|finding| finding.verdict != Ok).map(|one| (one.check, one.verdict)).collect();
    assert_eq!(bad, expected, "{found:#?}");
    assert!(found.iter().all(|finding| (finding.verdict == Ok) == finding.advice.is_none()), "{found:#?}");
}

#[test]
fn a_good_server_has_no_fault() {
    check("", &[], &[]);
    check("valkey_version:8.0.1\r\nredis_version:7.2.4\r\n", &[], &[]);
    check("", &[("appendfsync", "always"), ("timeout", "3600")], &[]);
}

#[test]
fn version_role_and_persistence() {
    check("redis_version:6.2.14\r\n", &[], &[("version", Fail)]);
    check("redis_version:10.0\r\n", &[], &[]);
    check("role:slave\r\nmaster_host:h\r\nmaster_port:1\r\n", &[], &[("role", Fail)]);
    check("aof_enabled:0\r\n", &[], &[("persistence", Warn)]);
    check("", &[("appendfsync", "no")], &[("persistence", Warn)]);
    check("aof_last_write_status:err\r\n", &[], &[("persistence", Fail)]);
    check("rdb_last_bgsave_status:err\r\n", &[], &[("persistence", Fail)]);
}

#[test]
fn memory() {
    check("maxmemory_policy:allkeys-lru\r\n", &[], &[("memory policy", Fail)]);
    check("maxmemory:0\r\n", &[], &[("maxmemory", Warn)]);
    check("used_memory:1073741824\r\n", &[], &[("maxmemory", Fail)]);
    check("used_memory:920000000\r\n", &[], &[("maxmemory", Warn)]);
    check("used_memory:900000000\r\n", &[], &[]);
    check("total_system_memory:1200000000\r\n", &[], &[("maxmemory", Warn)]);
    assert_eq!([0, 1_024, 1_536, 268_435_456].map(memory::bytes), ["0 bytes", "1 KiB", "1.5 KiB", "256 MiB"]);
}

#[test]
fn buffers_and_idle_connections() {
    let pubsub = |hard: u64, soft: u64| format!("normal 0 0 0 slave 0 0 0 pubsub {hard} {soft} 60");
    let name = "client-output-buffer-limit";
    check("", &[(name, &pubsub(33_554_432, 8_388_608))], &[("buffers", Warn)]);
    check("", &[(name, &pubsub(65_536, 8_388_608))], &[("buffers", Fail)]);
    check("", &[(name, &pubsub(0, 0))], &[]);
    let small = "normal 0 0 0 slave 268435456 67108864 60 pubsub 268435456 67108864 60";
    check("", &[(name, small)], &[]);
    check(ONE, &[(name, small)], &[("buffers", Warn), ("replicas", Warn)]);
    check("", &[("timeout", "30")], &[("idle links", Warn)]);
    check("", &[("tcp-keepalive", "0")], &[("idle links", Warn)]);
}

#[test]
fn replicas() {
    let two = format!("{ONE}slave1:ip=10.0.0.3,port=6379,state=online,offset=14,lag=0\r\n");
    let late = format!("{ONE}slave1:ip=10.0.0.3,port=6379,state=online,offset=14,lag=60\r\n");
    let least = |least| [("min-replicas-to-write", least)];
    check(ONE, &[], &[("replicas", Warn)]);
    check(ONE, &least("1"), &[("replicas", Warn)]);
    check(&two, &least("1"), &[]);
    check(&late, &least("1"), &[("replicas", Warn)]);
    check(&late, &least("2"), &[("replicas", Fail)]);
    check("", &least("1"), &[("replicas", Fail)]);
    let mut config = Config::default();
    config.projects.wait_replicas = 1;
    check_with(&config, "", &[], &[("replicas", Fail)]);
    check_with(&config, &two, &least("1"), &[]);
    check_with(&config, "slave0:ip=h,port=1,state=wait_bgsave,offset=0,lag=0\r\n", &[], &[("replicas", Fail)]);
}

/// Redis that lets nobody see its settings: what cannot be seen is a warning that says what to look at.
#[test]
fn what_cannot_be_seen_is_said() {
    let found = checks(&Facts::read(&format!("{GOOD}{ONE}")), &Config::default());
    let unseen: Vec<_> = found.iter().filter(|one| one.found.starts_with("cannot see")).collect();
    assert_eq!(
        unseen.iter().map(|one| one.check).collect::<Vec<_>>(),
        ["persistence", "buffers", "replicas", "idle links"]
    );
    assert!(
        unseen
            .iter()
            .all(|one| one.verdict == Warn && one.advice.as_ref().is_some_and(|text| text.contains("by hand")))
    );
    assert!(found.iter().all(|one| one.verdict != Fail), "{found:#?}");
}
