//! The fleet: gateways that say what they carry, each under its lease.

use std::sync::Arc;

use super::Subject;
use crate::fleet::{Fleet, Report, Reported};

super::cases! {
    gateways_are_told_what_all_carry
    a_gateway_that_does_not_report_again_is_gone
    a_gateway_that_leaves_is_gone_at_once
    a_word_does_not_hold_before_it_was_said
    a_store_that_was_lost_says_so
}

const LEASE_MS: u64 = 15_000;

async fn says(fleet: &Arc<dyn Fleet>, gateway: &str, viewers: u64) -> Reported {
    fleet.report(Report { gateway: gateway.into(), lease_ms: LEASE_MS, viewers }).await.expect("an answer")
}

/// Names with viewers and ages.
fn told(reported: &Reported) -> Vec<(&str, u64, u64)> {
    reported.gateways.iter().map(|one| (&*one.gateway, one.viewers, one.age_ms)).collect()
}

async fn gateways_are_told_what_all_carry(subject: &mut dyn Subject) {
    let (fleet, start_ms) = (subject.broker().fleet(), subject.clock().now_ms());
    let first = says(&fleet, "b", 300).await;
    assert_eq!((first.lapsed, told(&first)), (true, vec![("b", 300, 0)]));
    subject.clock().set(start_ms + 1_500);
    let second = says(&fleet, "a b\n", u64::from(u32::MAX)).await;
    assert_eq!((second.lapsed, told(&second)), (true, vec![("a b\n", 4_294_967_295, 0), ("b", 300, 1_500)]));
    let again = says(&fleet, "b", 0).await;
    assert_eq!((again.lapsed, told(&again)), (false, vec![("a b\n", 4_294_967_295, 0), ("b", 0, 0)]));
}

async fn a_gateway_that_does_not_report_again_is_gone(subject: &mut dyn Subject) {
    let (fleet, start_ms) = (subject.broker().fleet(), subject.clock().now_ms());
    says(&fleet, "dead", 7).await;
    subject.clock().set(start_ms + LEASE_MS - 1);
    assert_eq!(told(&says(&fleet, "a", 1).await), [("a", 1, 0), ("dead", 7, LEASE_MS - 1)]);
    subject.clock().set(start_ms + LEASE_MS);
    assert_eq!(told(&says(&fleet, "a", 1).await), [("a", 1, 0)]);
    assert!(says(&fleet, "dead", 7).await.lapsed, "it comes anew");
}

async fn a_gateway_that_leaves_is_gone_at_once(subject: &mut dyn Subject) {
    let fleet = subject.broker().fleet();
    fleet.leave("a".into()).await.expect("nothing was there to leave");
    says(&fleet, "a", 1).await;
    says(&fleet, "b", 2).await;
    fleet.leave("a".into()).await.expect("an answer");
    let left = says(&fleet, "b", 2).await;
    assert_eq!((left.lapsed, told(&left)), (false, vec![("b", 2, 0)]));
}

async fn a_word_does_not_hold_before_it_was_said(subject: &mut dyn Subject) {
    let (fleet, start_ms) = (subject.broker().fleet(), subject.clock().now_ms());
    says(&fleet, "dead", 7).await;
    subject.clock().set(start_ms - 3_600_000);
    assert_eq!(told(&says(&fleet, "a", 1).await), [("a", 1, 0)]);
}

async fn a_store_that_was_lost_says_so(subject: &mut dyn Subject) {
    let fleet = subject.broker().fleet();
    says(&fleet, "a", 1).await;
    assert!(!says(&fleet, "a", 1).await.lapsed);
    let kept = subject.reopen().await;
    assert_eq!(says(&fleet, "a", 1).await.lapsed, !kept);
}
