//! What a connection may do, and how that changes while it is open: refreshes, what was withdrawn, the end of a credential.

use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tidings_auth::{Credential, Reason, Refusal};
use tidings_protocol::codes::{CloseCode, ErrorCode};
use tidings_protocol::frames::{ServerFrame, ShownToken};
use tidings_protocol::grant::Scope;
use tidings_runtime::http::rights::ExchangeError;

use super::super::connection::{Face as _, Line};
use super::super::subscriptions::{Failed, Stands};
use super::Native;

/// Another credential that is being looked at.
pub(super) struct Refreshing {
    exchange: BoxFuture<'static, Result<(), ExchangeError>>,
    /// Echoed.
    reference: Option<String>,
}

impl Native {
    /// Takes another credential. One that is being looked at is left: the newest one counts.
    pub(super) fn refresh(&mut self, line: &mut Line, token: ShownToken, reference: Option<String>) {
        let exchange = line.registered.held.exchange(Credential::new(token.0)).boxed();
        if let Some(left) = self.refreshing.replace(Refreshing { exchange, reference }) {
            self.say_no(line, ErrorCode::Busy, "a newer refresh took its place", left.reference.as_deref());
        }
    }

    /// Tells of subscriptions that stand, or do not come about.
    pub(super) fn look_at_openings(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        while let Poll::Ready(opened) = self.subscriptions.poll_opened(cx, &line.registered.held) {
            match opened {
                Ok(Stands { project, position, reference, .. }) => {
                    let reference = reference.as_deref();
                    self.reply(line, &ServerFrame::Subscribed { project: project.as_str(), position, reference });
                }
                Err(Failed { code, message, reference }) => self.answer_no(line, code, &message, reference.as_deref()),
            }
        }
    }

    /// Looks whether a refresh is done, and what became of the rights.
    pub(super) fn look_at_rights(&mut self, line: &mut Line, cx: &mut Context<'_>) {
        if let Some(refreshing) = &mut self.refreshing
            && let Poll::Ready(exchanged) = refreshing.exchange.poll_unpin(cx)
        {
            let reference = self.refreshing.take().and_then(|done| done.reference);
            let reference = reference.as_deref();
            match exchanged {
                Ok(()) => {
                    let left = line.registered.held.remaining();
                    let expires_in_ms = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                    self.reply(line, &ServerFrame::Refreshed { expires_in_ms, reference });
                }
                Err(error) => self.answer_no(line, error.code(), &error.to_string(), reference),
            }
        }
        if !line.registered.held.has_news() {
            return;
        }
        let news = line.registered.held.take_news();
        if let Some(refusal) = news.ended {
            return self.close(line, refusal.close_code().unwrap_or(CloseCode::Unauthenticated), None);
        }
        let refusal = Refusal { reason: Reason::NoRight, needed: Some(Scope::Read) };
        for project in news.withdrawn {
            self.subscriptions.close(&project);
            let (code, message) = (refusal.code(), refusal.message());
            line.metrics.on_refused(code);
            let project = Some(project.as_str());
            self.reply(line, &ServerFrame::Error { code: code.as_str(), message: &message, project, reference: None });
        }
    }

    /// Refuses; what is not the client's fault does not count against it.
    fn answer_no(&mut self, line: &mut Line, code: ErrorCode, message: &str, reference: Option<&str>) {
        if code.is_retryable() {
            self.say_no(line, code, message, reference);
        } else {
            self.refuse(line, code, message, reference);
        }
    }
}
