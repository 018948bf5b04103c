//! The reads of the pull path, one statement each.

use bytes::Bytes;
use quayside_oci::{Digest, Kind};

use crate::engine::Engine;
use crate::sql::{Row, Statement, args, signed};
use crate::{
    BlobState, HeldBy, INDEX_DEPTH, MetadataError, OrganizationId, StoredBlob, StoredManifest, TagState, View,
};

/// How far from a manifest a member's live tag may be: a signature of a signature of what is in an
/// index of indexes. What holds each other has no end.
const HOLDER_DEPTH: i64 = 2 * INDEX_DEPTH;

const TAG: Statement = Statement::new(
    "read tag",
    "SELECT m.repository_id, m.id, m.digest, m.media_type, m.kind, m.body, m.released_at IS NOT NULL,
            t.ends_at, t.pulled_at, t.checked_at, t.resolved_at, t.failed_at
     FROM repository r
     JOIN tag t ON t.repository_id = r.id AND t.name = $3 AND t.current AND t.name <> ''
     JOIN manifest m ON m.id = t.manifest_id
     WHERE r.organization_id = $1 AND r.name = $2",
);

const MANIFEST: Statement = Statement::new(
    "read manifest",
    "SELECT m.repository_id, m.id, m.digest, m.media_type, m.kind, m.body, m.released_at IS NOT NULL
     FROM repository r
     JOIN manifest m ON m.repository_id = r.id AND m.digest = $3
     WHERE r.organization_id = $1 AND r.name = $2",
);

/// The manifest that `$which` finds and what holds it, up to `$5` steps away: indexes, and with `$6`
/// subjects too.
macro_rules! holders {
    ($which:literal) => {
        concat!(
            "WITH RECURSIVE holder (id, repository_id, digest, subject, depth) AS (
               SELECT m.id, m.repository_id, m.digest, m.subject, 0
               FROM repository r
               ",
            $which,
            "
               WHERE r.organization_id = $1 AND r.name = $2
               UNION
               SELECT p.id, p.repository_id, p.digest, p.subject, h.depth + 1
               FROM holder h
               LEFT JOIN manifest_child c ON c.repository_id = h.repository_id AND c.digest = h.digest
               CROSS JOIN manifest p
               WHERE h.depth < $5 AND p.released_at IS NULL
                 AND (p.id = c.parent_id
                      OR ($6 AND p.repository_id = h.repository_id AND p.digest = h.subject))
             ) "
        )
    };
}

/// `$6`: whether pins count among what holds it live.
macro_rules! held_live {
    () => {
        " AND EXISTS (
            SELECT 1 FROM holder h
            CROSS JOIN tag t
            WHERE t.manifest_id = h.id AND t.current AND (t.name <> '' OR $6) AND t.ends_at > $4)"
    };
}

const LIVE_MANIFEST: Statement = Statement::new(
    "read live manifest",
    concat!(
        holders!("JOIN manifest m ON m.repository_id = r.id AND m.digest = $3 AND m.released_at IS NULL"),
        "SELECT m.repository_id, m.id, m.digest, m.media_type, m.kind, m.body, m.released_at IS NOT NULL
         FROM repository r
         JOIN manifest m ON m.repository_id = r.id AND m.digest = $3
         WHERE r.organization_id = $1 AND r.name = $2",
        held_live!()
    ),
);

/// Of several manifests that name the blob, the largest declared size is taken, a layer's first: the
/// index gives that row at once.
macro_rules! blob_of_repository {
    () => {
        "SELECT r.id, mb.size, b.storage_key, b.size, b.private,
                NOT b.private OR EXISTS (
                  SELECT 1 FROM proof p WHERE p.digest = b.digest AND p.organization_id = $1),
                mb.layer, b.storage_key IS NULL AND b.wanted_at IS NOT NULL
         FROM repository r
         JOIN manifest_blob mb ON mb.digest = $3 AND mb.repository_id = r.id
         JOIN blob b ON b.digest = mb.digest
         WHERE r.organization_id = $1 AND r.name = $2"
    };
}

const BLOB: Statement = Statement::new(
    "read blob",
    concat!(
        blob_of_repository!(),
        " ORDER BY mb.layer DESC, mb.size DESC LIMIT 1"
    ),
);

const LIVE_BLOB: Statement = Statement::new(
    "read live blob",
    concat!(
        holders!(
            "JOIN manifest_blob mb ON mb.digest = $3 AND mb.repository_id = r.id
             JOIN manifest m ON m.id = mb.manifest_id AND m.released_at IS NULL"
        ),
        blob_of_repository!(),
        held_live!(),
        " ORDER BY mb.layer DESC, mb.size DESC LIMIT 1"
    ),
);

