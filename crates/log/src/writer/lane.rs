//! A project's lane: what was submitted for it, and the task that drives its machine while there is anything to do.
//!
//! The task owns the machine; submitters only push into the inbox and wake it. It ends when nothing waits, and leaves the
//! machine in the lane, so that numbers and what was acknowledged outlive idle times.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rand::RngExt as _;
use tidings_broker::{Answer, AppendCall, Broker, CallError, NothingWhy, Wait};
use tidings_protocol::project::Project;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::budget::Share;
use super::draw::Chance;
use super::item::Item;
use super::machine::{Done, Failure, Machine, Note, Outcome};
use super::waiting::Waiting;
use super::{Called, Shared, SubmitError};

/// Waits between tries, doubled from the first to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What one caller submitted.
pub(super) struct Request {
    pub(super) items: Vec<Item>,
    /// What acknowledgements of the project wait for from here on.
    pub(super) wait: Option<Wait>,
    pub(super) deadline: Instant,
    pub(super) reply: oneshot::Sender<Result<Vec<Outcome>, SubmitError>>,
    /// Who asks when the store was called.
    pub(super) called: Option<Arc<Called>>,
    /// Held until the answer.
    pub(super) share: Share,
}

/// The incarnation that the store gave when it was asked at this time.
#[derive(Clone)]
pub(super) struct Probed {
    pub(super) incarnation: Arc<str>,
    pub(super) at: Duration,
}

/// One project's queue and, while idle, its machine.
pub(super) struct Lane {
    pub(super) project: Project,
    state: Mutex<State>,
    news: Notify,
}

struct State {
    inbox: Vec<Request>,
    /// What the store last said of itself, and when it was asked; for the task.
    probed: Option<Probed>,
    /// None while the task runs.
    parked: Option<Parked>,
}

/// What outlives idle times.
pub(super) struct Parked {
    machine: Machine,
    /// The project stands in the index.
    entered: bool,
    requests: u64,
    /// What the last request's acknowledgement waits for.
    wait: Option<Wait>,
}

impl Lane {
    pub(super) fn new(project: Project, machine: Machine, wait: Option<Wait>) -> Lane {
        let parked = Some(Parked { machine, entered: false, requests: 0, wait });
        Lane { project, state: Mutex::new(State { inbox: Vec::new(), probed: None, parked }), news: Notify::new() }
    }

    /// Hands a request over; the caller spawns [`run`] with what this returns.
    pub(super) fn push(&self, request: Request) -> Option<Parked> {
        let mut state = self.state.lock();
        state.inbox.push(request);
        let parked = state.parked.take();
        drop(state);
        self.news.notify_one();
        parked
    }

    /// Tells the machine which incarnation the store has; the caller spawns [`run`] with what this returns.
    pub(super) fn probed(&self, probed: &Probed) -> Option<Parked> {
        let mut state = self.state.lock();
        let Some(parked) = &mut state.parked else {
            state.probed = Some(probed.clone());
            drop(state);
            self.news.notify_one();
            return None;
        };
        parked.machine.probed(&probed.incarnation, probed.at);
        if parked.machine.has_own_work() { state.parked.take() } else { None }
    }

    /// Makes the task look around.
    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// Whether no task runs.
    pub(super) fn is_parked(&self) -> bool {
        self.state.lock().parked.is_some()
    }

    /// While idle: the last number used, and whether nothing is kept that could be put back.
    pub(super) fn idle(&self) -> Option<(u64, bool)> {
        let state = self.state.lock();
        state.parked.as_ref().map(|parked| (parked.machine.number(), parked.machine.keeps_nothing()))
    }

    /// Takes what was submitted, and what the store said of itself.
    fn gather(&self) -> (Vec<Request>, Option<Probed>) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.inbox), state.probed.take())
    }

    /// Ends the task, unless something was submitted in the meantime.
    fn park(&self, parked: Parked) -> Option<Parked> {
        let mut state = self.state.lock();
        if state.inbox.is_empty() {
            state.parked = Some(parked);
            None
        } else {
            Some(parked)
        }
    }
}

/// Drives a lane until nothing waits.
pub(super) async fn run(shared: Arc<Shared>, lane: Arc<Lane>, parked: Parked) {
    shared.metrics.writing.inc();
    let _rescue = Rescue { lane: lane.clone(), shared: shared.clone() };
    let mut parked = Some(parked);
    while let Some(core) = parked {
        let Parked { machine, entered, requests, wait } = core;
        let waiting = Waiting::new(requests);
        let mut task =
            Task { shared: &shared, lane: &lane, machine, entered, waiting, wait, retry_at: None, sent: None };
        task.work().await;
        let Task { machine, entered, waiting, wait, .. } = task;
        parked = lane.park(Parked { machine, entered, requests: waiting.next(), wait });
    }
    shared.metrics.writing.dec();
}

