//! A connection that speaks a dialect: one project, one viewer.
//!
//! What events are is encoded once for all ([`super::encoding`]); what is one connection's own is said here: greetings and
//! present state, each by a state that is exact at a position of this very stream; answers; what is said of gaps.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tidings_dialects::{Action, Ask, Command, Missing, View};
use tidings_log::snapshot::Snapshot;
use tidings_log::topic::Between;
use tidings_log::viewer::{Aside, Pull, Viewer};
use tidings_presence::Present;
use tidings_protocol::codes::CloseCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_ws::frame;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::asked;
use super::bundle::{bundle, count};
use super::coming::{Opened, Opening};
use super::desk::{Desk, Refusal};
use super::encoding::InDialect;
use super::keeping::Keeping;
use super::now_ms;
use super::owed::{Owed, Wanted};
use super::served::{Excess, Farewell, Served};
use crate::limits::{Caller, Messages};
use crate::ws::connection::{Face, Line, WRITE_BYTES};

/// What a command came to.
type Asked = BoxFuture<'static, (Command, Result<String, Refusal>)>;

/// What a speaker is made with.
pub(super) struct Speaking {
    pub served: Arc<Served>,
    pub encoding: Arc<InDialect>,
    pub project: Project,
    pub desk: Arc<dyn Desk>,
    pub caller: Caller,
    pub messages: Option<(Messages, Excess)>,
    pub present: Present,
    pub opening: Opening,
    pub keeping: Option<Keeping>,
}

/// The server's end of a dialect.
pub(crate) struct Speaker {
    served: Arc<Served>,
    encoding: Arc<InDialect>,
    project: Project,
    desk: Arc<dyn Desk>,
    /// Whose rate commands count against.
    caller: Caller,
    /// The dialect's own limit.
    messages: Option<(Messages, Excess)>,
    /// While it is held, the viewer is there.
    present: Option<Present>,
    /// The viewer, before there is one.
    opening: Option<Opening>,
    viewer: Option<Viewer>,
    /// The client has been told something before what it is greeted with.
    resumed: bool,
    owed: Owed,
    commands: FuturesUnordered<Asked>,
    /// Commands that came before the viewer stands: what they bring about would go by. As many as are owed at most.
    early: Vec<Command>,
    /// Where the client is, for when it comes back.
    keeping: Option<Keeping>,
    /// Where it is when good-bye was said.
    left_at: Option<Position>,
    /// When the client was last heard to say something, or pinged for its silence.
    said_at: Instant,
    alarm: Alarm,
}

impl Speaker {
    pub(super) fn new(speaking: Speaking) -> Speaker {
        Speaker {
            served: speaking.served,
            encoding: speaking.encoding,
            project: speaking.project,
            desk: speaking.desk,
            caller: speaking.caller,
            messages: speaking.messages,
            present: Some(speaking.present),
            opening: Some(speaking.opening),
            viewer: None,
            resumed: false,
            owed: Owed::new(),
            commands: FuturesUnordered::new(),
            early: Vec::new(),
            keeping: speaking.keeping,
            left_at: None,
            said_at: Instant::now(),
            alarm: Alarm::default(),
        }
    }

    fn leave(&mut self) {
        self.present = None;
        self.opening = None;
        self.left_at = self.viewer.take().map(|viewer| viewer.at());
        self.commands.clear();
        self.early.clear();
    }

    pub(super) fn farewell(&mut self, line: &mut Line, counted: Option<CloseCode>, farewell: Farewell) {
        if line.close(counted, farewell.code, farewell.reason) {
            self.leave();
        }
    }

    /// Says something before any event.
    fn say(&self, line: &mut Line, text: &str) {
        line.push(frame::text(text.as_bytes()));
        self.count(1);
    }

    /// So many messages are on their way.
    fn count(&self, messages: u64) {
        if let Some(present) = &self.present {
            present.told(messages);
        }
    }

    fn act(&mut self, line: &mut Line, action: Action) {
        match action {
            Action::Say(text) => self.say(line, &text),
            Action::Present(ask) => {
                let told = self.viewer.as_ref().map_or(Position::ZERO, Viewer::at);
                self.owed.ask(ask, told, Instant::now());
            }
            Action::Command(command) if self.viewer.is_none() => self.early.push(command),
            Action::Command(command) => self.ask_runners(&line.registered.held.grant(), command),
            // A number that the dialect does not have would be its own fault: it stays what it is.
            Action::Become(variant) => {
                if let Some(encoding) = self.served.variant(variant) {
                    self.encoding = encoding.clone();
                }
            }
            Action::Close { code, reason } => self.farewell(line, None, Farewell { code, reason }),
        }
    }

