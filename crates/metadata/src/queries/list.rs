//! Pages of live names, in byte order (L1).

use crate::engine::Engine;
use crate::sql::{Row, Rows, Statement, args};
use crate::{MetadataError, OrganizationId, TagPage};

const TAGS: Statement = Statement::new(
    "list tags",
    "SELECT t.name FROM repository r
     JOIN tag t ON t.repository_id = r.id AND t.current AND t.name <> '' AND t.name > $3
                   AND t.ends_at > $4
     WHERE r.organization_id = $1 AND r.name = $2
     ORDER BY t.name LIMIT $5",
);

const ORGANIZATIONS: Statement = Statement::new(
    "read names of organizations",
    "SELECT id, name FROM organization WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))",
);

const REPOSITORIES: Statement = Statement::new(
    "list repositories",
    "SELECT r.name FROM repository r
     WHERE r.organization_id = $1 AND r.name > $2 AND EXISTS (
       SELECT 1 FROM tag t
       WHERE t.repository_id = r.id AND t.current AND t.name <> '' AND t.ends_at > $3)
     ORDER BY r.name LIMIT $4",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[TAGS, REPOSITORIES, ORGANIZATIONS];

fn names_of(rows: &[Row]) -> Result<Vec<String>, MetadataError> {
    rows.iter().map(|row| row.text(0)).collect()
}

/// Which page of tags.
pub(crate) struct TagQuery<'a> {
    pub(crate) organization: OrganizationId,
    pub(crate) repository: &'a str,
    pub(crate) now: i64,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: u32,
}

pub(crate) async fn tags(engine: &Engine, query: TagQuery<'_>) -> Result<TagPage, MetadataError> {
    let TagQuery {
        organization,
        repository,
        now,
        after,
        limit,
    } = query;
    let page = |after: &str, limit: i64| args![organization, repository, after, now, limit];
    let rows = engine
        .fetch_all(TAGS, page(after.unwrap_or_default(), i64::from(limit)))
        .await?;
    // An empty page is also what lies behind the last tag.
    if rows.is_empty() && engine.fetch_optional(TAGS, page("", 1)).await?.is_none() {
        return Ok(TagPage::Unknown);
    }
    Ok(TagPage::Page(names_of(&rows)?))
}

pub(crate) async fn catalog(
    engine: &Engine,
    organizations: &[OrganizationId],
    now: i64,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, MetadataError> {
    let given: Vec<_> = organizations
        .iter()
        .map(|organization| (organization.0,))
        .collect();
    let rows = engine
        .fetch_all(ORGANIZATIONS, args![&Rows::new(&given)?])
        .await?;
    let mut prefixes = rows
        .iter()
        .map(|row| Ok((row.text(1)? + "/", row.organization(0)?)))
        .collect::<Result<Vec<_>, MetadataError>>()?;
    // "a-b/x" comes before "a/x": with the slash the order is that of the full names.
    prefixes.sort();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut names = Vec::new();
    for (prefix, organization) in prefixes {
        let Some(rest) = rest_behind(&prefix, after.unwrap_or_default()) else {
            continue;
        };
        let left = i64::try_from(limit - names.len()).unwrap_or(i64::MAX);
        if left == 0 {
            break;
        }
        let rows = engine
            .fetch_all(REPOSITORIES, args![organization, rest, now, left])
            .await?;
        names.extend(
            names_of(&rows)?
                .into_iter()
                .map(|repository| format!("{prefix}{repository}")),
        );
    }
    Ok(names)
}

/// Which repositories of an organization come after a full name: those after the returned name, or
/// none.
fn rest_behind<'a>(prefix: &str, after: &'a str) -> Option<&'a str> {
    match after.strip_prefix(prefix) {
        Some(rest) => Some(rest),
        None if after < prefix => Some(""),
        None => None,
    }
}
