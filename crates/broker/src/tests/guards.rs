//! How many guards a project keeps, in bounds that a test reaches: the script and the memory store draw the same lines.

use std::sync::Arc;

use crate::contract::writer::{Writer, fresh, plain};
use crate::limits::{FINAL_GUARDS, Limits};
use crate::memory::LogData;
use crate::redis::server::RedisServer;
use crate::redis::{RedisBroker, RedisSettings};
use crate::{Answer, AppendBatch, AppendCall, GuardStep, Probe as _, RefusalWhy};

const GUARDS_MAX: usize = 3;
const LIMITS: fn() -> Limits = || Limits { guards_max: GUARDS_MAX as u64, ..Limits::default() };

/// The same log in both stores.
struct Both {
    writer: Writer,
    log: LogData,
    now_ms: u64,
}

impl Both {
    async fn begin(server: &RedisServer) -> Both {
        let redis = RedisBroker::connect_within(&RedisSettings::new(server.url()), LIMITS()).expect("good settings");
        let _ = redis.connected().wait_for(|connected| *connected).await.expect("the broker lives");
        let (mut log, now_ms) = (LogData::default(), 1_763_630_000_000);
        let writer = Writer::join(Arc::new(redis), "p").await;
        let birth = AppendCall { branch: tidings_protocol::position::Branch::NONE, ..writer.call(None) };
        log.append_within(now_ms, "incarnation", &birth, &LIMITS()).expect("it is born");
        Both { writer, log, now_ms }
    }

    /// Appends an event for each of these keys; which of them found no room, in both stores.
    async fn append(&mut self, keys: &[String]) -> Vec<u32> {
        let until_ms = u64::MAX;
        let step = |(index, key): (u32, &String)| GuardStep { index, key: key.clone(), until_ms, note: String::new() };
        let guards = (0..).zip(keys).map(step).collect();
        let batch = AppendBatch { guards, ..plain(u32::try_from(keys.len()).expect("few")) };
        let call = self.writer.call(Some(batch));
        self.writer.number = call.number;
        let branch = self.log.head("incarnation").branch;
        let same = AppendCall { branch, fresh: fresh(), ..call.clone() };
        let in_memory = self.log.append_within(self.now_ms, "incarnation", &same, &LIMITS()).expect("an answer").0;
        let full = |answer: Answer| match answer {
            Answer::Appended { .. } => Vec::new(),
            Answer::Refused(refusals) => {
                assert!(refusals.iter().all(|refusal| refusal.why == RefusalWhy::GuardsFull), "{refusals:?}");
                refusals.into_iter().map(|refusal| refusal.index).collect()
            }
            other => panic!("{other:?}"),
        };
        let in_redis = full(self.writer.send(call).await);
        assert_eq!(full(in_memory), in_redis);
        in_redis
    }
}

fn keys(class: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{class}:{number}")).collect()
}

#[tokio::test]
async fn final_answers_have_room_where_others_have_none_and_an_end_too() {
    let server = RedisServer::start();
    let mut both = Both::begin(&server).await;
    let final_max = GUARDS_MAX * usize::try_from(FINAL_GUARDS).expect("few");
    assert_eq!(both.append(&keys("a", 0..GUARDS_MAX + 1)).await, vec![3], "one too many in one batch");
    assert_eq!(both.append(&keys("a", 0..GUARDS_MAX)).await, Vec::<u32>::new());
    assert_eq!(both.append(&keys("a", GUARDS_MAX..GUARDS_MAX + 1)).await, vec![0]);
    assert_eq!(both.append(&keys("c", GUARDS_MAX..final_max)).await, Vec::<u32>::new());
    assert_eq!(both.append(&keys("c", final_max..final_max + 1)).await, vec![0], "final answers have an end, too");
    assert_eq!(crate::limits::GUARDS_MAX * FINAL_GUARDS, 500_000);
}
