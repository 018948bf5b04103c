//! What an organization weighs and how much it holds.

use crate::engine::{Engine, Transaction};
use crate::sql::{Statement, args};
use crate::{MetadataError, OrganizationId, Usage};

const LOCK: Statement = Statement::new(
    "lock organization",
    "SELECT usage_bytes FROM organization WHERE id = $1 /* FOR UPDATE */",
);

const HELD: Statement = Statement::new(
    "read what an organization holds",
    "SELECT usage_bytes FROM organization WHERE id = $1",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[LOCK, HELD];

const USAGE: Statement = Statement::new(
    "read usage",
    "SELECT o.usage_bytes, COUNT(t.name), COUNT(DISTINCT t.repository_id)
     FROM organization o
     LEFT JOIN tag t ON t.organization_id = o.id AND t.ends_at > $2 AND t.current AND t.name <> ''
     WHERE o.id = $1 GROUP BY o.id, o.usage_bytes",
);

const USAGES: Statement = Statement::new(
    "read usages",
    "SELECT id, usage_bytes FROM organization WHERE removed_at IS NULL ORDER BY id",
);

/// Locks an organization until the transaction ends, and says what it holds, in bytes.
pub(crate) async fn lock(tx: &mut Transaction, organization: OrganizationId) -> Result<u64, MetadataError> {
    bytes(tx, LOCK, organization).await
}

/// What an organization holds, in bytes, for a transaction that only reads.
pub(crate) async fn held(tx: &mut Transaction, organization: OrganizationId) -> Result<u64, MetadataError> {
    bytes(tx, HELD, organization).await
}

async fn bytes(
    tx: &mut Transaction,
    statement: Statement,
    organization: OrganizationId,
) -> Result<u64, MetadataError> {
    let row = tx.fetch_optional(statement, args![organization]).await?;
    let action = statement.action;
    row.ok_or(MetadataError::OrganizationGone { action })?.count(0)
}

pub(crate) async fn usages(engine: &Engine) -> Result<Vec<(OrganizationId, u64)>, MetadataError> {
    let rows = engine.fetch_all(USAGES, args![]).await?;
    rows.iter()
        .map(|row| Ok((row.organization(0)?, row.count(1)?)))
        .collect()
}

pub(crate) async fn usage(
    engine: &Engine,
    organization: OrganizationId,
    now: i64,
) -> Result<Usage, MetadataError> {
    let row = engine
        .fetch_optional(USAGE, args![organization, now])
        .await?
        .ok_or(MetadataError::OrganizationGone { action: USAGE.action })?;
    Ok(Usage {
        bytes: row.count(0)?,
        tags: row.count(1)?,
        repositories: row.count(2)?,
    })
}
