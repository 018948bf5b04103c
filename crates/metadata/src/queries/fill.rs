//! Fills, from the intent to the stored blob or the garbage list (ENGINE §1.3).
//!
//! Every key that was ever recorded is in exactly one of `fill`, `blob` and `garbage` (I3).

use quayside_oci::Digest;

use crate::engine::Transaction;
use crate::fill::Leased;
use crate::sql::{Statement, args, signed};
use crate::{FillCommit, FillIntent, MetadataError, OrganizationId};

/// Nothing is recorded if somebody has the lease that the row would have.
const RECORD: Statement = Statement::new(
    "record fill",
    "INSERT INTO fill (token, digest, size, scope, leased, address, storage_key, expires_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (digest, scope) WHERE leased DO NOTHING",
);

const TAKE: Statement = Statement::new(
    "take fill",
    "DELETE FROM fill WHERE token = $1 AND storage_key = $2",
);

/// What is free once stays free, also when the bytes are lost and fetched again with credentials.
const STORE: Statement = Statement::new(
    "store blob",
    "UPDATE blob SET storage_key = $2, size = $3, wanted_at = NULL, wanted_by = NULL, wanted_in = NULL,
       retry_at = 0,
                     private = $4 AND (private OR size IS NULL)
     WHERE digest = $1 AND storage_key IS NULL",
);

const IS_NAMED: Statement = Statement::new("find blob", "SELECT 1 FROM blob WHERE digest = $1");

pub(super) const DISCARD: Statement = Statement::new(
    "list garbage",
    "INSERT INTO garbage (storage_key, size, not_before) VALUES ($1, $2, $3)",
);

/// Of a fill that was given up: its bytes may have come after they were deleted. Not if it was this very
/// fill that stored the blob, and only the answer was lost.
const DISCARD_AGAIN: Statement = Statement::new(
    "list garbage again",
    "INSERT INTO garbage (storage_key, size, not_before)
     SELECT $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM blob WHERE storage_key = $1)
     ON CONFLICT DO NOTHING",
);

const PROVE: Statement = Statement::new(
    "prove blob",
    "INSERT INTO proof (digest, organization_id)
     SELECT b.digest, o.id FROM blob b CROSS JOIN organization o WHERE b.digest = $1 AND o.id = $2
     ON CONFLICT DO NOTHING",
);

const FREE: Statement = Statement::new(
    "free blob",
    "UPDATE blob SET private = FALSE WHERE digest = $1 AND private",
);

/// By organization, because that is the index: there are few organizations, and this is rare enough
/// not to deserve one of its own.
const MISCOUNTED: Statement = Statement::new(
    "find miscounted blob",
    "SELECT o.id, c.size FROM organization o
     JOIN content c ON c.organization_id = o.id AND c.digest = $1
     WHERE c.size <> $2 ORDER BY o.id /* FOR UPDATE */",
);

const CORRECT_CONTENT: Statement = Statement::new(
    "correct size of content",
    "UPDATE content SET size = $3 WHERE organization_id = $1 AND digest = $2",
);

const CORRECT_USAGE: Statement = Statement::new(
    "correct usage",
    "UPDATE organization SET usage_bytes = usage_bytes + $2 WHERE id = $1",
);

const ABANDON: Statement = Statement::new(
    "abandon fill",
    "DELETE FROM fill WHERE token = $1 RETURNING storage_key, size",
);

const ABANDON_ALL: Statement = Statement::new(
    "abandon all fills",
    "DELETE FROM fill RETURNING storage_key, size",
);

