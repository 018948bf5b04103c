//! Organizations that hold more than their quota, because it was lowered, the flag was switched on, or a size turned
//! out to be larger than it was declared (Q9, B10).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quayside_metadata::{PruneError, Pruning};

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

/// Prunes one such organization after the other.
pub(super) struct Pruner<'a> {
    engine: &'a Engine,
    snapshot: &'a ArcSwap<Snapshot>,
    /// Organizations that are still to be pruned; none before the first unit.
    rest: Option<Vec<Overfull>>,
}

impl<'a> Pruner<'a> {
    pub(super) fn new(engine: &'a Engine, snapshot: &'a ArcSwap<Snapshot>) -> Self {
        Self {
            engine,
            snapshot,
            rest: None,
        }
    }

    async fn prune(&mut self, report: &mut Report) -> Result<Progress, GcError> {
        let engine = self.engine;
        let rest = match &mut self.rest {
            Some(rest) => rest,
            rest @ None => rest.insert(over_quota(engine, &self.snapshot.load_full()).await?),
        };
        let Some(overfull) = rest.pop() else {
            return Ok(Progress::Done);
        };
        // M15: the order goes by the latest uses, some of which are still in memory.
        let written = engine.renewals.written(&engine.metadata).await;
        written.map_err(GcError::Renewals)?;
        let planning = engine
            .metadata
            .prune(overfull.served.id, overfull.planner(), engine.now());
        match planning.await {
            Ok(pruning) => self.pruned(&overfull, &pruning, report),
            Err(PruneError::Metadata(source)) => return Err(failed("prune an organization")(source)),
            // What nobody holds does not count, so only a wrong count can bring this about.
            Err(PruneError::Quota(_) | PruneError::NeedsPlan) => tracing::warn!(
                organization = %overfull.served.spec.name,
                "over its quota by {} with nothing left to prune; recount --repair may help",
                Size(overfull.excess_bytes)
            ),
        }
        Ok(Progress::More)
    }

    fn pruned(&self, overfull: &Overfull, pruning: &Pruning, report: &mut Report) {
        let Overfull {
            served,
            quota_bytes,
            excess_bytes,
        } = overfull;
        let cause = Cause::Quota {
            quota_bytes: *quota_bytes,
            excess_bytes: *excess_bytes,
        };
        self.engine.forget_pruned(served, &pruning.pruned, &cause);
        report.pruned_images += pruning.pruned.len() as u64;
    }
}

impl Worker for Pruner<'_> {
    fn work<'a>(&'a mut self, report: &'a mut Report) -> BoxFuture<'a, Result<Progress, GcError>> {
        self.prune(report).boxed()
    }
}
