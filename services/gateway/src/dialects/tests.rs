//! A dialect of a few words, on sockets that a test looks into.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use prometheus::Registry;
use serde_json::Value;
use tidings_broker::memory::MemoryBroker;
use tidings_dialects::{Action, Ask, Command, Dialect, Missing, Told, View};
use tidings_limits::Rate;
use tidings_log::viewer::{Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_presence::Transport;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::gap::{Gap, deletion};
use tidings_protocol::grant::Scope;
use tidings_protocol::project::Project;
use tidings_protocol::wire;
use tidings_runtime::config::{Config, GatewayConfig};
use tidings_runtime::http::rights::Rights;
use tidings_runtime::telemetry::traces::Traces;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::oneshot;

use super::asker::anyone;
use super::coming::{Opened, speaker};
use super::owed::TELL_EVERY;
use super::speaker::{Speaker, Speaking};
use super::*;
use crate::Gateway;
use crate::limits::Caller;
use crate::written::{Writer, event};
use crate::ws::connection::Connection;
use crate::ws::parts;

/// Longer than anything here takes, by the paused clock.
const HANG: Duration = Duration::from_mins(5);

/// Tells `note` as it is, `twice` two times, `mute` not at all; `state` is due behind `step`.
#[derive(Default)]
struct Simple {
    variant: u8,
    /// Events that were encoded, over all connections.
    encoded: Arc<AtomicUsize>,
    quiet_gaps: bool,
    bundles: bool,
}

impl Dialect for Simple {
    fn name(&self) -> &'static str {
        "simple"
    }

    fn variant(&self) -> u8 {
        self.variant
    }

    fn event(&self, told: &Told<'_>, out: &mut Vec<String>) {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        let id = told.envelope["id"].as_str().unwrap_or("?");
        let times = match told.kind() {
            "mute" => 0,
            "twice" => 2,
            _ => 1,
        };
        for _ in 0..times {
            out.push(format!("{}{id}", "!".repeat(self.variant.into())));
        }
    }

    fn due(&self, told: &Told<'_>) -> Option<Ask> {
        (told.kind() == "step").then_some(Ask::Sessions)
    }

    fn hello(&self, project: &Project, _now_ms: u64) -> Option<String> {
        Some(format!("hello {project}"))
    }

    fn greet(&self, view: &View<'_>, resumed: bool, out: &mut Vec<String>) {
        let word = if resumed { "again" } else { "greet" };
        out.push(format!("{word} {} of {}", view.sessions().count(), view.position.n()));
    }

    fn present(&self, ask: &Ask, view: &View<'_>, out: &mut Vec<String>) {
        out.push(format!("{ask:?} {} of {}", view.sessions().count(), view.position.n()));
    }

    fn gap(&self, gap: &Gap) -> Missing {
        if self.quiet_gaps { Missing::Tell(format!("gap {}", gap.cause.as_str())) } else { Missing::GreetAgain }
    }

    fn hear(&self, text: &str, _now_ms: u64) -> Vec<Action> {
        match text {
            "louder" => vec![Action::Become(1)],
            "nonsense" => vec![Action::Become(7)],
            "state" => vec![Action::Present(Ask::Session("s".into()))],
            "bye" => vec![Action::Close { code: 4001, reason: "so long" }, Action::Say("never".into())],
            "do" => {
                let kind = "thing.do".to_owned();
                vec![Action::Command(Command { kind, id: None, session: None, agent: None, data: Value::Null })]
            }
            other => vec![Action::Say(format!("heard {other}"))],
        }
    }

    fn refused(&self, command: &Command, code: &str, _message: &str) -> Option<String> {
        Some(format!("{} {code}", command.kind))
    }

    fn bundle(&self, messages: &[&str]) -> Option<String> {
        self.bundles.then(|| messages.join("+"))
    }

    fn ping(&self, _now_ms: u64) -> Option<String> {
        Some("ping".into())
    }
}

