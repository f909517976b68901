//! Slips in Redis: one script call on one key.

use ::redis::FromRedisValue as _;
use futures_util::future::{BoxFuture, FutureExt as _};
use tidings_protocol::head::LOG_FORMAT;

use super::{RedisBroker, malformed, script};
use crate::CallError;
use crate::slip::{Done, LINES_BYTES_MAX, LINES_MAX, NAME_BYTES_MAX, Slip, Slips, Turn};

impl RedisBroker {
    async fn turn_now(&self, name: String, turn: Turn) -> Result<Option<Slip>, CallError> {
        let mut call = script::SLIP.call(&[&self.0.keys.slip(&name)]).arg(LOG_FORMAT).arg(self.time());
        let (field, value) = turn.only.unwrap_or_default();
        call = call.arg(u8::from(turn.makes)).arg(turn.ttl_ms).arg(turn.told).arg(LINES_MAX).arg(LINES_BYTES_MAX);
        call = call.arg(u8::from(turn.fields_only)).arg(field).arg(value).arg(turn.set.len());
        for (field, value) in &turn.set {
            call = call.arg(field).arg(value);
        }
        for line in &turn.lines {
            call = call.arg(line);
        }
        let answer = Option::<Vec<(String, String)>>::from_redis_value(self.call(call).await?);
        let Some(pairs) = answer.map_err(|error| malformed(&error))? else { return Ok(None) };
        let mut slip = Slip::default();
        for (name, value) in pairs {
            // What is nothing of these stands there for the script alone.
            if name == "done" {
                slip.done = match value.as_str() {
                    "0" => Done::All,
                    "1" => Done::NotSo,
                    _ => Done::NoRoom,
                };
            } else if let Some(field) = name.strip_prefix("f:") {
                slip.fields.insert(field.to_owned(), value);
            } else if let Some(number) = name.strip_prefix("l:").and_then(|number| number.parse().ok()) {
                slip.lines.insert(number, value);
            }
        }
        Ok(Some(slip))
    }
}

impl Slips for RedisBroker {
    fn turn(&self, name: String, turn: Turn) -> BoxFuture<'_, Result<Option<Slip>, CallError>> {
        assert!(name.len() <= NAME_BYTES_MAX, "a slip's name has at most {NAME_BYTES_MAX} bytes");
        self.turn_now(name, turn).boxed()
    }
}