    fn ask_runners(&mut self, grant: &Grant, mut command: Command) {
        if command.session.is_none() {
            command.session = self.encoding.dialect.session_of(&command, grant.viewer());
        }
        let asking = self.desk.ask(&self.project, grant, &self.caller, &command);
        self.commands.push(async move { (command, asking.await) }.boxed());
    }

    /// Looks whether the viewer stands.
    fn look_at_opening(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        let Some(opening) = &mut self.opening else { return };
        let Poll::Ready(opened) = opening.poll_unpin(cx) else { return };
        self.opening = None;
        match opened {
            Ok(Opened { mut viewer, resumed }) => {
                viewer.attend();
                viewer.want_snapshot();
                if let Some(keeping) = &mut self.keeping
                    && !resumed
                {
                    // Or what happens before it confirms something would be lost on it.
                    keeping.confirm(viewer.at());
                }
                (self.viewer, self.resumed) = (Some(viewer), resumed);
                let grant = line.registered.held.grant();
                for command in std::mem::take(&mut self.early) {
                    self.ask_runners(&grant, command);
                }
            }
            Err(full) => {
                tracing::debug!(%full, project = %self.project, "a dialect's client is sent away");
                self.close(line, CloseCode::Overloaded, None);
            }
        }
    }

    /// Says what became of commands.
    fn look_at_commands(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((command, asked))) = self.commands.poll_next_unpin(cx) {
            // What runners answer comes as events.
            let Err(refusal) = asked else { continue };
            let said = self.encoding.dialect.refused(&command, refusal.code, &refusal.message);
            if let Some(text) = said {
                self.say(line, &text);
            }
        }
    }

    /// Keeps a silent connection alive, as the dialect does it.
    fn look_at_silence(&mut self, line: &mut Line, now: Instant) {
        let due = self.said_at + self.served.profile.ping_after;
        if due > now {
            return self.alarm.by(due);
        }
        self.said_at = now;
        if let Some(text) = self.encoding.dialect.ping(now_ms()) {
            self.say(line, &text);
            self.alarm.by(now + self.served.profile.ping_after);
        }
    }

    /// Keeps the place of a client whom all was written that was taken for it.
    fn look_at_place(&mut self, line: &mut Line, cx: &mut Context<'_>, now: Instant) {
        let (Some(keeping), Some(viewer)) = (&mut self.keeping, &self.viewer) else { return };
        let (ping, next) = keeping.look(viewer.at(), now, cx);
        if let Some(payload) = ping {
            line.push(frame::ping(&payload));
        }
        if let Some(next) = next {
            self.alarm.by(next);
        }
    }

    /// Says what the viewer has set aside. False: nothing.
    fn say_asides(&mut self, line: &mut Line) -> bool {
        let mut said = false;
        while let Some(aside) = self.viewer.as_mut().and_then(Viewer::take_aside) {
            said = true;
            match aside {
                Aside::Snapshot(snapshot) => self.greet_by(line, &snapshot),
                Aside::Gap(gap) => match self.encoding.dialect.gap(&gap) {
                    Missing::GreetAgain => self.greet_again(),
                    Missing::Tell(text) => line.frames.push(frame::text(text.as_bytes())),
                    Missing::Nothing => {}
                },
            }
        }
        said
    }

    fn greet_again(&mut self) {
        self.owed.settled();
        self.resumed = true;
        if let Some(viewer) = &mut self.viewer {
            viewer.want_snapshot();
        }
    }

    fn greet_by(&mut self, line: &mut Line, snapshot: &Snapshot) {
        let mut texts = Vec::new();
        let resumed = std::mem::replace(&mut self.resumed, true);
        self.encoding.dialect.greet(&view(&self.project, snapshot), resumed, &mut texts);
        line.frames.extend(texts.iter().map(|text| frame::text(text.as_bytes())));
    }

    /// Takes events, and what comes up among them, until something is to be written or nothing is left.
    fn take_events(&mut self, line: &mut Line, cx: &mut Context<'_>, now: Instant) {
        while line.frames.is_empty() {
            let Some(viewer) = &mut self.viewer else { return };
            let mut pull = Pull {
                encoding: &*self.encoding,
                out: &mut line.frames,
                bytes_left: WRITE_BYTES,
                events_left: usize::MAX,
                until: u64::MAX,
            };
            let wanted = line.sampler.wants();
            if wanted {
                viewer.want_sample();
            }
            if line.deliveries.is_on() {
                viewer.want_traced();
            }
            let polled = viewer.poll_pull(cx, &mut pull);
            if line.deliveries.is_on() {
                line.deliveries.take(viewer.take_traced());
            }
            let sample = wanted.then(|| viewer.take_sample()).flatten();
            if !line.frames.is_empty() {
                line.sampler.taken(sample);
            }
            let dues = viewer.take_dues();
            if !self.owed.due(dues, now) {
                self.greet_again();
            }
            if !self.say_asides(line) && polled.is_pending() {
                return;
            }
        }
    }

    /// Tells how things stand, where that was asked for or is due, by a state of where this client is.
    fn tell_state(&mut self, line: &mut Line, now: Instant) {
        let Some(viewer) = &self.viewer else { return };
        if viewer.wants_snapshot() {
            // It is about to be told everything.
            return;
        }
        let since = match self.owed.wants(now) {
            Wanted::Nothing => return,
            Wanted::At(time) => return self.alarm.by(time),
            Wanted::Since(since) => since,
        };
        match viewer.topic().state_between(since, viewer.at()) {
            Between::Here(snapshot) => {
                let (asked, dues) = self.owed.take(snapshot.position, now);
                let (view, mut texts) = (view(&self.project, &snapshot), Vec::new());
                let asks = asked.into_iter().chain(dues.iter().map(|due| asked::ask(due)));
                asks.for_each(|ask: Ask| self.encoding.dialect.present(&ask, &view, &mut texts));
                line.frames.extend(texts.iter().map(|text| frame::text(text.as_bytes())));
                if let Wanted::At(time) = self.owed.wants(now) {
                    self.alarm.by(time);
                }
            }
            Between::Later(time) => self.alarm.by(now + time),
            // The connection is woken for the news, or when the fold is there.
            Between::Moved | Between::Cold => {}
        }
    }
}

