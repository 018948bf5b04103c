//! One manifest, looked at from all sides (O5). Only reads, each on its own: what is written meanwhile may show
//! in some of them.

use std::collections::{BTreeMap, BTreeSet};

use quayside_oci::Digest;

use crate::engine::Engine;
use crate::sql::{Rows, Statement, args};
use crate::{Absence, Holder, Inspection, ManifestId, MetadataError, MissingBlob, OrganizationId, Part};

const HOLDERS: Statement = Statement::new(
    "read holders",
    "SELECT name, current, ends_at, pulled_at, checked_at, failed_at FROM tag t
     WHERE t.manifest_id = $1 ORDER BY name",
);

/// An index may name an index: `UNION` ends in a circle.
const PARTS: Statement = Statement::new(
    "read parts of image",
    "WITH RECURSIVE part (id) AS (
       SELECT m.id FROM manifest m WHERE m.id = $1
       UNION
       SELECT m.id FROM part CROSS JOIN manifest_child c CROSS JOIN manifest m
       WHERE c.parent_id = part.id AND m.repository_id = c.repository_id AND m.digest = c.digest
     )
     SELECT m.id, m.digest, m.released_at IS NULL,
            EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = m.id)
     FROM part CROSS JOIN manifest m WHERE m.id = part.id
     ORDER BY CASE WHEN m.id = $1 THEN 0 ELSE 1 END, m.digest",
);

/// Of each of the manifests `$1`: the held manifests that hold it.
const HOLDING: Statement = Statement::new(
    "read what holds manifests",
    "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))
     SELECT m.id, p.id, p.digest
     FROM given CROSS JOIN manifest m CROSS JOIN manifest_child c CROSS JOIN manifest p
     WHERE m.id = given.id AND c.repository_id = m.repository_id AND c.digest = m.digest
       AND p.id = c.parent_id AND p.released_at IS NULL
     UNION
     SELECT m.id, s.id, s.digest
     FROM given CROSS JOIN manifest m CROSS JOIN manifest s
     WHERE m.id = given.id AND s.repository_id = m.repository_id AND s.digest = m.subject
       AND s.released_at IS NULL",
);

