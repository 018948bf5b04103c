//! B6: completing images that somebody began to pull.
//!
//! There is no queue: a blob row that is marked wanted and has no bytes *is* the queue, so it survives a restart.

mod due;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quayside_metadata::{ManifestId, MetadataError, RepositoryId, Wanted};
use quayside_oci::{Digest, RepositoryName};
use quayside_upstream::UpstreamError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Engine;
use super::error::PullError;
use super::fill::{Fill, Outcome};
use super::replica::LEASE;
use super::resume::Order;
use super::running::Attendance;
use crate::chain::Chain;
use crate::clock::{Millis, millis};
use crate::organizations::Snapshot;
use due::Due;

const PER_HOST: usize = 2;
const IN_ALL: usize = 4;
/// How often blobs whose time has come are looked for.
const TICK: Duration = Duration::from_secs(1);
const FIRST_RETRY: Millis = 5_000;
const LONGEST_RETRY: Millis = 600_000;
/// After a 429 without `Retry-After`, and after bytes that did not hash to their digest (B3).
const PAUSE: Duration = Duration::from_mins(1);
/// How long a blob of an organization that is not served at the moment waits: its entry may be bad (C3).
const UNSERVED: Millis = 30_000;
/// Nudges that wait; what does not fit comes again with the next pull.
const NUDGES: usize = 4_096;

/// A reason to look whether blobs are missing.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) enum Nudge {
    /// An image was pulled by tag.
    Image { manifest: ManifestId },
    /// An image was pulled by digest: a child of an index waits for the first of its layers.
    ImageUnlessChild {
        repository: RepositoryId,
        manifest: ManifestId,
    },
    /// A layer was asked for.
    Layer {
        repository: RepositoryId,
        digest: Digest,
    },
}

/// Where requests leave their nudges. Never blocks.
#[derive(Clone)]
pub(crate) struct Nudger(mpsc::Sender<Nudge>);

/// The other end.
pub(crate) struct Nudges(mpsc::Receiver<Nudge>);

pub(crate) fn channel() -> (Nudger, Nudges) {
    let (sender, receiver) = mpsc::channel(NUDGES);
    (Nudger(sender), Nudges(receiver))
}

impl Nudger {
    pub(crate) fn send(&self, nudge: Nudge) {
        if self.0.try_send(nudge).is_err() {
            tracing::debug!("background filler is behind, a nudge was dropped");
        }
    }
}

struct Task {
    wanted: Wanted,
    order: Order,
    fill: Arc<Fill>,
}

enum Plan {
    Start(Order),
    Wait,
    Postpone(Millis),
    GiveUp,
}

/// Fills wanted blobs for as long as the process runs.
pub(crate) struct Filler {
    engine: Arc<Engine>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    due: Due,
    tasks: HashMap<Digest, Task>,
    done: JoinSet<(Digest, Outcome)>,
    failures: HashMap<Digest, u32>,
    /// Hosts that answered 429, and until when they are left alone.
    pauses: HashMap<Arc<str>, Millis>,
    /// Whether the last look at the database failed.
    blind: bool,
}

impl Filler {
    pub(crate) fn new(engine: Arc<Engine>, snapshot: Arc<ArcSwap<Snapshot>>) -> Self {
        Self {
            engine,
            snapshot,
            due: Due::default(),
            tasks: HashMap::new(),
            done: JoinSet::new(),
            failures: HashMap::new(),
            pauses: HashMap::new(),
            blind: false,
        }
    }

    pub(crate) async fn run(mut self, mut nudges: Nudges) {
        loop {
            let started = self.start_due().await;
            if let Err(error) = &started
                && !self.blind
            {
                // An outage of the database is one event, however many looks it takes.
                tracing::warn!(
                    error = %Chain(error),
                    "wanted blobs cannot be looked up"
                );
            }
            self.blind = started.is_err();
            let tick = self.engine.clock.sleep(TICK);
            tokio::select! {
                nudge = nudges.0.recv() => match nudge {
                    Some(nudge) => self.want_all(nudge, &mut nudges).await,
                    None => return,
                },
                Some(ended) = self.done.join_next() => {
                    if let Ok((digest, outcome)) = ended {
                        self.settle(digest, outcome).await;
                    }
                }
                () = tick => {}
            }
        }
    }

    /// Takes everything that waits, each reason once: parallel ranges of one layer leave many.
    async fn want_all(&mut self, first: Nudge, nudges: &mut Nudges) {
        let mut waiting = HashSet::from([first]);
        while let Ok(nudge) = nudges.0.try_recv() {
            waiting.insert(nudge);
        }
        for nudge in waiting {
            self.want(nudge).await;
        }
    }

    /// Marks what is missing; `start_due` finds it in the next round.
    async fn want(&mut self, nudge: Nudge) {
        let (metadata, now) = (&self.engine.metadata, self.engine.now());
        let wanted = match &nudge {
            Nudge::Image { manifest } => self.want_image(*manifest, now).await,
            Nudge::Layer { repository, digest } => metadata.want_by_layer(*repository, digest, now).await,
            Nudge::ImageUnlessChild { repository, manifest } => {
                match metadata.is_child_of_held_index(*repository, *manifest).await {
                    Ok(true) => metadata.record_pull(*manifest).await.map(|()| Vec::new()),
                    Ok(false) => self.want_image(*manifest, now).await,
                    Err(error) => Err(error),
                }
            }
        };
        match wanted {
            Ok(wanted) => self.due.add(&self.engine, wanted),
            Err(error) => tracing::warn!(
                error = %Chain(&error),
                ?nudge,
                "blobs not marked as wanted"
            ),
        }
    }

