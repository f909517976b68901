//! A grant in use by something that stays open: a viewer's connection, a stream, an export.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidings_auth::{Authenticator, Credential, Refusal, unix_now};
use tidings_protocol::codes::{CloseCode, ErrorCode};
use tidings_protocol::grant::{Grant, Holder, Scope};
use tidings_protocol::project::Project;

use super::Rights;

/// Called when there is news.
pub(super) type Tell = Box<dyn Fn() + Send + Sync>;

/// A grant that is watched over until this is dropped, and the rights that somebody lives by.
///
/// Nothing here is on the way of events: who holds it asks [`Held::has_news`], one atomic load, when it was told to.
pub struct Held {
    rights: Rights,
    entry: Arc<Entry>,
}

/// What is watched.
pub(super) struct Entry {
    state: Mutex<State>,
    news: AtomicBool,
    tell: Tell,
}

struct State {
    grant: Grant,
    /// Counts credentials: what was looked up for an earlier one says nothing of this one. That the holder needs something
    /// else makes no look-up void, or it could put off its end for as long as it likes.
    credentials: u64,
    needs: Vec<(Project, Scope)>,
    news: News,
}

/// What became of a grant and its rights since the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// The credential does not hold any more: it expired, or was revoked.
    pub ended: Option<Refusal>,
    /// What is needed in these projects was withdrawn. Told once each.
    pub withdrawn: Vec<Project>,
}

/// Why another credential was not taken in the place of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// It is not good, or that cannot be told now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is somebody else's.
    #[error("the credential is another viewer's")]
    OtherViewer,
}

impl ExchangeError {
    /// The code of the `error` frame.
    pub fn code(&self) -> ErrorCode {
        match self {
            ExchangeError::Refused(refusal) => refusal.code(),
            ExchangeError::OtherViewer => ErrorCode::Forbidden,
        }
    }
}

impl Held {
    pub(super) fn new(rights: Rights, grant: Grant, needs: Vec<(Project, Scope)>, tell: Tell) -> Held {
        let state = State { grant, credentials: 0, needs, news: News::default() };
        let entry = Arc::new(Entry { state: Mutex::new(state), news: AtomicBool::new(false), tell });
        // A grant of an open service never changes.
        if !rights.is_open() {
            rights.0.watch.add(&entry);
        }
        Held { rights, entry }
    }

    /// The grant as it is now.
    pub fn grant(&self) -> Grant {
        self.entry.state.lock().grant.clone()
    }

    /// Where it came from.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// How long it holds yet; `None`: it does not end by itself.
    pub fn remaining(&self) -> Option<Duration> {
        self.rights.authenticator().remaining(&self.grant(), unix_now())
    }

    /// Whether [`Held::take_news`] has something.
    pub fn has_news(&self) -> bool {
        self.entry.news.load(Ordering::Acquire)
    }

    /// What happened since the last time. That the grant has ended stays true until another one takes its place.
    pub fn take_news(&self) -> News {
        if !self.entry.news.swap(false, Ordering::AcqRel) {
            return News::default();
        }
        let mut state = self.entry.state.lock();
        News { ended: state.news.ended, withdrawn: std::mem::take(&mut state.news.withdrawn) }
    }

    /// From now on this right is lived by, too. `granted` is what [`Rights::authorize`] gave for it, perhaps some time ago.
    /// False: it is gone meanwhile.
    pub fn need(&self, project: &Project, scope: Scope, granted: &Grant) -> bool {
        let mut state = self.entry.state.lock();
        if !state.grant.allows(project, scope)
            && let Some((_, scopes)) = granted.memberships().iter().find(|(of, _)| of == project)
        {
            // The same user's: grants with another subject are not exchanged.
            state.grant = state.grant.clone().with_membership(project.clone(), *scopes);
        }
        if !state.grant.allows(project, scope) {
            return false;
        }
        if !state.needs.iter().any(|need| need.0 == *project && need.1 == scope) {
            state.needs.push((project.clone(), scope));
        }
        true
    }

    /// Nothing is needed in this project any more.
    pub fn release(&self, project: &Project) {
        let mut state = self.entry.state.lock();
        state.needs.retain(|(of, _)| of != project);
    }

