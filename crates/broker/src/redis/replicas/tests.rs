//! On a primary whose replica is stopped, so that what waits goes on waiting.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::*;
use crate::redis::script;
use crate::redis::server::RedisServer;
use crate::redis::settings::RedisSettings;

/// Longer than anything here takes on a slow machine, and than no test waits for.
const HANG: Duration = Duration::from_secs(20);

/// Longer than all that is done beside it.
const LONG: Wait = Wait { replicas: 1, timeout_ms: 15_000 };

struct Rig {
    primary: RedisServer,
    replica: RedisServer,
    replicas: Replicas,
    _stop: DropGuard,
}

impl Rig {
    async fn new(change: impl FnOnce(&mut Bounds)) -> Rig {
        let primary = RedisServer::start();
        let port = primary.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
        let mut settings = RedisSettings::new(primary.url());
        settings.response_timeout = HANG;
        let opener = Opener::new(&settings).expect("good settings");
        let mut bounds = Bounds::new(HANG);
        change(&mut bounds);
        let stop = CancellationToken::new();
        let replicas = Replicas::within(bounds, opener, TaskTracker::new(), stop.clone());
        let rig = Rig { primary, replica, replicas, _stop: stop.drop_guard() };
        rig.until("INFO replication", "state=online").await;
        // The replica has what was written; the script is known.
        assert_eq!(rig.call("first", LONG).await.map(|(_, copies)| copies), Ok(1));
        rig
    }

    /// Writes a key and waits.
    async fn call(&self, key: &str, wait: Wait) -> Answered {
        let script = script::LEASE.call(&[key]).arg("1").arg("me").arg(600_000);
        tokio::time::timeout(HANG, self.replicas.call(script, wait)).await.expect("an answer")
    }

    async fn ask(&self, words: &str) -> String {
        let answer = self.primary.command(words).await.expect("redis answers");
        match answer {
            Value::Int(number) => number.to_string(),
            answer => ::redis::from_redis_value(answer).expect("text"),
        }
    }

    async fn until(&self, words: &str, wanted: &str) {
        let there = async {
            while !self.ask(words).await.contains(wanted) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(HANG, there).await.expect(wanted);
    }

    /// Returns when a connection waits in the server.
    async fn until_waiting(&self) {
        self.until("INFO clients", "blocked_clients:1").await;
    }

    /// How many waits the server was asked for.
    async fn waits(&self) -> u64 {
        let stats = self.ask("INFO commandstats").await;
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls="));
        calls.and_then(|calls| calls.split(',').next()?.parse().ok()).unwrap_or(0)
    }
}

#[tokio::test]
async fn who_waits_in_vain_holds_up_nobody_else() {
    let rig = Rig::new(|_| {}).await;
    let hopeless = rig.call("hopeless", Wait { replicas: 3, ..LONG });
    let going_on = async {
        rig.until_waiting().await;
        for _ in 0..20 {
            assert_eq!(rig.call("other", LONG).await.map(|(_, copies)| copies), Ok(1));
        }
    };
    tokio::pin!(hopeless);
    tokio::select! {
        biased;
        answer = &mut hopeless => panic!("it did not wait: {answer:?}"),
        () = going_on => {}
    }
}

#[tokio::test]
async fn what_gathers_behind_a_wait_goes_out_with_one_wait() {
    let rig = Rig::new(|_| {}).await;
    let before = rig.waits().await;
    rig.replica.freeze();
    let first = rig.call("a", LONG);
    let names: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    let gathered = async {
        rig.until_waiting().await;
        let others = join_all(names.iter().map(|name| rig.call(name, LONG)));
        tokio::pin!(others);
        // Polled once, all of them stand in the queue.
        assert!(futures_util::poll!(&mut others).is_pending());
        rig.replica.thaw();
        others.await
    };
    let (first, others) = tokio::join!(first, gathered);
    assert_eq!(first.map(|(_, copies)| copies), Ok(1));
    assert!(others.iter().all(|answer| matches!(answer, Ok((_, 1)))), "{others:?}");
    assert_eq!(rig.waits().await - before, 2);
    assert_eq!(rig.ask("DBSIZE").await, "102");
}

#[tokio::test]
async fn who_does_not_fit_or_is_not_sent_in_time_hears_that_nothing_happened() {
    let busy: Answered = Err(CallError::Nothing(NothingWhy::Busy));
    let rig = Rig::new(|bounds| {
        bounds.queued_calls = 1;
        bounds.lanes = 2;
        bounds.patience = Duration::from_millis(300);
    })
    .await;
    rig.replica.freeze();
    let (first, [second, third]) = tokio::join!(rig.call("a", LONG), async {
        rig.until_waiting().await;
        let second = rig.call("b", LONG);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        let third = rig.call("c", LONG).await;
        let second = second.await;
        // Another number has a queue of its own; a third one would need a connection more than there may be.
        let other = rig.call("d", Wait { replicas: 2, timeout_ms: 1 }).await;
        assert_eq!(other.map(|(_, copies)| copies), Ok(0));
        assert_eq!(rig.call("e", Wait { replicas: 3, ..LONG }).await, busy);
        rig.replica.thaw();
        [second, third]
    });
    assert_eq!(first.map(|(_, copies)| copies), Ok(1));
    assert_eq!([second, third], [busy.clone(), busy.clone()]);
    // What comes later is sent, and what was given up is not.
    assert_eq!(rig.call("f", LONG).await.map(|(_, copies)| copies), Ok(1));
    assert_eq!(rig.ask("EXISTS b c e").await, "0");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_not_sent() {
    let rig = Rig::new(|_| {}).await;
    rig.replica.freeze();
    let first = rig.call("a", LONG);
    let (first, ()) = tokio::join!(first, async {
        rig.until_waiting().await;
        let dropped = rig.call("b", LONG);
        let kept = rig.call("c", LONG);
        {
            tokio::pin!(dropped);
            assert!(futures_util::poll!(dropped).is_pending());
        }
        rig.replica.thaw();
        assert_eq!(kept.await.map(|(_, copies)| copies), Ok(1));
    });
    assert!(first.is_ok());
    assert_eq!(rig.ask("EXISTS b").await, "0");
}

#[tokio::test]
async fn a_connection_that_nobody_needs_is_closed_and_opened_again() {
    let rig = Rig::new(|bounds| bounds.idle = Duration::from_millis(1)).await;
    let closed = async {
        while !rig.replicas.0.lanes.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, closed).await.expect("it closes");
    assert_eq!(rig.call("again", LONG).await.map(|(_, copies)| copies), Ok(1));
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_sent_again() {
    let rig = Rig::new(|_| {}).await;
    let _ = rig.ask("SCRIPT FLUSH").await;
    let both = tokio::join!(rig.call("a", LONG), rig.call("b", LONG));
    assert!(matches!(both, (Ok((_, 1)), Ok((_, 1)))), "{both:?}");
}

/// An error of the wait is none of the script, which has written.
#[test]
fn a_wait_that_is_refused_leaves_it_unknown_what_happened() {
    let value = ::redis::parse_redis_value(b"-LOADING the server loads\r\n").expect("a reply");
    let refused = value.extract_error().map(|_| 0);
    assert!(matches!(waited(Value::Okay, &refused), Err(CallError::Unknown(_))));
}
