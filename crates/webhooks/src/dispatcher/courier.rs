//! A courier: delivers for one webhook, batch by batch, and keeps its place.
//!
//! Before a batch is sent its end is written down (*claimed*), so that whoever goes on behind a crash puts together the same
//! one, under the same id. Behind one that was taken the place moves: at once where nothing follows, else with the next claim.
//! What cannot be written is kept in mind, and nothing more is sent until it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_protocol::settings::hooks::Webhook;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::appended::appended_ms;
use super::batch::{Batch, Reader};
use super::metrics::Kind;
use super::place::{Kept, Own, Trouble};
use super::record::{Record, hex};
use super::turns::Turn;
use super::{Shared, ms, unix_ms};
use crate::backoff;
use crate::body;
use crate::caller::{Delivered, Target};

/// Pause before another holder's place is looked at, or a store that did not answer is asked again; then it doubles while nothing
/// can be written.
const RETRY: Duration = Duration::from_secs(1);

/// So often it doubles.
const DOUBLINGS_MAX: u32 = 4;

/// Pause behind a look that found nothing for the webhook: busy logs are looked at in stretches.
const NOTHING_PAUSE: Duration = Duration::from_millis(100);

/// A receiver that takes longer than this is slow: its webhook waits in the line of those who fail.
pub(crate) const SLOW: Duration = Duration::from_secs(2);

/// How a webhook stands, for who counts them.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// When the oldest event was appended that was not delivered, in milliseconds since the Unix epoch; 0: there is none.
    pub(crate) oldest_ms: AtomicU64,
    pub(crate) is_failing: AtomicBool,
    pub(crate) is_gone: AtomicBool,
}

/// Delivers for one webhook.
pub(super) struct Courier {
    pub(super) shared: Arc<Shared>,
    pub(super) project: Project,
    pub(super) name: String,
    pub(super) hook: Arc<Webhook>,
    pub(super) made_of: String,
    pub(super) standing: Arc<Standing>,
    /// It ends behind the delivery that is under way.
    pub(super) stop: CancellationToken,
}

impl Courier {
    /// Works until `stop`, or until the webhook is another one's.
    pub(super) async fn run(self) {
        let (mut own, mut idle) = (Own::default(), 0_u32);
        loop {
            let before = own.version();
            let mut is_away = false;
            match self.follow(&mut own).await {
                Err(Trouble::Stopped | Trouble::Replaced) | Ok(()) => break,
                Err(Trouble::Moved) => {
                    own.is_moved = true;
                    tracing::debug!(project = %self.project, webhook = self.name, "somebody else delivers for a webhook");
                }
                Err(Trouble::Away(why)) => {
                    is_away = true;
                    tracing::debug!(project = %self.project, webhook = self.name, why, "a webhook waits for the store");
                }
            }
            // Something was written meanwhile: the store is there again.
            idle = if is_away && own.version() == before { (idle + 1).min(DOUBLINGS_MAX) } else { 0 };
            if self.until_stopped(tokio::time::sleep(RETRY * 2_u32.pow(idle))).await.is_err() {
                break;
            }
        }
        // What was delivered would be delivered again.
        if let Some(kept) = own.kept.as_mut().filter(|kept| kept.owed_by.is_some() && !own.is_moved) {
            let _ = self.save(kept).await;
        }
    }

    async fn until_stopped<T>(&self, what: impl Future<Output = T>) -> Result<T, Trouble> {
        self.stop.run_until_cancelled(what).await.ok_or(Trouble::Stopped)
    }

    async fn follow(&self, own: &mut Own) -> Result<(), Trouble> {
        let full = |error: tidings_log::hub::TopicsFull| Trouble::Away(error.to_string());
        let topic = self.shared.hub.topic(&self.project).map_err(full)?;
        self.until_stopped(topic.started()).await?;
        self.until_stopped(self.place(own, &topic)).await??;
        let kept = own.kept.as_mut().expect("it was brought up to date");
        if kept.is_due() {
            self.save(kept).await?;
        }
        let target = Target::from(&*self.hook);
        self.stands(&kept.record);
        while !kept.record.gone {
            let wait = Duration::from_millis(kept.record.wait_ms(unix_ms(), &self.shared.rhythm));
            self.until_stopped(tokio::time::sleep(wait)).await?;
            let reader = Reader::new(topic.clone(), kept.record.at, self.hook.filter());
            self.stretch(kept, reader, &target).await?;
        }
        drop(topic);
        self.stop.cancelled().await;
        Ok(())
    }

    /// Delivers until a delivery fails, the receiver wants nothing more, or it must stop.
    async fn stretch(&self, kept: &mut Kept, mut reader: Reader, target: &Target) -> Result<(), Trouble> {
        let mut is_slow = false;
        loop {
            if reader.is_at_end() {
                self.standing.oldest_ms.store(0, Ordering::Relaxed);
                if kept.is_due() {
                    self.save(kept).await?;
                }
            }
            if !self.until_stopped(has_news(&mut reader, kept.owed_by)).await? {
                self.save(kept).await?;
                continue;
            }
            let turn = self.until_stopped(self.shared.turns.take(is_slow || kept.record.failures > 0)).await?;
            let until = kept.record.until;
            let batch = self.until_stopped(reader.gather(&self.shared.rhythm, kept.events_max, until)).await?;
            if batch.frames.is_empty() {
                drop(turn);
                self.passed(kept, reader.at(), batch.is_cut).await?;
                is_slow = batch.is_cut;
                self.until_stopped(tokio::time::sleep(if is_slow { RETRY } else { NOTHING_PAUSE })).await?;
                continue;
            }
            let began = Instant::now();
            if !self.deliver(kept, batch, reader.at(), target, turn).await? {
                return Ok(());
            }
            is_slow = began.elapsed() > SLOW;
        }
    }

