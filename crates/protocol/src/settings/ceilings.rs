//! What an operator lets projects set for themselves at most.

use super::{Acknowledgement, Fields, Limits, Retention, Settings};
use crate::codes::ErrorCode;
use crate::problem::FieldProblem;

/// The most that a project's own settings may say. A change beyond is refused; what stands beyond all the same (a declared
/// file, a record of older days) takes effect as the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Events that the log keeps.
    pub retention_events: u64,
    /// Encoded bytes that it keeps.
    pub retention_bytes: u64,
    /// Age in milliseconds that it keeps.
    pub retention_age_ms: u64,
    /// Replicas that acknowledgements wait for.
    pub replicas: u8,
    /// Events in a second.
    pub events_per_second: u32,
    /// Bytes of events in a second.
    pub bytes_per_second: u64,
}

impl Ceilings {
    /// None at all.
    pub const NONE: Ceilings = Ceilings {
        retention_events: u64::MAX,
        retention_bytes: u64::MAX,
        retention_age_ms: u64::MAX,
        replicas: u8::MAX,
        events_per_second: u32::MAX,
        bytes_per_second: u64::MAX,
    };

    /// Settings as they take effect: no number above its ceiling. What is not set stays so.
    pub fn clamp(&self, settings: Settings) -> Settings {
        let Settings { retention, redaction, acknowledgement, limits, commands, webhooks, unknown } = settings;
        Settings {
            commands,
            webhooks,
            unknown,
            retention: Retention {
                events: retention.events.map(|own| own.min(self.retention_events)),
                bytes: retention.bytes.map(|own| own.min(self.retention_bytes)),
                age_ms: retention.age_ms.map(|own| own.min(self.retention_age_ms)),
            },
            redaction,
            acknowledgement: Acknowledgement { replicas: acknowledgement.replicas.map(|own| own.min(self.replicas)) },
            limits: Limits {
                events_per_second: limits.events_per_second.map(|own| own.min(self.events_per_second)),
                bytes_per_second: limits.bytes_per_second.map(|own| own.min(self.bytes_per_second)),
            },
        }
    }

    /// What is wrong with these fields of changed settings. Those that the change does not name may stand beyond: they are
    /// not its fault.
    pub fn faults(&self, settings: &Settings, fields: &Fields) -> Vec<FieldProblem> {
        let Settings { retention, acknowledgement, limits, .. } = settings;
        let numbers = [
            ("retention.events", retention.events, self.retention_events),
            ("retention.bytes", retention.bytes, self.retention_bytes),
            ("retention.age_ms", retention.age_ms, self.retention_age_ms),
            ("acknowledgement.replicas", acknowledgement.replicas.map(u64::from), self.replicas.into()),
            ("limits.events_per_second", limits.events_per_second.map(u64::from), self.events_per_second.into()),
            ("limits.bytes_per_second", limits.bytes_per_second, self.bytes_per_second),
        ];
        let beyond = numbers.into_iter().filter_map(|(field, own, most)| {
            let actual = own.filter(|own| *own > most && fields.contains(&field))?;
            let told = FieldProblem::new(ErrorCode::InvalidField).field(field);
            let mut told = told.expected(format!("the service lets a project have at most {most}"));
            (told.limit, told.actual) = (Some(most), Some(actual));
            Some(told)
        });
        beyond.collect()
    }
}