/// The bytes may be wrong still; this only says that such a length is no reason to refuse them.
const ALLOWS_SIZE: Statement = Statement::new(
    "find declaration of size",
    "SELECT 1
     FROM repository r
     JOIN manifest_blob mb ON mb.digest = $3 AND mb.repository_id = r.id
     JOIN blob b ON b.digest = mb.digest
     WHERE r.organization_id = $1 AND r.name = $2 AND (mb.size = $4 OR b.size = $4) LIMIT 1",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[TAG, MANIFEST, LIVE_MANIFEST, BLOB, LIVE_BLOB, ALLOWS_SIZE];

/// How the kinds are kept; the numbers never change.
pub(crate) fn number_of(kind: Kind) -> i64 {
    match kind {
        Kind::Image => 0,
        Kind::Index => 1,
    }
}

fn manifest_of(row: &Row) -> Result<StoredManifest, MetadataError> {
    let kind = match row.int(4)? {
        0 => Kind::Image,
        1 => Kind::Index,
        other => return Err(row.corrupt(format!("manifest kind {other}"))),
    };
    Ok(StoredManifest {
        repository: row.repository(0)?,
        id: row.manifest(1)?,
        digest: row.digest(2)?,
        media_type: row.text(3)?,
        kind,
        body: Bytes::from(row.bytes(5)?),
        released: row.flag(6)?,
    })
}

pub(crate) async fn tag(
    engine: &Engine,
    organization: OrganizationId,
    repository: &str,
    tag: &str,
) -> Result<Option<TagState>, MetadataError> {
    let row = engine
        .fetch_optional(TAG, args![organization, repository, tag])
        .await?;
    row.map(|row| {
        Ok(TagState {
            repository: row.repository(0)?,
            manifest: manifest_of(&row)?,
            ends_at: row.int(7)?,
            pulled_at: row.int(8)?,
            checked_at: row.int(9)?,
            resolved_at: row.int(10)?,
            failed_at: row.int(11)?,
        })
    })
    .transpose()
}

pub(crate) async fn manifest(
    engine: &Engine,
    organization: OrganizationId,
    repository: &str,
    digest: &Digest,
) -> Result<Option<StoredManifest>, MetadataError> {
    let row = engine
        .fetch_optional(MANIFEST, args![organization, repository, digest])
        .await?;
    row.as_ref().map(manifest_of).transpose()
}

/// How many steps away a holder may be, and whether pins and subjects count.
fn reach(by: HeldBy) -> (i64, bool) {
    match by {
        HeldBy::Tag => (INDEX_DEPTH, false),
        HeldBy::TagOrPin => (HOLDER_DEPTH, true),
    }
}

pub(crate) async fn live_manifest(
    engine: &Engine,
    organization: OrganizationId,
    repository: &str,
    digest: &Digest,
    now: i64,
    by: HeldBy,
) -> Result<Option<StoredManifest>, MetadataError> {
    let (depth, pins) = reach(by);
    let values = args![organization, repository, digest, now, depth, pins];
    let row = engine.fetch_optional(LIVE_MANIFEST, values).await?;
    row.as_ref().map(manifest_of).transpose()
}

pub(crate) async fn allows_size(
    engine: &Engine,
    organization: OrganizationId,
    repository: &str,
    digest: &Digest,
    size: u64,
) -> Result<bool, MetadataError> {
    let values = args![organization, repository, digest, signed(size)];
    let row = engine.fetch_optional(ALLOWS_SIZE, values).await?;
    Ok(row.is_some())
}

pub(crate) async fn blob(
    engine: &Engine,
    organization: OrganizationId,
    repository: &str,
    digest: &Digest,
    view: View,
) -> Result<Option<BlobState>, MetadataError> {
    let row = match view {
        View::Member => {
            let values = args![organization, repository, digest];
            engine.fetch_optional(BLOB, values).await?
        }
        View::Public { now } => {
            let (depth, pins) = reach(HeldBy::Tag);
            let values = args![organization, repository, digest, now, depth, pins];
            engine.fetch_optional(LIVE_BLOB, values).await?
        }
        View::Live { now } => {
            let (depth, pins) = reach(HeldBy::TagOrPin);
            let values = args![organization, repository, digest, now, depth, pins];
            engine.fetch_optional(LIVE_BLOB, values).await?
        }
    };
    row.map(|row| {
        let (declared, real, proven) = (row.count(1)?, row.optional_count(3)?, row.flag(5)?);
        let stored = match (row.optional_text(2)?, real) {
            (Some(key), Some(size)) => Some(StoredBlob { key, size }),
            _ => None,
        };
        Ok(BlobState {
            repository: row.repository(0)?,
            // The real size is told only to whom the bytes may be shown (B9).
            declared_size: real.filter(|_| proven).unwrap_or(declared),
            stored,
            private: row.flag(4)?,
            proven,
            layer: row.flag(6)?,
            wanted: row.flag(7)?,
        })
    })
    .transpose()
}
