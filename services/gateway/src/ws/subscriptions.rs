//! The subscriptions of one connection: one viewer per project, and those that are still being opened.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_auth::{Reason, Refusal};
use tidings_log::hub::{Hub, TopicHandle, TopicsFull};
use tidings_log::viewer::{Pull, Viewer, Wants};
use tidings_log::wake::Wake;
use tidings_protocol::codes::ErrorCode;
use tidings_protocol::frames::{After, Lag, SnapshotWish};
use tidings_protocol::grant::{Grant, Scope};
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_runtime::http::rights::Held;

use crate::start;

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

/// The subscriptions of one connection.
pub(super) struct Subscriptions {
    hub: Hub,
    wake: Arc<Wake>,
    viewers: Vec<(Project, Viewer)>,
    opening: HashMap<Project, Opening>,
    /// Whose turn it is: each viewer gets its share of a full socket.
    turn: usize,
}

impl Subscriptions {
    /// None yet.
    pub(super) fn new(hub: Hub, wake: Arc<Wake>) -> Subscriptions {
        Subscriptions { hub, wake, viewers: Vec::new(), opening: HashMap::new(), turn: 0 }
    }

    /// Whether one more project would be too many.
    pub(super) fn is_full_for(&self, project: &Project) -> bool {
        let known = self.opening.contains_key(project) || self.viewers.iter().any(|(other, _)| other == project);
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
        self.viewers.retain(|(other, _)| other != project);
        opening || self.viewers.len() < before
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
            self.viewers.push((project, viewer));
            Ok(stands)
        }))
    }

    /// Takes what the viewers have, the one whose turn it is first. Ready: something was taken.
    pub(super) fn poll_pull(&mut self, cx: &mut Context<'_>, pull: &mut Pull<'_>) -> Poll<()> {
        let before = pull.out.len();
        let count = self.viewers.len();
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            // A viewer that has nothing is woken through the connection's wake-up.
            let _ = self.viewers[index].1.poll_pull(cx, pull);
            if pull.bytes_left == 0 {
                self.turn = index + 1;
                break;
            }
        }
        if pull.out.len() > before { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Says where the cursors are that moved on without a word.
    pub(super) fn tell_at(&mut self, encoding: &dyn tidings_log::encoding::Encoding, out: &mut Vec<bytes::Bytes>) {
        for (_, viewer) in &mut self.viewers {
            viewer.tell_at(encoding, out);
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
    let stands = Stands { project: wish.project, position, reference: wish.reference };
    (Viewer::new(topic, wants, wake), stands, grant)
}
