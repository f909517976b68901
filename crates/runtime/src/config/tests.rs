use super::*;

/// Sources from a file's text, variables and flags.
struct Given {
    sources: Sources,
    _folder: tempfile::TempDir,
}

fn given(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &'static str, &str)]) -> Given {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("tidings.toml");
    std::fs::write(&path, file).expect("the file");
    let sources = Sources {
        file: Some(path),
        environment: variables.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        flags: flags.iter().map(|(flag, key, text)| (*flag, *key, (*text).to_owned())).collect(),
    };
    Given { sources, _folder: folder }
}

/// (key, message) of each fault.
fn faults(given: &Given) -> Vec<(String, String)> {
    let faults = Config::load(&given.sources).expect_err("the configuration is faulty");
    faults.0.into_iter().map(|fault| (fault.key, fault.message)).collect()
}

fn check_fault(file: &str, key: &str, part: &str) {
    let faults = faults(&given(file, &[], &[]));
    assert_eq!(faults.len(), 1, "{file}: {faults:?}");
    assert_eq!(faults[0].0, key, "{file}");
    assert!(faults[0].1.contains(part), "{file}: {:?} lacks {part:?}", faults[0].1);
}

#[test]
fn nothing_given_is_the_defaults() {
    let loaded = Config::load(&Sources::default()).expect("defaults are sound");
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.is_empty());
}

#[test]
fn later_sources_win() {
    let file = "[gateway]\nlisten = \"127.0.0.1:1\"\nping_ms = 1001\nring_bytes_max = 100_000\n";
    let variables = [("TIDINGS_GATEWAY__LISTEN", "127.0.0.1:2"), ("TIDINGS_GATEWAY__PING_MS", "1_002")];
    let flags = [("--listen", "gateway.listen", "localhost:3")];
    let loaded = Config::load(&given(file, &variables, &flags).sources).expect("sound");
    let gateway = &loaded.config.gateway;
    assert_eq!(gateway.listen.to_string(), "127.0.0.1:3");
    assert_eq!(gateway.ping.as_millis(), 1002);
    assert_eq!(gateway.ring_bytes_max, 100_000);
    let origin = |key: &str| loaded.origins.get(key).map(Origin::to_string).unwrap_or_default();
    assert_eq!(origin("gateway.listen"), "--listen");
    assert_eq!(origin("gateway.ping_ms"), "TIDINGS_GATEWAY__PING_MS");
    assert!(origin("gateway.ring_bytes_max").ends_with("tidings.toml"));
    assert_eq!(origin("gateway.stalled_ms"), "");
}

