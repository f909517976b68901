//! Shared limits in Redis: one script call per bucket and per shard of holds, each on one key.

use ::redis::{FromRedisValue as _, Value};
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::{StreamExt as _, stream};
use std::time::Duration;

use super::errors::call_error;
use super::{RedisBroker, script};
use crate::CallError;
use crate::quota::{HOLDS_MAX, Held, HoldCall, Quotas, Take, Taken};

/// Takes of one call that are in flight at once; the connection pipelines them.
const TAKES_IN_FLIGHT: usize = 64;

/// Fields that a call of the hold script looks at for what dead holders left.
const SWEEP_FIELDS: usize = 20;

impl RedisBroker {
    async fn take_one(&self, take: Take) -> Result<Taken, CallError> {
        let (wanted, least) = take.amounts();
        let (units, per_us, burst) = take.rate.parts();
        let call = script::TAKE.call(&[&self.0.keys.rate(&take.bucket)]).arg(self.time());
        let answer = self.call(call.arg(wanted).arg(least).arg(units).arg(per_us).arg(burst)).await?;
        let (granted, retry_us) = <(u64, u64)>::from_redis_value(answer).map_err(|error| call_error(&error.into()))?;
        Ok(Taken { granted, retry_after: Duration::from_micros(retry_us) })
    }

    async fn hold_now(&self, shard: u16, call: HoldCall) -> Result<Held, CallError> {
        let mut script = script::HOLD.call(&[&self.0.keys.holds(shard)]).arg(self.time());
        script = script.arg(&*call.holder).arg(call.ttl_ms.max(1)).arg(SWEEP_FIELDS);
        for hold in &call.holds {
            script = script.arg(&hold.name).arg(hold.kept).arg(hold.wanted).arg(hold.max);
        }
        let answer: Value = self.call(script).await?;
        let mut numbers = Vec::<u32>::from_redis_value(answer).map_err(|error| call_error(&error.into()))?;
        if numbers.len() != call.holds.len() + 1 {
            return Err(CallError::Unknown("malformed answer: holds".into()));
        }
        let lapsed = numbers.remove(0) == 1;
        Ok(Held { lapsed, granted: numbers })
    }
}

impl Quotas for RedisBroker {
    fn take(&self, takes: Vec<Take>) -> BoxFuture<'_, Vec<Result<Taken, CallError>>> {
        // Each on its own: keys of different buckets may lie on different nodes.
        stream::iter(takes).map(|take| self.take_one(take)).buffered(TAKES_IN_FLIGHT).collect().boxed()
    }

    fn hold(&self, shard: u16, call: HoldCall) -> BoxFuture<'_, Result<Held, CallError>> {
        assert!(call.holds.len() <= HOLDS_MAX, "a call names at most {HOLDS_MAX} names");
        self.hold_now(shard, call).boxed()
    }
}
