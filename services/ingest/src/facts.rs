//! What events say of swarms, for the metrics: sessions that begin and end, tokens and cost, how old an event is when it comes.
//!
//! Read from what travels beside the payload, before events are handed over; counted when the log has appended them, so
//! that a retry counts once. Nothing is parsed again.

use std::iter::zip;

use prometheus::{Counter, Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};
use tidings_log::writer::{Item, Outcome};
use tidings_protocol::wire;
use tidings_protocol::wire::effect::Op;

/// Upper bounds in seconds: a runner on this machine sends within milliseconds, one that buffers while it is offline within
/// the hour that ages are cut off at.
const AGES: [f64; 12] = [0.001, 0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 120.0, 600.0, 3_600.0];

/// Micro-dollars in a dollar.
const MICRO: f64 = 1e6;

/// The events of a session's life that are counted; the last segment of a type is the label.
const SESSIONS: [&str; 5] = ["started", "completed", "failed", "cancelled", "lost"];

/// Where effects add tokens up, below `usage`, and the label.
const TOKENS: [(&str, &str); 2] = [("input_tokens", "input"), ("output_tokens", "output")];

/// Where effects add cost up, below `usage`.
const COST: &str = "cost_micro_usd";

/// Counters of what events say. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FactMetrics {
    sessions: [IntCounter; SESSIONS.len()],
    tokens: [IntCounter; TOKENS.len()],
    cost_usd: Counter,
    age_seconds: Histogram,
}

impl FactMetrics {
    /// Registers the families in `registry`.
    pub(crate) fn register(registry: &Registry) -> Result<FactMetrics, prometheus::Error> {
        let labelled = |name: &str, help: &str, label: &str| {
            let made = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(made.clone())).map(|()| made)
        };
        let sessions = labelled("tidings_ingest_sessions_total", "Sessions, by what became of them.", "event")?;
        let tokens = labelled("tidings_ingest_tokens_total", "Tokens that usage events tell of, by kind.", "kind")?;
        let cost_usd = Counter::new("tidings_ingest_cost_usd_total", "Cost that usage events tell of, in US dollars.")?;
        registry.register(Box::new(cost_usd.clone()))?;
        let age_seconds = Histogram::with_opts(
            HistogramOpts::new(
                "tidings_ingest_event_age_seconds",
                "From the runner's time of a request's first event to its arrival, 0 to an hour.",
            )
            .buckets(AGES.to_vec()),
        )?;
        registry.register(Box::new(age_seconds.clone()))?;
        Ok(FactMetrics {
            sessions: SESSIONS.map(|event| sessions.with_label_values(&[event])),
            tokens: TOKENS.map(|(_, kind)| tokens.with_label_values(&[kind])),
            cost_usd,
            age_seconds,
        })
    }

    /// How old events are that came together: the first of them tells, which is the oldest as a rule.
    pub(crate) fn on_arrival(&self, events: &[wire::Event]) {
        if let Some(first) = events.iter().find(|event| event.sent_ms > 0) {
            let age_ms = u32::try_from(first.received_ms.saturating_sub(first.sent_ms)).unwrap_or(u32::MAX);
            self.age_seconds.observe(f64::from(age_ms) / 1e3);
        }
    }
}

/// What is known of events before they are handed over.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// What each weighs as it is stored, in their order.
    weights: Vec<usize>,
    /// What some of them say, by their index.
    told: Vec<(usize, Fact)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fact {
    /// By index in [`SESSIONS`].
    Session(usize),
    Usage {
        tokens: [u64; TOKENS.len()],
        cost_micro_usd: u64,
    },
}

/// What was appended of some events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) events: u64,
    /// As they are stored.
    pub(crate) bytes: u64,
}

impl Facts {
    /// Of these events.
    pub(crate) fn of(events: &[wire::Event]) -> Facts {
        let told = events.iter().enumerate().filter_map(|(index, event)| Some((index, Fact::of(event)?)));
        Facts { weights: events.iter().map(Item::weight_of).collect(), told: told.collect() }
    }

    /// What all of them weigh as they are stored.
    pub(crate) fn weight(&self) -> usize {
        self.weights.iter().sum()
    }

