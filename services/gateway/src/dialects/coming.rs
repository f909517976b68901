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

use super::keeping::Keeping;
use super::served::{Excess, Farewell, Served};
use super::speaker::{Speaker, Speaking};
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
                let registered = shared.register(wake.clone(), coming.grant.clone(), &[&coming.project]);
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

/// The server's end for a client that may come.
pub(super) fn speaker(shared: &Arc<Shared>, coming: Coming, caller: Caller, wake: Arc<Wake>) -> Speaker {
    let profile = &coming.served.profile;
    let messages = profile.messages.map(|(rate, excess): (_, Excess)| (shared.limits.messages_at(rate), excess));
    // Who asks for a variant that there is not is given the first.
    let encoding = coming.served.variant(coming.variant).or_else(|| coming.served.variant(0));
    let encoding = encoding.expect("a dialect has a variant").clone();
    let marks = || shared.hub.broker().bookmarks();
    let tasks = || shared.connections.tasks().clone();
    let keeping = coming.resumes.map(|reader| Keeping::new(marks(), coming.project.clone(), reader, tasks()));
    let taking = keeping.as_ref().map(|keeping| keeping.take().boxed());
    Speaker::new(Speaking {
        encoding,
        messages,
        desk: shared.desk.clone(),
        caller,
        present: shared.enter(&coming.project, &coming.grant, Transport::WebSocket),
        opening: open(shared.clone(), coming.project.clone(), coming.grant, coming.filter, wake, taking).boxed(),
        keeping,
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
    taking: Option<BoxFuture<'static, Option<Position>>>,
) -> Result<Opened, TopicsFull> {
    let topic = shared.hub.topic(&project)?;
    topic.started().await;
    let place = match taking {
        Some(taking) => taking.await,
        None => None,
    };
    let at = place.unwrap_or_else(|| topic.view().position());
    let newcomer = place.is_none();
    let wants = Wants { at, newcomer, filter, lag: Lag::Full, snapshot: SnapshotWish::No, grant };
    let mut viewer = Viewer::new(topic, wants, wake);
    if !newcomer {
        viewer.resumes();
    }
    Ok(Opened { viewer, resumed: !newcomer })
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