const FORGET: Statement = Statement::new(
    "forget bytes of blob",
    "UPDATE blob SET storage_key = NULL WHERE digest = $1 AND storage_key = $2",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[
    RECORD,
    TAKE,
    STORE,
    IS_NAMED,
    PROVE,
    FREE,
    CORRECT_CONTENT,
    CORRECT_USAGE,
    ABANDON,
    FORGET,
];

/// Records an intent. False if it was to have the lease, and somebody has it.
pub(crate) async fn record(
    tx: &mut Transaction,
    intent: &FillIntent,
    leased: Leased,
) -> Result<bool, MetadataError> {
    let FillIntent {
        token,
        digest,
        size,
        scope,
        storage_key,
        address,
        expires_at,
    } = intent;
    let values = args![
        token,
        digest,
        signed(*size),
        scope_number(*scope),
        leased == Leased::Yes,
        address,
        storage_key,
        *expires_at
    ];
    Ok(tx.execute(RECORD, values).await? == 1)
}

/// How the scope of a fill is kept.
pub(crate) fn scope_number(scope: Option<OrganizationId>) -> i64 {
    scope.map_or(0, |organization| organization.0)
}

/// A fill whose bytes are verified and in storage.
pub(crate) struct Commit {
    pub(crate) token: String,
    pub(crate) digest: Digest,
    pub(crate) storage_key: String,
    pub(crate) size: u64,
    pub(crate) scope: Option<OrganizationId>,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn commit(tx: &mut Transaction, fill: &Commit) -> Result<FillCommit, MetadataError> {
    let Commit {
        token,
        digest,
        storage_key,
        size,
        scope,
        garbage_not_before,
    } = fill;
    // Organizations are locked first, as everywhere.
    tx.fetch_all(MISCOUNTED, args![digest, signed(*size)]).await?;
    let garbage = args![storage_key, signed(*size), *garbage_not_before];
    if tx.execute(TAKE, args![token, storage_key]).await? == 0 {
        tx.execute(DISCARD_AGAIN, garbage).await?;
        return Ok(FillCommit::Lost);
    }
    let values = args![digest, storage_key, signed(*size), scope.is_some()];
    if tx.execute(STORE, values).await? == 0 {
        tx.execute(DISCARD, garbage).await?;
        if tx.fetch_optional(IS_NAMED, args![digest]).await?.is_none() {
            return Ok(FillCommit::Unreferenced);
        }
        prove(tx, digest, *scope).await?;
        return Ok(FillCommit::Superseded);
    }
    // Once more: whoever counted a declared size meanwhile has kept the blob's row until it was done.
    for row in tx.fetch_all(MISCOUNTED, args![digest, signed(*size)]).await? {
        let (organization, counted) = (row.organization(0)?, row.int(1)?);
        tx.execute(CORRECT_CONTENT, args![organization, digest, signed(*size)])
            .await?;
        tx.execute(CORRECT_USAGE, args![organization, signed(*size) - counted])
            .await?;
    }
    if scope.is_some() {
        prove(tx, digest, *scope).await?;
    }
    Ok(FillCommit::Stored)
}

/// Records who has delivered the bytes: an organization's upstream, or anybody's.
pub(crate) async fn prove(
    tx: &mut Transaction,
    digest: &Digest,
    scope: Option<OrganizationId>,
) -> Result<(), MetadataError> {
    match scope {
        Some(organization) => tx.execute(PROVE, args![digest, organization]).await?,
        None => tx.execute(FREE, args![digest]).await?,
    };
    Ok(())
}

/// A fill to give up.
pub(crate) struct Abandoned {
    pub(crate) token: String,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn abandon(tx: &mut Transaction, fill: &Abandoned) -> Result<(), MetadataError> {
    if let Some(row) = tx.fetch_optional(ABANDON, args![&fill.token]).await? {
        let (key, size) = (row.text(0)?, row.int(1)?);
        tx.execute(DISCARD, args![&key, size, fill.garbage_not_before])
            .await?;
    }
    Ok(())
}

pub(crate) async fn abandon_all(
    tx: &mut Transaction,
    garbage_not_before: &i64,
) -> Result<u64, MetadataError> {
    let rows = tx.fetch_all(ABANDON_ALL, args![]).await?;
    for row in &rows {
        let (key, size) = (row.text(0)?, row.int(1)?);
        tx.execute(DISCARD, args![&key, size, *garbage_not_before])
            .await?;
    }
    Ok(rows.len() as u64)
}

/// Bytes that are not where they should be.
pub(crate) struct Forgotten {
    pub(crate) digest: Digest,
    pub(crate) storage_key: String,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn forget(tx: &mut Transaction, bytes: &Forgotten) -> Result<bool, MetadataError> {
    let Forgotten {
        digest,
        storage_key,
        garbage_not_before,
    } = bytes;
    if tx.execute(FORGET, args![digest, storage_key]).await? == 0 {
        return Ok(false);
    }
    tx.execute(DISCARD, args![storage_key, 0, *garbage_not_before])
        .await?;
    Ok(true)
}
