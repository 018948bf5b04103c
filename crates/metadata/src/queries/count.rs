//! Counting what becomes held (Q2).
//!
//! What a digest weighs in an organization: the verified size if the bytes were ever verified, else
//! the largest size that a held manifest of that organization declares, its own body included. So a
//! wrong declaration elsewhere changes nothing here, and the weight can be computed anew at any time.

use crate::engine::Transaction;
use crate::sql::{Rows, Statement, args, signed};
use crate::{ManifestId, MetadataError, OrganizationId};

/// The digests that the manifests `$2` name and are, with their weights and how often they do.
macro_rules! named {
    () => {
        "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($2)),
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
    };
}

const NEEDED: Statement = Statement::new(
    "weigh manifests",
    concat!(
        named!(),
        " SELECT CAST(COALESCE(SUM(
                   CASE WHEN c.size IS NULL THEN n.size
                        WHEN n.size > c.size THEN n.size - c.size
                        ELSE 0 END), 0) AS BIGINT)
          FROM named n LEFT JOIN content c ON c.organization_id = $1 AND c.digest = n.digest"
    ),
);

const COUNT: Statement = Statement::new(
    "count content",
    concat!(
        named!(),
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
pub(crate) const HOT: &[Statement] = &[NEEDED, COUNT, HOLD, FOLLOWING, ADD_USAGE];

/// Counts a manifest that has just got a holder, and every stored one that is held through it, and
/// says how many bytes that added. None of them was counted before.
pub(crate) async fn hold(
    tx: &mut Transaction,
    organization: OrganizationId,
    manifest: ManifestId,
) -> Result<u64, MetadataError> {
    let mut added = 0;
    let mut work = vec![manifest];
    while !work.is_empty() {
        let given = Rows::manifests(&work)?;
        tx.execute(HOLD, args![&given]).await?;
        added += tx
            .fetch_one(NEEDED, args![organization, &given])
            .await?
            .count(0)?;
        tx.execute(COUNT, args![organization, &given]).await?;
        let following = tx.fetch_all(FOLLOWING, args![&given]).await?;
        work = following
            .iter()
            .map(|row| row.manifest(0))
            .collect::<Result<_, _>>()?;
    }
    tx.execute(ADD_USAGE, args![organization, signed(added)]).await?;
    Ok(added)
}