impl Face for Speaker {
    fn greet(&mut self, line: &mut Line) {
        if let Some(text) = self.encoding.dialect.hello(&self.project, now_ms()) {
            self.say(line, &text);
        }
    }

    fn on_text(&mut self, line: &mut Line, text: &str) {
        self.said_at = Instant::now();
        if let Some((messages, excess)) = &mut self.messages
            && !messages.take()
        {
            match excess {
                Excess::Close => self.close(line, CloseCode::RateLimited, None),
                Excess::Drop => self.served.metrics.on_dropped(),
            }
            return;
        }
        for action in self.encoding.dialect.clone().hear(text, now_ms()) {
            if line.is_open() {
                self.act(line, action);
            }
        }
    }

    fn on_binary(&mut self, line: &mut Line) {
        self.close(line, CloseCode::TooManyErrors, None);
    }

    fn on_pong(&mut self, payload: &[u8]) {
        if let Some(keeping) = &mut self.keeping {
            keeping.on_pong(payload);
        }
    }

    fn on_farewell_answered(&mut self) {
        if let (Some(keeping), Some(at)) = (&mut self.keeping, self.left_at) {
            keeping.confirm(at);
        }
    }

    fn on_tick(&mut self, _line: &mut Line, _now: Instant) {}

    fn look_at_ends(&mut self, line: &mut Line, _cx: &mut Context<'_>) {
        if line.registered.control.draining().is_some() {
            self.close(line, CloseCode::Draining, None);
        }
        if let Some(refusal) = line.registered.refused() {
            self.close(line, refusal.close_code().unwrap_or(CloseCode::Unauthenticated), None);
        }
    }

    fn look_around(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        self.look_at_ends(line, cx);
        if !line.is_open() {
            return;
        }
        self.look_at_opening(line, cx);
        self.look_at_commands(line, cx);
        self.alarm.reset();
        let now = Instant::now();
        self.look_at_silence(line, now);
        self.look_at_place(line, cx, now);
        self.alarm.arm(cx);
    }

    fn pull(&mut self, line: &mut Line, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        self.take_events(line, cx, now);
        self.tell_state(line, now);
        self.alarm.arm(cx);
        if self.encoding.bundles {
            bundle(&*self.encoding.dialect, &mut line.frames);
        }
        self.count(line.frames.iter().map(|chunk| count(chunk)).sum());
        !line.frames.is_empty()
    }

    fn owed(&self) -> usize {
        self.owed.asked() + self.commands.len() + self.early.len()
    }

    fn close(&mut self, line: &mut Line, code: CloseCode, _retry_after_ms: Option<u64>) {
        let farewell = self.served.profile.farewell(code);
        self.farewell(line, Some(code), farewell);
    }
}

fn view<'a>(project: &'a Project, snapshot: &'a Snapshot) -> View<'a> {
    View { project, position: snapshot.position, state: snapshot.value(), now_ms: now_ms() }
}
