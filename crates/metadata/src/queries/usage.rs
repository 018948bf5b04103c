//! What an organization weighs and how much it holds.

use crate::engine::Engine;
use crate::sql::{Statement, args};
use crate::{MetadataError, OrganizationId, Usage};

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
