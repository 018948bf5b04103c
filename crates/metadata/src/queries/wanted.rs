//! Blobs that wait for the background filler (B6). The column is the queue: a mark survives a
//! restart.

use std::collections::HashSet;

use quayside_oci::Digest;

use crate::engine::{Engine, Transaction};
use crate::sql::{Row, Rows, Statement, args};
use crate::{ManifestId, MetadataError, OrganizationId, RepositoryId, Wanted};

/// Of a manifest of some repository: its blobs that are not stored.
macro_rules! missing_blobs {
    ($which:literal) => {
        concat!(
            "SELECT mb.digest, COALESCE(b.size, mb.size), mb.layer, m.organization_id, m.repository_id,
                    r.name, b.retry_at,
                    b.wanted_at IS NOT NULL, b.wanted_by IS NOT NULL AND b.wanted_by = m.organization_id
             FROM manifest_blob mb CROSS JOIN blob b CROSS JOIN manifest m CROSS JOIN repository r
             WHERE b.digest = mb.digest AND b.storage_key IS NULL AND m.id = mb.manifest_id
               AND r.id = m.repository_id AND ",
            $which,
            " ORDER BY mb.layer, mb.size, mb.digest"
        )
    };
}

const OF_MANIFEST: Statement = Statement::new(
    "find missing blobs of manifest",
    missing_blobs!("mb.manifest_id = $1"),
);

const OF_LAYER: Statement = Statement::new(
    "find missing blobs around layer",
    missing_blobs!(
        "mb.manifest_id IN (
           SELECT l.manifest_id FROM manifest_blob l
           JOIN manifest lm ON lm.id = l.manifest_id AND lm.released_at IS NULL
           WHERE l.digest = $2 AND l.repository_id = $1 AND l.layer)"
    ),
);

/// One that is wanted already keeps its place in the backoff.
const WANT: Statement = Statement::new(
    "mark blobs wanted",
    "UPDATE blob SET
       wanted_at = $2, wanted_by = $3,
       retry_at = CASE WHEN wanted_at IS NULL THEN 0 ELSE retry_at END
     WHERE storage_key IS NULL AND digest IN (SELECT value ->> 0 FROM json_each($1))",
);

const IS_CHILD: Statement = Statement::new(
    "find held index of manifest",
    "SELECT 1 FROM manifest m
     JOIN manifest_child c ON c.repository_id = m.repository_id AND c.digest = m.digest
     JOIN manifest p ON p.id = c.parent_id AND p.released_at IS NULL
     WHERE m.id = $2 AND m.repository_id = $1 LIMIT 1",
);

/// Only through the organization that wanted it: another one may have background filling off.
const DUE: Statement = Statement::new(
    "read wanted blobs",
    "SELECT b.digest, COALESCE(b.size, mb.size), mb.layer, m.organization_id, m.repository_id, r.name,
            b.retry_at
     FROM blob b
     JOIN organization o ON o.id = b.wanted_by AND o.removed_at IS NULL
     JOIN manifest_blob mb ON mb.digest = b.digest AND mb.manifest_id = (
       SELECT l.manifest_id FROM manifest_blob l
       JOIN manifest lm ON lm.id = l.manifest_id AND lm.released_at IS NULL
       WHERE l.digest = b.digest AND lm.organization_id = b.wanted_by
       ORDER BY l.repository_id, l.layer, l.size LIMIT 1)
     JOIN manifest m ON m.id = mb.manifest_id
     JOIN repository r ON r.id = m.repository_id
     WHERE b.storage_key IS NULL AND b.wanted_at IS NOT NULL AND b.retry_at <= $1
     ORDER BY mb.layer, COALESCE(b.size, mb.size), b.digest LIMIT $2",
);

const POSTPONE: Statement = Statement::new(
    "postpone wanted blob",
    "UPDATE blob SET retry_at = $2 WHERE digest = $1 AND wanted_at IS NOT NULL",
);

