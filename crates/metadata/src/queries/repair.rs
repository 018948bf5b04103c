//! Putting right what is kept incrementally and has come to differ from the rows it is kept for (O5).

use quayside_oci::Digest;

use crate::engine::{Transaction, Turn};
use crate::queries::recount;
use crate::sql::{Statement, args, signed};
use crate::{Discrepancy, MetadataError, OrganizationId};

/// What is released now gets its grace like anything else.
const SET_RELEASED: Statement = Statement::new(
    "correct released manifest",
    "UPDATE manifest SET released_at = $2 WHERE id = $1",
);

const SET_HELD: Statement = Statement::new(
    "correct held manifest",
    "UPDATE manifest SET released_at = NULL WHERE id = $1",
);

const SET_CONTENT: Statement = Statement::new(
    "correct content",
    "INSERT INTO content (organization_id, digest, size, refs) VALUES ($1, $2, $3, $4)
     ON CONFLICT (organization_id, digest) DO UPDATE SET size = excluded.size, refs = excluded.refs",
);

const DROP_CONTENT: Statement = Statement::new(
    "drop content",
    "DELETE FROM content WHERE organization_id = $1 AND digest = $2",
);

const SET_USAGE: Statement = Statement::new(
    "correct usage",
    "UPDATE organization SET usage_bytes = (
       SELECT CAST(COALESCE(SUM(c.size), 0) AS BIGINT) FROM content c WHERE c.organization_id = organization.id)",
);

const DROP_UNNAMED: Statement = Statement::new(
    "drop unnamed blobs",
    "DELETE FROM blob WHERE NOT EXISTS (SELECT 1 FROM manifest_blob mb WHERE mb.digest = blob.digest)
     RETURNING storage_key, size",
);

/// A blob's key is not to be deleted, and a running fill becomes garbage by itself.
const UNLIST_GARBAGE: Statement = Statement::new(
    "take keys off the garbage list",
    "DELETE FROM garbage WHERE storage_key IN (
       SELECT storage_key FROM blob WHERE storage_key IS NOT NULL UNION ALL SELECT storage_key FROM fill)",
);

const UNLIST_FILLS: Statement = Statement::new(
    "take keys off the fills",
    "DELETE FROM fill WHERE storage_key IN (SELECT storage_key FROM blob WHERE storage_key IS NOT NULL)",
);

const DISCARD: Statement = Statement::new(
    "list garbage",
    "INSERT INTO garbage (storage_key, size, not_before) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
);

const LOCK_ORGANIZATIONS: Statement = Statement::new(
    "lock organizations",
    "SELECT id FROM organization ORDER BY id /* FOR UPDATE */",
);

/// When it is repaired.
pub(crate) struct Repair {
    pub(crate) now: i64,
    pub(crate) garbage_not_before: i64,
}

/// Repairs everything and says what was found.
pub(crate) async fn repair(tx: &mut Transaction, repair: &Repair) -> Result<Vec<Discrepancy>, MetadataError> {
    tx.take_time().await?;
    // Nothing is counted, and no pin is put, before all is right.
    tx.in_turn(Turn::Renew).await?;
    tx.fetch_all(LOCK_ORGANIZATIONS, args![]).await?;
    let found = recount::recount(tx).await?;
    if found.is_empty() {
        return Ok(found);
    }
    // In this order: what is held decides what counts, what counts decides the usage.
    for discrepancy in recount::find(tx, recount::HELD, recount::held_of).await? {
        let Discrepancy::Held { manifest, held } = discrepancy else {
            continue;
        };
        if held {
            tx.execute(SET_HELD, args![manifest]).await?;
        } else {
            tx.execute(SET_RELEASED, args![manifest, repair.now]).await?;
        }
    }
    for discrepancy in recount::find(tx, recount::CONTENT, recount::content_of).await? {
        if let Discrepancy::Content {
            organization,
            digest,
            actual,
            ..
        } = discrepancy
        {
            set_content(tx, organization, &digest, actual).await?;
        }
    }
    tx.execute(SET_USAGE, args![]).await?;
    for row in tx.fetch_all(DROP_UNNAMED, args![]).await? {
        if let (Some(key), Some(size)) = (row.optional_text(0)?, row.optional_count(1)?) {
            tx.execute(DISCARD, args![&key, signed(size), repair.garbage_not_before])
                .await?;
        }
    }
    tx.execute(UNLIST_GARBAGE, args![]).await?;
    tx.execute(UNLIST_FILLS, args![]).await?;
    Ok(found)
}

async fn set_content(
    tx: &mut Transaction,
    organization: OrganizationId,
    digest: &Digest,
    actual: Option<(u64, u64)>,
) -> Result<(), MetadataError> {
    match actual {
        Some((size, refs)) => {
            let values = args![organization, digest, signed(size), signed(refs)];
            tx.execute(SET_CONTENT, values).await?;
        }
        None => {
            tx.execute(DROP_CONTENT, args![organization, digest]).await?;
        }
    }
    Ok(())
}
