//! The collector: manifests that were released a grace ago go, and with them the blobs that nothing
//! names any more (G3). No organization is locked, because nothing that is counted changes.

use crate::engine::Transaction;
use crate::sql::{Rows, Statement, args};
use crate::{Collected, ManifestId, MetadataError};

/// How many manifests one step takes.
const STEP: u32 = 256;

const DUE: Statement = Statement::new(
    "find manifests to collect",
    "SELECT id, repository_id FROM manifest
     WHERE released_at IS NOT NULL AND released_at <= $1 ORDER BY released_at LIMIT $2
     /* FOR UPDATE SKIP LOCKED */",
);

const NAMED: Statement = Statement::new(
    "find blobs of manifests",
    "SELECT DISTINCT digest FROM manifest_blob
     WHERE manifest_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))",
);

const DELETE_MANIFESTS: Statement = Statement::new(
    "collect manifests",
    "DELETE FROM manifest WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))",
);

/// Waits for the admissions that have just named one of them.
const LOCK_BLOBS: Statement = Statement::new(
    "lock blobs",
    "SELECT digest FROM blob WHERE digest IN (SELECT value ->> 0 FROM json_each($1)) ORDER BY digest
     /* FOR UPDATE */",
);

/// A statement of its own, after the lock: it sees what the admissions that were waited for have named.
const DELETE_BLOBS: Statement = Statement::new(
    "collect blobs",
    "DELETE FROM blob
     WHERE digest IN (SELECT value ->> 0 FROM json_each($1))
       AND NOT EXISTS (SELECT 1 FROM manifest_blob mb WHERE mb.digest = blob.digest)
     RETURNING storage_key, size",
);

const DISCARD: Statement = Statement::new(
    "list garbage",
    "INSERT INTO garbage (storage_key, size, not_before)
     SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), $2 FROM json_each($1)",
);

const DELETE_REPOSITORIES: Statement = Statement::new(
    "collect empty repositories",
    "DELETE FROM repository
     WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
       AND NOT EXISTS (SELECT 1 FROM manifest m WHERE m.repository_id = repository.id)",
);

/// What must stay cheap however much is stored. That a repository is empty takes one probe, which looks
/// in a plan like the search for all that is in it.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[DUE, NAMED, DELETE_MANIFESTS, LOCK_BLOBS, DELETE_BLOBS];

/// One step of the collector.
pub(crate) struct Collection {
    pub(crate) released_by: i64,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn collect(
    tx: &mut Transaction,
    collection: &Collection,
) -> Result<Collected, MetadataError> {
    let (mut manifests, mut repositories) = (Vec::new(), Vec::new());
    for row in tx
        .fetch_all(DUE, args![collection.released_by, i64::from(STEP)])
        .await?
    {
        manifests.push(row.manifest(0)?);
        repositories.push((row.int(1)?,));
    }
    if manifests.is_empty() {
        return Ok(Collected::default());
    }
    let mut collected = drop_manifests(tx, &manifests, collection.garbage_not_before).await?;
    repositories.sort_unstable();
    repositories.dedup();
    collected.repositories = tx
        .execute(DELETE_REPOSITORIES, args![&Rows::new(&repositories)?])
        .await?;
    collected.more = manifests.len() == STEP as usize;
    Ok(collected)
}

async fn drop_manifests(
    tx: &mut Transaction,
    manifests: &[ManifestId],
    garbage_not_before: i64,
) -> Result<Collected, MetadataError> {
    let given = Rows::manifests(manifests)?;
    let mut digests = Vec::new();
    for row in tx.fetch_all(NAMED, args![&given]).await? {
        digests.push((row.text(0)?,));
    }
    let mut collected = Collected {
        manifests: tx.execute(DELETE_MANIFESTS, args![&given]).await?,
        ..Collected::default()
    };
    if digests.is_empty() {
        return Ok(collected);
    }
    let digests = Rows::new(&digests)?;
    tx.fetch_all(LOCK_BLOBS, args![&digests]).await?;
    let mut garbage = Vec::new();
    for row in tx.fetch_all(DELETE_BLOBS, args![&digests]).await? {
        collected.blobs += 1;
        if let (Some(key), Some(size)) = (row.optional_text(0)?, row.optional_count(1)?) {
            collected.bytes += size;
            garbage.push((key, size));
        }
    }
    if !garbage.is_empty() {
        tx.execute(DISCARD, args![&Rows::new(&garbage)?, garbage_not_before])
            .await?;
    }
    Ok(collected)
}
