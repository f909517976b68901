//! Shared limits: buckets and holds.

use std::sync::Arc;
use std::time::Duration;

use super::Subject;
use crate::quota::{Held, Hold, HoldCall, Quotas, Rate, Take, Taken};

super::cases! {
    a_bucket_is_shared_by_all_who_take
    a_bucket_refills_by_the_stores_clock
    buckets_are_apart_and_answered_in_order
    holds_are_counted_over_all_holders
    what_is_held_is_never_taken_away
    a_holder_that_does_not_renew_gives_back
    a_holder_that_lapsed_is_told
    a_call_made_again_changes_nothing
}

const TTL_MS: u64 = 15_000;

fn take(bucket: &str, wanted: u64, least: u64) -> Take {
    Take { bucket: bucket.into(), rate: Rate::per_second(100, 50), wanted, least }
}

async fn taken(quotas: &Arc<dyn Quotas>, take: Take) -> (u64, u64) {
    let Taken { granted, retry_after } = quotas.take(vec![take]).await[0].clone().expect("an answer");
    (granted, u64::try_from(retry_after.as_micros()).expect("short"))
}

async fn held(quotas: &Arc<dyn Quotas>, holder: &str, holds: &[(&str, u32, u32, u32)]) -> Held {
    let hold = |&(name, kept, wanted, max): &(&str, _, _, _)| Hold { name: name.into(), kept, wanted, max };
    let call = HoldCall { holder: holder.into(), ttl_ms: TTL_MS, holds: holds.iter().map(hold).collect() };
    quotas.hold(7, call).await.expect("an answer")
}

async fn granted(quotas: &Arc<dyn Quotas>, holder: &str, hold: (&str, u32, u32, u32)) -> u32 {
    held(quotas, holder, &[hold]).await.granted[0]
}

async fn a_bucket_is_shared_by_all_who_take(subject: &mut dyn Subject) {
    let (one, other) = (subject.quotas(), subject.quotas());
    assert_eq!(taken(&one, take("b", 30, 1)).await, (30, 0));
    assert_eq!(taken(&other, take("b", 30, 1)).await, (20, 0), "what is left");
    assert_eq!(taken(&one, take("b", 30, 1)).await, (0, 10_000));
    assert_eq!(taken(&one, take("b", 0, 80)).await, (0, 500_000), "a full bucket");
}

async fn a_bucket_refills_by_the_stores_clock(subject: &mut dyn Subject) {
    let quotas = subject.quotas();
    let start_ms = subject.clock().now_ms();
    assert_eq!(taken(&quotas, take("b", 50, 50)).await, (50, 0));
    subject.clock().set(start_ms + 99);
    assert_eq!(taken(&quotas, take("b", 20, 10)).await, (0, 1_000));
    subject.clock().set(start_ms + 100);
    assert_eq!(taken(&quotas, take("b", 20, 10)).await, (10, 0));
    subject.clock().set(start_ms + 10_000);
    assert_eq!(taken(&quotas, take("b", 1_000, 1)).await, (50, 0), "never more than the burst at once");
    subject.clock().set(start_ms);
    assert_eq!(taken(&quotas, take("b", 1, 1)).await, (0, 10_000), "a clock that went back");
    let slow = Take { rate: Rate::new(3, Duration::from_mins(1), 2), ..take("slow", 5, 1) };
    assert_eq!(taken(&quotas, slow.clone()).await, (2, 0));
    assert_eq!(taken(&quotas, slow).await, (0, 20_000_000));
}

async fn buckets_are_apart_and_answered_in_order(subject: &mut dyn Subject) {
    let quotas = subject.quotas();
    let takes = vec![take("a", 10, 1), take("b {x}:\u{e4}", 20, 1), take("a", 100, 1), take("c", 7, 9)];
    let answers = quotas.take(takes).await;
    let got: Vec<u64> = answers.into_iter().map(|taken| taken.expect("an answer").granted).collect();
    assert_eq!(got, [10, 20, 40, 9]);
    assert!(quotas.take(Vec::new()).await.is_empty());
}