struct Task<'a> {
    shared: &'a Shared,
    lane: &'a Lane,
    machine: Machine,
    entered: bool,
    waiting: Waiting,
    /// What the next call waits for.
    wait: Option<Wait>,
    /// Not before this.
    retry_at: Option<Instant>,
    /// First sending of the call at hand.
    sent: Option<Sent>,
}

/// A call's first sending.
struct Sent {
    number: u64,
    at: Instant,
    /// What it waited for, and waits for however often it is sent.
    wait: Option<Wait>,
}

/// A call on its way: into the index, or into the log.
enum Answered {
    Entered(Result<(), CallError>),
    Appended(Result<Answer, CallError>),
}

impl<'a> Task<'a> {
    async fn work(&mut self) {
        let mut call: Option<(BoxFuture<'a, Answered>, Instant)> = None;
        loop {
            self.gather();
            let now = Instant::now();
            self.expire(now);
            if call.is_none() {
                if self.is_over() {
                    return;
                }
                if self.retry_at.is_none_or(|at| at <= now) {
                    call = self.begin().map(|future| (future, now + self.shared.settings.answer_max));
                }
            }
            let until = call.as_ref().map(|(_, until)| *until).or(self.retry_at);
            let wake_at = [until, self.waiting.earliest()].into_iter().flatten().min();
            let answered = async {
                match &mut call {
                    Some((future, _)) => future.await,
                    None => std::future::pending().await,
                }
            };
            // ORDER: an answer first, since it may settle a request whose deadline passes in the same moment.
            tokio::select! {
                biased;
                answered = answered => {
                    call = None;
                    self.take(answered);
                }
                () = self.lane.news.notified() => {}
                () = sleep_until(wake_at) => {
                    if call.as_ref().is_some_and(|(_, until)| *until <= Instant::now()) {
                        call = None;
                        self.unanswered();
                    }
                }
            }
        }
    }

    /// Whether there is nothing to do. At the end of the process only the requests in hand are answered, and what can be
    /// put back is.
    fn is_over(&self) -> bool {
        let can_heal = self.machine.has_own_work() && self.shared.is_connected();
        self.machine.is_idle() || (self.shared.is_draining() && self.waiting.is_empty() && !can_heal)
    }

    /// Takes what was submitted into the machine.
    fn gather(&mut self) {
        let (requests, probed) = self.lane.gather();
        for request in requests {
            self.wait = request.wait;
            self.waiting.add(request, &mut self.machine);
        }
        if let Some(probed) = probed {
            self.machine.probed(&probed.incarnation, probed.at);
        }
    }

    fn begin(&mut self) -> Option<BoxFuture<'a, Answered>> {
        self.retry_at = None;
        let broker: &'a dyn Broker = &*self.shared.broker;
        let project = self.lane.project.clone();
        if !self.entered {
            return Some(Box::pin(async move { Answered::Entered(broker.enter(project).await) }));
        }
        let call = self.machine.next(&mut Chance)?;
        let call = AppendCall { wait: self.count(&call), ..call };
        Some(Box::pin(async move { Answered::Appended(broker.append(project, call).await) }))
    }

    /// Counts a sending. What it waits for: the same as the first one of its call.
    fn count(&mut self, call: &AppendCall) -> Option<Wait> {
        if call.batch.is_none() && !call.delete {
            return self.wait;
        }
        match &self.sent {
            Some(sent) if sent.number == call.number => {
                self.shared.metrics.resends.inc();
                sent.wait
            }
            _ => {
                self.sent = Some(Sent { number: call.number, at: Instant::now(), wait: self.wait });
                self.wait
            }
        }
    }

    /// The call took too long: its outcome is unknown.
    fn unanswered(&mut self) {
        let why = || CallError::Unknown("no answer in time".into());
        self.take(if self.entered { Answered::Appended(Err(why())) } else { Answered::Entered(Err(why())) });
    }

