//! The rules are sound, do what their unit tests say, and every alert has its section for whoever is woken by it.

use std::collections::BTreeSet;

use crate::rules::rules;
use crate::{run, text};

#[test]
fn rules_are_sound_and_do_what_their_tests_say() {
    run("promtool", &["check", "rules", "helm/tidings/files/rules.yaml"]);
    run("promtool", &["test", "rules", "deploy/prometheus/rules.test.yaml"]);
}

#[test]
fn dashboards_are_as_their_descriptions_say() {
    run("python3", &["scripts/dashboards", "--check"]);
}

#[test]
fn every_alert_has_its_section_and_its_test() {
    let operations = text("docs/operations.md");
    let tests = text("deploy/prometheus/rules.test.yaml");
    let (_, sections) = operations.split_once("\n## Alerts\n").expect("a chapter of alerts");
    let sections: BTreeSet<&str> = sections.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts: Vec<_> = rules().into_iter().filter(|rule| rule.is_alert).collect();
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names, sections, "alerts, and their sections in docs/operations.md");
    for alert in &alerts {
        let runbook = format!("docs/operations.md#{}", alert.name.to_lowercase());
        assert_eq!(alert.runbook.as_deref(), Some(&*runbook), "{}", alert.name);
        assert!(tests.contains(&format!("alertname: {}\n", alert.name)), "{} is never seen to fire", alert.name);
    }
}
