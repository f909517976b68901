//! Prometheus' text format, as far as it is needed here.

use std::collections::{BTreeMap, BTreeSet};

/// A family as a process tells it.
#[derive(Debug, Default)]
pub(crate) struct Family {
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// Names of its labels, but for a histogram's `le`.
    pub labels: BTreeSet<String>,
    /// Each series with its labels as text, but for a histogram's buckets.
    pub series: Vec<(String, f64)>,
}

/// Reads a scrape.
///
/// # Panics
/// When it is not in the format.
pub(crate) fn families(text: &str) -> BTreeMap<String, Family> {
    let mut all: BTreeMap<String, Family> = BTreeMap::new();
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').expect("a name and a type");
            all.insert(name.to_owned(), Family { kind: kind.to_owned(), ..Family::default() });
        } else if !line.starts_with('#') && !line.is_empty() {
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let (name, labels) = series.split_once('{').map_or((series, ""), |(name, labels)| {
                (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}")))
            });
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = of_histogram.filter(|family| all.get(*family).is_some_and(|known| known.kind == "histogram"));
            let known = all.get_mut(family.unwrap_or(name)).unwrap_or_else(|| panic!("{line} comes without a type"));
            known.labels.extend(names(labels).filter(|label| label != "le"));
            if !(family.is_some() && name.ends_with("_bucket")) {
                known.series.push((labels.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}"))));
            }
        }
    }
    all
}

/// The names in `name="value",name="value"`; no value here has a comma followed by a name.
fn names(labels: &str) -> impl Iterator<Item = String> {
    let parts = labels.split("\",").filter(|part| !part.is_empty());
    parts.map(move |part| part.split_once('=').unwrap_or_else(|| panic!("{labels}")).0.to_owned())
}
