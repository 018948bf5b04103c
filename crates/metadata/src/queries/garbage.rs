//! The garbage list: keys whose bytes are to be deleted, from the entry to its end (G3).

use crate::engine::{Engine, Transaction};
use crate::sql::{Rows, Statement, args};
use crate::{Garbage, MetadataError};

/// How many fills one step gives up.
const STEP: i64 = 256;

const DUE: Statement = Statement::new(
    "read due garbage",
    "SELECT storage_key, size FROM garbage WHERE not_before <= $1 ORDER BY not_before LIMIT $2",
);

const FORGET: Statement = Statement::new(
    "forget garbage",
    "DELETE FROM garbage WHERE storage_key IN (SELECT value ->> 0 FROM json_each($1))",
);

const POSTPONE: Statement = Statement::new(
    "postpone garbage",
    "UPDATE garbage SET not_before = $2
     WHERE storage_key IN (SELECT value ->> 0 FROM json_each($1)) AND not_before < $2",
);

const BYTES: Statement = Statement::new(
    "weigh garbage",
    "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM garbage",
);

const EXPIRE_FILLS: Statement = Statement::new(
    "give up expired fills",
    "DELETE FROM fill WHERE token IN (
       SELECT token FROM fill WHERE expires_at < $1 ORDER BY expires_at LIMIT $2
       /* FOR UPDATE SKIP LOCKED */)
     AND expires_at < $1
     RETURNING storage_key, size",
);

const DISCARD: Statement = Statement::new(
    "list garbage",
    "INSERT INTO garbage (storage_key, size, not_before)
     SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), $2 FROM json_each($1)",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[DUE, FORGET, POSTPONE, EXPIRE_FILLS];

pub(crate) async fn due(engine: &Engine, now: i64, limit: u32) -> Result<Vec<Garbage>, MetadataError> {
    let rows = engine.fetch_all(DUE, args![now, i64::from(limit)]).await?;
    rows.iter()
        .map(|row| {
            Ok(Garbage {
                key: row.text(0)?,
                size: row.count(1)?,
            })
        })
        .collect()
}

pub(crate) async fn bytes(engine: &Engine) -> Result<u64, MetadataError> {
    let row = engine.fetch_optional(BYTES, args![]).await?;
    row.map_or(Ok(0), |row| row.count(0))
}

pub(crate) async fn forget(tx: &mut Transaction, keys: &[(String,)]) -> Result<u64, MetadataError> {
    tx.execute(FORGET, args![&Rows::new(keys)?]).await
}

/// Keys that are to keep their bytes for a while longer.
pub(crate) struct Postponed {
    pub(crate) keys: Vec<(String,)>,
    pub(crate) not_before: i64,
}

pub(crate) async fn postpone(tx: &mut Transaction, postponed: &Postponed) -> Result<u64, MetadataError> {
    let values = args![&Rows::new(&postponed.keys)?, postponed.not_before];
    tx.execute(POSTPONE, values).await
}

/// When fills count as dead, and when their bytes may go.
pub(crate) struct Expiry {
    pub(crate) now: i64,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn expire_fills(tx: &mut Transaction, expiry: &Expiry) -> Result<u64, MetadataError> {
    let mut keys = Vec::new();
    for row in tx.fetch_all(EXPIRE_FILLS, args![expiry.now, STEP]).await? {
        keys.push((row.text(0)?, row.int(1)?));
    }
    if !keys.is_empty() {
        tx.execute(DISCARD, args![&Rows::new(&keys)?, expiry.garbage_not_before])
            .await?;
    }
    Ok(keys.len() as u64)
}