const PROFILE: Profile = Profile {
    draining: Farewell { code: 1012, reason: "restart" },
    unauthenticated: Farewell { code: 4401, reason: "who?" },
    forbidden: Farewell { code: 4403, reason: "no" },
    flooded: Farewell { code: 4429, reason: "too much" },
    messages: None,
    ping_after: Duration::from_secs(30),
};

struct Rig {
    broker: MemoryBroker,
    gateway: Gateway,
    writer: Writer,
    served: Arc<Served>,
    encoded: Arc<AtomicUsize>,
}

impl Rig {
    async fn start() -> Rig {
        Rig::start_with(GatewayConfig::default(), PROFILE, |_| {}).await
    }

    async fn start_with(config: GatewayConfig, profile: Profile, manners: impl Fn(&mut Simple)) -> Rig {
        let broker = MemoryBroker::new();
        let writer = Writer::new(&broker, "demo").await;
        let (limits, traces) = (tidings_limits::Metrics::default(), Traces::default());
        let config = Config { gateway: config, ..Config::default() };
        let gateway = Gateway::new(&config, Arc::new(broker.clone()), Rights::open(), limits, traces, &Registry::new());
        let gateway = gateway.expect("a fresh registry");
        let encoded = Arc::new(AtomicUsize::new(0));
        let variant = |variant| {
            let mut simple = Simple { variant, encoded: encoded.clone(), ..Simple::default() };
            manners(&mut simple);
            Arc::new(simple) as Arc<dyn Dialect>
        };
        let served = Arc::new(Served::new(9, vec![variant(0), variant(1)], profile, &gateway.shared.metrics));
        Rig { broker, gateway, writer, served, encoded }
    }

    fn connect(&self) -> Client {
        self.connect_as(None)
    }

    fn connect_as(&self, resumes: Option<&str>) -> Client {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (shared, project) = (&self.gateway.shared, project());
        let grant = anyone("simple:1", &project, Scope::Read.into());
        let served = self.served.clone();
        let (filter, resumes) = (Filter::default(), resumes.map(str::to_owned));
        let coming = Coming { served, variant: 0, project: project.clone(), grant, places: None, filter, resumes };
        let wake = Arc::new(Wake::default());
        let registered = shared.register(wake.clone(), coming.grant.clone(), &[&project]);
        let speaker = speaker(shared, coming, crate::limits::Caller::new("a caller"), wake);
        tokio::spawn(Connection::new(parts(shared, registered, ours, BytesMut::new(), None), speaker));
        Client { socket: theirs }
    }

