//! What a process counts of its store: calls by kind, connections that were opened anew, the way through and back, memory.
//!
//! Handles are resolved once, so that every series is there from the start; labels come from enums only.

use std::time::Instant;

use prometheus::core::Collector;
use prometheus::{Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use prometheus::{Opts, Registry};

use crate::{CallError, MemoryUse, NothingWhy};

/// Upper bounds in seconds: on a machine of its own Redis answers in well under a millisecond.
const SECONDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Of entries, and what goes with them.
    Append,
    /// Of entries.
    Read,
    /// Of one log's head.
    Heads,
    /// Of a fold, with its trim.
    Checkpoint,
    /// Of a checkpoint.
    State,
    /// Of shared limits.
    Quota,
    /// Of keys, members and settings.
    Registry,
    /// Of viewers and runners, and of what gateways carry.
    Presence,
    /// Of commands and who takes them.
    Inbox,
    /// Anything else: the index, leases, sweeps, the probe.
    Command,
}

impl Call {
    const ALL: [Call; 10] = [
        Call::Append,
        Call::Read,
        Call::Heads,
        Call::Checkpoint,
        Call::State,
        Call::Quota,
        Call::Registry,
        Call::Presence,
        Call::Inbox,
        Call::Command,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Call::Append => "append",
            Call::Read => "read",
            Call::Heads => "heads",
            Call::Checkpoint => "checkpoint",
            Call::State => "state",
            Call::Quota => "quota",
            Call::Registry => "registry",
            Call::Presence => "presence",
            Call::Inbox => "inbox",
            Call::Command => "command",
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// Commands and scripts.
    Commands,
    /// Messages.
    Messages,
    /// Calls that wait for replicas.
    Replicas,
}

impl Link {
    const ALL: [Link; 3] = [Link::Commands, Link::Messages, Link::Replicas];

    fn as_str(self) -> &'static str {
        match self {
            Link::Commands => "commands",
            Link::Messages => "messages",
            Link::Replicas => "replicas",
        }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failed {
    Away,
    Refused,
    Memory,
    Unknown,
}

impl Failed {
    const ALL: [Failed; 4] = [Failed::Away, Failed::Refused, Failed::Memory, Failed::Unknown];

    fn as_str(self) -> &'static str {
        match self {
            Failed::Away => "away",
            Failed::Refused => "refused",
            Failed::Memory => "memory",
            Failed::Unknown => "unknown",
        }
    }

    fn of(error: &CallError) -> Failed {
        match error {
            CallError::Nothing(NothingWhy::Away) => Failed::Away,
            CallError::Nothing(NothingWhy::Memory) => Failed::Memory,
            CallError::Nothing(_) => Failed::Refused,
            CallError::Unknown(_) => Failed::Unknown,
        }
    }
}

/// Counters of one process's connections to its store. Cheap to clone. The default is registered nowhere.
#[derive(Debug, Clone)]
pub struct RedisMetrics {
    calls: [Histogram; Call::ALL.len()],
    errors: [IntCounter; Failed::ALL.len()],
    reconnects: [IntCounter; Link::ALL.len()],
    probe_seconds: Histogram,
    memory_used: IntGauge,
    memory_max: IntGauge,
}

impl RedisMetrics {
    /// Registers the families in `registry`.
    ///
    /// # Errors
    /// When the registry has them already.
    pub fn register(registry: &Registry) -> Result<RedisMetrics, Error> {
        RedisMetrics::made(|made| registry.register(made))
    }

    fn made(register: impl Fn(Box<dyn Collector>) -> Result<(), Error>) -> Result<RedisMetrics, Error> {
        let buckets = |name: &str, help: &str| HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        let calls =
            HistogramVec::new(buckets("tidings_redis_call_seconds", "Calls of Redis, by what for."), &["call"])?;
        register(Box::new(calls.clone()))?;
        let counters = |name: &str, help: &str, label: &str| {
            let made = IntCounterVec::new(Opts::new(name, help), &[label])?;
            register(Box::new(made.clone())).map(|()| made)
        };
        let errors = counters("tidings_redis_call_errors_total", "Calls of Redis that failed, by why.", "kind")?;
        let help = "Connections to Redis opened again after they were lost, by what for.";
        let reconnects = counters("tidings_redis_reconnects_total", help, "link")?;
        let help = "A message's way through Redis and back to this process, as readiness asks for it.";
        let probe_seconds = Histogram::with_opts(buckets("tidings_redis_probe_seconds", help))?;
        register(Box::new(probe_seconds.clone()))?;
        let help =
            "Memory of the fullest node of Redis, as a janitor last read it here; 0: none did, or no limit is set.";
        let memory = IntGaugeVec::new(Opts::new("tidings_redis_memory_bytes", help), &["what"])?;
        register(Box::new(memory.clone()))?;
        Ok(RedisMetrics {
            calls: Call::ALL.map(|call| calls.with_label_values(&[call.as_str()])),
            errors: Failed::ALL.map(|failed| errors.with_label_values(&[failed.as_str()])),
            reconnects: Link::ALL.map(|link| reconnects.with_label_values(&[link.as_str()])),
            probe_seconds,
            memory_used: memory.with_label_values(&["used"]),
            memory_max: memory.with_label_values(&["max"]),
        })
    }

    /// Counts a call while it is awaited. One that is dropped is not counted.
    pub(super) async fn call<T>(
        &self,
        call: Call,
        sent: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let began = Instant::now();
        let answered = sent.await;
        self.calls[call as usize].observe(began.elapsed().as_secs_f64());
        if let Err(error) = &answered {
            self.errors[Failed::of(error) as usize].inc();
        }
        answered
    }

    /// A message came back that was sent at `began`.
    pub(super) fn on_probed(&self, began: Instant) {
        self.probe_seconds.observe(began.elapsed().as_secs_f64());
    }

    /// A connection was opened again.
    pub(super) fn on_reconnected(&self, link: Link) {
        self.reconnects[link as usize].inc();
    }

    /// Memory was read.
    pub(super) fn on_memory(&self, memory: &MemoryUse) {
        let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.memory_used.set(bytes(memory.used_bytes));
        self.memory_max.set(bytes(memory.max_bytes.unwrap_or_default()));
    }
}

impl Default for RedisMetrics {
    fn default() -> RedisMetrics {
        RedisMetrics::made(|_| Ok(())).expect("the names are well formed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_count_by_what_for_and_failures_by_why() {
        let metrics = RedisMetrics::register(&Registry::new()).expect("a fresh registry");
        let failed = |error: CallError| async { Err::<(), _>(error) };
        metrics.call(Call::State, async { Ok(()) }).await.expect("it is fine");
        for error in [
            CallError::Nothing(NothingWhy::Away),
            CallError::Nothing(NothingWhy::Busy),
            CallError::Nothing(NothingWhy::OverShare),
            CallError::Nothing(NothingWhy::Memory),
            CallError::Unknown("gone".into()),
        ] {
            metrics.call(Call::Append, failed(error)).await.expect_err("it failed");
        }
        assert_eq!(metrics.errors.each_ref().map(IntCounter::get), [1, 2, 1, 1]);
        assert_eq!(metrics.calls[Call::Append as usize].get_sample_count(), 5);
        assert_eq!(metrics.calls[Call::State as usize].get_sample_count(), 1);
    }
}
