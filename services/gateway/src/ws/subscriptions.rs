//! The subscriptions of one connection: one viewer per project, and those that are still being opened.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_auth::{Reason, Refusal};
use tidings_log::hub::{Hub, TopicHandle, TopicsFull};
use tidings_log::viewer::{Pull, Sample, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_presence::{Hall, Present, Transport, Watching};
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::frames::{After, Lag, SnapshotWish};
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_runtime::http::rights::Held;

use crate::encodings::WebSocket;
use crate::presence;
use crate::start;
use crate::traced::Deliveries;

/// Projects that one connection may subscribe to.
pub(super) const SUBSCRIPTIONS_MAX: usize = 64;

/// A subscription that was asked for, with its words checked.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    /// Which project.
    pub project: Project,
    /// Where to start.
    pub after: After,
    /// What to leave out.
    pub filter: tidings_protocol::filter::Filter,
    /// What happens to a backlog.
    pub lag: Lag,
    /// Whether it follows snapshots.
    pub snapshot: SnapshotWish,
    /// Whether it is told who is there.
    pub presence: bool,
    /// Echoed.
    pub reference: Option<String>,
}

/// A subscription that stands.
#[derive(Debug)]
pub(super) struct Stands {
    /// Which project.
    pub project: Project,
    /// Where its stream starts.
    pub position: Position,
    /// Whether it is told who is there.
    presence: bool,
    /// Echoed.
    pub reference: Option<String>,
}

/// A subscription that does not come about.
#[derive(Debug)]
pub(super) struct Failed {
    /// Stable code.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Echoed.
    pub reference: Option<String>,
}

/// What an opening comes to: a viewer, and the grant that allowed it.
type Opening = BoxFuture<'static, Result<(Viewer, Stands, Grant), Failed>>;

/// One that stands.
struct Subscription {
    project: Project,
    viewer: Viewer,
    /// Who wants to know who is there.
    watching: Option<Watching>,
    /// While it is held, the viewer is there.
    _present: Present,
}

/// The subscriptions of one connection.
pub(super) struct Subscriptions {
    hub: Hub,
    presence: Hall,
    wake: Arc<Wake>,
    viewers: Vec<Subscription>,
    opening: HashMap<Project, Opening>,
    /// Whose turn it is: each viewer gets its share of a full socket.
    turn: usize,
    /// The same for who is there.
    presence_turn: usize,
}

impl Subscriptions {
    /// None yet.
    pub(super) fn new(hub: Hub, presence: Hall, wake: Arc<Wake>) -> Subscriptions {
        let (viewers, opening) = (Vec::new(), HashMap::new());
        Subscriptions { hub, presence, wake, viewers, opening, turn: 0, presence_turn: 0 }
    }

    /// Whether one more project would be too many.
    pub(super) fn is_full_for(&self, project: &Project) -> bool {
        let known = self.opening.contains_key(project) || self.viewers.iter().any(|one| one.project == *project);
        !known && self.viewers.len() + self.opening.len() >= SUBSCRIPTIONS_MAX
    }

    /// Starts (or replaces) a subscription. It stands, or not, when [`Subscriptions::poll_opened`] says so.
    ///
    /// # Errors
    /// When the gateway has as many topics as it may; nothing has changed then.
    pub(super) fn open(&mut self, wish: Wish, held: &Held) -> Result<(), TopicsFull> {
        let (hub, wake) = (self.hub.clone(), self.wake.clone());
        let (project, grant) = (wish.project.clone(), held.grant());
        let opening = if grant.allows(&project, Scope::Read) {
            let topic = self.hub.topic(&project)?;
            async move { Ok(opened(topic, &hub, wake, wish, grant).await) }.boxed()
        } else {
            // Nothing is asked of the store before it is known that it may be.
            let rights = held.rights().clone();
            async move {
                let failed = |code, message| Failed { code, message, reference: wish.reference.clone() };
                let granted = rights.authorize(&grant, &wish.project, Scope::Read).await;
                let granted = granted.map_err(|refusal| failed(refusal.code(), refusal.message()))?;
                let topic = hub.topic(&wish.project).map_err(|full| failed(ErrorCode::Busy, full.to_string()))?;
                Ok(opened(topic, &hub, wake, wish, granted).await)
            }
            .boxed()
        };
        self.close(&project);
        self.opening.insert(project, opening);
        Ok(())
    }

    /// Ends a subscription. False: there was none.
    pub(super) fn close(&mut self, project: &Project) -> bool {
        let opening = self.opening.remove(project).is_some();
        let before = self.viewers.len();
        self.viewers.retain(|one| one.project != *project);
        opening || self.viewers.len() < before
    }

