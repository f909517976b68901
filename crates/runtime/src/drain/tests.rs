use super::*;
use crate::readiness::Readiness;
use crate::testing::{Client, Example, serve};

const AMPLE: DrainTimes = DrainTimes { notice: Duration::ZERO, total: Duration::from_hours(1) };

/// A served example and what a shutdown of it needs.
struct Stage {
    example: Example,
    server: Server,
    services: Vec<Arc<dyn Service>>,
    readiness: Readiness,
    background: CancellationToken,
}

impl Stage {
    fn new() -> Stage {
        let example = Example::default();
        let readiness = Readiness::default();
        readiness.set(SERVING, true, "");
        Stage {
            server: serve(&example),
            services: vec![Arc::new(example.clone())],
            example,
            readiness,
            background: CancellationToken::new(),
        }
    }

    fn drained(&self) -> Drained<'_> {
        Drained {
            readiness: &self.readiness,
            server: &self.server,
            services: &self.services,
            background: &self.background,
        }
    }
}

#[tokio::test]
async fn a_shutdown_tells_then_waits_then_ends() {
    let stage = Stage::new();
    let mut busy = Client::connect(stage.server.address()).await;
    busy.send("GET /held", "").await;
    stage.example.entered.cancelled().await;
    let shutdown = async {
        let outcome = drain(stage.drained(), AMPLE, std::future::pending()).await;
        assert_eq!(stage.server.open(), 0, "the request was waited for");
        outcome
    };
    let client = async {
        stage.example.told.cancelled().await;
        assert!(!stage.readiness.report().ready, "readiness went first");
        tokio::net::TcpStream::connect(stage.server.address()).await.expect_err("the port was closed before");
        assert!(!stage.background.is_cancelled(), "the process's own tasks still run");
        stage.example.ended.cancel();
        tokio::task::yield_now().await;
        stage.example.release.cancel();
        assert!(busy.answer().await.ends_with("released"));
    };
    let (outcome, ()) = tokio::join!(shutdown, client);
    assert_eq!(outcome, Outcome::Complete);
    assert!(stage.background.is_cancelled());
}

/// The clock is paused: it leaps to the deadline when everything waits.
#[tokio::test(start_paused = true)]
async fn the_deadline_cuts_what_does_not_end() {
    let stage = Stage::new();
    let times = DrainTimes { notice: Duration::from_secs(1), total: Duration::from_secs(5) };
    let begun = Instant::now();
    assert_eq!(drain(stage.drained(), times, std::future::pending()).await, Outcome::Cut(1));
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert!(stage.example.told.is_cancelled() && stage.background.is_cancelled());
}

#[tokio::test]
async fn a_second_signal_ends_the_waiting() {
    let stage = Stage::new();
    let force = stage.example.told.clone().cancelled_owned();
    assert_eq!(drain(stage.drained(), AMPLE, force).await, Outcome::Cut(1));
}
