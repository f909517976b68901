//! Changes of settings, as JSON merge patches (RFC 7396): what is absent stays, `null` is unset, a list is replaced. All
//! that is wrong with a change is told together, and then nothing of it is done.

mod hooks;

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{Answers, Settings, Unknown, is_default, unknown};
use crate::codes::ErrorCode;
use crate::limits::FAULTS_MAX;
use crate::problem::FieldProblem;
use crate::redact::{OWN_RULES_MAX, OwnRule, Redactor, RuleFault};
use hooks::HooksChange;

/// Longest JSON of a change, or of settings, in bytes.
pub const SETTINGS_BYTES_MAX: usize = 32 * 1024;

const EVENTS: RangeInclusive<u64> = 1..=1 << 40;
const BYTES: RangeInclusive<u64> = 64 * 1024..=1 << 46;
const AGE_MS: RangeInclusive<u64> = 1_000..=1 << 40;
const REPLICAS: RangeInclusive<u64> = 0..=5;
const EVENTS_PER_SECOND: RangeInclusive<u64> = 1..=1_000_000;
const BYTES_PER_SECOND: RangeInclusive<u64> = 1_024..=1 << 30;

/// The fields that a change sets or unsets, with dots.
pub type Fields = Vec<&'static str>;

/// A change that was read and is sound by itself: it can be made on any settings, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What its fields are set to; those that are not among them mean nothing.
    to: Settings,
    /// What becomes of webhooks: what a change does not name of one of them stays.
    hooks: HooksChange,
    fields: Fields,
}

impl Change {
    /// Reads a patch. Costly where it [brings rules](brings_rules).
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(patch: &Value) -> Result<Change, Vec<FieldProblem>> {
        let mut to = Settings::default();
        let mut reader = Reader::default();
        reader.settings(patch, &mut to);
        let Reader { hooks, fields, faults } = reader;
        if faults.is_empty() { Ok(Change { to, hooks, fields }) } else { Err(faults) }
    }

    /// The fields that it sets or unsets.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Settings as they are after it.
    ///
    /// # Errors
    /// A webhook that was not there and is not named in full, or one too many.
    pub fn of(&self, settings: &Settings) -> Result<Settings, Vec<FieldProblem>> {
        let (mut changed, to) = (settings.clone(), &self.to);
        for field in &self.fields {
            match *field {
                "retention.events" => changed.retention.events = to.retention.events,
                "retention.bytes" => changed.retention.bytes = to.retention.bytes,
                "retention.age_ms" => changed.retention.age_ms = to.retention.age_ms,
                "redaction.builtin" => changed.redaction.builtin = to.redaction.builtin,
                "redaction.rules" => changed.redaction.rules.clone_from(&to.redaction.rules),
                "acknowledgement.replicas" => changed.acknowledgement.replicas = to.acknowledgement.replicas,
                "limits.events_per_second" => changed.limits.events_per_second = to.limits.events_per_second,
                "limits.bytes_per_second" => changed.limits.bytes_per_second = to.limits.bytes_per_second,
                "commands.answers" => changed.commands.answers = to.commands.answers,
                // They are changed member by member, below.
                "commands.webhook" | "webhooks" => {}
                _ => unreachable!("the reader knows no other fields"),
            }
            if !matches!(*field, "commands.webhook" | "webhooks") {
                changed.unknown.forget(field);
            }
        }
        self.hooks.make(&mut changed)?;
        Ok(changed)
    }
}

/// Settings as they are after a change, and the fields that it names. Costly as [`Change::read`] is.
pub fn change(settings: &Settings, patch: &Value) -> Result<(Settings, Fields), Vec<FieldProblem>> {
    let change = Change::read(patch)?;
    Ok((change.of(settings)?, change.fields))
}

/// Whether a patch has redaction rules: to read it makes an automaton of them, which is no work for a thread that serves
/// requests.
pub fn brings_rules(patch: &Value) -> bool {
    patch.pointer("/redaction/rules").is_some_and(Value::is_array)
}

/// Settings as they were stored. What a newer version added is kept beside them, and so is a webhook that cannot be read: it
/// alone is [left out](Settings::left_out).
///
/// # Errors
/// It is no JSON, or something else in it is not what it should be.
pub fn read(stored: &[u8]) -> Result<Settings, serde_json::Error> {
    if stored.is_empty() {
        return Ok(Settings::default());
    }
    let stored: Value = serde_json::from_slice(stored)?;
    let mut settings: Settings = serde_json::from_value(unknown::readable(stored.clone()))?;
    let known = serde_json::to_value(&settings).expect("settings have string keys only");
    settings.unknown = Unknown::of(stored, &known);
    Ok(settings)
}

