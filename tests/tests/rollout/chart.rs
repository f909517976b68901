//! The chart's own numbers, read from `values.yaml` as it is shipped.

use std::path::Path;
use std::time::Duration;

use tidings_tests::service::Setting;

/// The defaults of the chart.
pub(crate) struct Chart(String);

/// What the chart says of one service.
pub(crate) struct Workload<'a> {
    chart: &'a Chart,
    name: &'static str,
}

impl Chart {
    pub(crate) fn read() -> Chart {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/tidings/values.yaml");
        Chart(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    pub(crate) fn gateway(&self) -> Workload<'_> {
        Workload { chart: self, name: "gateway" }
    }

    pub(crate) fn ingest(&self) -> Workload<'_> {
        Workload { chart: self, name: "ingest" }
    }

    /// The settings of all services, as the chart brings them to each pod.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        [self.gateway(), self.ingest()].iter().flat_map(Workload::settings).collect()
    }

    /// The lines below these keys, each with its indentation. The file is written in blocks of two spaces.
    fn block(&self, keys: &[&str]) -> Vec<&str> {
        let mut lines: Vec<&str> = self.0.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        for (depth, key) in keys.iter().enumerate() {
            let head = format!("{:indent$}{key}:", "", indent = depth * 2);
            let mut below = lines.into_iter().skip_while(|line| !line.starts_with(&head)).skip(1);
            let deeper = " ".repeat(depth * 2 + 2);
            lines = below.by_ref().take_while(|line| line.is_empty() || line.starts_with(&deeper)).collect();
            assert!(!lines.is_empty(), "values.yaml has no block {keys:?}");
        }
        lines
    }
}

/// A whole number behind `key:`.
fn number(line: &str) -> Option<(&str, u64)> {
    let (key, value) = line.trim().split_once(": ")?;
    Some((key, value.parse().ok()?))
}

impl Workload<'_> {
    /// How long a process has from SIGTERM until it is killed.
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_secs(self.number(&[self.name], "terminationGracePeriodSeconds"))
    }

    /// A number of its configuration.
    pub(crate) fn config(&self, key: &str) -> u64 {
        self.number(&[self.name, "config"], key)
    }

    fn number(&self, block: &[&str], key: &str) -> u64 {
        let lines = self.chart.block(block);
        let found = lines.iter().filter_map(|line| number(line)).find(|(name, _)| *name == key);
        found.unwrap_or_else(|| panic!("values.yaml: no {key} in {block:?}")).1
    }

    /// Its whole configuration, as variables.
    fn settings(&self) -> Vec<Setting> {
        let lines = self.chart.block(&[self.name, "config"]);
        let variable = |key: &str| format!("TIDINGS_{}__{}", self.name, key).to_uppercase();
        // Variables are named once for the whole test.
        let setting = |(key, value): (&str, u64)| (&*variable(key).leak(), value.to_string());
        lines.iter().filter_map(|line| number(line)).map(setting).collect()
    }
}
