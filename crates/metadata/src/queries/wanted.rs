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
                    r.name, b.retry_at, m.id,
                    b.wanted_at IS NOT NULL, b.wanted_in IS NOT NULL AND b.wanted_in = m.id
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

/// Only images that were pulled: one that a HEAD stored is not what the layer is read for.
const OF_LAYER: Statement = Statement::new(
    "find missing blobs around layer",
    missing_blobs!(
        "mb.manifest_id IN (
           SELECT l.manifest_id FROM manifest_blob l
           JOIN manifest lm ON lm.id = l.manifest_id AND lm.released_at IS NULL AND lm.pulled
           WHERE l.digest = $2 AND l.repository_id = $1 AND l.layer)"
    ),
);

/// In the order in which everybody locks blobs.
const LOCK: Statement = Statement::new(
    "lock wanted blobs",
    "SELECT digest FROM blob WHERE digest IN (SELECT value ->> 0 FROM json_each($1)) ORDER BY digest
     /* FOR NO KEY UPDATE */",
);

/// One that is wanted already keeps its place in the backoff.
const WANT: Statement = Statement::new(
    "mark blobs wanted",
    "UPDATE blob SET
       wanted_at = $2, wanted_by = $3, wanted_in = given.manifest_id,
       retry_at = CASE WHEN wanted_at IS NULL THEN 0 ELSE retry_at END
     FROM (SELECT value ->> 0 AS digest, CAST(value ->> 1 AS BIGINT) AS manifest_id
           FROM json_each($1)) given
     WHERE blob.digest = given.digest AND blob.storage_key IS NULL",
);

const IS_NEW: Statement = Statement::new(
    "find first pull of manifest",
    "SELECT 1 FROM manifest WHERE id = $1 AND NOT pulled",
);

const PULLED: Statement = Statement::new(
    "record first pull of manifest",
    "UPDATE manifest SET pulled = TRUE WHERE id = $1",
);

const IS_CHILD: Statement = Statement::new(
    "find held index of manifest",
    "SELECT 1 FROM manifest m
     JOIN manifest_child c ON c.repository_id = m.repository_id AND c.digest = m.digest
     JOIN manifest p ON p.id = c.parent_id AND p.released_at IS NULL
     WHERE m.id = $2 AND m.repository_id = $1 LIMIT 1",
);

/// Through the manifest for which it is wanted, so that no other can send the filler to a repository
/// that has it not, or make it expect a wrong size. Only if that one is gone through another, of the
/// organization that wanted it: the next may have background filling off.
macro_rules! due {
    ($which:literal, $limit:literal) => {
        concat!(
            "SELECT b.digest, COALESCE(b.size, mb.size), mb.layer, m.organization_id, m.repository_id, r.name,
            b.retry_at, b.wanted_in
     FROM blob b
     JOIN organization o ON o.id = b.wanted_by AND o.removed_at IS NULL
     JOIN manifest_blob mb ON mb.digest = b.digest AND mb.manifest_id = COALESCE(
       (SELECT l.manifest_id FROM manifest_blob l
        JOIN manifest lm ON lm.id = l.manifest_id AND lm.released_at IS NULL
        WHERE l.manifest_id = b.wanted_in AND l.digest = b.digest),
       (SELECT l.manifest_id FROM manifest_blob l
        JOIN manifest lm ON lm.id = l.manifest_id AND lm.released_at IS NULL
        WHERE l.digest = b.digest AND lm.organization_id = b.wanted_by
        ORDER BY l.repository_id, l.layer, l.size LIMIT 1))
     JOIN manifest m ON m.id = mb.manifest_id
     JOIN repository r ON r.id = m.repository_id
     WHERE b.storage_key IS NULL AND b.wanted_at IS NOT NULL AND b.retry_at <= $1",
            $which,
            " ORDER BY mb.layer, COALESCE(b.size, mb.size), b.digest LIMIT ",
            $limit
        )
    };
}

const DUE: Statement = Statement::new("read wanted blobs", due!("", "$2"));

const LEFT: Statement = Statement::new(
    "read blobs that were wanted long ago",
    due!(" AND b.wanted_at <= $2", "$3"),
);

const POSTPONE: Statement = Statement::new(
    "postpone wanted blob",
    "UPDATE blob SET retry_at = $2 WHERE digest = $1 AND wanted_at IS NOT NULL",
);

