//! Following the files: what changes on disk is served, unless it cannot be.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Tls;
use super::material::{self, Expired, Material, TlsError};

/// How often the files are read. By content, not by time stamps: a mounted Secret is swapped as a whole folder.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Tls {
    /// Serves what the files hold, from each change or SIGHUP on, until `stop`. Files that cannot be used are told once
    /// for each fault, and what was served before goes on.
    pub(crate) async fn follow(self: Arc<Tls>, stop: CancellationToken) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        let mut told = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = heard(&mut hangup) => told = None,
            }
            let looked = tokio::task::spawn_blocking({
                let tls = self.clone();
                move || tls.look()
            });
            // It panics only where this code is wrong, and the next look comes.
            let Ok(looked) = looked.await else { continue };
            self.apply(looked, &mut told);
        }
    }

    /// What the files hold, if it is not what is served. Blocks.
    pub(super) fn look(&self) -> Result<Option<([u8; 32], Material)>, TlsError> {
        let content = material::read(&self.files)?;
        let digest = content.digest();
        if digest == **self.digest.load() {
            return Ok(None);
        }
        material::made(&self.files, &content, &self.own_secret, Expired::Refused).map(|made| Some((digest, made)))
    }

    pub(super) fn apply(&self, looked: Result<Option<([u8; 32], Material)>, TlsError>, told: &mut Option<String>) {
        match looked {
            Ok(None) => {
                if told.take().is_some() {
                    self.metrics.faulty.set(0);
                    tracing::info!("the TLS files are again those that are served");
                }
            }
            Ok(Some((digest, made))) => {
                *told = None;
                self.metrics.reloaded.inc();
                self.metrics.on_served(&made);
                self.current.store(made.config);
                self.digest.store(Arc::new(digest));
                tracing::info!("changed TLS files are served from now on");
            }
            Err(error) => {
                let error = error.to_string();
                if told.as_ref() != Some(&error) {
                    self.metrics.reload_failed.inc();
                    self.metrics.faulty.set(1);
                    tracing::error!(error, "changed TLS files cannot be used; what was served before goes on");
                    *told = Some(error);
                }
            }
        }
    }
}

/// Resolves with the next SIGHUP; never, where the system has none.
async fn heard(hangup: &mut Option<Signal>) {
    let Some(signal) = hangup else { return std::future::pending().await };
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
