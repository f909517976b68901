//! Changes of webhooks. Each has a name, and each of its members is changed by itself, so that nobody needs to know a secret
//! to change something else.

use serde_json::{Map, Value};

use super::{Reader, Settings, WEBHOOKS};
use crate::codes::ErrorCode;
use crate::echo;
use crate::filter::FILTER_WORDS_MAX;
use crate::limits::TYPE_BYTES_MAX;
use crate::problem::FieldProblem;
use crate::settings::hooks::{
    CAPABILITIES_MAX, CAPABILITY_BYTES_MAX, CommandWebhook, HOOK_URL_BYTES_MAX, HookUrl, HookUrlError, IN_HAND_MAX,
    REDACTED, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, WEBHOOK_NAME_BYTES_MAX, WEBHOOKS_MAX, Webhook,
};

/// The place of the webhook of commands.
const COMMANDS: &str = "commands.webhook";

/// What begins the services' own capabilities.
const OWN_PREFIX: &str = "tidings:";

/// What a change says of a member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Step<T> {
    /// Nothing: it stays.
    #[default]
    Stays,
    /// `null`.
    Unset,
    /// A value.
    To(T),
}

impl<T: Clone> Step<T> {
    /// The member after it.
    fn of(&self, before: Option<T>) -> Option<T> {
        match self {
            Step::Stays => before,
            Step::Unset => None,
            Step::To(value) => Some(value.clone()),
        }
    }
}

/// What a change makes of one webhook.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct HookChange {
    url: Step<HookUrl>,
    /// Types, or capabilities.
    words: Step<Vec<String>>,
    in_hand: Step<u32>,
    secret: Step<Secret>,
    previous_secret: Step<Secret>,
}

/// What a change makes of all webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HooksChange {
    /// Those of before are gone.
    all_gone: bool,
    /// By name.
    named: Vec<(String, Step<HookChange>)>,
    commands: Step<HookChange>,
}

