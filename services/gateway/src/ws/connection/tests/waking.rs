//! When a connection wakes, and how often it looks around.

use std::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;

use super::super::clocks::Clocks;
use super::*;

const PONG: u8 = 10;

/// Polls a connection until its time is over or it ends, and says how often that was.
async fn polls_within<S, F>(connection: &mut Connection<S, F>, time: Duration) -> usize
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Face,
{
    let mut polls = 0;
    let counted = poll_fn(|cx| {
        polls += 1;
        Pin::new(&mut *connection).poll(cx)
    });
    let _ = tokio::time::timeout(time, counted).await;
    polls
}

#[tokio::test(start_paused = true)]
async fn whoever_is_told_nothing_wakes_to_be_pinged_alone() {
    let gateway = gateway(&MemoryBroker::new());
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let mut connection = connection(&gateway, ours);
    let pings = Rc::new(Cell::new(0));
    let counted = pings.clone();
    let answers = async move {
        while let Some((opcode, _)) = heard(&mut theirs).await {
            if opcode == PING {
                counted.set(counted.get() + 1);
                theirs.write_all(&masked(PONG, b"")).await.expect("it reads");
            }
        }
    };
    let time = gateway.shared.settings.ping_every * 40;
    let polls = tokio::select! {
        polls = polls_within(&mut connection, time) => polls,
        () = answers => panic!("it stays open"),
    };
    let pings = pings.get();
    assert!((40..=41).contains(&pings), "{pings}");
    // For the alarm, for the answer, and because whoever answers is polled beside it.
    assert!(polls <= 3 * pings + 4, "{polls} for {pings} pings");
}

#[tokio::test(start_paused = true)]
async fn whoever_answers_no_ping_is_told_so_and_goes() {
    let gateway = gateway(&MemoryBroker::new());
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let began = Instant::now();
    let mut connection = connection(&gateway, ours);
    let hears = async {
        loop {
            if let (CLOSE, payload) = heard(&mut theirs).await.expect("a close first") {
                return (payload, began.elapsed());
            }
        }
    };
    let (payload, after) = tokio::select! {
        said = hears => said,
        over = &mut connection => panic!("it says good-bye: {over:?}"),
    };
    assert_eq!(payload[..2], CloseCode::PingTimeout.number().to_be_bytes());
    let ping_every = gateway.shared.settings.ping_every;
    assert!((ping_every * 2..ping_every * 2 + Duration::from_secs(4)).contains(&after), "{after:?}");
    // The other half of the close does not come either.
    let over = tokio::time::timeout(CLOSE_WAIT + Duration::from_secs(1), connection).await;
    over.expect("it does not wait for longer").expect("a clean end");
}

/// A socket that takes everything and holds it back, as TLS does when its own socket takes nothing.
struct HeldBack;