const GIVE_UP: Statement = Statement::new(
    "give up wanted blob",
    "UPDATE blob SET wanted_at = NULL, wanted_by = NULL, retry_at = 0
     WHERE digest = $1 AND wanted_at IS NOT NULL",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[OF_MANIFEST, OF_LAYER, WANT, IS_CHILD, DUE, POSTPONE, GIVE_UP];

/// Whose missing blobs.
#[derive(Clone, Debug)]
pub(crate) enum Around {
    Manifest(ManifestId),
    Layer(RepositoryId, Digest),
}

/// Missing blobs, and which of them this organization has not marked yet.
pub(crate) struct Missing {
    pub(crate) blobs: Vec<Wanted>,
    pub(crate) mark: Option<Mark>,
}

/// Blobs to be marked.
pub(crate) struct Mark {
    organization: OrganizationId,
    digests: Vec<(String,)>,
    now: i64,
}

fn wanted_of(row: &Row) -> Result<Wanted, MetadataError> {
    Ok(Wanted {
        digest: row.digest(0)?,
        size: row.count(1)?,
        layer: row.flag(2)?,
        organization: row.organization(3)?,
        repository: row.repository(4)?,
        repository_name: row.text(5)?,
        retry_at: row.int(6)?,
    })
}

/// A read, so that the pull of a complete image writes nothing.
pub(crate) async fn missing(engine: &Engine, around: &Around, now: i64) -> Result<Missing, MetadataError> {
    let rows = match around {
        Around::Manifest(manifest) => engine.fetch_all(OF_MANIFEST, args![*manifest]).await?,
        Around::Layer(repository, layer) => engine.fetch_all(OF_LAYER, args![*repository, layer]).await?,
    };
    let mut seen = HashSet::new();
    let mut missing = Missing {
        blobs: Vec::new(),
        mark: None,
    };
    for row in &rows {
        let mut blob = wanted_of(row)?;
        let (is_wanted, by_us) = (row.flag(7)?, row.flag(8)?);
        if !seen.insert(blob.digest.clone()) {
            continue;
        }
        if !(is_wanted && by_us) {
            let mark = missing.mark.get_or_insert_with(|| Mark {
                organization: blob.organization,
                digests: Vec::new(),
                now,
            });
            mark.digests.push((blob.digest.to_string(),));
        }
        if !is_wanted {
            blob.retry_at = 0;
        }
        missing.blobs.push(blob);
    }
    Ok(missing)
}

pub(crate) async fn mark(tx: &mut Transaction, mark: &Mark) -> Result<(), MetadataError> {
    let digests = Rows::new(&mark.digests)?;
    tx.execute(WANT, args![&digests, mark.now, mark.organization])
        .await?;
    Ok(())
}

pub(crate) async fn is_child_of_held_index(
    engine: &Engine,
    repository: RepositoryId,
    manifest: ManifestId,
) -> Result<bool, MetadataError> {
    let row = engine
        .fetch_optional(IS_CHILD, args![repository, manifest])
        .await?;
    Ok(row.is_some())
}

pub(crate) async fn due(engine: &Engine, now: i64, limit: u32) -> Result<Vec<Wanted>, MetadataError> {
    let rows = engine.fetch_all(DUE, args![now, i64::from(limit)]).await?;
    rows.iter().map(wanted_of).collect()
}

/// When to try a blob again; never is `None`.
pub(crate) struct Attempt {
    pub(crate) digest: Digest,
    pub(crate) retry_at: Option<i64>,
}

pub(crate) async fn reschedule(tx: &mut Transaction, attempt: &Attempt) -> Result<(), MetadataError> {
    match attempt.retry_at {
        Some(retry_at) => tx.execute(POSTPONE, args![&attempt.digest, retry_at]).await?,
        None => tx.execute(GIVE_UP, args![&attempt.digest]).await?,
    };
    Ok(())
}
