//! The fleet in Redis: one script call on one key.

use ::redis::{FromRedisValue as _, ParsingError, Value};
use futures_util::future::{BoxFuture, FutureExt as _};
use std::sync::Arc;
use tidings_protocol::head::LOG_FORMAT;

use super::script::ScriptCall;
use super::{RedisBroker, malformed, script};
use crate::CallError;
use crate::fleet::{Carried, Fleet, Report, Reported};

impl RedisBroker {
    fn fleet_call(&self, gateway: &str) -> ScriptCall {
        script::FLEET.call(&[&self.0.keys.gateways()]).arg(LOG_FORMAT).arg(self.time()).arg(gateway)
    }
}

fn reported(answer: Value) -> Result<Reported, ParsingError> {
    let mut rest = Vec::<Value>::from_redis_value(answer)?.into_iter();
    let lapsed = bool::from_redis_value(rest.next().unwrap_or(Value::Nil))?;
    let mut gateways = Vec::new();
    while let (Some(name), Some(viewers), Some(age_ms)) = (rest.next(), rest.next(), rest.next()) {
        let gateway = String::from_redis_value(name)?.into();
        let (viewers, age_ms) = (u64::from_redis_value(viewers)?, u64::from_redis_value(age_ms)?);
        gateways.push(Carried { gateway, viewers, age_ms });
    }
    gateways.sort_unstable_by(|a: &Carried, b| a.gateway.cmp(&b.gateway));
    Ok(Reported { lapsed, gateways })
}

impl Fleet for RedisBroker {
    fn report(&self, report: Report) -> BoxFuture<'_, Result<Reported, CallError>> {
        async move {
            let call = self.fleet_call(&report.gateway).arg(report.lease_ms.max(1)).arg(report.viewers);
            reported(self.call(call).await?).map_err(|error| malformed(&error))
        }
        .boxed()
    }

    fn leave(&self, gateway: Arc<str>) -> BoxFuture<'_, Result<(), CallError>> {
        async move { self.call(self.fleet_call(&gateway).arg(0)).await.map(drop) }.boxed()
    }
}
