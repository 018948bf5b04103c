//! A prune without new content (Q9).

use std::convert::Infallible;
use std::sync::Arc;

use crate::engine::Transaction;
use crate::queries::room::{self, Made, Room};
use crate::queries::usage;
use crate::{Demand, MetadataError, OrganizationId, Planner, PruneError, Pruning};

/// One prune.
pub(crate) struct Request {
    pub(crate) organization: OrganizationId,
    pub(crate) planner: Arc<dyn Planner>,
    pub(crate) now: i64,
}

/// What a prune came to that is undone.
pub(crate) enum Rehearsed {
    Done(Pruning),
    Failed(PruneError),
}

impl From<MetadataError> for PruneError {
    fn from(source: MetadataError) -> Self {
        Self::Metadata(source)
    }
}

impl From<MetadataError> for Rehearsed {
    fn from(source: MetadataError) -> Self {
        Self::Failed(source.into())
    }
}

pub(crate) async fn prune(tx: &mut Transaction, request: &Request) -> Result<Pruning, PruneError> {
    let room = Room {
        organization: request.organization,
        pulled: None,
        demand: Demand {
            usage_bytes: usage::lock(tx, request.organization).await?,
            needed_bytes: 0,
            alone_bytes: 0,
        },
        now: request.now,
    };
    match room::make(tx, &room, request.planner.as_ref()).await? {
        Made::Pruned(pruning) => Ok(pruning),
        Made::Refused(refusal) => Err(PruneError::Quota(refusal)),
        Made::Deferred => Err(PruneError::NeedsPlan),
    }
}

/// Does it, and lets the transaction fail.
pub(crate) async fn rehearse(tx: &mut Transaction, request: &Request) -> Result<Infallible, Rehearsed> {
    match prune(tx, request).await {
        Ok(pruning) => Err(Rehearsed::Done(pruning)),
        Err(error) => Err(Rehearsed::Failed(error)),
    }
}
