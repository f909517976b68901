//! What is done when the store runs short of memory (docs/log.md L18): who is over the fair share is trimmed and refused
//! first, so that one flooding project does not starve the others.
//!
//! A refusal stands in the project's own books, where every writer meets it, and ends by itself: a janitor that dies refuses
//! nobody for ever. The shares are computed here alone, from what each log holds; nothing is remembered of them.

use std::collections::HashSet;
use std::time::Duration;

use tidings_broker::{INDEX_SHARDS, MemoryUse, index};
use tidings_protocol::project::Project;

use super::{HEADS_MAX, Janitor};

/// How often memory is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a refusal lasts unless it is renewed: some looks may fail.
const REFUSE_FOR: Duration = Duration::from_secs(5);

/// Logs are trimmed to this part of the watermark less than it, so that the next look does not find it passed again.
const RELIEF_PART: u64 = 16;

/// No project is trimmed below this part of an equal share of the watermark: what takes the memory then is not the logs.
const FLOOR_PART: u64 = 4;

/// Who is over the share at the moment.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Encoded bytes that a project's log may hold while memory is short.
    share: u64,
    /// Projects of our shards that hold more: they are refused.
    refused: HashSet<Project, foldhash::fast::RandomState>,
}

impl Pressure {
    /// What a project's log may hold now.
    pub(super) fn share_of(&self, project: &Project) -> Option<u64> {
        self.refused.contains(project).then_some(self.share)
    }

    /// Whether anybody is refused.
    fn is_on(&self) -> bool {
        !self.refused.is_empty()
    }
}

/// Bytes in use above which memory is short; none: it is not.
fn watermark_passed(memory: MemoryUse, percent: u64) -> Option<u64> {
    let watermark = memory.max_bytes? / 100 * percent;
    (memory.used_bytes > watermark).then_some(watermark)
}

/// The fair share: the most that a log may hold, if all of them together are to give back what is used above the watermark
/// (and a little more), taken from the largest alone. Those that hold less keep what they have.
fn fair_share(used_bytes: u64, watermark: u64, mut held: Vec<u64>) -> u64 {
    held.retain(|bytes| *bytes > 0);
    held.sort_unstable();
    let target = watermark - watermark / RELIEF_PART;
    // What a log weighs in the store is more than its encoded bytes, so this frees at least as much.
    let mut room = held.iter().sum::<u64>().saturating_sub(used_bytes.saturating_sub(target));
    let floor = watermark / FLOOR_PART / (held.len() as u64).max(1);
    for (bytes, left) in held.iter().zip((1..=held.len() as u64).rev()) {
        if *bytes > room / left {
            return floor.max(room / left);
        }
        room -= bytes;
    }
    u64::MAX
}

impl Janitor {
    /// Looks at the store's memory, and at who is over the share when it is short.
    pub(super) async fn look_at_memory(&mut self) {
        // Whoever tends no project leaves it to those who do.
        if self.leases.iter().all(Option::is_none) {
            return;
        }
        let memory = match self.broker.memory().await {
            Ok(memory) => memory,
            Err(error) => return tracing::debug!(%error, "no look at memory this time"),
        };
        let mut over = Vec::new();
        if let Some(watermark) = watermark_passed(memory, self.settings.memory_watermark_percent) {
            let held = self.survey().await;
            self.pressure.share =
                fair_share(memory.used_bytes, watermark, held.iter().map(|(_, bytes)| *bytes).collect());
            over = held.into_iter().filter(|(_, bytes)| *bytes > self.pressure.share).collect();
            over.sort_unstable_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        }
        let was_on = self.pressure.is_on();
        self.relieve(&over).await;
        for (project, _) in over {
            if self.holds(index::shard_of(&project)).await {
                self.press(project).await;
            }
        }
        match (was_on, self.pressure.is_on()) {
            (false, true) => tracing::warn!(
                used_bytes = memory.used_bytes,
                projects = self.pressure.refused.len(),
                "memory is short: projects over their share are trimmed and refused"
            ),
            (true, false) => tracing::info!(used_bytes = memory.used_bytes, "nobody is refused for memory any more"),
            _ => {}
        }
        self.metrics.over_share.set(i64::try_from(self.pressure.refused.len()).unwrap_or(i64::MAX));
    }

    /// What each log holds, of all shards: shares are everybody's. What cannot be read is left out.
    async fn survey(&self) -> Vec<(Project, u64)> {
        let mut all = Vec::new();
        for shard in 0..INDEX_SHARDS {
            let projects = self.broker.projects(shard).await.unwrap_or_default();
            for some in projects.chunks(HEADS_MAX) {
                let held = self.broker.held_bytes(some.to_vec()).await;
                all.extend(some.iter().cloned().zip(held).filter_map(|(project, bytes)| Some((project, bytes.ok()?))));
            }
        }
        all
    }

    /// Refuses a project's appends, and has it trimmed to its share.
    async fn press(&mut self, project: Project) {
        let for_ms = u64::try_from(REFUSE_FOR.as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = self.broker.refuse(project.clone(), for_ms).await {
            tracing::debug!(%project, %error, "cannot refuse a project over its share");
        }
        let work = self.plan.work_now(&project, tokio::time::Instant::now());
        self.pressure.refused.insert(project.clone());
        self.queue.push_urgent(project, work);
    }

    /// Lets those go that are not over any more.
    async fn relieve(&mut self, over: &[(Project, u64)]) {
        let over: HashSet<&Project> = over.iter().map(|(project, _)| project).collect();
        let relieved = self.pressure.refused.extract_if(|project| !over.contains(project)).collect::<Vec<_>>();
        for project in relieved {
            // A refusal that cannot be ended now ends soon by itself.
            if let Err(error) = self.broker.refuse(project.clone(), 0).await {
                tracing::debug!(%project, %error, "cannot end a refusal");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WATERMARK: u64 = 1_600;

    /// Used: what the logs hold and as much again.
    fn share(held: &[u64]) -> u64 {
        fair_share(2 * held.iter().sum::<u64>(), WATERMARK, held.to_vec())
    }

    #[test]
    fn what_is_over_the_watermark_is_taken_from_the_largest() {
        // 1,620 used, 1,500 wanted: 120 less.
        assert_eq!(share(&[800, 10]), 680);
        // Equals share alike.
        assert_eq!(share(&[405, 405]), 345);
        // 1,800 used: 300 less; the quiet and the middling keep what they have.
        assert_eq!(share(&[0, 700, 20, 180, 0]), 400);
        // 2,000 used: 500 less, of which two give.
        assert_eq!(share(&[460, 40, 500]), 230);
    }

    #[test]
    fn other_uses_of_memory_do_not_empty_the_logs() {
        assert_eq!(fair_share(100_000, WATERMARK, vec![100, 300]), WATERMARK / 4 / 2);
        assert_eq!(fair_share(100_000, WATERMARK, vec![]), u64::MAX);
    }

    #[test]
    fn memory_is_short_above_the_watermark_alone() {
        let passed = |used_bytes, max_bytes| watermark_passed(MemoryUse { used_bytes, max_bytes }, 85);
        assert_eq!(passed(851, Some(1_000)), Some(850));
        assert_eq!(passed(850, Some(1_000)), None);
        assert_eq!(passed(u64::MAX, None), None);
    }
}
