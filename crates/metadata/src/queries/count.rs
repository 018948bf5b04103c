//! Counting what becomes held (Q2).
//!
//! What a digest weighs in an organization: the verified size if the bytes were ever verified, else
//! the largest size that a held manifest of that organization declares, its own body included. So a
//! wrong declaration elsewhere changes nothing here, and the weight can be computed anew at any time.

use std::collections::BTreeSet;

use crate::engine::Transaction;
use crate::queries::lock;
use crate::sql::{Rows, Statement, args, signed};
use crate::{ManifestId, MetadataError, OrganizationId};

/// The digests that the given manifests name and are, with their weights and how often they do.
macro_rules! named {
    ($given:literal) => {
        concat!(
            "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each(",
            $given,
            ")),
         mention (digest, size) AS (
           SELECT mb.digest, mb.size FROM manifest_blob mb WHERE mb.manifest_id IN (SELECT id FROM given)
           UNION ALL
           SELECT m.digest, length(m.body) FROM manifest m WHERE m.id IN (SELECT id FROM given)
         ),
         named (digest, size, refs) AS (
           SELECT n.digest, COALESCE(MAX(b.size), MAX(n.size)), COUNT(*)
           FROM mention n LEFT JOIN blob b ON b.digest = n.digest
           GROUP BY n.digest
         )"
        )
    };
}

/// What the manifests `$1` name and nobody has verified: what is declared of it counts, and must not be
/// counted while somebody commits the real size. Whoever does that waits, and then sees what was counted.
const LOCK_DECLARED: Statement = Statement::new(
    "lock declared sizes",
    "SELECT b.digest FROM blob b
     WHERE b.size IS NULL AND b.digest IN (
       SELECT mb.digest FROM manifest_blob mb
       WHERE mb.manifest_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1)))
     ORDER BY b.digest /* FOR SHARE */",
);

const NEEDED: Statement = Statement::new(
    "weigh manifests",
    concat!(
        named!("$2"),
        " SELECT CAST(COALESCE(SUM(
                   CASE WHEN c.size IS NULL THEN n.size
                        WHEN n.size > c.size THEN n.size - c.size
                        ELSE 0 END), 0) AS BIGINT)
          FROM named n LEFT JOIN content c ON c.organization_id = $1 AND c.digest = n.digest"
    ),
);

const ALONE: Statement = Statement::new(
    "weigh manifests alone",
    concat!(
        named!("$1"),
        " SELECT CAST(COALESCE(SUM(n.size), 0) AS BIGINT) FROM named n"
    ),
);

const COUNT: Statement = Statement::new(
    "count content",
    concat!(
        named!("$2"),
        " INSERT INTO content (organization_id, digest, size, refs)
          SELECT $1, n.digest, n.size, n.refs FROM named n WHERE TRUE ORDER BY n.digest
          ON CONFLICT (organization_id, digest) DO UPDATE SET
            refs = content.refs + excluded.refs,
            size = CASE WHEN excluded.size > content.size THEN excluded.size ELSE content.size END"
    ),
);

const HOLD: Statement = Statement::new(
    "mark manifests held",
    "UPDATE manifest SET released_at = NULL
     WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))",
);

/// Children and referrers of the manifests `$1` that are stored and not held yet.
const FOLLOWING: Statement = Statement::new(
    "find what is held with a manifest",
    "SELECT m.id
     FROM manifest_child c
     JOIN manifest m ON m.repository_id = c.repository_id AND m.digest = c.digest
     WHERE c.parent_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
       AND m.released_at IS NOT NULL
     UNION
     SELECT m.id
     FROM manifest s
     JOIN manifest m ON m.repository_id = s.repository_id AND m.subject = s.digest
     WHERE s.id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
       AND m.released_at IS NOT NULL",
);

const ADD_USAGE: Statement = Statement::new(
    "add usage",
    "UPDATE organization SET usage_bytes = usage_bytes + $2 WHERE id = $1",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[LOCK_DECLARED, NEEDED, ALONE, COUNT, HOLD, FOLLOWING, ADD_USAGE];

/// A manifest that is not counted, and what would be held through it, with the bytes that they add.
pub(crate) struct Uncounted {
    manifests: Rows,
    pub(crate) bytes: u64,
}

/// What it would add to count a manifest, which is locked, and every stored one that is held through it. None of
/// them is counted yet.
pub(crate) async fn weigh(
    tx: &mut Transaction,
    organization: OrganizationId,
    manifest: ManifestId,
) -> Result<Uncounted, MetadataError> {
    let mut found = BTreeSet::from([manifest]);
    let mut work = vec![manifest];
    while !work.is_empty() {
        let following = tx.fetch_all(FOLLOWING, args![&Rows::manifests(&work)?]).await?;
        work.clear();
        for row in following {
            work.push(row.manifest(0)?);
        }
        work.retain(|manifest| !found.contains(manifest));
        work = lock::released(tx, work).await?;
        found.extend(&work);
    }
    let found: Vec<ManifestId> = found.into_iter().collect();
    let manifests = Rows::manifests(&found)?;
    lock_declared(tx, &manifests).await?;
    let needed = tx.fetch_one(NEEDED, args![organization, &manifests]).await?;
    Ok(Uncounted {
        manifests,
        bytes: needed.count(0)?,
    })
}

/// Before sizes are counted that are only declared.
pub(crate) async fn lock_declared(tx: &mut Transaction, manifests: &Rows) -> Result<(), MetadataError> {
    tx.fetch_all(LOCK_DECLARED, args![manifests]).await.map(drop)
}

/// Counts what was weighed.
pub(crate) async fn hold(
    tx: &mut Transaction,
    organization: OrganizationId,
    uncounted: &Uncounted,
) -> Result<(), MetadataError> {
    let Uncounted { manifests, bytes } = uncounted;
    tx.execute(HOLD, args![manifests]).await?;
    tx.execute(COUNT, args![organization, manifests]).await?;
    tx.execute(ADD_USAGE, args![organization, signed(*bytes)]).await?;
    Ok(())
}

/// How many bytes manifests and the blobs that they name weigh, each digest once, counted or not: of one
/// manifest what Q4 asks, of all that are held the usage.
pub(crate) async fn weight(tx: &mut Transaction, manifests: &[ManifestId]) -> Result<u64, MetadataError> {
    if manifests.is_empty() {
        return Ok(0);
    }
    let row = tx.fetch_one(ALONE, args![&Rows::manifests(manifests)?]).await?;
    row.count(0)
}
