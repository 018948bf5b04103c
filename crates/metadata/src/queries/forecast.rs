//! What a pass would find to do. Reads much of the database: for people, not for workers.

use crate::engine::Engine;
use crate::queries::sweep;
use crate::sql::{Row, Rows, Statement, Value, args};
use crate::{Forecast, MetadataError, Slacks};

const ORGANIZATIONS: Statement = Statement::new(
    "read windows",
    "SELECT id, window_ms, removed_at IS NOT NULL, COALESCE(removed_at, 0) FROM organization",
);

/// The rows `$1` say up to which end an organization's tags go.
macro_rules! due {
    () => {
        "cutoff (organization_id, until) AS (
           SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT) FROM json_each($1)),
         due (repository_id, name, manifest_id) AS (
           SELECT t.repository_id, t.name, t.manifest_id FROM cutoff c CROSS JOIN tag t
           WHERE t.organization_id = c.organization_id AND t.ends_at <= c.until)"
    };
}

const TAGS: Statement = Statement::new(
    "count rows to sweep",
    concat!(
        "WITH ",
        due!(),
        " SELECT CAST(COALESCE(SUM(CASE WHEN d.name <> '' THEN 1 ELSE 0 END), 0) AS BIGINT), COUNT(*) FROM due d"
    ),
);

const RELEASED: Statement = Statement::new(
    "count manifests to release",
    concat!(
        "WITH RECURSIVE ",
        due!(),
        ", edge (holder, held) AS (
           SELECT c.parent_id, m.id
           FROM manifest_child c
           JOIN manifest m ON m.repository_id = c.repository_id AND m.digest = c.digest
           UNION ALL
           SELECT s.id, m.id
           FROM manifest m
           JOIN manifest s ON s.repository_id = m.repository_id AND s.digest = m.subject
         ),
         held (id) AS (
           SELECT t.manifest_id FROM tag t
           WHERE (t.repository_id, t.name, t.manifest_id) NOT IN (
             SELECT repository_id, name, manifest_id FROM due)
           UNION
           SELECT e.held FROM held h JOIN edge e ON e.holder = h.id
         )
         SELECT COUNT(*) FROM manifest m
         WHERE m.released_at IS NULL AND m.id NOT IN (SELECT id FROM held)"
    ),
);

const MANIFESTS: Statement = Statement::new(
    "count manifests to collect",
    "SELECT COUNT(*) FROM manifest WHERE released_at IS NOT NULL AND released_at <= $1",
);

const BLOBS: Statement = Statement::new(
    "count blobs to collect",
    "WITH due (id) AS (
       SELECT id FROM manifest WHERE released_at IS NOT NULL AND released_at <= $1),
     named (digest) AS (
       SELECT DISTINCT mb.digest FROM manifest_blob mb WHERE mb.manifest_id IN (SELECT id FROM due))
     SELECT COUNT(*) FROM named n
     WHERE NOT EXISTS (
       SELECT 1 FROM manifest_blob mb
       WHERE mb.digest = n.digest AND mb.manifest_id NOT IN (SELECT id FROM due))",
);

const FILLS: Statement = Statement::new(
    "count expired fills",
    "SELECT COUNT(*) FROM fill WHERE expires_at < $1",
);

const GARBAGE: Statement = Statement::new(
    "count due garbage",
    "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM garbage WHERE not_before <= $1",
);

/// The moment and the limits of a pass that is not made.
pub(crate) struct Question<'a> {
    /// None: nothing is swept (C2).
    pub(crate) sweep: Option<&'a Slacks>,
    pub(crate) released_by: i64,
    pub(crate) now: i64,
}

pub(crate) async fn forecast(engine: &Engine, question: Question<'_>) -> Result<Forecast, MetadataError> {
    let mut forecast = Forecast::default();
    if let Some(slacks) = question.sweep {
        let cutoffs = cutoffs(engine, slacks, question.now).await?;
        let row = one(engine, TAGS, args![&cutoffs]).await?;
        forecast.tags = row.count(0)?;
        forecast.pins = row.count(1)? - forecast.tags;
        forecast.released = one(engine, RELEASED, args![&cutoffs]).await?.count(0)?;
    }
    let released_by = || args![question.released_by];
    forecast.manifests = one(engine, MANIFESTS, released_by()).await?.count(0)?;
    forecast.blobs = one(engine, BLOBS, released_by()).await?.count(0)?;
    forecast.fills = one(engine, FILLS, args![question.now]).await?.count(0)?;
    let row = one(engine, GARBAGE, args![question.now]).await?;
    (forecast.keys, forecast.bytes) = (row.count(0)?, row.count(1)?);
    Ok(forecast)
}

async fn cutoffs(engine: &Engine, slacks: &Slacks, now: i64) -> Result<Rows, MetadataError> {
    let mut cutoffs = Vec::new();
    for row in engine.fetch_all(ORGANIZATIONS, args![]).await? {
        let id = row.organization(0)?;
        let removed_at = if row.flag(2)? { Some(row.int(3)?) } else { None };
        if let Some(until) = sweep::cutoff(row.int(1)?, removed_at, slacks.of(id), now) {
            cutoffs.push((id.0, until));
        }
    }
    Rows::new(&cutoffs)
}

async fn one(engine: &Engine, statement: Statement, values: Vec<Value>) -> Result<Row, MetadataError> {
    engine
        .fetch_optional(statement, values)
        .await?
        .ok_or_else(|| MetadataError::Corrupt {
            action: statement.action,
            source: "no row in the answer".into(),
        })
}
