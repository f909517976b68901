//! Clients of dialects that come: the upgrade, a place, the viewer; and those that are sent away in their own words.

use std::sync::Arc;
use std::task::Context;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_log::hub::TopicsFull;
use tidings_log::viewer::{Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_presence::Transport;
use tidings_protocol::codes::CloseCode;
use tidings_protocol::filter::Filter;
use tidings_protocol::frames::{Lag, SnapshotWish};
use tidings_protocol::grant::{Grant, Holder};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_ws::handshake::{Handshake, Terms};
use tokio::time::Instant;

use super::choice::Choice;
use super::keeping::Keeping;
use super::served::{Excess, Farewell, Served};
use super::speaker::{Speaker, Speaking};
use crate::connections::Registered;
use crate::limits::Caller;
use crate::shared::Shared;
use crate::ws::connection::{Connection, Face, Line, Parts};
use crate::ws::{parts, refused, upgrade};

/// A client that may come.
pub(crate) struct Coming {
    /// What it speaks.
    pub served: Arc<Served>,
    /// In which variant to begin with; there is one of this number.
    pub variant: u8,
    /// What it watches.
    pub project: Project,
    /// Who it is, and that it may read there. Its subject is whom answers are addressed to.
    pub grant: Grant,
    /// Whose places it takes: name, and how many that may have over all gateways; none: its caller's alone.
    pub places: Option<(String, u32)>,
    /// What it is not told.
    pub filter: Filter,
    /// The name under which its place is kept, so that it goes on there when it comes back: for clients that cannot say
    /// where they were. At most [`READER_BYTES_MAX`](tidings_broker::bookmark::READER_BYTES_MAX) bytes.
    pub resumes: Option<String>,
}

/// What an opening comes to.
pub(super) struct Opened {
    /// The viewer, which has told nothing yet.
    pub viewer: Viewer,
    /// It goes on behind what the client had.
    pub resumed: bool,
    /// The client knows how things stand: it need not be greeted.
    pub greeted: bool,
    /// The client is known to have all that it was told.
    pub confirmed: bool,
    /// The variant that it chose when it was here before.
    pub chosen: Option<u8>,
}

/// What is asked about a client that was here before.
struct Before {
    place: BoxFuture<'static, Option<Position>>,
    chosen: BoxFuture<'static, Option<u8>>,
}

/// Where a client stands that comes from another transport of its session: it has everything up to there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// What it was told last.
    pub at: Position,
    /// It was told something before.
    pub resumed: bool,
    /// It was told how things stand.
    pub greeted: bool,
}

/// A viewer that is being opened: that waits for the store.
pub(super) type Opening = BoxFuture<'static, Result<Opened, TopicsFull>>;

/// Answers a handshake: with a connection that speaks the dialect, or with one that is closed at once with these words, so
/// that a browser can read them.
pub(crate) async fn accept(
    shared: Arc<Shared>,
    mut request: Request,
    coming: Result<Coming, Farewell>,
    subprotocols: &[&str],
) -> Response {
    let terms = Terms { subprotocols, deflate: None };
    let response = match Handshake::check(request.method(), request.version(), request.headers(), &terms) {
        Ok(handshake) => handshake.response(),
        Err(error) => return refused(error),
    };
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.unwrap_or_else(|| Caller::of(&nobody(), request.extensions()));
    // Also for those who are sent away, or they would have no bound.
    let place = match shared.limits.open(&caller).await {
        Ok(place) => place,
        Err(refused) => return refused.into_response(),
    };
    let coming = match coming {
        Ok(coming) => match take_place(&shared, coming).await {
            Ok(coming) => Ok(coming),
            Err(farewell) => Err(farewell),
        },
        Err(farewell) => Err(farewell),
    };
    upgrade(shared, &mut request, async move |shared: Arc<Shared>, socket, input, accepted| {
        let _place = place;
        let wake = Arc::new(Wake::default());
        match coming {
            Ok((coming, _own_place)) => {
                let _open = coming.served.metrics.open();
                let registered = registered(&shared, &coming.project, &coming.grant, wake.clone());
                let speaker = speaker(&shared, coming, caller, wake);
                Connection::new(parts(&shared, registered, socket, input, accepted), speaker).await
            }
            Err(farewell) => {
                let registered = shared.register(wake, nobody(), &[]);
                let parts = Parts { accepted: None, ..parts(&shared, registered, socket, input, accepted) };
                Connection::new(parts, SentAway(farewell)).await
            }
        }
    });
    response
}

/// Who may do nothing.
fn nobody() -> Grant {
    Grant::new("nobody", Holder::Anyone, Vec::new())
}

