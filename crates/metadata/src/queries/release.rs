//! Counting what is not held any more: the only statements that lower usage, but for a corrected
//! size (ENGINE §1.3).

use std::collections::BTreeSet;

use crate::engine::Transaction;
use crate::queries::{count, lock};
use crate::sql::{Rows, Statement, args};
use crate::{ManifestId, MetadataError, OrganizationId};

/// Of the manifests `$1`: those that are counted and that no tag or pin holds.
const UNTAGGED: Statement = Statement::new(
    "find untagged manifests",
    "SELECT m.id FROM manifest m
     WHERE m.id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1)) AND m.released_at IS NULL
       AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)",
);

/// What the manifests `$1` hold, as far as it is counted and no tag or pin holds it.
pub(crate) const FOLLOWING: Statement = Statement::new(
    "find what is held through a manifest",
    "SELECT m.id FROM manifest_child c
     JOIN manifest m ON m.repository_id = c.repository_id AND m.digest = c.digest
     WHERE c.parent_id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
       AND m.released_at IS NULL AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)
     UNION
     SELECT m.id FROM manifest s
     JOIN manifest m ON m.repository_id = s.repository_id AND m.subject = s.digest
     WHERE s.id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
       AND m.released_at IS NULL AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)",
);

/// Of the manifests `$1`: those that an index or a subject holds that is not among them.
const HELD_FROM_OUTSIDE: Statement = Statement::new(
    "find held manifests",
    "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     SELECT m.id FROM manifest m
     WHERE m.id IN (SELECT id FROM given)
       AND (EXISTS (
              SELECT 1 FROM manifest_child c
              CROSS JOIN manifest p
              WHERE c.repository_id = m.repository_id AND c.digest = m.digest AND p.id = c.parent_id
                AND p.released_at IS NULL AND p.id NOT IN (SELECT id FROM given))
            OR EXISTS (
              SELECT 1 FROM manifest s
              WHERE s.repository_id = m.repository_id AND s.digest = m.subject
                AND s.released_at IS NULL AND s.id NOT IN (SELECT id FROM given)))",
);

const RELEASE: Statement = Statement::new(
    "mark manifests released",
    "UPDATE manifest SET released_at = $2
     WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))",
);

/// What the manifests `$2` name and are, and how often.
macro_rules! gone {
    () => {
        "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($2)),
         mention (digest) AS (
           SELECT mb.digest FROM manifest_blob mb WHERE mb.manifest_id IN (SELECT id FROM given)
           UNION ALL
           SELECT m.digest FROM manifest m WHERE m.id IN (SELECT id FROM given)
         ),
         gone (digest, refs) AS (SELECT n.digest, COUNT(*) FROM mention n GROUP BY n.digest) "
    };
}

/// Before references are taken off: a count never stands at 0.
const SUBTRACT_USAGE: Statement = Statement::new(
    "subtract usage",
    concat!(
        gone!(),
        "UPDATE organization SET usage_bytes = usage_bytes - (
           SELECT CAST(COALESCE(SUM(c.size), 0) AS BIGINT) FROM gone g CROSS JOIN content c
           WHERE c.organization_id = $1 AND c.digest = g.digest AND c.refs <= g.refs)
         WHERE id = $1"
    ),
);

const DROP_CONTENT: Statement = Statement::new(
    "drop content",
    concat!(
        gone!(),
        "DELETE FROM content WHERE organization_id = $1 AND digest IN (
           SELECT g.digest FROM gone g CROSS JOIN content c
           WHERE c.organization_id = $1 AND c.digest = g.digest AND c.refs <= g.refs)"
    ),
);

const LESS_CONTENT: Statement = Statement::new(
    "take references off content",
    concat!(
        gone!(),
        "UPDATE content SET refs = refs - (SELECT g.refs FROM gone g WHERE g.digest = content.digest)
         WHERE organization_id = $1 AND digest IN (SELECT digest FROM gone)"
    ),
);

/// What is left of unverified blobs whose largest declaration has just gone.
///
/// Almost always another one declares as much, and the newest one is looked at first: those that went are
/// rather the old ones. All of them are read only if none does.
const SHRUNK: Statement = Statement::new(
    "find content that weighs less",
    concat!(
        gone!(),
        ", loose (digest, size) AS MATERIALIZED (
           SELECT c.digest, c.size FROM gone g CROSS JOIN blob b CROSS JOIN content c
           WHERE b.digest = g.digest AND b.size IS NULL AND c.organization_id = $1 AND c.digest = g.digest
             AND NOT EXISTS (
               SELECT 1 FROM manifest_blob mb CROSS JOIN manifest m
               WHERE mb.digest = g.digest AND mb.size = c.size
                 AND m.id = mb.manifest_id AND m.organization_id = $1 AND m.released_at IS NULL
               ORDER BY mb.repository_id DESC, mb.layer DESC LIMIT 1)
         )
         SELECT n.digest, n.counted - MAX(n.size)
         FROM (
           SELECT k.digest, k.size AS counted, mb.size
           FROM loose k CROSS JOIN manifest_blob mb CROSS JOIN manifest m
           WHERE mb.digest = k.digest
             AND m.id = mb.manifest_id AND m.organization_id = $1 AND m.released_at IS NULL
           UNION ALL
           SELECT k.digest, k.size, length(m.body)
           FROM loose k CROSS JOIN repository r CROSS JOIN manifest m
           WHERE r.organization_id = $1 AND m.repository_id = r.id AND m.digest = k.digest
             AND m.released_at IS NULL
         ) n
         GROUP BY n.digest, n.counted HAVING n.counted <> MAX(n.size)"
    ),
);

