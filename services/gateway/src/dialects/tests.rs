//! A dialect of a few words, on sockets that a test looks into; the tests are in files of their own, by subject.

mod greetings;
mod leaving;
mod manners;
mod places;
mod state;

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
use super::coming::{Opened, registered, speaker};
use super::owed::{DUES_BYTES_MAX, TELL_EVERY};
use super::speaker::{Speaker, Speaking};
use super::*;
use crate::Gateway;
use crate::limits::Caller;
use crate::written::{Writer, event};
use crate::ws::connection::Connection;
use crate::ws::parts;

/// Longer than anything here takes, by the paused clock.
const HANG: Duration = Duration::from_mins(5);

/// Tells `note` as it is, `twice` two times, `mute` not at all; how all stands is due behind `step`, and behind `part` what its
/// id says.
#[derive(Default)]
struct Simple {
    variant: u8,
    /// Events that were encoded, over all connections.
    encoded: Arc<AtomicUsize>,
    quiet_gaps: bool,
    bundles: bool,
    /// Behind each message of present state.
    padding: String,
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
            "mute" | "part" => 0,
            "twice" => 2,
            _ => 1,
        };
        for _ in 0..times {
            out.push(format!("{}{id}", "!".repeat(self.variant.into())));
        }
    }

    fn due(&self, told: &Told<'_>) -> Option<Ask> {
        match told.kind() {
            "step" => Some(Ask::Sessions),
            "part" => Some(Ask::Other(told.envelope["id"].as_str().unwrap_or("?").to_owned())),
            _ => None,
        }
    }

    fn hello(&self, project: &Project, _now_ms: u64) -> Option<String> {
        Some(format!("hello {project}"))
    }

    fn greet(&self, view: &View<'_>, resumed: bool, out: &mut Vec<String>) {
        let word = if resumed { "again" } else { "greet" };
        out.push(format!("{word} {} of {}", view.sessions().count(), view.position.n()));
    }

    fn present(&self, ask: &Ask, view: &View<'_>, out: &mut Vec<String>) {
        out.push(format!("{ask:?} {} of {}{}", view.sessions().count(), view.position.n(), self.padding));
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
    flooded: Farewell { code: 4429, reason: "too many" },
    talkative: Farewell { code: 4429, reason: "too much" },
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
        let (connection, client) = self.connection_as(resumes);
        tokio::spawn(connection);
        client
    }

    /// One that goes on only while it is polled.
    fn connection_as(&self, resumes: Option<&str>) -> (Connection<DuplexStream, Speaker>, Client) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (shared, project) = (&self.gateway.shared, project());
        let grant = anyone("simple:1", &project, Scope::Read.into());
        let served = self.served.clone();
        let (filter, resumes) = (Filter::default(), resumes.map(str::to_owned));
        let coming = Coming { served, variant: 0, project: project.clone(), grant, places: None, filter, resumes };
        let wake = Arc::new(Wake::default());
        let registered = registered(shared, &project, &coming.grant, wake.clone());
        let speaker = speaker(shared, coming, Caller::new("a caller"), wake);
        (Connection::new(parts(shared, registered, ours, BytesMut::new(), None), speaker), Client { socket: theirs })
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
            Ok(Opened { viewer, resumed: false, greeted: false, confirmed: true, chosen: None })
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
            choice: None,
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
            127 => usize::try_from(self.socket.read_u64().await.expect("a whole frame")).expect("not that long"),
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
