//! Locks on manifests that others may change although their organization is locked: the collector drops them, a
//! renewal puts a pin on them. Where nobody else can write they are not asked for.
//!
//! Organizations are locked first, then manifests by number, then blobs by digest.

use crate::engine::Transaction;
use crate::sql::{Rows, Statement, args};
use crate::{ManifestId, MetadataError};

const MANIFESTS: Statement = Statement::new(
    "lock manifests",
    "SELECT id FROM manifest WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     ORDER BY id /* FOR UPDATE */",
);

const RELEASED: Statement = Statement::new(
    "lock released manifests",
    "SELECT id FROM manifest
     WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1)) AND released_at IS NOT NULL
     ORDER BY id /* FOR UPDATE */",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[MANIFESTS, RELEASED];

/// Waits for the pins that are being put on manifests, and lets none be put on them before the end.
pub(crate) async fn manifests(tx: &mut Transaction, manifests: &[ManifestId]) -> Result<(), MetadataError> {
    if !tx.is_alone() {
        tx.fetch_all(MANIFESTS, args![&Rows::manifests(manifests)?])
            .await?;
    }
    Ok(())
}

/// Those of the manifests that the collector has not dropped meanwhile, and now does not drop.
pub(crate) async fn released(
    tx: &mut Transaction,
    manifests: Vec<ManifestId>,
) -> Result<Vec<ManifestId>, MetadataError> {
    if tx.is_alone() || manifests.is_empty() {
        return Ok(manifests);
    }
    let rows = tx
        .fetch_all(RELEASED, args![&Rows::manifests(&manifests)?])
        .await?;
    rows.iter().map(|row| row.manifest(0)).collect()
}
