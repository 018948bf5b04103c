//! A prune without new content (Q9).

use std::convert::Infallible;
use std::sync::Arc;

use crate::engine::Transaction;
use crate::{MetadataError, OrganizationId, Planner, PruneError, Pruning};

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

pub(crate) async fn prune(_: &mut Transaction, request: &Request) -> Result<Pruning, PruneError> {
    let _ = (request.organization, &request.planner, request.now);
    Ok(Pruning::default())
}

/// Does it, and lets the transaction fail.
pub(crate) async fn rehearse(tx: &mut Transaction, request: &Request) -> Result<Infallible, Rehearsed> {
    match prune(tx, request).await {
        Ok(pruning) => Err(Rehearsed::Done(pruning)),
        Err(error) => Err(Rehearsed::Failed(error)),
    }
}