/// What the manifests `$1` name and are; of each mention: the size if it is counted in the organization and how
/// often, and whether it is a blob whose bytes are to be had.
const MENTIONS: Statement = Statement::new(
    "read content of image",
    "WITH given (id) AS (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1)),
     mention (id, digest, size, blob) AS (
       SELECT mb.manifest_id, mb.digest, COALESCE(b.size, mb.size), TRUE
       FROM given CROSS JOIN manifest_blob mb CROSS JOIN blob b
       WHERE mb.manifest_id = given.id AND b.digest = mb.digest
       UNION ALL
       SELECT m.id, m.digest, length(m.body), FALSE FROM given CROSS JOIN manifest m WHERE m.id = given.id
     )
     SELECT n.id, n.digest, n.size, n.blob, c.size, c.refs,
            n.blob AND EXISTS (
              SELECT 1 FROM blob b WHERE b.digest = n.digest AND b.storage_key IS NOT NULL),
            EXISTS (
              SELECT 1 FROM blob b WHERE b.digest = n.digest AND (NOT b.private OR EXISTS (
                SELECT 1 FROM proof p WHERE p.digest = n.digest AND p.organization_id = $2)))
     FROM mention n LEFT JOIN content c ON c.organization_id = $2 AND c.digest = n.digest
     ORDER BY n.id, n.digest",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[HOLDERS, PARTS, HOLDING, MENTIONS];

/// A stored manifest of the image.
struct Node {
    id: ManifestId,
    digest: Digest,
    held: bool,
    tagged: bool,
}

/// A body or a blob, as one manifest names it.
struct Mention {
    by: ManifestId,
    digest: Digest,
    size: u64,
    blob: bool,
    /// Size and number of holders, if the organization counts it.
    counted: Option<(u64, u64)>,
    stored: bool,
    proven: bool,
}

/// `None` if there is no such manifest any more.
pub(crate) async fn inspect(
    engine: &Engine,
    organization: OrganizationId,
    manifest: ManifestId,
) -> Result<Option<Inspection>, MetadataError> {
    let nodes = nodes(engine, manifest).await?;
    if nodes.is_empty() {
        return Ok(None);
    }
    let ids: Vec<ManifestId> = nodes.iter().map(|node| node.id).collect();
    let given = Rows::manifests(&ids)?;
    let holding = holding(engine, &given).await?;
    let mentions = mentions(engine, organization, &given).await?;
    let own = own(manifest, &nodes, &holding);
    let (alone_bytes, shared_bytes) = weigh(&mentions, &own);
    let of_root = holding.iter().filter(|(held, _, _)| *held == manifest);
    Ok(Some(Inspection {
        holders: holders(engine, manifest).await?,
        held_through: of_root.map(|(_, _, digest)| digest.clone()).collect(),
        parts: nodes.into_iter().map(|node| part(node, &mentions)).collect(),
        alone_bytes,
        shared_bytes,
    }))
}

/// The parts that would go if nothing pointed at the image itself: those that no tag, no pin and nothing outside
/// the image holds.
fn own(
    root: ManifestId,
    nodes: &[Node],
    holding: &[(ManifestId, ManifestId, Digest)],
) -> BTreeSet<ManifestId> {
    let mut own: BTreeSet<ManifestId> = nodes
        .iter()
        .filter(|node| node.held && (node.id == root || !node.tagged))
        .map(|node| node.id)
        .collect();
    loop {
        let before = own.len();
        let stays: BTreeSet<ManifestId> = holding
            .iter()
            .filter(|(held, by, _)| *held != root && !own.contains(by))
            .map(|(held, _, _)| *held)
            .collect();
        own.retain(|id| !stays.contains(id));
        if own.len() == before {
            return own;
        }
    }
}

/// The bytes that only `own` holds, and the others. What is released is not counted, so nothing of it is shared
/// but what something held names too.
fn weigh(mentions: &[Mention], own: &BTreeSet<ManifestId>) -> (u64, u64) {
    let mut sums: BTreeMap<&Digest, (u64, u64, u64)> = BTreeMap::new();
    for mention in mentions {
        let (counted, refs) = mention.counted.unwrap_or((0, 0));
        let sum = sums.entry(&mention.digest).or_insert((0, refs, 0));
        sum.0 = if mention.counted.is_some() {
            counted
        } else {
            sum.0.max(mention.size)
        };
        sum.2 += u64::from(own.contains(&mention.by));
    }
    let mut weights = (0, 0);
    for (size, refs, own) in sums.into_values() {
        if refs > own {
            weights.1 += size;
        } else {
            weights.0 += size;
        }
    }
    weights
}

fn part(node: Node, mentions: &[Mention]) -> Part {
    let missing = mentions
        .iter()
        .filter(|mention| mention.by == node.id && mention.blob && !(mention.stored && mention.proven))
        .map(|mention| MissingBlob {
            digest: mention.digest.clone(),
            size: mention.size,
            absence: if mention.stored {
                Absence::Unproven
            } else {
                Absence::NotStored
            },
        });
    Part {
        missing: missing.collect(),
        held: node.held,
        digest: node.digest,
    }
}

async fn nodes(engine: &Engine, manifest: ManifestId) -> Result<Vec<Node>, MetadataError> {
    let rows = engine.fetch_all(PARTS, args![manifest]).await?;
    let nodes = rows.iter().map(|row| {
        Ok(Node {
            id: row.manifest(0)?,
            digest: row.digest(1)?,
            held: row.flag(2)?,
            tagged: row.flag(3)?,
        })
    });
    nodes.collect()
}

async fn holding(
    engine: &Engine,
    given: &Rows,
) -> Result<Vec<(ManifestId, ManifestId, Digest)>, MetadataError> {
    let rows = engine.fetch_all(HOLDING, args![given]).await?;
    let edges = rows
        .iter()
        .map(|row| Ok((row.manifest(0)?, row.manifest(1)?, row.digest(2)?)));
    edges.collect()
}

async fn mentions(
    engine: &Engine,
    organization: OrganizationId,
    given: &Rows,
) -> Result<Vec<Mention>, MetadataError> {
    let rows = engine.fetch_all(MENTIONS, args![given, organization]).await?;
    let mentions = rows.iter().map(|row| {
        Ok(Mention {
            by: row.manifest(0)?,
            digest: row.digest(1)?,
            size: row.count(2)?,
            blob: row.flag(3)?,
            counted: row.optional_count(4)?.zip(row.optional_count(5)?),
            stored: row.flag(6)?,
            proven: row.flag(7)?,
        })
    });
    mentions.collect()
}

async fn holders(engine: &Engine, manifest: ManifestId) -> Result<Vec<Holder>, MetadataError> {
    let rows = engine.fetch_all(HOLDERS, args![manifest]).await?;
    let holders = rows.iter().map(|row| {
        Ok(Holder {
            name: row.text(0)?,
            current: row.flag(1)?,
            ends_at: row.int(2)?,
            pulled_at: row.int(3)?,
            checked_at: row.int(4)?,
            failed_at: row.int(5)?,
        })
    });
    holders.collect()
}
