//! The manifests that refer to another one (L2).

use bytes::Bytes;
use quayside_oci::Digest;

use super::read;
use crate::engine::Engine;
use crate::sql::{Statement, args};
use crate::{HeldBy, MetadataError, OrganizationId, Referrer, ReferrerPage, View};

const REFERRERS: Statement = Statement::new(
    "list referrers",
    "SELECT m.digest, m.media_type, m.artifact_type, m.body
     FROM repository r
     JOIN manifest m ON m.repository_id = r.id AND m.subject = $3 AND m.digest > $5
     WHERE r.organization_id = $1 AND r.name = $2 AND m.released_at IS NULL
       AND ($4 = '' OR m.artifact_type = $4)
     ORDER BY m.digest LIMIT $6",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[REFERRERS];

/// Which page of whose referrers.
pub(crate) struct ReferrerQuery<'a> {
    pub(crate) organization: OrganizationId,
    pub(crate) repository: &'a str,
    pub(crate) subject: &'a Digest,
    pub(crate) artifact_type: Option<&'a str>,
    pub(crate) view: View,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: u32,
}

pub(crate) async fn referrers(
    engine: &Engine,
    query: ReferrerQuery<'_>,
) -> Result<ReferrerPage, MetadataError> {
    let ReferrerQuery {
        organization,
        repository,
        subject,
        artifact_type,
        view,
        after,
        limit,
    } = query;
    let values = args![
        organization,
        repository,
        subject,
        artifact_type.unwrap_or_default(),
        after.unwrap_or_default(),
        i64::from(limit),
    ];
    let rows = engine.fetch_all(REFERRERS, values).await?;
    let mut page = ReferrerPage {
        referrers: Vec::with_capacity(rows.len()),
        next: None,
    };
    let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    for row in rows {
        let digest = row.digest(0)?;
        if full {
            page.next = Some(digest.clone());
        }
        if let View::Public { now } = view
            && read::live_manifest(engine, organization, repository, &digest, now, HeldBy::Tag)
                .await?
                .is_none()
        {
            continue;
        }
        page.referrers.push(Referrer {
            digest,
            media_type: row.text(1)?,
            artifact_type: row.optional_text(2)?,
            body: Bytes::from(row.bytes(3)?),
        });
    }
    Ok(page)
}