impl AsyncRead for HeldBack {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for HeldBack {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_nothing_is_cut_when_its_time_is_over() {
    let gateway = gateway(&MemoryBroker::new());
    let stalled_after = gateway.shared.settings.stalled_after;
    let (ours, _theirs) = tokio::io::duplex(16);
    let began = Instant::now();
    let took = connection(&gateway, ours).await.map(|()| began.elapsed()).expect("a clean end");
    assert!((stalled_after..stalled_after + Duration::from_secs(1)).contains(&took), "{took:?}");
    let over = tokio::time::timeout(stalled_after * 2, connection(&gateway, HeldBack)).await;
    over.expect("it does not wait to be rid of what the socket holds back").expect("a clean end");
    assert_eq!(gateway.shared.metrics.stalled.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn those_that_come_together_are_not_pinged_together() {
    let every = Duration::from_secs(25);
    let first = |_| Clocks::new(Instant::now(), every, every).next();
    let times: HashSet<Instant> = (0..50).map(first).collect();
    assert!(times.len() > 40, "{} times", times.len());
    let from_now = |at: &Instant| (every / 2..=every).contains(&at.duration_since(Instant::now()));
    assert!(times.iter().all(from_now), "{times:?}");
}

/// A protocol that says what it has been given, and counts how often it was asked.
#[derive(Default)]
struct Counting {
    has: VecDeque<Bytes>,
    answers: VecDeque<Bytes>,
    pulls: usize,
}

impl Face for Counting {
    fn greet(&mut self, _: &mut Line) {}
    fn on_text(&mut self, _: &mut Line, _: &str) {}
    fn on_binary(&mut self, _: &mut Line) {}
    fn look_at_ends(&mut self, _: &mut Line, _: &mut Context<'_>) {}

    fn look_around(&mut self, line: &mut Line, _: &mut Context<'_>) {
        self.answers.drain(..).for_each(|answer| line.push(answer));
    }

    fn pull(&mut self, line: &mut Line, _: &mut Context<'_>) -> bool {
        self.pulls += 1;
        line.frames.extend(self.has.pop_front());
        !line.frames.is_empty()
    }

    fn is_exhausted(&self) -> bool {
        self.has.is_empty()
    }

    fn close(&mut self, _: &mut Line, _: CloseCode, _: Option<u64>) {}
}

#[tokio::test(start_paused = true)]
async fn whoever_has_said_that_this_is_all_is_not_asked_again() {
    let gateway = gateway(&MemoryBroker::new());
    let shared = &gateway.shared;
    let registered = shared.register(Arc::new(Wake::default()), Grant::open("v-1"), &[]);
    let socket = Greedy { says: Vec::new(), taken_bytes: 0 };
    let parts = parts(shared, registered, socket, BytesMut::new(), None);
    let mut connection = Connection::new(parts, Counting::default());
    let mut check = |has: &[&'static str], answers: &[&'static str], pulls: usize| {
        let chunks = |texts: &[&'static str]| texts.iter().map(|text| Bytes::from_static(text.as_bytes())).collect();
        let before = connection.socket.taken_bytes;
        connection.face = Counting { has: chunks(has), answers: chunks(answers), pulls: 0 };
        assert!(Pin::new(&mut connection).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let bytes = [has, answers].concat().iter().map(|text| text.len()).sum::<usize>();
        assert_eq!(
            (connection.socket.taken_bytes - before, connection.face.pulls),
            (bytes, pulls),
            "{has:?} {answers:?}"
        );
    };
    check(&[], &[], 1);
    check(&["an event"], &[], 1);
    check(&["an event", "another"], &[], 2);
    // What was answered says nothing of events.
    check(&["an event"], &["an answer"], 1);
    check(&[], &["an answer"], 1);
}

#[tokio::test(start_paused = true)]
async fn whose_filter_lets_nothing_pass_is_told_where_its_cursor_is() {
    let broker = MemoryBroker::new();
    let gateway = gateway(&broker);
    let mut writer = Writer::new(&broker, "demo").await;
    writer.append(vec![event("first", 0)]).await;
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(connection(&gateway, ours));
    let wish = r#"{"op":"subscribe","project":"demo","filter":{"types":["other"]}}"#;
    theirs.write_all(&masked(TEXT, wish.as_bytes())).await.expect("it reads");
    let mut said = async |word: &str| loop {
        let (opcode, payload) = heard(&mut theirs).await.expect("it stays open");
        let payload = String::from_utf8(payload).expect("text");
        assert!(opcode != TEXT || !payload.contains("note"), "it is filtered: {payload}");
        if payload.contains(word) {
            return payload;
        }
    };
    said(r#""op":"subscribed""#).await;
    for _ in 0..2 {
        writer.append(vec![event("e", 0)]).await;
        let last = writer.append(vec![event("e", 0)]).await;
        let asked = Instant::now();
        let at = tokio::time::timeout(HANG, said(r#""op":"at""#)).await.expect("it is told");
        assert!(at.contains(&last.to_string()), "once for both: {at}");
        assert!(asked.elapsed() <= Duration::from_secs(5), "{:?}", asked.elapsed());
    }
}