impl HooksChange {
    /// Makes it.
    pub(super) fn make(&self, settings: &mut Settings) -> Result<(), Vec<FieldProblem>> {
        let mut faults = Vec::new();
        if self.all_gone {
            settings.webhooks.clear();
            settings.unknown.forget(WEBHOOKS);
        }
        for (name, step) in &self.named {
            if *step == Step::Unset || !settings.webhooks.contains_key(name) {
                settings.unknown.forget_webhook(name);
            }
            let before = settings.webhooks.remove(name);
            if let Some(after) = one(step, before, |change, before| change.webhook(name, before), &mut faults) {
                settings.webhooks.insert(name.clone(), after);
            }
        }
        let unread = settings.unknown.webhooks().filter(|name| !settings.webhooks.contains_key(*name));
        let count = settings.webhooks.len() + unread.count();
        if count > WEBHOOKS_MAX && !self.named.is_empty() {
            let fault = FieldProblem::new(ErrorCode::InvalidField).field(WEBHOOKS).limit(WEBHOOKS_MAX, count);
            faults.push(fault.expected(format!("a project has at most {WEBHOOKS_MAX} webhooks")));
        }
        let before = settings.commands.webhook.take();
        if self.commands == Step::Unset || (self.commands != Step::Stays && before.is_none()) {
            settings.unknown.forget(COMMANDS);
        }
        settings.commands.webhook = one(&self.commands, before, HookChange::command_webhook, &mut faults);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// A webhook after a step.
fn one<W>(
    step: &Step<HookChange>,
    before: Option<W>,
    make: impl FnOnce(&HookChange, Option<W>) -> Result<W, Vec<FieldProblem>>,
    faults: &mut Vec<FieldProblem>,
) -> Option<W> {
    match step {
        Step::Stays => before,
        Step::Unset => None,
        Step::To(change) => make(change, before).map_err(|more| faults.extend(more)).ok(),
    }
}

impl HookChange {
    fn webhook(&self, name: &str, before: Option<Webhook>) -> Result<Webhook, Vec<FieldProblem>> {
        let (url, types, secret, previous) = match before {
            Some(Webhook { url, types, secret, previous_secret }) => (Some(url), types, Some(secret), previous_secret),
            None => (None, Vec::new(), None, None),
        };
        let (url, secret) = (self.url.of(url), self.secret.of(secret));
        let (Some(url), Some(secret)) = (&url, &secret) else {
            let members = [("url", url.is_none()), ("secret", secret.is_none())];
            return Err(missing(&format!("{WEBHOOKS}.{name}"), &members));
        };
        Ok(Webhook {
            url: url.clone(),
            types: self.words.of(Some(types)).unwrap_or_default(),
            secret: secret.clone(),
            previous_secret: self.previous_secret.of(previous),
        })
    }

    fn command_webhook(&self, before: Option<CommandWebhook>) -> Result<CommandWebhook, Vec<FieldProblem>> {
        let (url, words, in_hand, secret, previous) = match before {
            Some(CommandWebhook { url, capabilities, in_hand, secret, previous_secret }) => {
                (Some(url), Some(capabilities), in_hand, Some(secret), previous_secret)
            }
            None => (None, None, None, None, None),
        };
        let (url, capabilities, secret) = (self.url.of(url), self.words.of(words), self.secret.of(secret));
        let (Some(url), Some(capabilities), Some(secret)) = (&url, &capabilities, &secret) else {
            let (no_url, no_secret) = (url.is_none(), secret.is_none());
            let members = [("url", no_url), ("capabilities", capabilities.is_none()), ("secret", no_secret)];
            return Err(missing(COMMANDS, &members));
        };
        Ok(CommandWebhook {
            url: url.clone(),
            capabilities: capabilities.clone(),
            in_hand: self.in_hand.of(in_hand),
            secret: secret.clone(),
            previous_secret: self.previous_secret.of(previous),
        })
    }
}

fn missing(at: &str, members: &[(&str, bool)]) -> Vec<FieldProblem> {
    let missing = members.iter().filter(|(_, missing)| *missing);
    let fault = |name: &str| FieldProblem::new(ErrorCode::MissingField).field(format!("{at}.{name}"));
    missing.map(|(name, _)| fault(name).expected("a webhook needs it")).collect()
}

impl Reader {
    /// The section: names with what becomes of each; `null` in its place removes all.
    pub(super) fn webhooks(&mut self, value: &Value) {
        self.fields.push(WEBHOOKS);
        if value.is_null() {
            self.hooks.all_gone = true;
            return;
        }
        let Some(named) = self.object(value, WEBHOOKS) else { return };
        for (name, value) in named {
            if !is_name(name) {
                let fault = FieldProblem::new(ErrorCode::InvalidField).expected(format!(
                    "a webhook's name is 1 to {WEBHOOK_NAME_BYTES_MAX} characters of A-Z a-z 0-9 . _ - and starts with a \
                     letter or digit"
                ));
                self.fault(fault, &format!("{WEBHOOKS}.{}", echo::text(name)));
                continue;
            }
            let step = self.hook(value, &format!("{WEBHOOKS}.{name}"), &["url", "types", "secret", "previous_secret"]);
            self.hooks.named.push((name.clone(), step));
        }
    }

    /// The one webhook of commands.
    pub(super) fn command_webhook(&mut self, value: &Value) {
        self.fields.push(COMMANDS);
        let members = ["url", "capabilities", "in_hand", "secret", "previous_secret"];
        self.hooks.commands = self.hook(value, COMMANDS, &members);
    }

    fn hook(&mut self, value: &Value, at: &str, known: &[&str]) -> Step<HookChange> {
        if value.is_null() {
            return Step::Unset;
        }
        let Some(members) = self.object(value, at) else { return Step::Stays };
        for name in members.keys().filter(|name| !known.contains(&name.as_str())) {
            self.unknown(name, at, &known.join(", "));
        }
        let words = if known.contains(&"types") { "types" } else { "capabilities" };
        let mut step = HookChange {
            url: self.member(members, at, "url", Reader::url),
            words: Step::Stays,
            in_hand: Step::Stays,
            secret: self.secret(members, at, "secret"),
            previous_secret: self.secret(members, at, "previous_secret"),
        };
        if words == "types" {
            step.words = self.member(members, at, words, Reader::types);
        } else {
            step.words = self.member(members, at, words, Reader::capabilities);
            step.in_hand = self.member(members, at, "in_hand", Reader::in_hand);
        }
        Step::To(step)
    }

    /// A member of a webhook; what is wrong with it is told, and then it stays.
    fn member<T>(
        &mut self,
        members: &Map<String, Value>,
        at: &str,
        name: &str,
        read: impl FnOnce(&mut Reader, &Value, &str) -> Option<T>,
    ) -> Step<T> {
        match members.get(name) {
            None => Step::Stays,
            Some(Value::Null) => Step::Unset,
            Some(value) => read(self, value, &format!("{at}.{name}")).map_or(Step::Stays, Step::To),
        }
    }

    /// What is shown in its place leaves a secret as it is.
    fn secret(&mut self, members: &Map<String, Value>, at: &str, name: &str) -> Step<Secret> {
        if members.get(name).and_then(Value::as_str) == Some(REDACTED) {
            return Step::Stays;
        }
        self.member(members, at, name, |reader, value, field| {
            let text = reader.text(value, field)?;
            if text.len() < SECRET_BYTES_MIN || text.len() > SECRET_BYTES_MAX {
                let limit = if text.len() < SECRET_BYTES_MIN { SECRET_BYTES_MIN } else { SECRET_BYTES_MAX };
                let fault = FieldProblem::new(ErrorCode::InvalidField).limit(limit, text.len());
                let expected = format!("a secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes");
                reader.fault(fault.expected(expected), field);
                return None;
            }
            Some(Secret::new(text))
        })
    }

    fn text<'v>(&mut self, value: &'v Value, field: &str) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() {
            self.fault(FieldProblem::new(ErrorCode::InvalidField).expected("expected a string"), field);
        }
        text
    }