    async fn want_image(&self, manifest: ManifestId, now: Millis) -> Result<Vec<Wanted>, MetadataError> {
        let metadata = &self.engine.metadata;
        metadata.record_pull(manifest).await?;
        metadata.want_manifest(manifest, now).await
    }

    async fn start_due(&mut self) -> Result<(), MetadataError> {
        if self.unattended(None) >= IN_ALL {
            return Ok(());
        }
        let now = self.engine.now();
        for wanted in self.due.look(&self.engine, now).await? {
            if self.unattended(None) >= IN_ALL {
                break;
            }
            match self.plan(&wanted, now) {
                Plan::Start(order) => self.start(wanted, order),
                Plan::Wait => {}
                Plan::Postpone(until) => self.postpone(&wanted.digest, until).await?,
                Plan::GiveUp => self.give_up(&wanted.digest, wanted.wanted_in).await?,
            }
        }
        Ok(())
    }

    async fn postpone(&mut self, digest: &Digest, until: Millis) -> Result<(), MetadataError> {
        self.due.postpone(digest, until);
        self.engine.metadata.postpone(digest, until).await
    }

    async fn give_up(&mut self, digest: &Digest, wanted_in: ManifestId) -> Result<(), MetadataError> {
        self.due.forget(digest);
        self.engine.metadata.give_up(digest, wanted_in).await
    }

    /// What to do about a wanted blob that is due.
    fn plan(&self, wanted: &Wanted, now: Millis) -> Plan {
        let snapshot = self.snapshot.load();
        let Some(served) = snapshot.by_id(wanted.organization) else {
            return Plan::Postpone(now.saturating_add(UNSERVED));
        };
        if !served.spec.background_fill {
            return Plan::GiveUp;
        }
        let Ok(repository) = wanted.repository_name.parse::<RepositoryName>() else {
            return Plan::GiveUp;
        };
        let host = &served.address;
        if let Some(until) = self.pauses.get(host).filter(|until| now < **until) {
            // Out of the way of other hosts' blobs, which share the page.
            return Plan::Postpone(*until);
        }
        if self.tasks.contains_key(&wanted.digest) || self.unattended(Some(host)) >= PER_HOST {
            return Plan::Wait;
        }
        Plan::Start(Order {
            served: Arc::clone(served),
            repository,
            digest: wanted.digest.clone(),
            size: wanted.size,
        })
    }

    /// Fills that no client has joined; one that a client reads does not count (B6).
    fn unattended(&self, host: Option<&Arc<str>>) -> usize {
        let counts = |task: &&Task| {
            !task.fill.is_attended() && host.is_none_or(|host| *host == task.order.served.address)
        };
        self.tasks.values().filter(counts).count()
    }

    fn start(&mut self, wanted: Wanted, order: Order) {
        let digest = order.digest.clone();
        let fill = self
            .engine
            .running
            .join(&self.engine, order.clone(), Attendance::Background);
        self.tasks.insert(
            digest.clone(),
            Task {
                wanted,
                order,
                fill: Arc::clone(&fill),
            },
        );
        self.done.spawn(async move {
            let outcome = fill.outcome().await;
            (digest, outcome)
        });
    }

    async fn settle(&mut self, digest: Digest, outcome: Outcome) {
        let Some(task) = self.tasks.remove(&digest) else {
            return;
        };
        let (engine, now) = (Arc::clone(&self.engine), self.engine.now());
        if let Outcome::Failed(error) = &outcome
            && task.order.size == task.wanted.size
            && let Ok(Some(order)) = engine.resized(&task.order, error).await
        {
            return self.start(task.wanted, order);
        }
        let settled = match outcome {
            Outcome::Found | Outcome::Done => {
                self.failures.remove(&digest);
                self.due.forget(&digest);
                Ok(())
            }
            // Until the other replica has stored it, or may be taken over from.
            Outcome::Elsewhere => {
                let until = now.saturating_add(millis(LEASE));
                self.postpone(&digest, until).await
            }
            // The failure of a fill that was joined, and that asked for another repository: still due.
            Outcome::Failed(_) if !task.fill.is_of(&task.order) => Ok(()),
            Outcome::Failed(
                PullError::Upstream {
                    source: UpstreamError::NotFound { .. },
                    ..
                }
                | PullError::Unknown(_),
            ) => {
                self.failures.remove(&digest);
                self.give_up(&digest, task.wanted.wanted_in).await
            }
            Outcome::Failed(PullError::Upstream {
                source: UpstreamError::RateLimited { retry_after, .. },
                ..
            }) => {
                let until = now.saturating_add(millis(retry_after.unwrap_or(PAUSE)));
                self.pauses.insert(Arc::clone(&task.order.served.address), until);
                self.postpone(&digest, until).await
            }
            Outcome::Failed(PullError::Mismatch { .. } | PullError::Length { .. }) => {
                self.postpone(&digest, now.saturating_add(millis(PAUSE))).await
            }
            Outcome::Failed(_) | Outcome::Unstored | Outcome::StorageFault => {
                let failures = self.failures.entry(digest.clone()).or_default();
                let wait = (FIRST_RETRY << (*failures).min(10)).min(LONGEST_RETRY);
                *failures += 1;
                self.postpone(&digest, now.saturating_add(wait)).await
            }
        };
        if let Err(error) = settled {
            tracing::warn!(%digest, error = %Chain(&error), "wanted blob not settled");
        }
    }
}
