//! The proof of what is kept incrementally (Q2), also while the server runs: all of it is read as of one moment.

use crate::engine::Transaction;
use crate::sql::{Row, Statement, args};
use crate::{Discrepancy, MetadataError};

const USAGE: Statement = Statement::new(
    "recount usage",
    "SELECT o.id, o.usage_bytes, CAST(COALESCE(SUM(c.size), 0) AS BIGINT)
     FROM organization o LEFT JOIN content c ON c.organization_id = o.id
     GROUP BY o.id, o.usage_bytes
     HAVING o.usage_bytes <> COALESCE(SUM(c.size), 0)
     ORDER BY o.id",
);

pub(crate) const CONTENT: Statement = Statement::new(
    "recount content",
    "WITH mention (organization_id, digest, size) AS (
       SELECT m.organization_id, mb.digest, mb.size
       FROM manifest m JOIN manifest_blob mb ON mb.manifest_id = m.id WHERE m.released_at IS NULL
       UNION ALL
       SELECT m.organization_id, m.digest, length(m.body) FROM manifest m WHERE m.released_at IS NULL
     ),
     actual (organization_id, digest, size, refs) AS (
       SELECT n.organization_id, n.digest, COALESCE(MAX(b.size), MAX(n.size)), COUNT(*)
       FROM mention n LEFT JOIN blob b ON b.digest = n.digest
       GROUP BY n.organization_id, n.digest
     )
     SELECT COALESCE(a.organization_id, c.organization_id), COALESCE(a.digest, c.digest),
            c.size, c.refs, a.size, a.refs
     FROM actual a
     FULL JOIN content c ON c.organization_id = a.organization_id AND c.digest = a.digest
     WHERE a.size IS NULL OR c.size IS NULL OR a.size <> c.size OR a.refs <> c.refs
     ORDER BY 1, 2",
);

pub(crate) const HELD: Statement = Statement::new(
    "recount held manifests",
    "WITH RECURSIVE edge (holder, held) AS (
       SELECT c.parent_id, m.id
       FROM manifest_child c JOIN manifest m ON m.repository_id = c.repository_id AND m.digest = c.digest
       UNION ALL
       SELECT s.id, m.id
       FROM manifest m JOIN manifest s ON s.repository_id = m.repository_id AND s.digest = m.subject
     ),
     held (id) AS (
       SELECT t.manifest_id FROM tag t
       UNION
       SELECT e.held FROM held h JOIN edge e ON e.holder = h.id
     )
     SELECT m.id, h.id IS NOT NULL
     FROM manifest m LEFT JOIN held h ON h.id = m.id
     WHERE (m.released_at IS NULL) <> (h.id IS NOT NULL)
     ORDER BY m.id",
);

const UNNAMED_BLOB: Statement = Statement::new(
    "find unnamed blobs",
    "SELECT b.digest FROM blob b
     WHERE NOT EXISTS (SELECT 1 FROM manifest_blob mb WHERE mb.digest = b.digest) ORDER BY b.digest",
);

const SHARED_KEY: Statement = Statement::new(
    "find shared storage keys",
    "SELECT storage_key FROM (
       SELECT storage_key FROM fill
       UNION ALL SELECT storage_key FROM garbage
       UNION ALL SELECT storage_key FROM blob WHERE storage_key IS NOT NULL
     ) k GROUP BY storage_key HAVING COUNT(*) > 1 ORDER BY storage_key",
);

/// Every discrepancy, of one moment in all.
pub(crate) async fn recount(tx: &mut Transaction) -> Result<Vec<Discrepancy>, MetadataError> {
    let mut found = Vec::new();
    for (statement, read) in KINDS {
        found.extend(find(tx, *statement, *read).await?);
    }
    Ok(found)
}

/// The discrepancies of one kind.
pub(crate) async fn find(
    tx: &mut Transaction,
    statement: Statement,
    read: Reader,
) -> Result<Vec<Discrepancy>, MetadataError> {
    let rows = tx.fetch_all(statement, args![]).await?;
    rows.iter().map(read).collect()
}

pub(crate) type Reader = fn(&Row) -> Result<Discrepancy, MetadataError>;

const KINDS: &[(Statement, Reader)] = &[
    (USAGE, usage_of),
    (CONTENT, content_of),
    (HELD, held_of),
    (UNNAMED_BLOB, unnamed_of),
    (SHARED_KEY, |row| Ok(Discrepancy::SharedKey { key: row.text(0)? })),
];

fn usage_of(row: &Row) -> Result<Discrepancy, MetadataError> {
    Ok(Discrepancy::Usage {
        organization: row.organization(0)?,
        recorded: row.count(1)?,
        actual: row.count(2)?,
    })
}

pub(crate) fn content_of(row: &Row) -> Result<Discrepancy, MetadataError> {
    Ok(Discrepancy::Content {
        organization: row.organization(0)?,
        digest: row.digest(1)?,
        recorded: row.optional_count(2)?.zip(row.optional_count(3)?),
        actual: row.optional_count(4)?.zip(row.optional_count(5)?),
    })
}

pub(crate) fn held_of(row: &Row) -> Result<Discrepancy, MetadataError> {
    Ok(Discrepancy::Held {
        manifest: row.manifest(0)?,
        held: row.flag(1)?,
    })
}

fn unnamed_of(row: &Row) -> Result<Discrepancy, MetadataError> {
    Ok(Discrepancy::UnnamedBlob {
        digest: row.digest(0)?,
    })
}