#[test]
fn every_fault_is_named_at_once() {
    let file = "typo = 1\n[gateway]\nlissten = \"x\"\nping_ms = \"often\"\nstalled_ms = 0\n[auth]\nsecret = 1\n";
    let variables = [
        ("TIDINGS_REDIS__URL", "http://x"),
        ("TIDINGS_GATEWAY_LISTEN", "127.0.0.1:1"),
        ("OTHER_GATEWAY__LISTEN", "not ours"),
    ];
    let flags = [("--listen", "gateway.listen", "nowhere")];
    let mut keys: Vec<String> = faults(&given(file, &variables, &flags)).into_iter().map(|(key, _)| key).collect();
    keys.sort();
    let expected = [
        "auth.secret",
        "gateway.lissten",
        "gateway.listen",
        "gateway.ping_ms",
        "gateway.stalled_ms",
        "gateway_listen",
        "redis.url",
        "typo",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn each_fault_says_what_would_be_right() {
    check_fault("[gateway]\nlissten = 1", "gateway.lissten", "did you mean gateway.listen?");
    check_fault("[gateway]\nping_ms = true", "gateway.ping_ms", "expected a whole number, found a boolean");
    check_fault("[gateway]\nping_ms = -1", "gateway.ping_ms", "negative");
    check_fault("[gateway]\nping_ms = 5", "gateway.ping_ms", "from 1000 to 600000, is 5");
    check_fault("[gateway]\nlisten = 8000", "gateway.listen", "as in 127.0.0.1:8000, found an integer");
    check_fault("[gateway]\nlisten = \"[::]:80\"", "gateway.listen", "not a loopback address");
    check_fault("[ingest]\nadmin_listen = \"10.0.0.1:80\"", "ingest.admin_listen", "not a loopback address");
    check_fault("[gateway]\ntls_cert_file = \"tls.crt\"", "gateway.tls_cert_file", "no use without");
    check_fault("[ingest]\ntls_client_ca_file = \"ca.crt\"", "ingest.tls_client_ca_file", "no use without");
    check_fault("[gateway]\nproxy_protocol = true", "gateway.proxy_protocol", "names no proxy");
    check_fault("[gateway]\ntrusted_proxies = [\"10.0.0.1/8\"]", "gateway.trusted_proxies", "a network as in");
    check_fault("[gateway]\norigins = [\"example.com\"]", "gateway.origins", "an origin as in");
    check_fault("[gateway]\nadmin_listen = \"127.0.0.1:8000\"", "gateway.admin_listen", "the service itself");
    check_fault("[gateway]\ndrain_ms = 500\ndrain_notice_ms = 500", "gateway.drain_notice_ms", "drain_ms");
    check_fault("[gateway]\npresence_lease_ms = 3000", "gateway.presence_round_ms", "a third of");
    check_fault(
        "[gateway]\nmemory_bytes_max = 67108864\nring_bytes_max = 67108865",
        "gateway.ring_bytes_max",
        "budget",
    );
    check_fault("[limits]\nrequest_bytes_max = 1000", "limits.request_bytes_max", "event_data_bytes_max");
    check_fault("[ingest]\nmemory_bytes_max = 16777215", "ingest.memory_bytes_max", "from 16777216");
    check_fault("[limits]\nrequest_bytes_max = 33554433", "limits.request_bytes_max", "never be taken");
    check_fault(
        "[ingest]\nmemory_bytes_max = 16777216\n[limits]\nline_bytes_max = 4194305",
        "limits.line_bytes_max",
        "never be taken",
    );
    check_fault("[redis]\nurl = \"redis+sentinel://h\"", "redis.url", "name of the primary");
    check_fault("[redis]\ntls_ca_file = \"ca.pem\"", "redis.tls_ca_file", "must begin with rediss");
    check_fault("[redis]\nurl = \"rediss://h\"\ntls_cert_file = \"x.pem\"", "redis.tls_cert_file", "together");
    check_fault("[redis]\nurl = \"rediss://h\"\ntls_key_file = \"x.key\"", "redis.tls_key_file", "together");
    check_fault("[redis]\nurl = \"rediss://h\"\ntls_ca_file = \"no-such.pem\"", "redis.tls_ca_file", "no-such.pem");
    check_fault("[redis]\nsentinel_password = \"s\"", "redis.sentinel_password", "names no sentinels");
    check_fault("[redis]\nurl = \"redis://h/x\"", "redis.url", "database");
    check_fault("[redis]\nurl = \"redis+cluster://h1,h2/1\"", "redis.url", "database 0 alone");
    check_fault(
        "[redis]\nurl = \"redis+cluster://h1,h2\"\nsentinel_username = \"s\"",
        "redis.sentinel_username",
        "a cluster has no sentinels",
    );
    check_fault("[redis]\nprefix = \"a{b}\"", "redis.prefix", "letters");
    check_fault("[telemetry]\nlog_format = \"xml\"", "telemetry.log_format", "auto, json or text");
    check_fault("[telemetry]\nlog_filter = \"a=b=c\"", "telemetry.log_filter", "level");
    check_fault("gateway = 3", "gateway", "is a section");
    check_fault("[gateway]\n\nlisten = ", "", "line 3");
}

#[test]
fn what_may_be_sent_fits_into_what_may_wait() {
    for (memory, request) in [(16 << 20, 4 << 20), (128 << 20, 4 << 20), (128 << 20, 32 << 20), (1 << 30, 64 << 20)] {
        let file = format!("[ingest]\nmemory_bytes_max = {memory}\n[limits]\nrequest_bytes_max = {request}");
        let config = Config::load(&given(&file, &[], &[]).sources).expect("sound").config;
        let fits = config.ingest.project_bytes_max(&config.limits).min(config.ingest.requests_bytes_max());
        assert!(fits >= 2 * request, "{file}: {fits}");
        assert!(config.ingest.windows_bytes_max() + config.ingest.requests_bytes_max() <= memory);
    }
}

#[test]
fn lists_and_switches_are_read_from_text_too() {
    let file = "[gateway]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\nproxy_protocol = true\norigins = [\"https://a.example\"]";
    let variables = [
        ("TIDINGS_GATEWAY__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ("TIDINGS_GATEWAY__PROXY_PROTOCOL", "true"),
        ("TIDINGS_GATEWAY__ORIGINS", "https://a.example"),
    ];
    let from_file = Config::load(&given(file, &[], &[]).sources).expect("sound").config;
    let from_text = Config::load(&given("", &variables, &[]).sources).expect("sound").config;
    assert_eq!(from_file.gateway, from_text.gateway);
    assert_eq!(from_file.gateway.trusted_proxies.0.len(), 2);
}

#[test]
fn a_missing_file_is_a_fault() {
    let sources = Sources { file: Some("no-such-file.toml".into()), ..Sources::default() };
    let faults = Config::load(&sources).expect_err("the file is missing");
    assert!(faults.to_string().contains("no-such-file.toml: cannot be read"), "{faults}");
}

#[test]
fn the_environment_may_name_the_file_and_a_flag_wins() {
    let in_file = given("[gateway]\nping_ms = 7000", &[], &[]);
    let path = in_file.sources.file.clone().expect("a file");
    let mut sources = Sources { environment: vec![(FILE_VARIABLE.into(), path.into())], ..Sources::default() };
    assert_eq!(Config::load(&sources).expect("sound").config.gateway.ping.as_millis(), 7000);
    let flag = given("[gateway]\nping_ms = 8000", &[], &[]);
    sources.file.clone_from(&flag.sources.file);
    assert_eq!(Config::load(&sources).expect("sound").config.gateway.ping.as_millis(), 8000);
    let empty = Sources { environment: vec![(FILE_VARIABLE.into(), "".into())], ..Sources::default() };
    Config::load(&empty).expect("an empty variable is none");
}

#[test]
fn a_cluster_s_service_links_are_not_taken_for_settings() {
    let links = [
        ("TIDINGS_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("TIDINGS_GATEWAY_SERVICE_PORT_HTTP", "8000"),
        ("TIDINGS_GATEWAY_PORT", "tcp://10.0.0.1:8000"),
        ("TIDINGS_GATEWAY_PORT_8000_TCP_ADDR", "10.0.0.1"),
    ];
    Config::load(&given("", &links, &[]).sources).expect("sound");
    let typo = faults(&given("", &[("TIDINGS_REDIS_URL", "redis://h")], &[]));
    assert!(typo[0].1.contains("did you mean TIDINGS_REDIS__URL?"), "{typo:?}");
}

#[test]
fn a_password_is_never_shown() {
    let secret = "s3cret:@p";
    for url in [format!("redis://user:{secret}@host:6379/1"), format!("redis://:{secret}@host")] {
        let loaded = Config::load(&given("", &[("TIDINGS_REDIS__URL", &url)], &[]).sources).expect("sound");
        assert_eq!(loaded.config.redis.url.expose(), url);
        for text in [loaded.show(), format!("{loaded:?}")] {
            assert!(!text.contains("s3cret") && text.contains("[redacted]@host"), "{text}");
        }
    }
    let sentinels = "[redis]\nurl = \"redis+sentinel://u:s3cret@h1,h2:1/hive\"\nsentinel_password = \"s3cret\"";
    let loaded = Config::load(&given(sentinels, &[], &[]).sources).expect("sound");
    assert_eq!(loaded.config.redis.settings().sentinel.password.as_deref(), Some("s3cret"));
    for text in [loaded.show(), format!("{loaded:?}")] {
        assert!(!text.contains("s3cret") && text.contains("[redacted]@h1,h2:1/hive"), "{text}");
    }
    let wrong = Config::load(&given("", &[("TIDINGS_REDIS__URL", "redis://u:s3cret@h:port")], &[]).sources);
    assert!(!wrong.expect_err("not a port").to_string().contains("s3cret"));
    let cut = Config::load(&given("[redis]\nurl = \"redis://u:s3cret@h\nx = 1", &[], &[]).sources);
    assert!(!cut.expect_err("no end of string").to_string().contains("s3cret"));
}

#[test]
fn what_is_shown_can_be_loaded_again() {
    let loaded = Config::load(&given("[gateway]\nping_ms = 7000", &[], &[]).sources).expect("sound");
    let again = Config::load(&given(&loaded.show(), &[], &[]).sources).expect("sound");
    assert_eq!(again.config, loaded.config);
}

/// Run with `UPDATE_DOCS=1` to write the tables anew.
#[test]
fn the_manual_is_the_code_s() {
    const BEGIN: &str = "<!-- settings: begin -->\n";
    const END: &str = "<!-- settings: end -->";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = std::fs::read_to_string(path).expect("docs/configuration.md");
    let (before, rest) = text.split_once(BEGIN).expect("the marker where the tables begin");
    let (tables, after) = rest.split_once(END).expect("the marker where the tables end");
    let expected = format!("\n{}\n", manual::markdown());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).expect("docs/configuration.md");
    } else {
        assert_eq!(tables, expected, "run `UPDATE_DOCS=1 cargo test -p tidings-runtime manual`");
    }
}

#[test]
fn a_dialect_without_tokens_is_served_only_where_a_project_is_named() {
    let none = Config::load(&given("", &[], &[]).sources).expect("sound").config.dialects;
    assert!(DialectName::ALL.iter().all(|name| !none.serve.contains(*name)));
    check_fault("[dialects]\nserve = [\"agentcraft\"]", "dialects.agentcraft_project", "serves nobody");
    check_fault("[dialects]\nserve = [\"pygent\"]", "dialects.pygent_project", "serves nobody");
    check_fault("[dialects]\nserve = [\"zork\"]", "dialects.serve", "agentcraft");
    let file =
        "[dialects]\nserve = [\"agentcraft\"]\nagentcraft_project = \"p\"\nagentcraft_scopes = [\"read\", \"admin\"]";
    let loaded = Config::load(&given(file, &[], &[]).sources).expect("sound");
    let dialects = &loaded.config.dialects;
    assert_eq!(dialects.agentcraft_project.as_ref().map(ToString::to_string).as_deref(), Some("p"));
    assert_eq!(dialects.agentcraft_scopes.0.to_string(), "read admin");
    // Dev mode serves what it is told to, and all of them where it is told nothing.
    assert_eq!(loaded.clone().opened().expect("sound").config.dialects, *dialects);
    let dev = Config::load(&given("", &[], &[]).sources).expect("sound").opened().expect("sound").config.dialects;
    assert!(DialectName::ALL.iter().all(|name| dev.serve.contains(*name)));
}

#[test]
fn webhooks_reach_this_machine_in_dev_mode_alone_unless_it_is_named() {
    let of = |file: &str| Config::load(&given(file, &[], &[]).sources).expect("sound");
    let reaches = |loaded: &Loaded, address: &str| {
        loaded.config.webhooks.allowed_networks.contains(address.parse().expect("an address"))
    };
    let none = of("");
    assert!(none.config.webhooks.allowed_networks.0.is_empty());
    let dev = none.opened().expect("sound");
    assert!(reaches(&dev, "127.0.0.9") && reaches(&dev, "::1") && !reaches(&dev, "10.0.0.1"));
    let named = of("[webhooks]\nallowed_networks = [\"10.0.0.0/8\"]\ntimeout_ms = 500\nat_once = 7");
    let webhooks = &named.config.webhooks;
    assert_eq!((webhooks.timeout.as_millis(), webhooks.at_once), (500, 7));
    assert!(reaches(&named, "10.0.0.1"));
    assert!(!reaches(&named.opened().expect("sound"), "127.0.0.1"));
    check_fault("[webhooks]\nallowed_networks = [\"10.0.0.1/8\"]", "webhooks.allowed_networks", "network");
    check_fault("[webhooks]\nat_once = 0", "webhooks.at_once", "1");
}