async fn holds_are_counted_over_all_holders(subject: &mut dyn Subject) {
    let quotas = subject.quotas();
    let both = held(&quotas, "a", &[("u", 0, 2, 3), ("u v", 0, 9, 5)]).await;
    assert_eq!(both, Held { lapsed: true, granted: vec![2, 5] });
    assert_eq!(granted(&quotas, "b", ("u", 0, 2, 3)).await, 1, "what is left");
    assert_eq!(granted(&quotas, "b", ("u", 1, 1, 3)).await, 0);
    assert_eq!(granted(&quotas, "a", ("u", 1, 0, 3)).await, 0, "one given back");
    assert_eq!(granted(&quotas, "b", ("u", 1, 5, 3)).await, 1);
    assert_eq!(granted(&quotas, "a", ("u", 0, 0, 3)).await, 0, "the other, too");
    assert_eq!(granted(&quotas, "b", ("u", 0, 5, 3)).await, 3);
    assert_eq!(
        quotas.hold(8, HoldCall { holder: "b".into(), ttl_ms: 1, holds: Vec::new() }).await.map(|held| held.lapsed),
        Ok(true),
        "shards are apart"
    );
}

async fn what_is_held_is_never_taken_away(subject: &mut dyn Subject) {
    let quotas = subject.quotas();
    assert_eq!(granted(&quotas, "a", ("u", 4, 2, 3)).await, 0, "more than there may be");
    assert_eq!(granted(&quotas, "b", ("u", 0, 1, 4)).await, 0);
    assert_eq!(granted(&quotas, "b", ("u", 0, 1, 5)).await, 1, "a limit that was raised");
}

async fn a_holder_that_does_not_renew_gives_back(subject: &mut dyn Subject) {
    let quotas = subject.quotas();
    let start_ms = subject.clock().now_ms();
    assert_eq!(granted(&quotas, "dead", ("u", 0, 3, 3)).await, 3);
    subject.clock().set(start_ms + TTL_MS - 1);
    assert_eq!(granted(&quotas, "b", ("u", 0, 3, 3)).await, 0);
    subject.clock().set(start_ms + TTL_MS);
    assert_eq!(granted(&quotas, "b", ("u", 0, 2, 3)).await, 2);
    // One call without a name renews all names.
    subject.clock().set(start_ms + 2 * TTL_MS - 1);
    assert!(!held(&quotas, "b", &[]).await.lapsed);
    subject.clock().set(start_ms + 3 * TTL_MS - 2);
    assert_eq!(granted(&quotas, "c", ("u", 0, 3, 3)).await, 1);
    // A clock that is behind keeps no dead holder alive.
    subject.clock().set(start_ms - 3_600_000);
    assert_eq!(granted(&quotas, "d", ("u", 0, 3, 3)).await, 3);
}

async fn a_holder_that_lapsed_is_told(subject: &mut dyn Subject) {
    let quotas = subject.quotas();
    let start_ms = subject.clock().now_ms();
    assert!(held(&quotas, "a", &[("u", 2, 0, 3)]).await.lapsed);
    assert!(!held(&quotas, "a", &[]).await.lapsed);
    subject.clock().set(start_ms + TTL_MS);
    assert!(held(&quotas, "a", &[("u", 2, 0, 3)]).await.lapsed);
    assert_eq!(granted(&quotas, "b", ("u", 0, 3, 3)).await, 1, "it has said so again");
    let kept = subject.reopen().await;
    assert_eq!(held(&quotas, "a", &[("u", 2, 0, 3)]).await.lapsed, !kept);
}

async fn a_call_made_again_changes_nothing(subject: &mut dyn Subject) {
    let quotas = subject.quotas();
    for _ in 0..3 {
        assert_eq!(granted(&quotas, "a", ("u", 1, 1, 3)).await, 1, "its answer was lost");
    }
    assert_eq!(granted(&quotas, "b", ("u", 0, 3, 3)).await, 1);
}