type Place = tidings_limits::connections::Connection;

async fn take_place(shared: &Shared, coming: Coming) -> Result<(Coming, Option<Place>), Farewell> {
    let Some((name, most)) = &coming.places else { return Ok((coming, None)) };
    match shared.limits.places().open(name, Some(*most)).await {
        Ok(place) => Ok((coming, Some(place))),
        Err(_) => Err(coming.served.profile.flooded),
    }
}

/// Its place among the gateway's connections: other systems have no word for when to come back.
pub(super) fn registered(shared: &Shared, project: &Project, grant: &Grant, wake: Arc<Wake>) -> Registered {
    shared.register(wake, grant.clone(), &[project]).of_wordless_viewer()
}

/// The server's end for a client that may come.
pub(super) fn speaker(shared: &Arc<Shared>, coming: Coming, caller: Caller, wake: Arc<Wake>) -> Speaker {
    speaker_from(shared, coming, caller, wake, None)
}

/// The same for a client that goes on from there, wherever its bookmark is.
pub(super) fn speaker_from(
    shared: &Arc<Shared>,
    coming: Coming,
    caller: Caller,
    wake: Arc<Wake>,
    start: Option<Start>,
) -> Speaker {
    let profile = &coming.served.profile;
    let messages = profile.messages.map(|(rate, excess): (_, Excess)| (shared.limits.messages_at(rate), excess));
    // Who asks for a variant that there is not is given the first.
    let encoding = coming.served.variant(coming.variant).or_else(|| coming.served.variant(0));
    let encoding = encoding.expect("a dialect has a variant").clone();
    let (broker, tasks) = (shared.hub.broker(), || shared.connections.tasks().clone());
    let known = coming.resumes.map(|reader| {
        let choice = Choice::new(broker.slips(), &coming.project, &reader, tasks());
        (Keeping::new(broker.bookmarks(), coming.project.clone(), reader, tasks()), choice)
    });
    let (keeping, choice) = known.unzip();
    let before = keeping.as_ref().zip(choice.as_ref());
    let before =
        before.map(|(keeping, choice)| Before { place: keeping.take().boxed(), chosen: choice.find().boxed() });
    Speaker::new(Speaking {
        encoding,
        messages,
        desk: shared.desk.clone(),
        caller,
        present: shared.enter(&coming.project, &coming.grant, Transport::WebSocket),
        opening: open(shared.clone(), coming.project.clone(), coming.grant, coming.filter, wake, before, start).boxed(),
        keeping,
        choice,
        project: coming.project,
        served: coming.served,
    })
}

async fn open(
    shared: Arc<Shared>,
    project: Project,
    grant: Grant,
    filter: Filter,
    wake: Arc<Wake>,
    before: Option<Before>,
    start: Option<Start>,
) -> Result<Opened, TopicsFull> {
    let topic = shared.hub.topic(&project)?;
    topic.started().await;
    let (place, chosen) = match before {
        Some(before) => futures_util::join!(before.place, before.chosen),
        None => (None, None),
    };
    let at = start.map(|start| start.at).or(place).unwrap_or_else(|| topic.view().position());
    // What happened since it stood there is told before it is greeted: a greeting does not hold all of it.
    let newcomer = place.is_none() && start.is_none();
    let wants = Wants { at, newcomer, filter, lag: Lag::Full, snapshot: SnapshotWish::No, grant };
    let mut viewer = Viewer::new(topic, wants, wake);
    if let Some(start) = start {
        return Ok(Opened { viewer, resumed: start.resumed, greeted: start.greeted, confirmed: true, chosen });
    }
    if !newcomer {
        viewer.resumes();
    }
    // Or what happens before a newcomer confirms something would be lost on it.
    Ok(Opened { viewer, resumed: !newcomer, greeted: false, confirmed: newcomer, chosen })
}

/// The server's end for a client that may not come.
struct SentAway(Farewell);

impl Face for SentAway {
    fn greet(&mut self, line: &mut Line) {
        line.close(None, self.0.code, self.0.reason);
    }

    fn on_text(&mut self, _: &mut Line, _: &str) {}

    fn on_binary(&mut self, _: &mut Line) {}

    fn on_tick(&mut self, _: &mut Line, _: Instant) {}

    fn look_at_ends(&mut self, _: &mut Line, _: &mut Context<'_>) {}

    fn look_around(&mut self, _: &mut Line, _: &mut Context<'_>) {}

    fn pull(&mut self, _: &mut Line, _: &mut Context<'_>) -> bool {
        false
    }

    fn close(&mut self, _: &mut Line, _: CloseCode, _: Option<u64>) {}
}
