//! Reading one blob from upstream into storage, once for everybody who wants it (B2, B3, B9, B10).
//!
//! A fill is a task of its own. Requests wait for upstream's head and then read the spool; nothing that they do
//! slows or ends the fill. What is known only after the last byte (the digest) decides whether anything is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quayside_blobs::{Ingest, IngestError, Progress, Spool, StorageKey, VerifyError};
use quayside_metadata::{FillCommit, FillIntent, OrganizationId, View};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::error::{PullError, Subject};
use super::resume::{Order, Origin, Source};
use crate::chain::Chain;
use crate::clock::millis;

/// No transfer takes longer in all.
const LONGEST: Duration = Duration::from_hours(24);

/// How a fill ended.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// The bytes were stored already, and this organization may have them; upstream was not asked.
    Found,
    /// Verified, and stored or proven.
    Done,
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
}

/// A fill as those see it who wait for it.
pub(crate) struct Fill {
    state: watch::Sender<State>,
    origin: Origin,
    attended: AtomicBool,
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
            stop,
        })
    }

    /// Whether upstream is asked on behalf of this organization and repository: only then is its refusal one of
    /// theirs.
    pub(crate) fn is_of(&self, order: &Order) -> bool {
        self.origin == order.origin()
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

/// What the bytes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Store,
    /// They are stored, but obtained with somebody else's credentials: verify and discard (B9).
    Prove,
}

/// Reads the blob. `fill` learns of the spool as soon as upstream has answered.
pub(crate) async fn run(engine: &Engine, order: &Order, fill: &Fill) -> Outcome {
    let work = async {
        let purpose = match purpose(engine, order).await {
            Ok(Some(purpose)) => purpose,
            Ok(None) => return Outcome::Found,
            Err(error) => return Outcome::Failed(error),
        };
        let mut ingest = match engine.store.ingest(&order.digest, order.size).await {
            Ok(ingest) => ingest,
            Err(error) => return storage_fault(order, &error),
        };
        let read = tokio::select! {
            read = read(engine, order, fill, &mut ingest) => read,
            // Not later than this: what is verified is stored.
            () = fill.stopped() => Err(Stopped::End),
        };
        match read {
            Ok(size) => keep(engine, order, purpose, ingest, size).await,
            Err(Stopped::Storage(error)) => storage_fault(order, &error),
            Err(Stopped::End) => {
                ingest.fail(Arc::new(PullError::Stopping));
                Outcome::Failed(PullError::Stopping)
            }
            Err(Stopped::Upstream(error)) => {
                tracing::warn!(
                    digest = %order.digest, upstream = %order.served.address,
                    error = %Chain(&error), "fill failed"
                );
                ingest.fail(Arc::new(error.clone()));
                Outcome::Failed(error)
            }
        }
    };
    let late = || {
        Outcome::Failed(order.failed(quayside_upstream::UpstreamError::Timeout {
            host: order.served.address.to_string(),
        }))
    };
    tokio::time::timeout(LONGEST, work)
        .await
        .unwrap_or_else(|_| late())
}

/// The database is asked again: another fill may have ended since the request looked.
async fn purpose(engine: &Engine, order: &Order) -> Result<Option<Purpose>, PullError> {
    let (id, repository) = (order.served.id, order.repository.as_str());
    let state = engine
        .metadata
        .blob(id, repository, &order.digest, View::Member)
        .await?;
    let state = state.ok_or(PullError::Unknown(Subject::Blob))?;
    Ok(match (state.stored, state.proven) {
        (None, _) => Some(Purpose::Store),
        (Some(_), false) => Some(Purpose::Prove),
        (Some(_), true) => None,
    })
}

enum Stopped {
    Upstream(PullError),
    Storage(IngestError),
    /// The registry stops.
    End,
}

async fn read(engine: &Engine, order: &Order, fill: &Fill, ingest: &mut Ingest) -> Result<u64, Stopped> {
    let opened = Source::open(order.clone(), 0).await;
    if !matches!(&opened, Err(PullError::Upstream { source, .. }) if source.is_outage()) {
        engine.backoffs.answered(&order.served.check_key);
    }
    let mut source = opened.map_err(Stopped::Upstream)?;
    fill.begin(ingest.spool());
    while let Some(chunk) = source.next().await.map_err(Stopped::Upstream)? {
        ingest.append(chunk).await.map_err(|error| match error {
            IngestError::TooLong { .. } => Stopped::Upstream(order.mismatch(error.to_string())),
            error => Stopped::Storage(error),
        })?;
    }
    ingest.verify().await.map_err(|error| match error {
        VerifyError::Storage(fault) => Stopped::Storage(IngestError::Storage(fault)),
        error => Stopped::Upstream(order.mismatch(error.to_string())),
    })
}

fn storage_fault(order: &Order, error: &IngestError) -> Outcome {
    tracing::warn!(digest = %order.digest, error = %Chain(error), "storage takes no bytes, passing through");
    Outcome::StorageFault
}

/// Readers have all bytes by now; what goes wrong from here on costs them nothing.
async fn keep(engine: &Engine, order: &Order, purpose: Purpose, ingest: Ingest, size: u64) -> Outcome {
    let scope = order.served.scope();
    let kept = match purpose {
        Purpose::Prove => engine
            .metadata
            .prove_blob(&order.digest, scope)
            .await
            .map_err(anyhow::Error::from),
        Purpose::Store => store(engine, order, scope, ingest, size).await,
    };
    match kept {
        Ok(()) => Outcome::Done,
        Err(error) => {
            tracing::warn!(digest = %order.digest, error = format!("{error:#}"), "verified blob not kept");
            Outcome::Unstored
        }
    }
}

async fn store(
    engine: &Engine,
    order: &Order,
    scope: Option<OrganizationId>,
    ingest: Ingest,
    size: u64,
) -> anyhow::Result<()> {
    let token = ingest.token().to_owned();
    let key = StorageKey::new(&order.digest, &token)?;
    let intent = FillIntent {
        token: token.clone(),
        digest: order.digest.clone(),
        size,
        scope,
        storage_key: key.as_str().to_owned(),
        address: String::new(),
        expires_at: engine.now().saturating_add(millis(LONGEST)),
    };
    engine.metadata.record_fill(intent).await?;
    let committed = match ingest.commit(&key).await {
        Ok(()) => {
            let not_before = engine.garbage_not_before();
            let (metadata, digest) = (&engine.metadata, &order.digest);
            metadata
                .commit_fill(&token, digest, key.as_str(), size, scope, not_before)
                .await
                .map_err(anyhow::Error::from)
        }
        Err(error) => Err(error.into()),
    };
    match committed {
        Ok(FillCommit::Stored | FillCommit::Superseded | FillCommit::Unreferenced) => Ok(()),
        Ok(FillCommit::Lost) => anyhow::bail!("the record of the fill is gone"),
        Err(error) => {
            // The key stays recorded if this fails too, and becomes garbage at the next start.
            engine
                .metadata
                .abandon_fill(&token, engine.garbage_not_before())
                .await
                .ok();
            Err(error)
        }
    }
}