#[derive(Default)]
struct Reader {
    hooks: HooksChange,
    fields: Fields,
    faults: Vec<FieldProblem>,
}

/// The sections, each with its fields; `webhooks` has names instead.
const SECTIONS: [(&str, &[&str]); 5] = [
    ("retention", &["events", "bytes", "age_ms"]),
    ("redaction", &["builtin", "rules"]),
    ("acknowledgement", &["replicas"]),
    ("limits", &["events_per_second", "bytes_per_second"]),
    ("commands", &["answers", "webhook"]),
];

/// The section of webhooks.
const WEBHOOKS: &str = "webhooks";

impl Reader {
    fn settings(&mut self, patch: &Value, to: &mut Settings) {
        let Some(given) = self.object(patch, "") else { return };
        for (name, value) in given {
            match SECTIONS.iter().find(|(section, _)| section == name) {
                Some((section, fields)) => self.section(section, fields, value, to),
                None if name == WEBHOOKS => self.webhooks(value),
                None => {
                    let sections = SECTIONS.map(|(section, _)| section).join(", ");
                    self.unknown(name, "", &format!("{sections}, {WEBHOOKS}"));
                }
            }
        }
    }

    /// Every field of a section that is given; `null` in the place of a section unsets them all.
    fn section(&mut self, section: &str, fields: &[&'static str], value: &Value, to: &mut Settings) {
        if value.is_null() {
            return fields.iter().for_each(|field| self.field(section, field, &Value::Null, to));
        }
        let Some(members) = self.object(value, section) else { return };
        for (name, value) in members {
            match fields.iter().find(|field| **field == name) {
                Some(field) => self.field(section, field, value, to),
                None => self.unknown(name, section, &fields.join(", ")),
            }
        }
    }

    fn field(&mut self, section: &str, name: &str, value: &Value, to: &mut Settings) {
        let Settings { retention, redaction, acknowledgement, limits, commands, .. } = to;
        match (section, name) {
            ("retention", "events") => self.number(value, "retention.events", EVENTS, &mut retention.events),
            ("retention", "bytes") => self.number(value, "retention.bytes", BYTES, &mut retention.bytes),
            ("retention", "age_ms") => self.number(value, "retention.age_ms", AGE_MS, &mut retention.age_ms),
            ("redaction", "builtin") => self.flag(value, "redaction.builtin", &mut redaction.builtin),
            ("redaction", "rules") => self.rules(value, &mut redaction.rules),
            ("acknowledgement", "replicas") => {
                self.number(value, "acknowledgement.replicas", REPLICAS, &mut acknowledgement.replicas);
            }
            ("limits", "events_per_second") => {
                let field = "limits.events_per_second";
                self.number(value, field, EVENTS_PER_SECOND, &mut limits.events_per_second);
            }
            ("limits", "bytes_per_second") => {
                let field = "limits.bytes_per_second";
                self.number(value, field, BYTES_PER_SECOND, &mut limits.bytes_per_second);
            }
            ("commands", "answers") => self.answers(value, &mut commands.answers),
            ("commands", "webhook") => self.command_webhook(value),
            _ => unreachable!("SECTIONS has no other fields"),
        }
    }

    fn object<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.fault(FieldProblem::new(ErrorCode::InvalidField).expected("expected an object"), field);
        }
        object
    }

    fn number<T: TryFrom<u64>>(
        &mut self,
        value: &Value,
        field: &'static str,
        range: RangeInclusive<u64>,
        to: &mut Option<T>,
    ) {
        self.fields.push(field);
        if value.is_null() {
            *to = None;
            return;
        }
        let read = value.as_u64().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        if let Some(number) = read {
            *to = Some(number);
            return;
        }
        let (least, most) = (*range.start(), *range.end());
        let mut fault = FieldProblem::new(ErrorCode::InvalidField)
            .expected(format!("expected a whole number from {least} to {most}, or null"));
        if let Some(actual) = value.as_u64() {
            (fault.limit, fault.actual) = (Some(if actual < least { least } else { most }), Some(actual));
        }
        self.fault(fault, field);
    }

    fn flag(&mut self, value: &Value, field: &'static str, to: &mut Option<bool>) {
        self.fields.push(field);
        match value {
            Value::Null => *to = None,
            Value::Bool(flag) => *to = Some(*flag),
            _ => self.fault(FieldProblem::new(ErrorCode::InvalidField).expected("expected true, false or null"), field),
        }
    }

    fn answers(&mut self, value: &Value, to: &mut Option<Answers>) {
        const FIELD: &str = "commands.answers";
        self.fields.push(FIELD);
        match value.as_str() {
            None if value.is_null() => *to = None,
            Some("asker") => *to = Some(Answers::Asker),
            Some("everyone") => *to = Some(Answers::Everyone),
            _ => {
                let fault = FieldProblem::new(ErrorCode::InvalidField).expected("expected asker, everyone or null");
                self.fault(fault, FIELD);
            }
        }
    }

    fn rules(&mut self, value: &Value, to: &mut Option<Vec<OwnRule>>) {
        const FIELD: &str = "redaction.rules";
        self.fields.push(FIELD);
        let list = match value {
            Value::Null => {
                *to = None;
                return;
            }
            Value::Array(list) => list,
            _ => {
                let fault = FieldProblem::new(ErrorCode::InvalidField).expected("expected a list of rules, or null");
                return self.fault(fault, FIELD);
            }
        };
        if list.len() > OWN_RULES_MAX {
            let fault = FieldProblem::new(ErrorCode::InvalidField).limit(OWN_RULES_MAX, list.len());
            return self.fault(fault.expected("too many rules"), FIELD);
        }
        let before = self.faults.len();
        let rules: Vec<OwnRule> = list.iter().enumerate().filter_map(|(place, rule)| self.rule(place, rule)).collect();
        if self.faults.len() > before {
            return;
        }
        if let Err(faults) = Redactor::new(false, &rules) {
            for (place, fault) in faults {
                let member = match fault {
                    RuleFault::Name | RuleFault::NameTaken => "name",
                    RuleFault::PatternTooLong(_) | RuleFault::Pattern(_) | RuleFault::Empty | RuleFault::TooComplex => {
                        "pattern"
                    }
                };
                let told = FieldProblem::new(ErrorCode::InvalidField).expected(fault.to_string());
                self.fault(told, &format!("{FIELD}[{place}].{member}"));
            }
            return;
        }
        *to = Some(rules);
    }

    fn rule(&mut self, place: usize, value: &Value) -> Option<OwnRule> {
        let at = format!("redaction.rules[{place}]");
        let members = self.object(value, &at)?;
        for name in members.keys().filter(|name| !matches!(name.as_str(), "name" | "pattern")) {
            self.unknown(name, &at, "name, pattern");
        }
        let mut text = |name: &str| {
            let found = members.get(name).and_then(Value::as_str).map(str::to_owned);
            if found.is_none() {
                let code = if members.contains_key(name) { ErrorCode::InvalidField } else { ErrorCode::MissingField };
                self.fault(FieldProblem::new(code).expected("expected a string"), &format!("{at}.{name}"));
            }
            found
        };
        let (name, pattern) = (text("name"), text("pattern"));
        Some(OwnRule { name: name?, pattern: pattern? })
    }

    fn unknown(&mut self, name: &str, section: &str, known: &str) {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
        let field = if section.is_empty() { shown } else { format!("{section}.{shown}") };
        let fault = FieldProblem::new(ErrorCode::UnknownField).expected(format!("there are {known}"));
        self.fault(fault, &field);
    }

    fn fault(&mut self, fault: FieldProblem, field: &str) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(if field.is_empty() { fault } else { fault.field(field) });
        }
    }
}

impl Settings {
    /// The fields that are set, with dots.
    pub fn fields(&self) -> Fields {
        let Settings { retention, redaction, acknowledgement, limits, commands, webhooks, unknown: _ } = self;
        let all = [
            ("retention.events", is_default(&retention.events)),
            ("retention.bytes", is_default(&retention.bytes)),
            ("retention.age_ms", is_default(&retention.age_ms)),
            ("redaction.builtin", is_default(&redaction.builtin)),
            ("redaction.rules", is_default(&redaction.rules)),
            ("acknowledgement.replicas", is_default(&acknowledgement.replicas)),
            ("limits.events_per_second", is_default(&limits.events_per_second)),
            ("limits.bytes_per_second", is_default(&limits.bytes_per_second)),
            ("commands.answers", is_default(&commands.answers)),
            ("commands.webhook", is_default(&commands.webhook)),
            (WEBHOOKS, is_default(webhooks)),
        ];
        all.into_iter().filter(|(_, unset)| !unset).map(|(field, _)| field).collect()
    }
}
