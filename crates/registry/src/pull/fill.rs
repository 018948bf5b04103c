//! Reading one blob from upstream into storage, once for everybody who wants it (B2, B3, B9, B10).
//!
//! A fill is a task of its own. Requests wait for upstream's head and then read the spool; nothing that they do
//! slows or ends the fill. What is known only after the last byte (the digest) decides whether anything is kept.
//! What another replica fills already is read from there (`follow`); who may keep the bytes is a matter of one row in
//! the database (`claim`).

mod claim;
mod filling;
mod follow;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quayside_blobs::{Progress, Spool};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::PullError;
use super::resume::{Order, Origin};

pub(crate) use filling::run;

/// How a fill ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The bytes were stored already, and this organization may have them; upstream was not asked.
    Found,
    /// Verified, and stored or proven, by this replica or by the one that it followed.
    Done,
    /// Nothing was done: another replica fills it and no client is here to follow (B6), or it does so no longer and
    /// nobody is here who may cause a fill (A3).
    Elsewhere,
    /// Verified, but not stored: storage or the database failed at the end.
    Unstored,
    /// Upstream failed, or sent something else.
    Failed(PullError),
    /// Storage took no more (O2): whoever reads goes on without it.
    StorageFault,
}

#[derive(Clone, Default)]
struct State {
    spool: Option<Arc<Spool>>,
    outcome: Option<Outcome>,
    /// For whom upstream was asked, if it was another replica that asked, and failed.
    blamed: Option<Origin>,
}

/// A fill as those see it who wait for it.
pub(crate) struct Fill {
    state: watch::Sender<State>,
    origin: Origin,
    attended: AtomicBool,
    /// Somebody takes part for whom upstream may be asked.
    allowed: AtomicBool,
    stop: CancellationToken,
}

/// What a request that joined a fill goes on with.
pub(crate) enum Head {
    /// Upstream answered; the bytes appear in the spool.
    Streaming(Arc<Spool>),
    /// It ended before it had a spool.
    Ended(Outcome),
}

impl Fill {
    /// A fill that is given up when `stop` is cancelled.
    pub(crate) fn new(origin: Origin, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(State::default()),
            origin,
            attended: AtomicBool::new(false),
            allowed: AtomicBool::new(false),
            stop,
        })
    }

    /// Whether upstream is asked on behalf of this organization and repository: only then is its refusal one of
    /// theirs.
    pub(crate) fn is_of(&self, order: &Order) -> bool {
        let state = self.state.borrow();
        *state.blamed.as_ref().unwrap_or(&self.origin) == order.origin()
    }

    /// It fails because upstream failed another organization or repository, whose fill was followed.
    fn blame(&self, origin: Origin) {
        self.state.send_modify(|state| state.blamed = Some(origin));
    }

    /// On whose behalf upstream is asked.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Gives it up.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until it is given up.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// A client wants it: it no longer counts as background work (B6).
    pub(crate) fn attend(&self) {
        self.attended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Relaxed)
    }

    /// Upstream may be asked for it, not only a replica that fills it already.
    pub(crate) fn allow(&self) {
        self.allowed.store(true, Ordering::Relaxed);
    }

    fn is_allowed(&self) -> bool {
        self.allowed.load(Ordering::Relaxed)
    }

    /// Whether a request that comes now should start afresh instead (B3).
    pub(crate) fn has_failed(&self) -> bool {
        let state = self.state.borrow();
        matches!(state.outcome, Some(Outcome::Failed(_) | Outcome::StorageFault))
            || state
                .spool
                .as_ref()
                .is_some_and(|spool| matches!(spool.progress(), Progress::Failed { .. }))
    }

    /// Waits until upstream has answered, or the fill has ended without that.
    pub(crate) async fn head(&self) -> Head {
        let mut watcher = self.state.subscribe();
        let state = watcher
            .wait_for(|state| state.spool.is_some() || state.outcome.is_some())
            .await;
        match state.as_deref() {
            Ok(State {
                spool: Some(spool), ..
            }) => Head::Streaming(Arc::clone(spool)),
            Ok(State {
                outcome: Some(outcome),
                ..
            }) => Head::Ended(outcome.clone()),
            _ => Head::Ended(Outcome::Failed(PullError::Vanished(super::flights::Vanished))),
        }
    }

    /// Waits for the end.
    pub(crate) async fn outcome(&self) -> Outcome {
        let mut watcher = self.state.subscribe();
        let state = watcher.wait_for(|state| state.outcome.is_some()).await;
        match state.as_deref() {
            Ok(State {
                outcome: Some(outcome),
                ..
            }) => outcome.clone(),
            _ => Outcome::Failed(PullError::Vanished(super::flights::Vanished)),
        }
    }

    fn begin(&self, spool: Arc<Spool>) {
        self.state.send_modify(|state| state.spool = Some(spool));
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        self.state.send_modify(|state| state.outcome = Some(outcome));
    }
}
