//! Organizations that hold more than their quota, because it was lowered, the flag was switched on, or a size turned
//! out to be larger than it was declared (Q9, B10).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quayside_metadata::{PruneError, PrunePlan};

use super::sweeper::failed;
use super::worker::{Progress, Worker};
use super::{GcError, Report};
use crate::human::Size;
use crate::organizations::{Served, Snapshot};
use crate::pull::Engine;
use crate::pull::pruned::Cause;
use crate::quota::{Planning, QuotaPlanner};

/// One that holds too much.
pub(super) struct Overfull {
    pub(super) served: Arc<Served>,
    quota_bytes: u64,
    excess_bytes: u64,
}

impl Overfull {
    pub(super) fn planner(&self) -> Arc<QuotaPlanner> {
        Arc::new(QuotaPlanner::new(self.quota_bytes, Planning::WithPlan))
    }
}

/// The organizations that hold more than their quota.
pub(super) async fn over_quota(engine: &Engine, snapshot: &Snapshot) -> Result<Vec<Overfull>, GcError> {
    let mut limited = Vec::new();
    for served in snapshot.by_name.values() {
        if let Some(quota_bytes) = engine.quota(served) {
            limited.push((Arc::clone(served), quota_bytes));
        }
    }
    if limited.is_empty() {
        return Ok(Vec::new());
    }
    let usages = engine.metadata.usages().await.map_err(failed("read usages"))?;
    let usages: HashMap<_, _> = usages.into_iter().collect();
    let overfull = |(served, quota_bytes): (Arc<Served>, u64)| {
        let usage = usages.get(&served.id)?;
        let excess_bytes = usage.checked_sub(quota_bytes).filter(|excess| *excess > 0)?;
        Some(Overfull {
            served,
            quota_bytes,
            excess_bytes,
        })
    };
    Ok(limited.into_iter().filter_map(overfull).collect())
}

/// Prunes one such organization after the other, a step of a plan at a time.
pub(super) struct Pruner<'a> {
    engine: &'a Engine,
    snapshot: &'a ArcSwap<Snapshot>,
    /// Of which quotas it knows; none before the first unit.
    known: Option<Arc<Snapshot>>,
    /// Organizations that are still to be pruned.
    rest: Vec<Overfull>,
    current: Option<Underway>,
}

/// What is being carried out.
struct Underway {
    overfull: Overfull,
    plan: PrunePlan,
    /// How many images of the plan went so far.
    images: u64,
    /// What was left after the last step.
    usage_bytes: u64,
}

impl Underway {
    /// What is to be planned anew: some that were to go were used meanwhile. Only if something went, so that it comes
    /// to an end.
    fn left(self) -> Option<Overfull> {
        let excess_bytes = self.usage_bytes.checked_sub(self.overfull.quota_bytes)?;
        (excess_bytes > 0 && self.images > 0).then_some(Overfull {
            excess_bytes,
            ..self.overfull
        })
    }
}

impl<'a> Pruner<'a> {
    pub(super) fn new(engine: &'a Engine, snapshot: &'a ArcSwap<Snapshot>) -> Self {
        Self {
            engine,
            snapshot,
            known: None,
            rest: Vec::new(),
            current: None,
        }
    }

    async fn prune(&mut self, report: &mut Report) -> Result<Progress, GcError> {
        let engine = self.engine;
        let snapshot = self.snapshot.load_full();
        let is_known = self
            .known
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, &snapshot));
        if !is_known {
            // A quota that is raised again in the middle of a long prune ends it.
            self.current = None;
            self.rest = over_quota(engine, &snapshot).await?;
            self.known = Some(snapshot);
        }
        if self.rest.is_empty() && self.current.is_none() {
            return Ok(Progress::Done);
        }
        // M15: the order goes by the latest uses, some of which are still in memory; and so does what a plan spares.
        let written = engine.renewals.written(&engine.metadata).await;
        written.map_err(GcError::Renewals)?;
        let current = match self.current.take() {
            Some(current) => Some(current),
            None => match self.rest.pop() {
                Some(overfull) => start(engine, overfull).await?,
                None => None,
            },
        };
        if let Some(current) = current {
            match step(engine, current, report).await? {
                Stepped::More(current) => self.current = Some(current),
                Stepped::Over(left) => self.rest.extend(left),
            }
        }
        Ok(Progress::More)
    }
}

/// Plans, if there is a plan.
async fn start(engine: &Engine, overfull: Overfull) -> Result<Option<Underway>, GcError> {
    let planning = engine
        .metadata
        .start_prune(overfull.served.id, overfull.planner(), engine.now());
    match planning.await {
        Ok(plan) => Ok(Some(Underway {
            overfull,
            plan,
            images: 0,
            usage_bytes: 0,
        })),
        Err(PruneError::Metadata(source)) => Err(failed("plan what is to be pruned")(source)),
        // What nobody holds does not count, so only a wrong count can bring this about.
        Err(PruneError::Quota(_) | PruneError::NeedsPlan) => {
            tracing::warn!(
                organization = %overfull.served.spec.name,
                "over its quota by {} with nothing left to prune; recount --repair may help",
                Size(overfull.excess_bytes)
            );
            Ok(None)
        }
    }
}

enum Stepped {
    More(Underway),
    /// Nothing is left of the plan; perhaps it was not enough.
    Over(Option<Overfull>),
}

async fn step(engine: &Engine, mut current: Underway, report: &mut Report) -> Result<Stepped, GcError> {
    let pruning = engine.metadata.prune(&mut current.plan).await;
    let Some(pruning) = pruning.map_err(failed("prune an organization"))? else {
        return Ok(Stepped::Over(current.left()));
    };
    let cause = Cause::Quota {
        quota_bytes: current.overfull.quota_bytes,
        excess_bytes: current.overfull.excess_bytes,
    };
    engine.forget_pruned(&current.overfull.served, &pruning.pruned, &cause);
    let images = pruning.pruned.len() as u64;
    report.pruned_images += images;
    current.images += images;
    current.usage_bytes = pruning.usage_bytes;
    Ok(Stepped::More(current))
}

impl Worker for Pruner<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        self.prune(report).boxed()
    }
}