    /// Like [`Rig::connect`]; the viewer stands when the sender says so, behind what there is now.
    async fn connect_waiting(&self) -> (Client, oneshot::Sender<()>) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (shared, project) = (&self.gateway.shared, project());
        let wake = Arc::new(Wake::default());
        let grant = anyone("simple:1", &project, Scope::Read.into());
        let registered = shared.register(wake.clone(), grant.clone(), &[&project]);
        let viewer = self.viewer(wake).await;
        let (open, opens) = oneshot::channel();
        let opening = async move {
            opens.await.expect("somebody opens it");
            Ok(Opened { viewer, resumed: false })
        };
        let speaker = Speaker::new(Speaking {
            served: self.served.clone(),
            encoding: self.served.variant(0).expect("the first").clone(),
            desk: shared.desk.clone(),
            caller: Caller::new("simple"),
            messages: None,
            present: shared.enter(&project, &grant, Transport::WebSocket),
            opening: opening.boxed(),
            keeping: None,
            project,
        });
        tokio::spawn(Connection::new(parts(shared, registered, ours, BytesMut::new(), None), speaker));
        (Client { socket: theirs }, open)
    }

    /// A newcomer behind what there is now.
    async fn viewer(&self, wake: Arc<Wake>) -> Viewer {
        let topic = self.gateway.shared.topic(&project()).expect("there is room");
        topic.started().await;
        let (at, grant) = (topic.view().position(), anyone("simple:1", &project(), Scope::Read.into()));
        let (filter, lag, snapshot) = (Filter::default(), Lag::Full, SnapshotWish::No);
        Viewer::new(topic, Wants { at, newcomer: true, filter, lag, snapshot, grant }, wake)
    }

    /// When the gateway knows so many events.
    async fn heard(&self, events: u64) {
        let topic = self.gateway.shared.topic(&project()).expect("there is room");
        let known = async {
            while topic.view().position().n() < events {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(HANG, known).await.expect("it hears of them");
    }

    async fn say(&mut self, kinds: &[(&str, &str)]) {
        let events = kinds.iter().map(|(kind, id)| wire::Event { r#type: (*kind).into(), ..event(id, 1) });
        self.writer.append(events.collect()).await;
    }
}

struct Client {
    socket: DuplexStream,
}

impl Client {
    /// The next text, or `code reason` of a close; pings of the protocol are answered.
    async fn hears(&mut self) -> String {
        loop {
            let (opcode, payload) = tokio::time::timeout(HANG, self.frame()).await.expect("it says something");
            match opcode {
                1 => return String::from_utf8(payload).expect("texts are UTF-8"),
                8 => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return format!("{code} {}", String::from_utf8_lossy(&payload[2..]));
                }
                9 => self.frame_out(10, &payload).await,
                other => panic!("opcode {other}"),
            }
        }
    }

    async fn hears_all<const N: usize>(&mut self) -> [String; N] {
        let mut all = [const { String::new() }; N];
        for one in &mut all {
            *one = self.hears().await;
        }
        all
    }

    async fn says(&mut self, text: &str) {
        self.frame_out(1, text.as_bytes()).await;
    }

    async fn frame_out(&mut self, opcode: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).expect("short");
        let frame = [&[0x80 | opcode, 0x80 | length, 0, 0, 0, 0], payload].concat();
        self.socket.write_all(&frame).await.expect("it reads");
    }

    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let opcode = self.socket.read_u8().await.expect("an open socket") & 0x0f;
        let length = match self.socket.read_u8().await.expect("a whole frame") {
            126 => usize::from(self.socket.read_u16().await.expect("a whole frame")),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).await.expect("a whole frame");
        (opcode, payload)
    }
}

fn project() -> Project {
    "demo".parse().expect("a name")
}