    fn take(&mut self, answered: Answered) {
        match answered {
            Answered::Entered(Ok(())) => self.entered = true,
            Answered::Entered(Err(error)) => {
                tracing::debug!(project = %self.lane.project, %error, "entering the index failed, will try again");
                self.refused(lasting(&error));
                self.back_off(1);
            }
            Answered::Appended(answer) => {
                if answer.is_ok()
                    && let Some(sent) = self.sent.take()
                {
                    self.shared.metrics.on_answer(sent.at.elapsed());
                    self.waiting.answered(sent.at);
                }
                let refusal = answer.as_ref().err().map(lasting);
                let step = self.machine.answered(self.shared.now(), answer, &mut Chance);
                step.notes.iter().for_each(|note| self.note(note));
                // What a fork took may be the project's place in the index.
                self.entered &= !step.notes.contains(&Note::Healed);
                self.settle(step.done);
                if let Some(lasting) = refusal {
                    self.refused(lasting);
                    self.back_off(self.machine.failures());
                }
            }
        }
    }

    /// Nothing happened: requests that waiting would not help are answered at once.
    fn refused(&mut self, lasting: Option<Failure>) {
        let why = match (lasting, self.shared.is_connected()) {
            (Some(why), _) => why,
            (None, false) => Failure::Away,
            (None, true) => return,
        };
        if !self.machine.is_unsettled() {
            let done = self.machine.fail_waiting(why);
            self.settle(done);
        }
    }

    fn back_off(&mut self, failures: u32) {
        let full = RETRY.0.saturating_mul(1 << failures.saturating_sub(1).min(6)).min(RETRY.1);
        // Half to whole: processes that lost the same store do not come back in step.
        self.retry_at = Some(Instant::now() + full.mul_f64(rand::rng().random_range(0.5..1.0)));
    }

    fn note(&self, note: &Note) {
        self.shared.metrics.on_note(note);
        let project = &self.lane.project;
        match note {
            Note::Appended { events, .. } => self.shared.activity.appended(project, *events),
            Note::PublishFailed(error) => tracing::warn!(%project, %error, "appended, but the publish failed"),
            Note::Unknown(error) => tracing::debug!(%project, %error, "append unanswered, will send again"),
            Note::Deleted => tracing::info!(%project, "deleted"),
            Note::Healed => tracing::info!(%project, branch = %self.machine.branch(), "another branch is open"),
            Note::GapOwed(lost) => tracing::warn!(
                %project, after = %lost.after, acknowledged = %lost.acknowledged, "acknowledged events are missing"
            ),
            Note::PuttingBack { events } => tracing::info!(%project, events, "a fork took acknowledged events"),
            Note::PutBack { events } => tracing::info!(%project, events, "put back"),
            Note::Stale { last } => tracing::error!(%project, last, "the log knows a higher number of this writer"),
            Note::GivenUp => tracing::error!(%project, "an append never got an answer"),
        }
    }

    fn settle(&mut self, done: Vec<Done>) {
        for done in done {
            self.shared.metrics.on_verdict(&done.verdict);
            self.waiting.settle(done);
        }
    }

    /// Answers requests whose deadline has passed.
    fn expire(&mut self, now: Instant) {
        for key in self.waiting.expired(now) {
            let unknown = self.machine.forget(key);
            let why = match (unknown, self.machine.trouble()) {
                (true, _) => Failure::OutcomeUnknown,
                (false, Some(NothingWhy::Memory)) => Failure::Memory,
                (false, Some(NothingWhy::OverShare)) => Failure::OverShare,
                (false, Some(NothingWhy::Away | NothingWhy::Refusing(_))) => Failure::Away,
                (false, None) if self.machine.is_unsettled() || !self.entered => Failure::Away,
                (false, Some(NothingWhy::Busy) | None) => Failure::Busy,
            };
            self.waiting.give_up(key, why);
        }
    }
}

/// The failure that a refusal means for all that waits, if trying again soon would not help.
fn lasting(error: &CallError) -> Option<Failure> {
    match error {
        CallError::Nothing(NothingWhy::Memory) => Some(Failure::Memory),
        CallError::Nothing(NothingWhy::OverShare) => Some(Failure::OverShare),
        CallError::Nothing(NothingWhy::Away | NothingWhy::Busy | NothingWhy::Refusing(_)) | CallError::Unknown(_) => {
            None
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Makes a lane usable again after its task panicked: under a new writer id, since the machine is gone, and with it what it
/// had acknowledged (a fork that loses some of that is told by the viewers' own gap alone).
struct Rescue {
    lane: Arc<Lane>,
    shared: Arc<Shared>,
}

impl Drop for Rescue {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut state = self.lane.state.lock();
        // Their senders are dropped: the callers hear that the outcome is unknown.
        state.inbox.clear();
        let machine = self.shared.machine(super::draw::writer_id(), 0);
        state.parked = Some(Parked { machine, entered: false, requests: 0, wait: self.shared.settings.wait });
        self.shared.metrics.writing.dec();
    }
}