/// Unless it is wanted for another manifest by now.
const GIVE_UP: Statement = Statement::new(
    "give up wanted blob",
    "UPDATE blob SET wanted_at = NULL, wanted_by = NULL, wanted_in = NULL, retry_at = 0
     WHERE digest = $1 AND wanted_at IS NOT NULL AND wanted_in = $2",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[
    OF_MANIFEST,
    OF_LAYER,
    WANT,
    IS_NEW,
    PULLED,
    IS_CHILD,
    DUE,
    LEFT,
    POSTPONE,
    GIVE_UP,
];

/// Whose missing blobs.
#[derive(Clone, Debug)]
pub(crate) enum Around {
    Manifest(ManifestId),
    Layer(RepositoryId, Digest),
}

/// Missing blobs, and which of them are not marked for these manifests yet.
pub(crate) struct Missing {
    pub(crate) blobs: Vec<Wanted>,
    pub(crate) mark: Option<Mark>,
}

/// Blobs to be marked.
pub(crate) struct Mark {
    organization: OrganizationId,
    /// Of each blob: digest, the manifest that it is wanted for.
    blobs: Vec<(String, i64)>,
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
        wanted_in: row.manifest(7)?,
    })
}

/// A read, so that the pull of a complete image writes nothing.
pub(crate) async fn missing(engine: &Engine, around: &Around, now: i64) -> Result<Missing, MetadataError> {
    let rows = match around {
        Around::Manifest(manifest) => engine.fetch_all(OF_MANIFEST, args![*manifest]).await?,
        Around::Layer(repository, layer) => engine.fetch_all(OF_LAYER, args![*repository, layer]).await?,
    };
    let mut marked = HashSet::new();
    for row in &rows {
        if row.flag(8)? && row.flag(9)? {
            marked.insert(row.digest(0)?);
        }
    }
    let mut seen = HashSet::new();
    let mut missing = Missing {
        blobs: Vec::new(),
        mark: None,
    };
    for row in &rows {
        let mut blob = wanted_of(row)?;
        if !seen.insert(blob.digest.clone()) {
            continue;
        }
        if !marked.contains(&blob.digest) {
            let mark = missing.mark.get_or_insert_with(|| Mark {
                organization: blob.organization,
                blobs: Vec::new(),
                now,
            });
            mark.blobs.push((blob.digest.to_string(), blob.wanted_in.0));
        }
        if !row.flag(8)? {
            blob.retry_at = 0;
        }
        missing.blobs.push(blob);
    }
    Ok(missing)
}

pub(crate) async fn mark(tx: &mut Transaction, mark: &Mark) -> Result<(), MetadataError> {
    let blobs = Rows::new(&mark.blobs)?;
    tx.fetch_all(LOCK, args![&blobs]).await?;
    tx.execute(WANT, args![&blobs, mark.now, mark.organization])
        .await?;
    Ok(())
}

/// A read, so that only the first pull writes.
pub(crate) async fn is_new(engine: &Engine, manifest: ManifestId) -> Result<bool, MetadataError> {
    let row = engine.fetch_optional(IS_NEW, args![manifest]).await?;
    Ok(row.is_some())
}

pub(crate) async fn record_pull(tx: &mut Transaction, manifest: &ManifestId) -> Result<(), MetadataError> {
    tx.execute(PULLED, args![*manifest]).await?;
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

pub(crate) async fn left(
    engine: &Engine,
    now: i64,
    wanted_by: i64,
    limit: u32,
) -> Result<Vec<Wanted>, MetadataError> {
    let values = args![now, wanted_by, i64::from(limit)];
    let rows = engine.fetch_all(LEFT, values).await?;
    rows.iter().map(wanted_of).collect()
}

/// What becomes of a wanted blob that was not filled.
pub(crate) enum Attempt {
    /// It is tried again, from then on.
    Later(Digest, i64),
    /// It is not wanted for that manifest any more.
    Never(Digest, ManifestId),
}

pub(crate) async fn reschedule(tx: &mut Transaction, attempt: &Attempt) -> Result<(), MetadataError> {
    match attempt {
        Attempt::Later(digest, retry_at) => tx.execute(POSTPONE, args![digest, *retry_at]).await?,
        Attempt::Never(digest, manifest) => tx.execute(GIVE_UP, args![digest, *manifest]).await?,
    };
    Ok(())
}
