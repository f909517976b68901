//! The chart's rules, read as far as it is needed here: one line for each name and each expression.

use std::collections::BTreeSet;

use crate::text;

/// A recording rule or an alert.
#[derive(Debug)]
pub(crate) struct Rule {
    /// Its name.
    pub name: String,
    /// Whether it is an alert.
    pub is_alert: bool,
    /// What it evaluates.
    pub expression: String,
    /// Where its runbook is; of an alert.
    pub runbook: Option<String>,
}

/// All of them.
///
/// # Panics
/// When a rule is not written in the lines that are expected here.
pub(crate) fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text("helm/tidings/files/rules.yaml").lines().map(str::trim) {
        let begun = [("- record: ", false), ("- alert: ", true)];
        if let Some((name, is_alert)) = begun.iter().find_map(|(mark, is)| Some((line.strip_prefix(mark)?, *is))) {
            rules.push(Rule { name: name.to_owned(), is_alert, expression: String::new(), runbook: None });
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            rules.last_mut().expect("a rule has a name first").expression.push_str(expression);
        } else if let Some(runbook) = line.strip_prefix("runbook_url: ") {
            rules.last_mut().expect("a rule has a name first").runbook = Some(runbook.to_owned());
        }
    }
    assert!(rules.len() > 20, "only {} rules were found", rules.len());
    let faulty = rules.iter().find(|rule| rule.expression.is_empty() || rule.expression.starts_with(['|', '>']));
    assert!(faulty.is_none(), "an expression is not on one line: {faulty:?}");
    rules
}

/// The metrics that an expression names, without those that rules record.
pub(crate) fn metrics(expression: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !word(c));
    let named = words.filter(|word| ["tidings_", "process_"].iter().any(|begin| word.starts_with(begin)));
    named.map(str::to_owned).collect()
}
