//! A connection that speaks a dialect: one project, one viewer. Who comes and goes, what he says, and what is done about it;
//! what he is told of the project is [`telling`]'s.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tidings_dialects::{Action, Command};
use tidings_log::viewer::Viewer;
use tidings_presence::Present;
use tidings_protocol::codes::CloseCode;
use tidings_protocol::grant::Grant;
use tidings_protocol::position::Position;
use tidings_protocol::project::Project;
use tidings_ws::frame;
use tokio::time::Instant;

use super::alarm::Alarm;
use super::bundle::{bundle, count};
use super::choice::Choice;
use super::coming::{Opened, Opening};
use super::desk::{Desk, Refusal};
use super::encoding::InDialect;
use super::keeping::Keeping;
use super::now_ms;
use super::owed::Owed;
use super::served::{Excess, Farewell, Served};
use crate::limits::{Caller, Messages};
use crate::ws::connection::{Face, Line};

mod telling;

/// For so long a client is not read that says more than every connection may, where its dialect drops what is too much.
const UNREAD: Duration = Duration::from_secs(1);

/// So much counts as owed meanwhile: nothing is read.
const NOT_NOW: usize = 1_024;

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
    pub choice: Option<Choice>,
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
    /// Until then the client is not read.
    unread_until: Option<Instant>,
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
    /// Which variant it has chosen, for the same.
    choice: Option<Choice>,
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
            unread_until: None,
            present: Some(speaking.present),
            opening: Some(speaking.opening),
            viewer: None,
            resumed: false,
            owed: Owed::default(),
            commands: FuturesUnordered::new(),
            early: Vec::new(),
            keeping: speaking.keeping,
            choice: speaking.choice,
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
        // Nothing is owed any more, or its answer to the close frame would not be read.
        self.owed = Owed::default();
        self.unread_until = None;
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
            Action::Present(ask) => self.owed.ask(ask, Instant::now()),
            Action::Command(command) if self.viewer.is_none() => self.early.push(command),
            Action::Command(command) => self.ask_runners(&line.registered.held.grant(), command),
            Action::Become(variant) => self.become_variant(variant),
            Action::Close { code, reason } => self.farewell(line, None, Farewell { code, reason }),
        }
    }

    fn become_variant(&mut self, variant: u8) {
        // A number that the dialect does not have would be its own fault: it stays what it is.
        if let Some(encoding) = self.served.variant(variant) {
            self.encoding = encoding.clone();
            if let Some(choice) = &mut self.choice {
                choice.make(variant);
            }
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
            Ok(Opened { mut viewer, resumed, greeted, confirmed, chosen }) => {
                viewer.attend();
                if !greeted {
                    viewer.want_snapshot();
                }
                if let Some(keeping) = &mut self.keeping
                    && confirmed
                {
                    keeping.confirm(viewer.at());
                }
                (self.viewer, self.resumed) = (Some(viewer), resumed);
                // What it says now counts for more.
                if let Some(chosen) = chosen
                    && self.choice.as_ref().is_some_and(|choice| !choice.is_made())
                {
                    self.become_variant(self.encoding.dialect.again(chosen));
                }
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

    /// Keeps what the client chose, unless a newer connection of it has its place.
    fn look_at_choice(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(choice) = &mut self.choice else { return };
        if self.keeping.as_ref().is_some_and(Keeping::is_over) {
            return;
        }
        if let Some(next) = choice.look(now, cx) {
            self.alarm.by(next);
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

    fn drops(&mut self) -> bool {
        let drops = matches!(self.messages, Some((_, Excess::Drop)));
        if drops {
            self.served.metrics.on_dropped();
            self.unread_until = Some(Instant::now() + UNREAD);
        }
        drops
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
        self.unread_until = self.unread_until.filter(|until| *until > now);
        if let Some(until) = self.unread_until {
            self.alarm.by(until);
        }
        self.look_at_silence(line, now);
        self.look_at_place(line, cx, now);
        self.look_at_choice(cx, now);
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
        let unread = if self.unread_until.is_some() { NOT_NOW } else { 0 };
        self.owed.asked() + self.commands.len() + self.early.len() + unread
    }

    fn close(&mut self, line: &mut Line, code: CloseCode, _retry_after_ms: Option<u64>) {
        let farewell = self.served.profile.farewell(code);
        self.farewell(line, Some(code), farewell);
    }
}
