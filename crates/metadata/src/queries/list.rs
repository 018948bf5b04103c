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

/// Repositories, live or not: who looks for live ones decides how many to look at.
macro_rules! repositories {
    ($which:literal, $order:literal) => {
        concat!(
            "SELECT o.id, o.prefix, r.name, EXISTS (
               SELECT 1 FROM tag t
               WHERE t.repository_id = r.id AND t.current AND t.name <> '' AND t.ends_at > $1)
             FROM organization o CROSS JOIN repository r
             WHERE r.organization_id = o.id AND o.removed_at IS NULL AND ",
            $which,
            " ORDER BY ",
            $order,
            " LIMIT $3"
        )
    };
}

/// Those of the organization whose names begin with `$2`, after `$4`.
const REPOSITORIES: Statement = Statement::new(
    "list repositories",
    repositories!("o.prefix = $2 AND r.name > $4", "r.name"),
);

/// Those of the organizations `$4` whose names begin with something after `$2`: one statement, however many of
/// them have none. The unary plus lets the names lead, in the order of the answer, and not the list.
const FOLLOWING: Statement = Statement::new(
    "list repositories of following organizations",
    repositories!(
        "o.prefix > $2 AND +o.id IN (SELECT CAST(value ->> 0 AS BIGINT) FROM json_each($4))",
        "o.prefix, r.name"
    ),
);

/// How many repositories one page of the catalog may cost, live or not.
pub(crate) const EXAMINED: usize = 10_000;

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[TAGS, REPOSITORIES, FOLLOWING];

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

/// How far a search went: up to a repository of an organization, or up to a text that is no full name.
struct Position {
    /// With the slash, if it is the beginning of a full name.
    prefix: String,
    rest: String,
}

impl Position {
    fn behind(after: &str) -> Self {
        let (prefix, rest) = match after.find('/') {
            Some(slash) => after.split_at(slash + 1),
            None => (after, ""),
        };
        Self {
            prefix: prefix.to_owned(),
            rest: rest.to_owned(),
        }
    }
}

/// Looks at no more than `budget` repositories.
pub(crate) async fn catalog(
    engine: &Engine,
    query: CatalogQuery<'_>,
    mut budget: usize,
) -> Result<CatalogPage, MetadataError> {
    let given: Vec<_> = query.organizations.iter().map(|id| (id.0,)).collect();
    let organizations = Rows::new(&given)?;
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut at = Position::behind(query.after.unwrap_or_default());
    let mut inside = true;
    let mut page = CatalogPage {
        names: Vec::new(),
        searched: None,
    };
    while page.names.len() < limit {
        if budget == 0 {
            page.searched = Some(at.prefix + &at.rest);
            break;
        }
        let asked = budget.min(limit - page.names.len());
        let (now, number) = (query.now, count(asked));
        let mut rows = if inside {
            let values = args![now, &at.prefix, number, &at.rest];
            engine.fetch_all(REPOSITORIES, values).await?
        } else {
            let values = args![now, &at.prefix, number, &organizations];
            engine.fetch_all(FOLLOWING, values).await?
        };
        if let Some(row) = rows.first().filter(|_| inside)
            && !query.organizations.contains(&row.organization(0)?)
        {
            rows.clear();
        }
        for row in &rows {
            (at.prefix, at.rest) = (row.text(1)?, row.text(2)?);
            if row.flag(3)? {
                page.names.push(format!("{}{}", at.prefix, at.rest));
            }
        }
        budget -= rows.len();
        match (rows.len() < asked, inside) {
            // What follows the last of them may be of the same organization.
            (false, _) => inside = true,
            (true, true) => inside = false,
            (true, false) => break,
        }
    }
    Ok(page)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
