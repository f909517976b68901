//! Every family of every process is in docs/metrics.md with its type and labels, and nothing else is; labels stay bounded,
//! whatever projects, sessions and paths there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tidings_tests::cluster::{Cluster, PROJECT};
use tidings_tests::http;
use tidings_tests::service::Service;
use tidings_tests::viewer::{Kind, Plan};

use crate::exposition::{Family, families};
use crate::text;

/// Projects that are told apart.
const SHOWN: usize = 5;

/// Projects, sessions and paths that are made up.
const MADE_UP: usize = 20;

/// A word that only what is made up has.
const WORD: &str = "madeup";

async fn scrape(service: &Service, path: &str) -> BTreeMap<String, Family> {
    let answer = http::get(service.admin(), path).await.expect("the admin port answers");
    assert_eq!(answer.status, 200, "{path}");
    families(&answer.text())
}

/// The families of all processes together; `both` also those of single projects.
async fn all(cluster: &Cluster, paths: &[&str]) -> BTreeMap<String, Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    for service in cluster.gateways.iter().chain(&cluster.ingests) {
        for path in paths {
            for (name, family) in scrape(service, path).await {
                let known = all.entry(name.clone()).or_default();
                assert!(known.kind.is_empty() || known.kind == family.kind, "{name} has two types");
                known.kind = family.kind;
                known.labels.extend(family.labels);
                known.series.extend(family.series);
            }
        }
    }
    all
}

/// What the tables say: by name, the type and the labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut all = BTreeMap::new();
    for line in text("docs/metrics.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, kind, labels, says, moves, ""] = cells[..] else { panic!("not five cells: {line}") };
        assert!(!says.is_empty(), "{name} says nothing: {moves}");
        let words = |cell: &str| -> BTreeSet<String> {
            cell.split(',')
                .map(|word| word.trim().trim_matches('`').to_owned())
                .filter(|word| !word.is_empty())
                .collect()
        };
        let name = name.trim_matches('`').to_owned();
        let before = all.insert(name.clone(), (kind.to_owned(), words(labels)));
        assert!(before.is_none(), "{name} is there twice");
    }
    all
}

async fn start() -> Cluster {
    Cluster::on_redis().set("TIDINGS_TELEMETRY__PROJECTS_SHOWN", SHOWN).start().await
}

/// Some of everything that a running system does.
async fn traffic(cluster: &Cluster) {
    let mut runner = cluster.runner("one");
    let mut viewers = cluster.viewers();
    for kind in Kind::ALL {
        viewers.add(Plan::new(kind, PROJECT).roaming(20..60, 1));
    }
    runner.post(300, 1..20).await;
    viewers.reach(cluster.ledger.last_n()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_is_documented_and_there_from_the_start() {
    let cluster = start().await;
    let documented = documented();
    for when in ["at the start", "under way"] {
        let told = all(&cluster, &["/metrics", "/metrics/projects"]).await;
        let missing: Vec<_> = told.keys().filter(|name| !documented.contains_key(*name)).collect();
        assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
        let unknown: Vec<_> = documented.keys().filter(|name| !told.contains_key(*name)).collect();
        assert!(unknown.is_empty(), "documented, and not told {when}: {unknown:?}");
        for (name, (kind, labels)) in &documented {
            assert_eq!((&told[name].kind, &told[name].labels), (kind, labels), "{name}, {when}");
        }
        traffic(&cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_bounded_whatever_names_come() {
    let cluster = start().await;
    traffic(&cluster).await;
    let before = all(&cluster, &["/metrics"]).await;
    let (gateway, ingest) = (cluster.gateways[0].address(), cluster.ingests[0].address());
    for n in 0..MADE_UP {
        let name = format!("{WORD}-{n}");
        let event = json!({"type": format!("{WORD}.x{n}"), "session": name, "agent": name, "runner": name, "data": {}});
        let path = format!("/v1/projects/{name}/events");
        let posted = http::post_json(ingest, &path, &event).await.expect("the ingest answers");
        assert_eq!(posted.status, 200, "{}", posted.text());
        for path in [format!("{path}?after=start"), format!("/{name}"), format!("/v1/{name}/{name}")] {
            http::get(gateway, &path).await.expect("the gateway answers");
        }
        http::get(ingest, &format!("/v1/projects/{name}/nothing")).await.expect("the ingest answers");
    }
    let after = all(&cluster, &["/metrics"]).await;
    for (name, family) in &after {
        let made_up = family.series.iter().find(|(labels, _)| labels.contains(WORD));
        assert!(made_up.is_none(), "{name}: {made_up:?}");
        // Routes that had not been asked yet may have been answered with another kind of status.
        if name != "tidings_http_request_seconds" {
            assert_eq!(family.series.len(), before[name].series.len(), "{name} grew");
        }
    }
    for service in [&cluster.gateways[0], &cluster.ingests[0]] {
        for (name, family) in scrape(service, "/metrics/projects").await {
            let projects: BTreeSet<&str> =
                family.series.iter().map(|(labels, _)| labels.split("project=\"").nth(1).expect("a project")).collect();
            let projects: BTreeSet<&str> =
                projects.iter().map(|rest| rest.split('"').next().expect("its end")).collect();
            assert!(projects.len() <= SHOWN + 1, "{name}: {projects:?}");
            assert!(projects.contains("other"), "{name}: {projects:?}");
        }
    }
    let events = &scrape(&cluster.ingests[0], "/metrics/projects").await["tidings_project_events_total"];
    let counted: f64 = events.series.iter().map(|(_, count)| count).sum();
    let others = events.series.iter().find(|(labels, _)| labels == "project=\"other\"").expect("the others").1;
    assert!(counted > 300.0 && others > 0.0, "{:?}", events.series);
}
