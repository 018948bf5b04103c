//! A prune without new content (Q9): planned on a snapshot, carried out in steps, between which others write.

use std::fmt;
use std::sync::Arc;
use std::vec;

use crate::engine::Transaction;
use crate::queries::room::{self, Evicted, Planned, Room};
use crate::queries::{candidates, usage};
use crate::{Demand, ManifestId, MetadataError, Opening, OrganizationId, Planner, PruneError, Pruning};

/// One prune.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) organization: OrganizationId,
    pub(crate) planner: Arc<dyn Planner>,
    pub(crate) now: i64,
}

/// A prune that is planned, and perhaps carried out in part ([`Metadata::prune`](crate::Metadata::prune)).
pub struct PrunePlan {
    request: Request,
    rest: vec::IntoIter<Evicted>,
    rows_read: u64,
}

impl PrunePlan {
    /// What goes next, if anything is left.
    pub(crate) fn step(&mut self) -> Option<Step> {
        let evicted: Vec<Evicted> = self.rest.by_ref().take(room::STEP).collect();
        (!evicted.is_empty()).then(|| Step {
            request: self.request.clone(),
            evicted,
            rows_read: self.rows_read,
        })
    }

    pub(crate) fn give_up(&mut self) {
        self.rest = Vec::new().into_iter();
    }
}

impl fmt::Debug for PrunePlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PrunePlan")
            .field("organization", &self.request.organization)
            .field("left", &self.rest.len())
            .finish_non_exhaustive()
    }
}

/// A part of a plan, small enough for one transaction.
pub(crate) struct Step {
    request: Request,
    evicted: Vec<Evicted>,
    rows_read: u64,
}

impl From<MetadataError> for PruneError {
    fn from(source: MetadataError) -> Self {
        Self::Metadata(source)
    }
}

/// Decides what goes. Only reads.
pub(crate) async fn plan(tx: &mut Transaction, request: &Request) -> Result<PrunePlan, PruneError> {
    let usage_bytes = usage::held(tx, request.organization).await?;
    let (evicted, rows_read) = ask(tx, request, usage_bytes).await?;
    Ok(PrunePlan {
        request: request.clone(),
        rest: evicted.into_iter(),
        rows_read,
    })
}

/// What a prune would come to if nobody else wrote meanwhile. Only reads.
pub(crate) async fn rehearse(tx: &mut Transaction, request: &Request) -> Result<Pruning, PruneError> {
    let usage_bytes = usage::held(tx, request.organization).await?;
    let (evicted, rows_read) = ask(tx, request, usage_bytes).await?;
    let mut pruned = Vec::with_capacity(evicted.len());
    for evicted in evicted.chunks(room::STEP) {
        pruned.extend(room::rehearse(tx, evicted).await?);
    }
    let freed_bytes: u64 = evicted.iter().map(|one| one.freed_bytes).sum();
    Ok(Pruning {
        pruned,
        usage_bytes: usage_bytes.saturating_sub(freed_bytes),
        rows_read,
    })
}

async fn ask(
    tx: &mut Transaction,
    request: &Request,
    usage_bytes: u64,
) -> Result<(Vec<Evicted>, u64), PruneError> {
    let room = Room {
        organization: request.organization,
        pulled: None,
        demand: demand(usage_bytes),
        now: request.now,
    };
    match room::plan(tx, &room, request.planner.as_ref()).await? {
        Planned::Evict { evicted, rows_read } => Ok((evicted, rows_read)),
        Planned::Refused(refusal) => Err(PruneError::Quota(refusal)),
        Planned::Deferred => Err(PruneError::NeedsPlan),
    }
}

/// Lets a step's candidates go, but for those that were used, tagged or untagged since the plan was made. None: there
/// is room already.
pub(crate) async fn carry_out(tx: &mut Transaction, step: &Step) -> Result<Option<Pruning>, MetadataError> {
    let Request {
        organization,
        planner,
        now,
    } = &step.request;
    let usage_bytes = usage::lock(tx, *organization).await?;
    if fits(planner.as_ref(), usage_bytes) {
        return Ok(None);
    }
    let manifests: Vec<ManifestId> = step.evicted.iter().map(|one| one.candidate.manifest).collect();
    let latest = candidates::latest(tx, &manifests).await?;
    let mut evicted = step.evicted.clone();
    evicted.retain(|one| latest.get(&one.candidate.manifest) == Some(&one.latest));
    evicted.truncate(wanted(&evicted, planner.as_ref(), usage_bytes));
    Ok(Some(Pruning {
        pruned: room::evict(tx, *organization, &evicted, *now).await?,
        usage_bytes: usage::lock(tx, *organization).await?,
        rows_read: step.rows_read,
    }))
}

/// How many of the candidates have to go: others may have made room since the plan was made.
fn wanted(evicted: &[Evicted], planner: &dyn Planner, mut usage_bytes: u64) -> usize {
    let mut evicted = evicted.iter().enumerate();
    let enough = evicted.find(|(_, one)| {
        let enough = fits(planner, usage_bytes);
        usage_bytes = usage_bytes.saturating_sub(one.freed_bytes);
        enough
    });
    enough.map_or(usize::MAX, |(number, _)| number)
}

fn fits(planner: &dyn Planner, usage_bytes: u64) -> bool {
    matches!(planner.open(&demand(usage_bytes)), Opening::Admit)
}

fn demand(usage_bytes: u64) -> Demand {
    Demand {
        usage_bytes,
        needed_bytes: 0,
        alone_bytes: 0,
    }
}
