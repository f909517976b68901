//! The manual's tables, from the sections' own declarations.

use super::Config;
use super::section::{Key, Section};

/// Every section with its keys, as Markdown: what `docs/configuration.md` holds between its markers.
pub fn markdown() -> String {
    let config = Config::default();
    let sections: Vec<String> = config.sections().into_iter().map(table).collect();
    sections.join("\n")
}

fn table(section: &dyn Section) -> String {
    let rows = section.keys().iter().zip(section.show()).map(|(key, value)| {
        let default = key.default_note.map_or_else(|| format!("`{value}`"), str::to_owned);
        format!("| `{}` | {default} | {}{} |\n", key.name(), sentence(key.meaning), bounds(key))
    });
    let head = "| key | default | meaning |\n| --- | --- | --- |\n";
    let rows: String = rows.collect();
    format!("## `[{}]`\n\n{}\n\n{head}{rows}", section.name(), sentence(section.about()))
}

/// Doc comment lines as one paragraph.
fn sentence(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn bounds(key: &Key) -> String {
    key.bounds.map_or_else(String::new, |(least, most)| format!(" From {least} to {most}."))
}