const SHRINK_CONTENT: Statement = Statement::new(
    "shrink content",
    "UPDATE content SET size = size - $3 WHERE organization_id = $1 AND digest = $2",
);

const SHRINK_USAGE: Statement = Statement::new(
    "shrink usage",
    "UPDATE organization SET usage_bytes = usage_bytes - $2 WHERE id = $1",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[
    UNTAGGED,
    FOLLOWING,
    HELD_FROM_OUTSIDE,
    RELEASE,
    SUBTRACT_USAGE,
    DROP_CONTENT,
    LESS_CONTENT,
    SHRUNK,
];

/// Releases those of the manifests that nothing holds any more, and what was held through them alone.
/// Says how many that were.
///
/// An index may name the manifest that is its subject, so two can hold each other: that nobody else
/// does is found out by looking at everything below the given ones at once.
pub(crate) async fn release(
    tx: &mut Transaction,
    organization: OrganizationId,
    manifests: &[ManifestId],
    now: i64,
) -> Result<u64, MetadataError> {
    let mut suspects = untagged(tx, manifests).await?;
    if !tx.is_alone() && !suspects.is_empty() {
        // No pin comes from now on; those that came just now are seen by a statement of its own.
        lock::manifests(tx, &list(&suspects)).await?;
        suspects = untagged(tx, manifests).await?;
    }
    let held = manifests_of(tx, HELD_FROM_OUTSIDE, &list(&suspects)).await?;
    let held = everything_below(tx, held, |manifest| suspects.contains(manifest)).await?;
    let unheld: Vec<ManifestId> = suspects.difference(&held).copied().collect();
    if !unheld.is_empty() {
        discount(tx, organization, &unheld, now).await?;
    }
    Ok(unheld.len() as u64)
}

/// Those of the manifests that no tag or pin holds, and what is held through them and by no tag or pin.
async fn untagged(
    tx: &mut Transaction,
    manifests: &[ManifestId],
) -> Result<BTreeSet<ManifestId>, MetadataError> {
    let untagged = manifests_of(tx, UNTAGGED, manifests).await?;
    everything_below(tx, untagged, |_| true).await
}

/// The given manifests and what they hold, and so on, as far as `counts` says yes.
async fn everything_below(
    tx: &mut Transaction,
    given: Vec<ManifestId>,
    counts: impl Fn(&ManifestId) -> bool,
) -> Result<BTreeSet<ManifestId>, MetadataError> {
    let mut found: BTreeSet<ManifestId> = given.iter().copied().collect();
    let mut work = given;
    while !work.is_empty() {
        let following = manifests_of(tx, FOLLOWING, &work).await?;
        work = following
            .into_iter()
            .filter(|manifest| counts(manifest) && found.insert(*manifest))
            .collect();
    }
    Ok(found)
}

/// Takes them off what is counted.
async fn discount(
    tx: &mut Transaction,
    organization: OrganizationId,
    manifests: &[ManifestId],
    now: i64,
) -> Result<(), MetadataError> {
    let given = Rows::manifests(manifests)?;
    count::lock_declared(tx, &given).await?;
    tx.execute(RELEASE, args![&given, now]).await?;
    for statement in [SUBTRACT_USAGE, DROP_CONTENT, LESS_CONTENT] {
        tx.execute(statement, args![organization, &given]).await?;
    }
    for row in tx.fetch_all(SHRUNK, args![organization, &given]).await? {
        let (digest, less) = (row.digest(0)?, row.int(1)?);
        tx.execute(SHRINK_CONTENT, args![organization, &digest, less])
            .await?;
        tx.execute(SHRINK_USAGE, args![organization, less]).await?;
    }
    Ok(())
}

fn list(manifests: &BTreeSet<ManifestId>) -> Vec<ManifestId> {
    manifests.iter().copied().collect()
}

async fn manifests_of(
    tx: &mut Transaction,
    statement: Statement,
    given: &[ManifestId],
) -> Result<Vec<ManifestId>, MetadataError> {
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.fetch_all(statement, args![&Rows::manifests(given)?]).await?;
    rows.iter().map(|row| row.manifest(0)).collect()
}
