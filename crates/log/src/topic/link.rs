//! A topic's link to its channel (docs/log.md L13, L20): pub/sub is an accelerator, so where it does not deliver, the topic
//! polls its log. Says when to read; reads nothing itself.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_broker::{Sink, Subscription};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Topic;
use super::task::RETRY;

/// How often a topic that nothing is delivered to reads its log, and how long its start waits for the subscription.
const POLL: Duration = Duration::from_millis(200);

/// Checks in a row that find a topic behind, without a message in between, before it is polled.
const BEHIND_MAX: u32 = 2;

/// The subscription, or the attempts at one.
pub(super) struct Link {
    state: Subscribing,
    /// Checks that found the topic behind since something was delivered.
    behind: u32,
    poll: Interval,
}

enum Subscribing {
    /// Until it is confirmed.
    Trying(BoxFuture<'static, Subscription>),
    /// For as long as the topic lives.
    Confirmed(#[expect(dead_code, reason = "kept for its drop")] Subscription),
}

impl Link {
    /// Begins to subscribe; it goes on whenever one of the waits below is polled.
    pub(super) fn new(topic: &Arc<Topic>) -> Link {
        let mut poll = tokio::time::interval_at(Instant::now() + POLL, POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Link { state: Subscribing::Trying(subscribe(topic.clone()).boxed()), behind: 0, poll }
    }

    /// Waits until the subscription is confirmed, but not longer than a poll's interval.
    pub(super) async fn confirmed_or_overdue(&mut self) {
        self.news().await;
    }

    /// Waits until the log should be read: the subscription was confirmed just now, or nothing is delivered and it is
    /// time again. Cancel safe.
    pub(super) async fn news(&mut self) {
        let delivers = self.behind < BEHIND_MAX;
        match &mut self.state {
            Subscribing::Confirmed(_) if delivers => pending().await,
            Subscribing::Confirmed(_) => {
                self.poll.tick().await;
            }
            Subscribing::Trying(trying) => tokio::select! {
                biased;
                subscription = trying => {
                    self.state = Subscribing::Confirmed(subscription);
                    self.behind = 0;
                }
                _ = self.poll.tick() => {}
            },
        }
    }

    /// A check found something that no message told of.
    pub(super) fn found_behind(&mut self) {
        self.behind = self.behind.saturating_add(1);
    }

    /// A message came.
    pub(super) fn delivered(&mut self) {
        self.behind = 0;
    }
}

/// Subscribes; tries again while the channel cannot be reached.
async fn subscribe(topic: Arc<Topic>) -> Subscription {
    let mut retry = RETRY.0;
    loop {
        let sink: Arc<dyn Sink> = topic.clone();
        match topic.broker.subscribe(topic.project.clone(), sink).await {
            Ok(subscription) => return subscription,
            Err(error) => {
                tracing::debug!(%error, project = %topic.project, "subscribe failed, will try again");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY.1);
            }
        }
    }
}
