//! Pages of live names, in byte order (L1).

use crate::engine::Engine;
use crate::sql::{Row, Rows, Statement, args};
use crate::{CatalogPage, MetadataError, OrganizationId, TagPage};

const TAGS: Statement = Statement::new(
    "list tags",
    "SELECT t.name FROM repository r
     JOIN tag t ON t.repository_id = r.id AND t.current AND t.name <> '' AND t.name > $3
                   AND +t.ends_at > $4
     WHERE r.organization_id = $1 AND r.name = $2
     ORDER BY t.name LIMIT $5",
);

const ORGANIZATIONS: Statement = Statement::new(
    "read names of organizations",
    "SELECT id, name FROM organization WHERE id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($1))",
);

/// Repositories, live or not: who looks for live ones decides how many to look at.
const REPOSITORIES: Statement = Statement::new(
    "list repositories",
    "SELECT r.name, EXISTS (
       SELECT 1 FROM tag t
       WHERE t.repository_id = r.id AND t.current AND t.name <> '' AND t.ends_at > $3)
     FROM repository r
     WHERE r.organization_id = $1 AND r.name > $2
     ORDER BY r.name LIMIT $4",
);

/// How many repositories one page of the catalog may cost, live or not.
pub(crate) const EXAMINED: usize = 10_000;

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

/// Which page of the catalog.
pub(crate) struct CatalogQuery<'a> {
    pub(crate) organizations: &'a [OrganizationId],
    pub(crate) now: i64,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: u32,
}

/// Looks at no more than `budget` repositories.
pub(crate) async fn catalog(
    engine: &Engine,
    query: CatalogQuery<'_>,
    mut budget: usize,
) -> Result<CatalogPage, MetadataError> {
    let after = query.after.unwrap_or_default();
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut page = CatalogPage {
        names: Vec::new(),
        searched: None,
    };
    for (prefix, organization) in prefixes(engine, query.organizations).await? {
        let Some(mut rest) = rest_behind(&prefix, after).map(str::to_owned) else {
            continue;
        };
        loop {
            let missing = limit - page.names.len();
            if missing == 0 {
                return Ok(page);
            }
            if budget == 0 {
                page.searched = Some(prefix + &rest);
                return Ok(page);
            }
            let asked = missing.min(budget);
            let values = args![organization, &rest, query.now, count(asked)];
            let rows = engine.fetch_all(REPOSITORIES, values).await?;
            for row in &rows {
                rest = row.text(0)?;
                if row.flag(1)? {
                    page.names.push(format!("{prefix}{rest}"));
                }
            }
            budget -= rows.len();
            if rows.len() < asked {
                break;
            }
        }
    }
    Ok(page)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What the full names of each organization begin with, in the order of the full names: with the
/// slash, "a-b/x" comes before "a/x".
async fn prefixes(
    engine: &Engine,
    organizations: &[OrganizationId],
) -> Result<Vec<(String, OrganizationId)>, MetadataError> {
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
    prefixes.sort();
    Ok(prefixes)
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
