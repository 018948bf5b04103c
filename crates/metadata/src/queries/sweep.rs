//! The end of tags and pins: what died longer ago than its Window goes (E2, G5), and what would never
//! die gets an end (E3).

use crate::engine::{Engine, Transaction};
use crate::queries::release;
use crate::sql::{Rows, Statement, args};
use crate::{ManifestId, MetadataError, NEVER, OrganizationId, REMOVED_WINDOW_MS, Swept};

/// How many rows one step takes, so that admissions never wait long for the organization.
const STEP: u32 = 256;

/// Organizations with a row that is due at `$1`, as far as one without slack would be: the step itself
/// looks closer. `$2` is the least Window of a removed one, `$3` is never.
const DUE: Statement = Statement::new(
    "find organizations with rows to sweep",
    "SELECT o.id FROM organization o
     WHERE EXISTS (
       SELECT 1 FROM tag t
       WHERE t.organization_id = o.id
         AND t.ends_at <= CASE
           WHEN o.removed_at IS NULL THEN $1 - o.window_ms
           WHEN o.window_ms > $2 AND o.removed_at <= $1 - o.window_ms THEN $3
           WHEN o.window_ms <= $2 AND o.removed_at <= $1 - $2 THEN $3
           ELSE -1 END)
     ORDER BY o.id",
);

const LOCK: Statement = Statement::new(
    "lock organization",
    "SELECT window_ms, removed_at IS NOT NULL, COALESCE(removed_at, 0) FROM organization WHERE id = $1
     /* FOR UPDATE */",
);

const OLDEST: Statement = Statement::new(
    "find rows to sweep",
    "SELECT repository_id, name, manifest_id FROM tag
     WHERE organization_id = $1 AND ends_at <= $2 ORDER BY ends_at LIMIT $3 /* FOR UPDATE */",
);

const DELETE: Statement = Statement::new(
    "sweep rows",
    "DELETE FROM tag WHERE (repository_id, name, manifest_id) IN (
       SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, CAST(value ->> 2 AS BIGINT) FROM json_each($1))",
);

/// Of the organizations `$1`: those with a row that never ends, `$2`.
const ENDLESS: Statement = Statement::new(
    "find endless rows",
    "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     SELECT g.id FROM given g
     WHERE EXISTS (SELECT 1 FROM tag t WHERE t.organization_id = g.id AND t.ends_at = $2 AND t.current)",
);

const LIMIT: Statement = Statement::new(
    "give endless rows an end",
    "UPDATE tag SET ends_at = $3 WHERE (repository_id, name, manifest_id) IN (
       SELECT repository_id, name, manifest_id FROM tag
       WHERE organization_id = $1 AND ends_at = $2 AND current LIMIT $4)",
);

const DROP_DEPARTED: Statement = Statement::new(
    "drop departed organizations",
    "DELETE FROM organization
     WHERE removed_at IS NOT NULL
       AND removed_at <= $1 - CASE WHEN window_ms > $2 THEN window_ms ELSE $2 END
       AND NOT EXISTS (SELECT 1 FROM repository r WHERE r.organization_id = organization.id)",
);

/// What must stay cheap however much is stored. Organizations are few.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[LOCK, OLDEST, DELETE, ENDLESS, LIMIT];

/// The statements that may look at each organization, and at no more than that.
#[cfg(test)]
pub(crate) const PER_ORGANIZATION: &[Statement] = &[DUE, DROP_DEPARTED];

/// Up to which end a row of an organization goes at `now`; none if nothing does yet.
///
/// All rows of an organization that was removed count as dead since then, so that it finds everything
/// again if it comes back in time, and nothing is rewritten when it goes.
pub(crate) fn cutoff(window_ms: i64, removed_at: Option<i64>, slack_ms: i64, now: i64) -> Option<i64> {
    let before = now.saturating_sub(slack_ms);
    match removed_at {
        None => Some(before.saturating_sub(window_ms)),
        Some(at) => (at <= before.saturating_sub(window_ms.max(REMOVED_WINDOW_MS))).then_some(NEVER),
    }
}

pub(crate) async fn due(engine: &Engine, now: i64) -> Result<Vec<OrganizationId>, MetadataError> {
    let rows = engine
        .fetch_all(DUE, args![now, REMOVED_WINDOW_MS, NEVER])
        .await?;
    rows.iter().map(|row| row.organization(0)).collect()
}

/// One step of the sweeper.
pub(crate) struct Sweep {
    pub(crate) organization: OrganizationId,
    pub(crate) slack_ms: i64,
    pub(crate) now: i64,
}

pub(crate) async fn sweep(tx: &mut Transaction, sweep: &Sweep) -> Result<Swept, MetadataError> {
    let Sweep {
        organization,
        slack_ms,
        now,
    } = sweep;
    // Locked and read at once: an organization that comes back now finds everything or is swept first.
    let Some(row) = tx.fetch_optional(LOCK, args![*organization]).await? else {
        return Ok(Swept::default());
    };
    let removed_at = if row.flag(1)? { Some(row.int(2)?) } else { None };
    let Some(cutoff) = cutoff(row.int(0)?, removed_at, *slack_ms, *now) else {
        return Ok(Swept::default());
    };
    let mut rows: Vec<(i64, String, i64)> = Vec::new();
    for row in tx
        .fetch_all(OLDEST, args![*organization, cutoff, i64::from(STEP)])
        .await?
    {
        rows.push((row.int(0)?, row.text(1)?, row.int(2)?));
    }
    if rows.is_empty() {
        return Ok(Swept::default());
    }
    tx.execute(DELETE, args![&Rows::new(&rows)?]).await?;
    let manifests: Vec<ManifestId> = rows.iter().map(|row| ManifestId(row.2)).collect();
    let released = release::release(tx, *organization, &manifests, *now).await?;
    let pins = rows.iter().filter(|row| row.1.is_empty()).count() as u64;
    let all = rows.len() as u64;
    Ok(Swept {
        tags: all - pins,
        pins,
        released,
        more: rows.len() == STEP as usize,
    })
}

pub(crate) async fn endless(
    engine: &Engine,
    organizations: &[OrganizationId],
) -> Result<Vec<OrganizationId>, MetadataError> {
    let given: Vec<_> = organizations.iter().map(|id| (id.0,)).collect();
    let rows = engine
        .fetch_all(ENDLESS, args![&Rows::new(&given)?, NEVER])
        .await?;
    rows.iter().map(|row| row.organization(0)).collect()
}

/// Rows that never end, to be given an end.
pub(crate) struct Endless {
    pub(crate) organization: OrganizationId,
    pub(crate) ends_at: i64,
}

pub(crate) async fn limit(tx: &mut Transaction, endless: &Endless) -> Result<u64, MetadataError> {
    let values = args![endless.organization, NEVER, endless.ends_at, i64::from(STEP)];
    tx.execute(LIMIT, values).await
}

pub(crate) async fn drop_departed(tx: &mut Transaction, before: &i64) -> Result<u64, MetadataError> {
    tx.execute(DROP_DEPARTED, args![*before, REMOVED_WINDOW_MS]).await
}
