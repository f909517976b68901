//! Settings that a file declares, in TOML; they survive an empty store, and win over what is stored there.
//!
//! ```toml
//! [[settings]]
//! projects = ["demo", "team-*"]
//! retention = { events = 50_000 }
//! redaction = { builtin = true }
//! ```
//!
//! It may be the file that declares keys and members. Of several entries for a project the first that sets a field counts.

use tidings_protocol::grant::ProjectPattern;
use tidings_protocol::project::Project;
use tidings_protocol::settings::{Settings, change};

/// Settings of a file.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    entries: Vec<(Vec<ProjectPattern>, Settings)>,
}

impl Declared {
    /// Reads a file's contents; all that is wrong with it, each with its place.
    pub(crate) fn parse(contents: &[u8]) -> Result<Declared, Vec<String>> {
        let text = str::from_utf8(contents).map_err(|error| vec![format!("not UTF-8: {error}")])?;
        // The error's own text quotes the line, which may hold what is not for a log.
        let file: toml::Table = text.parse().map_err(|error: toml::de::Error| vec![error.message().to_owned()])?;
        let list = match file.get("settings") {
            None => return Ok(Declared::default()),
            Some(toml::Value::Array(list)) => list,
            Some(_) => return Err(vec!["settings: must be a list of tables (`[[settings]]`)".to_owned()]),
        };
        let (mut declared, mut faults) = (Declared::default(), Vec::new());
        for (place, entry) in list.iter().enumerate() {
            match read(entry) {
                Ok(entry) => declared.entries.push(entry),
                Err(more) => faults.extend(more.into_iter().map(|fault| format!("settings[{place}].{fault}"))),
            }
        }
        if faults.is_empty() { Ok(declared) } else { Err(faults) }
    }

    /// What is declared for this project.
    pub(crate) fn of(&self, project: &Project) -> Settings {
        let matching = self.entries.iter().filter(|(projects, _)| projects.iter().any(|these| these.matches(project)));
        matching.fold(Settings::default(), |settings, (_, more)| settings.or(more))
    }
}

fn read(entry: &toml::Value) -> Result<(Vec<ProjectPattern>, Settings), Vec<String>> {
    let mut table = entry.as_table().ok_or_else(|| vec!["projects: missing".to_owned()])?.clone();
    let mut faults = Vec::new();
    let mut projects = Vec::new();
    match table.remove("projects") {
        Some(toml::Value::Array(names)) if !names.is_empty() => {
            for (place, name) in names.iter().enumerate() {
                match name.as_str().unwrap_or_default().parse() {
                    Ok(pattern) => projects.push(pattern),
                    Err(error) => faults.push(format!("projects[{place}]: {error}")),
                }
            }
        }
        _ => faults.push("projects: must be a list that is not empty".to_owned()),
    }
    let patch = serde_json::to_value(&table).map_err(|error| vec![error.to_string()])?;
    match change(&Settings::default(), &patch) {
        Ok((settings, _)) if faults.is_empty() => return Ok((projects, settings)),
        Ok(_) => {}
        Err(more) => faults.extend(more.into_iter().map(|fault| {
            let what = fault.detail.as_deref().unwrap_or(&fault.code);
            format!("{}: {what}", fault.field.as_deref().unwrap_or_default())
        })),
    }
    Err(faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_that_sets_a_field_counts() {
        let text = r#"
            [[keys]]
            id = "someone else reads these"
            [[settings]]
            projects = ["demo"]
            retention = { events = 10 }
            [[settings]]
            projects = ["de*", "x"]
            retention = { events = 20, bytes = 100_000 }
            redaction = { builtin = true, rules = [{ name = "ticket", pattern = 'T-\d+' }] }
        "#;
        let declared = Declared::parse(text.as_bytes()).expect("a good file");
        let of = |name: &str| declared.of(&name.parse().expect("a name"));
        assert_eq!((of("demo").retention.events, of("demo").retention.bytes), (Some(10), Some(100_000)));
        assert_eq!((of("deep").retention.events, of("deep").redaction.builtin), (Some(20), Some(true)));
        assert_eq!(of("other"), Settings::default());
        assert!(Declared::parse(b"").is_ok());
    }

    #[test]
    fn all_faults_are_told_with_their_places() {
        let text = r#"
            [[settings]]
            retention = { events = 0 }
            [[settings]]
            projects = ["demo", "-*"]
            colour = 1
        "#;
        let faults = Declared::parse(text.as_bytes()).expect_err("a faulty file");
        let places: Vec<&str> = faults.iter().filter_map(|fault| Some(fault.split_once(": ")?.0)).collect();
        let expected =
            ["settings[0].projects", "settings[0].retention.events", "settings[1].projects[1]", "settings[1].colour"];
        assert_eq!(places, expected, "{faults:#?}");
        assert!(Declared::parse(b"settings = 1").is_err());
        assert!(Declared::parse(b"\xff").is_err());
    }
}