    /// Counts what was appended. `outcomes` are those of the events, in their order; none: it was not taken.
    pub(crate) fn count<'o>(
        &self,
        outcomes: impl Iterator<Item = Option<&'o Outcome>>,
        metrics: &FactMetrics,
    ) -> Appended {
        let mut told = self.told.iter().peekable();
        let mut all = Appended::default();
        for ((index, weight), outcome) in zip(self.weights.iter().enumerate(), outcomes) {
            let fact = told.next_if(|(of, _)| *of == index);
            if matches!(outcome, Some(Outcome::Appended { .. })) {
                all.events += 1;
                all.bytes += *weight as u64;
                if let Some((_, fact)) = fact {
                    metrics.on_fact(*fact);
                }
            }
        }
        all
    }
}

impl FactMetrics {
    fn on_fact(&self, fact: Fact) {
        match fact {
            Fact::Session(event) => self.sessions[event].inc(),
            Fact::Usage { tokens, cost_micro_usd } => {
                for (counter, count) in zip(&self.tokens, tokens) {
                    counter.inc_by(count);
                }
                #[expect(clippy::cast_precision_loss, reason = "a sum of money, for people")]
                self.cost_usd.inc_by(cost_micro_usd as f64 / MICRO);
            }
        }
    }
}

impl Fact {
    fn of(event: &wire::Event) -> Option<Fact> {
        if event.r#type == "usage" {
            return Some(Fact::usage(&event.effects));
        }
        let name = event.r#type.strip_prefix("session.")?;
        SESSIONS.iter().position(|event| *event == name).map(Fact::Session)
    }

    /// What is added up, whatever the model. For the session and for the project it is the same.
    fn usage(effects: &[wire::Effect]) -> Fact {
        let mut tokens = [0; TOKENS.len()];
        let mut cost_micro_usd = 0;
        for effect in effects.iter().filter(|effect| effect.op() == Op::Add) {
            let [usage, cell] = effect.path.as_slice() else { continue };
            let number = u64::try_from(effect.number).unwrap_or_default();
            if usage == "usage" && cell == COST {
                cost_micro_usd = number;
            } else if usage == "usage"
                && let Some(kind) = TOKENS.iter().position(|(name, _)| name == cell)
            {
                tokens[kind] = number;
            }
        }
        Fact::Usage { tokens, cost_micro_usd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tidings_protocol::effects::{Subject, effects_of};
    use tidings_protocol::position::Position;

    fn event(kind: &str, data: &serde_json::Value) -> wire::Event {
        let subject = Subject { kind, session: "s", agent: "", parent: "", id: "e", time: "2026-11-21T09:00:00.000Z" };
        wire::Event { r#type: kind.to_owned(), effects: effects_of(&subject, data), ..wire::Event::default() }
    }

    #[test]
    fn what_was_appended_counts_once() {
        let usage = json!({"input_tokens": 70, "output_tokens": 5, "cost_usd": 0.25, "model": "m"});
        let events = [
            event("session.started", &json!({"title": "t"})),
            event("usage", &usage),
            event("usage", &usage),
            event("session.failed", &json!({"error": "e"})),
            event("session.progress", &json!({"progress": 5})),
        ];
        let facts = Facts::of(&events);
        let metrics = FactMetrics::register(&Registry::new()).expect("a fresh registry");
        let appended = Outcome::Appended { id: "e".into(), position: Position::ZERO };
        let duplicate = Outcome::Duplicate { id: "e".into(), position: None };
        let outcomes = [Some(&appended), Some(&appended), Some(&duplicate), Some(&Outcome::Fenced { epoch: 1 }), None];
        let all = facts.count(outcomes.into_iter(), &metrics);
        let bytes = (Item::weight_of(&events[0]) + Item::weight_of(&events[1])) as u64;
        assert_eq!(all, Appended { events: 2, bytes });
        assert_eq!(metrics.sessions.each_ref().map(IntCounter::get), [1, 0, 0, 0, 0]);
        assert_eq!(metrics.tokens.each_ref().map(IntCounter::get), [70, 5]);
        assert!((metrics.cost_usd.get() - 0.25).abs() < 1e-9, "{}", metrics.cost_usd.get());
    }

    #[test]
    fn the_first_event_with_a_time_tells_how_old_they_are() {
        let metrics = FactMetrics::register(&Registry::new()).expect("a fresh registry");
        let sent = |sent_ms| wire::Event { sent_ms, received_ms: 10_000, ..wire::Event::default() };
        metrics.on_arrival(&[sent(0), sent(9_500), sent(9_990)]);
        metrics.on_arrival(&[sent(0)]);
        let age = &metrics.age_seconds;
        assert_eq!(age.get_sample_count(), 1);
        assert!((age.get_sample_sum() - 0.5).abs() < 1e-9, "{}", age.get_sample_sum());
    }
}