    /// What was looked at up to `at` is not for the webhook; what is behind it the store did not give, if it `is_cut`.
    async fn passed(&self, kept: &mut Kept, at: Position, is_cut: bool) -> Result<(), Trouble> {
        if kept.record.passed(at, is_cut) {
            kept.owe_later();
        }
        if kept.is_due() { self.save(kept).await } else { Ok(()) }
    }

    /// Delivers one batch that ends at `to`. False: the receiver did not take it.
    async fn deliver(
        &self,
        kept: &mut Kept,
        batch: Batch,
        to: Position,
        target: &Target,
        turn: Turn,
    ) -> Result<bool, Trouble> {
        let events = batch.events;
        let oldest_ms = batch.frames.iter().find_map(|frame| appended_ms(frame)).unwrap_or_else(unix_ms);
        self.standing.oldest_ms.store(oldest_ms, Ordering::Relaxed);
        if kept.record.until != Some(to.n()) {
            kept.record.until = Some(to.n());
            self.save(kept).await?;
        }
        self.is_wanted().await?;
        let (id, body) = self.body(&batch, to);
        let began = Instant::now();
        let attempt = kept.record.failures.saturating_add(1);
        let delivered = self.shared.post.post(target, &id, attempt, body).await;
        self.shared.metrics.on_delivered(Kind::Events, &delivered, began.elapsed());
        drop(turn);
        match delivered {
            Delivered::Taken { .. } => {
                self.shared.metrics.events.inc_by(events as u64);
                self.taken(kept, to);
                return Ok(true);
            }
            Delivered::Gone => {
                kept.record.gone = true;
                tracing::warn!(project = %self.project, webhook = self.name, "a webhook's receiver is gone: it gets nothing until its settings change");
            }
            Delivered::Refused { status } => {
                // It may be one event of them, or there are too many: in smaller ones all else gets through.
                let is_one = events <= 1;
                (kept.events_max, kept.record.until) = ((events / 2).max(1), None);
                let wait = if is_one { Some(self.shared.rhythm.pause_max) } else { None };
                self.failed(&mut kept.record, &format!("refused with status {status}"), wait);
            }
            Delivered::Failed { told, retry_after, .. } => self.failed(&mut kept.record, &told, retry_after),
        }
        self.stands(&kept.record);
        self.save(kept).await?;
        Ok(false)
    }

    fn taken(&self, kept: &mut Kept, to: Position) {
        let Record { failures, since_ms, .. } = kept.record;
        if failures > 0 {
            let failed_s = unix_ms().saturating_sub(since_ms) / 1_000;
            tracing::info!(project = %self.project, webhook = self.name, failures, failed_s, "a webhook's receiver takes again");
        }
        kept.record.taken(to);
        kept.owe();
        kept.events_max = (kept.events_max * 2).min(self.shared.rhythm.events_max);
        self.stands(&kept.record);
    }

    fn failed(&self, record: &mut Record, why: &str, retry_after: Option<Duration>) {
        let wait = backoff::drawn(record.failures.saturating_add(1), retry_after);
        record.failed(unix_ms(), ms(wait.min(self.shared.rhythm.pause_max)));
        let (failures, wait_ms) = (record.failures, ms(wait));
        if failures == 1 {
            tracing::warn!(project = %self.project, webhook = self.name, why, wait_ms, "a delivery failed, it is tried again");
        } else {
            tracing::debug!(project = %self.project, webhook = self.name, why, failures, wait_ms, "a delivery failed again");
        }
    }

    /// The id and the body of a delivery: what is the same has the same id.
    fn body(&self, batch: &Batch, to: Position) -> (String, Bytes) {
        let body = body::events(&self.name, &self.project, &batch.frames, to);
        let id = hex([self.project.as_str().as_bytes(), self.name.as_bytes(), &body]);
        (id, body)
    }

    fn stands(&self, record: &Record) {
        self.standing.is_failing.store(record.failures > 0 && !record.gone, Ordering::Relaxed);
        self.standing.is_gone.store(record.gone, Ordering::Relaxed);
        if record.gone {
            self.standing.oldest_ms.store(0, Ordering::Relaxed);
        } else if record.failures > 0 && self.standing.oldest_ms.load(Ordering::Relaxed) == 0 {
            self.standing.oldest_ms.store(record.since_ms, Ordering::Relaxed);
        }
    }
}

/// Waits until the log goes on behind a reader. False: it is `by` then, and did not.
async fn has_news(reader: &mut Reader, by: Option<Instant>) -> bool {
    if let Some(by) = by {
        return tokio::time::timeout_at(by, reader.news()).await.is_ok();
    }
    reader.news().await;
    true
}