    /// Ends all of them.
    pub(super) fn clear(&mut self) {
        self.opening.clear();
        self.viewers.clear();
        self.turn = 0;
    }

    /// A subscription that stands since the last call, or failed, if there is one.
    pub(super) fn poll_opened(&mut self, cx: &mut Context<'_>, held: &Held) -> Poll<Result<Stands, Failed>> {
        let opened = self.opening.iter_mut().find_map(|(project, opening)| match opening.poll_unpin(cx) {
            Poll::Ready(opened) => Some((project.clone(), opened)),
            Poll::Pending => None,
        });
        let Some((project, opened)) = opened else { return Poll::Pending };
        self.opening.remove(&project);
        Poll::Ready(opened.and_then(|(viewer, stands, granted)| {
            if !held.need(&project, Scope::Read, &granted) {
                let refusal = Refusal { reason: Reason::NoRight, needed: Some(Scope::Read) };
                return Err(Failed { code: refusal.code(), message: refusal.message(), reference: stands.reference });
            }
            let present = presence::enter(&self.presence, &project, &granted, Transport::WebSocket);
            let wake = Arc::clone(&self.wake);
            let watching = stands.presence.then(|| present.watch(move || wake.wake()));
            // Most connections have one: no room for more than there are.
            self.viewers.reserve_exact(1);
            self.viewers.push(Subscription { project, viewer, watching, _present: present });
            Ok(stands)
        }))
    }

    /// Takes what the viewers have, the one whose turn it is first. Whether something was taken; and where a sample is
    /// wanted, that of the event that waited longest.
    pub(super) fn poll_pull(
        &mut self,
        cx: &mut Context<'_>,
        pull: &mut Pull<'_>,
        wanted: bool,
        deliveries: &mut Deliveries,
    ) -> (bool, Option<Sample>) {
        let mut sample: Option<Sample> = None;
        let before = pull.out.len();
        let count = self.viewers.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let viewer = &mut self.viewers[index].viewer;
            if wanted {
                viewer.want_sample();
            }
            if deliveries.is_on() {
                viewer.want_traced();
            }
            // A viewer that has nothing is woken through the connection's wake-up.
            let _ = viewer.poll_pull(cx, pull);
            if deliveries.is_on() {
                deliveries.take(viewer.take_traced());
            }
            if wanted {
                let seen = viewer.take_sample();
                sample = sample.into_iter().chain(seen).min_by_key(|sample| sample.appended_ms);
            }
            if pull.bytes_left == 0 {
                self.turn = index + 1;
                break;
            }
        }
        (pull.out.len() > before, sample)
    }

    /// Whether [`Subscriptions::tell_at`] has something to say.
    pub(super) fn is_untold(&self) -> bool {
        self.viewers.iter().any(|one| one.viewer.is_untold())
    }

    /// Says where the cursors are that moved on without a word.
    pub(super) fn tell_at(&mut self, encoding: &dyn tidings_log::encoding::Encoding, out: &mut Vec<bytes::Bytes>) {
        for one in &mut self.viewers {
            one.viewer.tell_at(encoding, out);
        }
    }

    /// Says who is there, came and went, where that is wanted: the one whose turn it is first, until this room is used up.
    /// What is not taken yet is held by nobody.
    pub(super) fn tell_presence(&mut self, encoding: WebSocket, room: usize, out: &mut Vec<bytes::Bytes>) {
        let (mut told, count) = (0, self.viewers.len());
        for offset in 0..count {
            let index = (self.presence_turn + offset) % count;
            let Some(watching) = &mut self.viewers[index].watching else { continue };
            let before = out.len();
            presence::tell(watching, encoding, out);
            told += out[before..].iter().map(bytes::Bytes::len).sum::<usize>();
            if told >= room {
                self.presence_turn = index + 1;
                break;
            }
        }
    }
}

/// A viewer as it was wished for, once its topic has started.
async fn opened(topic: TopicHandle, hub: &Hub, wake: Arc<Wake>, wish: Wish, grant: Grant) -> (Viewer, Stands, Grant) {
    topic.started().await;
    let position = start::locate(&topic, hub.broker(), wish.after).await;
    let wants = Wants {
        at: position,
        newcomer: wish.after == After::Now,
        filter: wish.filter,
        lag: wish.lag,
        snapshot: wish.snapshot,
        grant: grant.clone(),
    };
    let stands = Stands { project: wish.project, position, presence: wish.presence, reference: wish.reference };
    let mut viewer = Viewer::new(topic, wants, wake);
    if matches!(wish.after, After::Position(_)) {
        viewer.resumes();
    }
    (viewer, stands, grant)
}