    /// Takes another credential of the same viewer in the place of the one before, with what it may do: rights that it does
    /// not have are withdrawn. The future can be kept and dropped as one likes: until it is done all is as before.
    pub fn exchange(&self, credential: Credential) -> impl Future<Output = Result<(), ExchangeError>> + Send + 'static {
        let (rights, entry) = (self.rights.clone(), self.entry.clone());
        async move {
            let subject = entry.state.lock().grant.subject().to_owned();
            let mut grant = rights.authenticate_again(&credential, &subject).await?;
            if rights.is_open() {
                return Ok(());
            }
            grant = entry.renamed(grant).ok_or(ExchangeError::OtherViewer)?;
            loop {
                let needs = entry.state.lock().needs.clone();
                for (project, scope) in &needs {
                    match rights.authorize(&grant, project, *scope).await {
                        Ok(granted) => grant = granted,
                        Err(refusal) if refusal.close_code() == Some(CloseCode::Forbidden) => {}
                        Err(refusal) => return Err(refusal.into()),
                    }
                }
                if entry.install(&grant, &needs) {
                    return Ok(());
                }
            }
        }
    }
}

impl Entry {
    /// The grant as one of the viewer that is here already; none if it is another's. Tokens that name no user are nobody's,
    /// so the viewer keeps the id that it was given first.
    fn renamed(&self, grant: Grant) -> Option<Grant> {
        let before = self.state.lock().grant.clone();
        let nameless = *grant.holder() == Holder::Token && *before.holder() == Holder::Token;
        if grant.viewer() == before.viewer() {
            Some(grant)
        } else {
            nameless.then(|| grant.of_subject(before.viewer()))
        }
    }

    /// False: something else is needed by now, which the grant was not asked for.
    fn install(&self, grant: &Grant, asked: &[(Project, Scope)]) -> bool {
        {
            let mut state = self.state.lock();
            if state.needs != asked {
                return false;
            }
            state.credentials += 1;
            state.grant = grant.clone();
            state.news.ended = None;
            state.withdraw();
        }
        self.announce();
        true
    }

    /// Looks at the clock. True: more must be looked up, since the grant can change before its time.
    pub(super) fn is_due(&self, authenticator: &Authenticator, now: u64) -> bool {
        {
            let mut state = self.state.lock();
            if state.news.ended.is_some() {
                return false;
            }
            if authenticator.remaining(&state.grant, now) != Some(Duration::ZERO) {
                return state.grant.key_id().is_some() || !state.grant.memberships().is_empty();
            }
            state.news.ended = Some(tidings_auth::Reason::Expired.into());
        }
        self.announce();
        false
    }

    /// Looks up what the grant is now.
    pub(super) async fn look_up(&self, authenticator: &Authenticator, now: u64) {
        let (asked, credentials) = {
            let state = self.state.lock();
            (state.grant.clone(), state.credentials)
        };
        let looked_up = authenticator.revalidate(&asked, now).await;
        {
            let mut state = self.state.lock();
            if state.credentials != credentials {
                return;
            }
            match looked_up {
                Ok(renewed) => {
                    state.grant = state.with_newer(&asked, renewed);
                    if !state.withdraw() {
                        return;
                    }
                }
                Err(refusal) if refusal.close_code().is_some() => state.news.ended = Some(refusal),
                // It cannot be known, and nothing says otherwise.
                Err(_) => return,
            }
        }
        self.announce();
    }

    fn announce(&self) {
        self.news.store(true, Ordering::Release);
        (self.tell)();
    }
}

impl State {
    /// What was looked up for a grant, with the memberships that came to it meanwhile.
    fn with_newer(&self, asked: &Grant, looked_up: Grant) -> Grant {
        let newer = self.grant.memberships().iter();
        let newer = newer.filter(|(project, _)| !asked.memberships().iter().any(|(known, _)| known == project));
        newer.fold(looked_up, |grant, (project, scopes)| grant.with_membership(project.clone(), *scopes))
    }

    /// Moves what is needed, but not allowed, to the news. False: there is no such thing.
    fn withdraw(&mut self) -> bool {
        let grant = self.grant.clone();
        let gone: Vec<_> = self.needs.extract_if(.., |(project, scope)| !grant.allows(project, *scope)).collect();
        let any = !gone.is_empty();
        self.news.withdrawn.extend(gone.into_iter().map(|(project, _)| project));
        any
    }
}
