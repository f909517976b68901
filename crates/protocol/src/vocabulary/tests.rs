use std::fmt::Write as _;

use super::*;
use crate::effects::TYPES_WITH_STATE;

#[test]
fn the_table_is_sorted_and_every_type_is_found() {
    assert!(known_types().is_sorted_by(|a, b| a.name < b.name));
    for known in known_types() {
        assert_eq!(lookup(known.name).map(|found| found.name), Some(known.name));
        assert!(known.name.len() <= crate::limits::TYPE_BYTES_MAX);
        assert!(!is_reserved(known.name), "{}", known.name);
    }
    assert_eq!(lookup("agent"), None);
    assert_eq!(lookup("agent.statu"), None);
}

#[test]
fn types_with_state_are_those_with_effects_and_need_a_session() {
    let with_state: Vec<&str> =
        known_types().iter().filter(|known| !known.state.is_empty()).map(|known| known.name).collect();
    let with_effects: Vec<&str> = TYPES_WITH_STATE.into_iter().filter(|name| !is_reserved(name)).collect();
    assert_eq!(with_state, with_effects);
    for known in known_types().iter().filter(|known| !known.state.is_empty()) {
        assert_ne!(known.scope, Scope::Project, "{}", known.name);
    }
}

#[test]
fn keys_and_joined_text_name_required_members() {
    for known in known_types() {
        let needs = |name: &str, kinds: fn(&Kind) -> bool| {
            let member = known.data.iter().find(|member| member.name == name);
            assert!(member.is_some_and(|member| member.required && kinds(&member.kind)), "{}: {name}", known.name);
        };
        match known.key {
            KeyRule::Runner | KeyRule::Session => {}
            KeyRule::Data(name) | KeyRule::AgentAnd(name) | KeyRule::Joined(name) | KeyRule::SessionAnd(name) => {
                needs(name, |kind| matches!(kind, Kind::Name | Kind::Word(_) | Kind::Count(_)));
            }
        }
        let joinable = joinable_member(known.name);
        assert_eq!(joinable.is_some(), known.lane == Lane::Delta, "{}", known.name);
        if let Some(name) = joinable {
            needs(name, |kind| *kind == Kind::Text);
        }
    }
}

/// `docs/events.md` publishes this table. After a change of the vocabulary `TIDINGS_UPDATE_DOCS=1 cargo test -p
/// tidings-protocol published` writes it anew.
#[test]
fn the_published_table_is_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md");
    let published = std::fs::read_to_string(path).expect("docs/events.md is there");
    let (before, rest) = published.split_once(BEGIN).expect("the table's beginning is marked");
    let (table, after) = rest.split_once(END).expect("the table's end is marked");
    if std::env::var_os("TIDINGS_UPDATE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", render()))
            .expect("docs/events.md can be written");
    } else {
        assert_eq!(table, render(), "docs/events.md differs from the code");
    }
}

const BEGIN: &str = "<!-- types: begin -->\n";
const END: &str = "<!-- types: end -->";

fn render() -> String {
    let mut out = String::from("| type | needs | data | lane | key | state |\n| --- | --- | --- | --- | --- | --- |\n");
    for known in known_types() {
        let lane = match known.lane {
            Lane::Control => "control",
            Lane::Delta => "delta",
            Lane::Latest => "latest",
        };
        let scope = match known.scope {
            Scope::Project => "",
            Scope::Session => "`session`",
            Scope::Agent => "`session`, `agent`",
        };
        let data: Vec<String> = known.data.iter().map(render_member).collect();
        let _ = writeln!(
            out,
            "| `{}` | {scope} | {} | {lane} | {} | {} |",
            known.name,
            data.join(", "),
            render_key(known),
            known.state
        );
    }
    out
}

fn render_member(member: &Member) -> String {
    let kind = match member.kind {
        Kind::Any => String::new(),
        Kind::Array => " array".into(),
        Kind::Bool => " bool".into(),
        Kind::Count(_) => " integer".into(),
        Kind::Name => " id".into(),
        Kind::Number(min, max) if max > 100.0 => format!(" number from {min}"),
        Kind::Number(min, max) => format!(" {min} to {max}"),
        Kind::Object => " object".into(),
        Kind::Text => " text".into(),
        Kind::Time => " RFC 3339".into(),
        Kind::Word(words) => format!(" {}", words.join("\\|")),
    };
    format!("`{}{}`{kind}", member.name, if member.required { "" } else { "?" })
}

fn render_key(known: &EventType) -> String {
    match known.key {
        KeyRule::Runner => String::new(),
        KeyRule::Session => "session".into(),
        KeyRule::Data(name) | KeyRule::Joined(name) => format!("`{name}`"),
        KeyRule::AgentAnd(name) => format!("agent + `{name}`"),
        KeyRule::SessionAnd(name) => format!("session + `{name}`"),
    }
}