#[tokio::test(start_paused = true)]
async fn a_client_is_greeted_by_state_and_goes_on_from_exactly_there() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a"), ("note", "b")]).await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 2"]);
    rig.say(&[("mute", "c"), ("twice", "d"), ("mute", "e")]).await;
    rig.say(&[("mute", "f")]).await;
    rig.say(&[("note", "g")]).await;
    assert_eq!(client.hears_all().await, ["d", "d", "g"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_encoded_once_for_all_of_a_variant() {
    let mut rig = Rig::start().await;
    let (mut one, mut two) = (rig.connect(), rig.connect());
    for client in [&mut one, &mut two] {
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    }
    rig.say(&[("note", "a")]).await;
    assert_eq!((one.hears().await, two.hears().await), ("a".into(), "a".into()));
    assert_eq!(rig.encoded.load(Ordering::Relaxed), 1);
    two.says("louder").await;
    // Of a variant that there is not nothing comes.
    one.says("nonsense").await;
    for client in [&mut one, &mut two] {
        client.says("x").await;
        assert_eq!(client.hears().await, "heard x");
    }
    rig.say(&[("note", "b")]).await;
    assert_eq!((one.hears().await, two.hears().await), ("b".into(), "!b".into()));
    assert_eq!(rig.encoded.load(Ordering::Relaxed), 3, "once in each variant");
}

#[tokio::test(start_paused = true)]
async fn what_is_due_is_told_behind_its_events_once_for_many() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    // The greeting's state is a moment old: the next one is made when that is not recent any more.
    rig.say(&[("step", "a"), ("step", "b"), ("note", "c")]).await;
    assert_eq!(client.hears_all().await, ["a", "b", "c", "Sessions 0 of 3"]);
    let told_at = tokio::time::Instant::now();
    for id in ["d", "e"] {
        rig.say(&[("step", id)]).await;
        assert_eq!(client.hears().await, id);
    }
    assert_eq!(client.hears().await, "Sessions 0 of 5");
    assert!(told_at.elapsed() >= TELL_EVERY, "not more often");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_is_heard_and_answered() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    client.says("do").await;
    assert_eq!(client.hears().await, "thing.do no_runner");
    client.says("state").await;
    client.says("state").await;
    assert_eq!(client.hears_all().await, ["Session(\"s\") 0 of 0", "Session(\"s\") 0 of 0"]);
    client.says("bye").await;
    assert_eq!(client.hears().await, "4001 so long");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_told_or_the_client_is_greeted_again() {
    for (quiet_gaps, expected) in [(false, "again 0 of 3"), (true, "gap log_reset")] {
        let mut rig = Rig::start_with(GatewayConfig::default(), PROFILE, |one| one.quiet_gaps = quiet_gaps).await;
        rig.say(&[("note", "a")]).await;
        let mut client = rig.connect();
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 1"]);
        rig.broker.reopen();
        rig.say(&[("note", "b")]).await;
        let heard = client.hears().await;
        assert_eq!(heard.split(' ').next(), expected.split(' ').next(), "{heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_in_its_own_words() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    let since = tokio::time::Instant::now();
    assert_eq!(client.hears_all().await, ["ping", "ping"]);
    assert_eq!(since.elapsed().as_secs(), 60);
    tokio::time::sleep(Duration::from_secs(20)).await;
    client.says("x").await;
    assert_eq!(client.hears().await, "heard x");
    let since = tokio::time::Instant::now();
    assert_eq!(client.hears().await, "ping");
    assert_eq!(since.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn excess_is_dropped_or_closes_as_the_dialect_has_it() {
    for (excess, expected) in [(Excess::Drop, "heard late"), (Excess::Close, "4429 too much")] {
        let messages = Some((Rate::new(2, Duration::from_mins(1), 2), excess));
        let rig = Rig::start_with(GatewayConfig::default(), Profile { messages, ..PROFILE }, |_| {}).await;
        let mut client = rig.connect();
        assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
        for text in ["a", "b", "c", "d"] {
            client.says(text).await;
        }
        assert_eq!(client.hears_all().await, ["heard a", "heard b"]);
        if excess == Excess::Drop {
            tokio::time::sleep(Duration::from_secs(31)).await;
            assert_eq!(client.hears().await, "ping");
            client.says("late").await;
        }
        assert_eq!(client.hears().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_out_together_travels_as_one_where_that_was_asked_for() {
    let mut rig = Rig::start_with(GatewayConfig::default(), PROFILE, |one| one.bundles = true).await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a"), ("twice", "b")]).await;
    rig.say(&[("note", "c")]).await;
    let heard = client.hears().await;
    assert!(heard == "a+b+b" || heard == "a+b+b+c", "{heard}");
}

#[tokio::test(start_paused = true)]
async fn who_drains_says_so_in_the_words_of_the_dialect() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.gateway.shared.connections.drain(rig.gateway.shared.settings.pace).await;
    assert_eq!(client.hears().await, "1012 restart");
}

#[tokio::test(start_paused = true)]
async fn binary_messages_are_no_part_of_it() {
    let rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    client.frame_out(2, b"x").await;
    assert_eq!(client.hears().await, "1003 ");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_is_told_what_it_has_not_confirmed() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 1"]);
    rig.say(&[("note", "b")]).await;
    assert_eq!(client.hears().await, "b");
    // Pings are answered while it waits: b is confirmed, and kept.
    assert!(tokio::time::timeout(Duration::from_secs(10), client.hears()).await.is_err());
    rig.say(&[("note", "c")]).await;
    let (opcode, _) = client.frame().await;
    assert_eq!(opcode, 1, "it is told c, and says nothing more");
    drop(client);
    rig.say(&[("note", "d")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "c", "d", "again 0 of 4"]);
    let mut other = rig.connect_as(Some("s"));
    assert_eq!(other.hears_all().await, ["hello demo", "greet 0 of 4"]);
}

#[tokio::test(start_paused = true)]
async fn an_answered_farewell_confirms_all() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a")]).await;
    assert_eq!(client.hears().await, "a");
    client.says("bye").await;
    assert_eq!(client.hears().await, "4001 so long");
    client.frame_out(8, &4001u16.to_be_bytes()).await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.expect("it closes");
    let connections = rig.gateway.shared.connections.tasks();
    connections.close();
    connections.wait().await;
    rig.say(&[("note", "b")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "b", "again 0 of 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_crosses_ours_confirms_nothing() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a")]).await;
    assert_eq!(client.hears().await, "a");
    client.says("bye").await;
    client.frame_out(8, &1000u16.to_be_bytes()).await;
    let mut rest = Vec::new();
    client.socket.read_to_end(&mut rest).await.expect("it closes");
    let connections = rig.gateway.shared.connections.tasks();
    connections.close();
    connections.wait().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "a", "again 0 of 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_at_once_has_a_place_all_the_same() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.say(&[("note", "a")]).await;
    assert_eq!(client.hears().await, "a");
    drop(client);
    rig.say(&[("note", "b")]).await;
    let mut client = rig.connect_as(Some("r"));
    assert_eq!(client.hears_all().await, ["hello demo", "a", "b", "again 0 of 2"]);
}

#[tokio::test(start_paused = true)]
async fn what_happens_before_the_greeting_is_told_and_commands_wait_for_the_viewer() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a")]).await;
    let (mut client, open) = rig.connect_waiting().await;
    assert_eq!(client.hears().await, "hello demo");
    client.says("do").await;
    assert!(tokio::time::timeout(Duration::from_secs(5), client.hears()).await.is_err(), "nobody is asked yet");
    rig.say(&[("note", "b"), ("note", "c")]).await;
    rig.heard(3).await;
    open.send(()).expect("it waits");
    let heard: [String; 4] = client.hears_all().await;
    let (answers, told): (Vec<_>, Vec<_>) = heard.iter().partition(|text| text.starts_with("thing.do"));
    assert_eq!(answers, ["thing.do no_runner"]);
    assert_eq!(told, ["b", "c", "greet 0 of 3"]);
    rig.say(&[("note", "d")]).await;
    assert_eq!(client.hears().await, "d", "and from there");
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_others_have_had_goes_before_what_happened_since() {
    let mut rig = Rig::start().await;
    rig.say(&[("note", "a")]).await;
    let mut first = rig.connect();
    assert_eq!(first.hears_all().await, ["hello demo", "greet 0 of 1"]);
    rig.say(&[("note", "b")]).await;
    rig.heard(2).await;
    // Nothing is encoded anew for it, and nothing is left out.
    let mut second = rig.connect();
    assert_eq!(second.hears_all().await, ["hello demo", "greet 0 of 1", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_told_by_a_new_greeting() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect();
    assert_eq!(client.hears_all().await, ["hello demo", "greet 0 of 0"]);
    rig.writer.append(vec![wire::Event { session: "s".into(), ..event("a", 1) }]).await;
    assert_eq!(client.hears().await, "a");
    rig.writer.append(vec![deletion(Some("s"), "gone", 1)]).await;
    assert_eq!(client.hears_all().await, ["gone", "again 0 of 2"]);
}

#[tokio::test(start_paused = true)]
async fn the_place_of_a_clients_newest_connection_counts() {
    let mut rig = Rig::start().await;
    let mut old = rig.connect_as(Some("r"));
    assert_eq!(old.hears_all().await, ["hello demo", "greet 0 of 0"]);
    assert!(tokio::time::timeout(Duration::from_secs(5), old.hears()).await.is_err());
    let mut new = rig.connect_as(Some("r"));
    assert_eq!(new.hears_all().await, ["hello demo", "again 0 of 0"]);
    // Only the old one confirms.
    rig.say(&[("note", "a")]).await;
    assert_eq!(old.hears().await, "a", "it stays open");
    assert!(tokio::time::timeout(Duration::from_secs(10), old.hears()).await.is_err());
    drop((old, new));
    let mut newest = rig.connect_as(Some("r"));
    assert_eq!(newest.hears_all().await, ["hello demo", "a", "again 0 of 1"]);
}