    fn url(&mut self, value: &Value, field: &str) -> Option<HookUrl> {
        let fault = match self.text(value, field)?.parse() {
            Ok(url) => return Some(url),
            Err(fault) => fault,
        };
        let told = FieldProblem::new(ErrorCode::InvalidField).expected(fault.to_string());
        let told = if let HookUrlError::TooLong(bytes) = fault { told.limit(HOOK_URL_BYTES_MAX, bytes) } else { told };
        self.fault(told, field);
        None
    }

    fn types(&mut self, value: &Value, field: &str) -> Option<Vec<String>> {
        let words = self.words(value, field, FILTER_WORDS_MAX, TYPE_BYTES_MAX)?;
        let wrong = words.iter().position(|word| !is_type(word));
        if let Some(place) = wrong {
            let expected = "expected lower-case words of a-z, 0-9 and _, joined by dots, starting with a letter";
            self.fault(FieldProblem::new(ErrorCode::InvalidField).expected(expected), &format!("{field}[{place}]"));
            return None;
        }
        Some(words)
    }

    fn capabilities(&mut self, value: &Value, field: &str) -> Option<Vec<String>> {
        let words = self.words(value, field, CAPABILITIES_MAX, CAPABILITY_BYTES_MAX)?;
        if words.is_empty() {
            let fault = FieldProblem::new(ErrorCode::InvalidField).expected("expected at least one");
            self.fault(fault, field);
            return None;
        }
        let wrong = words.iter().position(|word| word.chars().any(char::is_control) || word.starts_with(OWN_PREFIX));
        if let Some(place) = wrong {
            let expected = format!("must not have control characters, and `{OWN_PREFIX}` begins the server's own");
            self.fault(FieldProblem::new(ErrorCode::InvalidField).expected(expected), &format!("{field}[{place}]"));
            return None;
        }
        Some(words)
    }

    /// Texts that are neither empty nor too long, nor too many.
    fn words(&mut self, value: &Value, field: &str, words_max: usize, bytes_max: usize) -> Option<Vec<String>> {
        let Some(list) = value.as_array() else {
            let fault = FieldProblem::new(ErrorCode::InvalidField).expected("expected a list of strings, or null");
            self.fault(fault, field);
            return None;
        };
        if list.len() > words_max {
            let fault = FieldProblem::new(ErrorCode::InvalidField).limit(words_max, list.len());
            self.fault(fault.expected(format!("expected at most {words_max}")), field);
            return None;
        }
        let mut words = Vec::with_capacity(list.len());
        for (place, word) in list.iter().enumerate() {
            let at = format!("{field}[{place}]");
            let Some(word) = self.text(word, &at) else { continue };
            if word.is_empty() || word.len() > bytes_max {
                let fault = FieldProblem::new(ErrorCode::InvalidField).limit(bytes_max, word.len());
                self.fault(fault.expected(format!("expected 1 to {bytes_max} bytes")), &at);
                continue;
            }
            words.push(word.to_owned());
        }
        // One that is left out is told, so that nobody takes what is left for the whole.
        (words.len() == list.len()).then_some(words)
    }

    fn in_hand(&mut self, value: &Value, field: &str) -> Option<u32> {
        let most = u64::from(IN_HAND_MAX);
        let read = value.as_u64().filter(|number| (1..=most).contains(number)).and_then(|n| u32::try_from(n).ok());
        if read.is_none() {
            let mut fault = FieldProblem::new(ErrorCode::InvalidField)
                .expected(format!("expected a whole number from 1 to {most}, or null"));
            if let Some(actual) = value.as_u64() {
                (fault.limit, fault.actual) = (Some(if actual < 1 { 1 } else { most }), Some(actual));
            }
            self.fault(fault, field);
        }
        read
    }
}

fn is_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let sound = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    first && sound && name.len() <= WEBHOOK_NAME_BYTES_MAX
}

/// The grammar of event types, and of their beginnings by whole segments.
fn is_type(word: &str) -> bool {
    let segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    word.bytes().next().is_some_and(|b| b.is_ascii_lowercase()) && word.split('.').all(segment)
}
