//! Answers of the store: entries of a stream, heads, checkpoint fields, as the scripts give them.

#[allow(dead_code, reason = "only the readers are used here")]
#[path = "../../../crates/broker/src/redis/reply.rs"]
mod reply;

use std::collections::BTreeMap;

use tidings_broker::Refusal;
use tidings_protocol::head::Head;

use crate::log::{check_entry, check_fields};

pub(crate) use reply::Told;

/// Any answer of the store is understood or refused: what is understood holds what the log promises, and places its own
/// positions.
pub(crate) fn reply(data: &[u8]) {
    let Ok(value) = redis::parse_redis_value(data) else { return };
    if let Ok(page) = reply::page(value.clone()) {
        for entry in &page.entries {
            check_entry(entry);
        }
        check_head(&page.head);
        assert_eq!(reply::page_head(value.clone()), Ok(page.head));
    }
    if let Ok(state) = reply::state(value.clone()) {
        check_head(&state.head);
        check_fields(state.position, state.version, state.fields.into_iter().collect::<BTreeMap<_, _>>());
    }
    if let Ok(Some(Told { answer: tidings_broker::Answer::Refused(refusals), .. })) = reply::answer(value.clone()) {
        assert!(refusals.is_sorted_by_key(|Refusal { index, .. }| *index));
    }
    let _ = reply::checkpoint(value.clone());
    let _ = reply::held_bytes(value.clone());
    let _ = reply::memory(value);
}

fn check_head(head: &Head) {
    let _ = head.locate(head.last);
    for fork in &head.forks {
        assert!(head.closing(fork.closed).is_some());
        let _ = (head.locate(fork.survived), head.locate(fork.from));
        let _ = head.holds(&[fork.survived, fork.from]);
    }
}
