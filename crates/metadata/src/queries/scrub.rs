//! Comparing storage with what is recorded of it (O5): pages of what should be there, and the second look at what
//! seems to be missing on either side.

use std::collections::HashMap;

use quayside_oci::Digest;

use super::fill;
use crate::engine::{Engine, Transaction};
use crate::sql::{Rows, Statement, args, signed};
use crate::{KeyPlace, MetadataError, StoredKey, StoredTotal};

const STORED: Statement = Statement::new(
    "list stored blobs",
    "SELECT storage_key, digest, size FROM blob WHERE storage_key > $1 ORDER BY storage_key LIMIT $2",
);

const TOTAL: Statement = Statement::new(
    "count stored blobs",
    "SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM blob WHERE storage_key IS NOT NULL",
);

/// One statement, so that a key that moves from one place to the next is never between them.
const PLACES: Statement = Statement::new(
    "find storage keys",
    "SELECT w.value ->> 0, 0 FROM json_each($1) w CROSS JOIN blob b WHERE b.storage_key = w.value ->> 0
     UNION ALL
     SELECT w.value ->> 0, 1 FROM json_each($1) w CROSS JOIN fill f WHERE f.storage_key = w.value ->> 0
     UNION ALL
     SELECT w.value ->> 0, 2 FROM json_each($1) w CROSS JOIN garbage g WHERE g.storage_key = w.value ->> 0",
);

const DISCARD_UNKNOWN: Statement = Statement::new(
    "list unknown keys as garbage",
    "INSERT INTO garbage (storage_key, size, not_before)
     SELECT w.value ->> 0, CAST(w.value ->> 1 AS BIGINT), $2 FROM json_each($1) w
     WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.storage_key = w.value ->> 0)
       AND NOT EXISTS (SELECT 1 FROM fill f WHERE f.storage_key = w.value ->> 0)
     ON CONFLICT DO NOTHING
     RETURNING storage_key",
);

const WEIGH: Statement = Statement::new(
    "weigh garbage key",
    "UPDATE garbage SET size = $2 WHERE storage_key = $1",
);

/// What must stay cheap however much is stored.
#[cfg(test)]
pub(crate) const HOT: &[Statement] = &[STORED, PLACES, DISCARD_UNKNOWN, WEIGH];

pub(crate) async fn stored(
    engine: &Engine,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<StoredKey>, MetadataError> {
    let values = args![after.unwrap_or(""), i64::from(limit)];
    let rows = engine.fetch_all(STORED, values).await?;
    rows.iter()
        .map(|row| {
            Ok(StoredKey {
                key: row.text(0)?,
                digest: row.digest(1)?,
                size: row.count(2)?,
            })
        })
        .collect()
}

pub(crate) async fn total(engine: &Engine) -> Result<StoredTotal, MetadataError> {
    let Some(row) = engine.fetch_optional(TOTAL, args![]).await? else {
        return Ok(StoredTotal::default());
    };
    Ok(StoredTotal {
        blobs: row.count(0)?,
        bytes: row.count(1)?,
    })
}

pub(crate) async fn places(
    engine: &Engine,
    keys: &[(String,)],
) -> Result<HashMap<String, KeyPlace>, MetadataError> {
    let rows = engine.fetch_all(PLACES, args![&Rows::new(keys)?]).await?;
    rows.iter()
        .map(|row| {
            let place = match row.int(1)? {
                0 => KeyPlace::Blob,
                1 => KeyPlace::Fill,
                _ => KeyPlace::Garbage,
            };
            Ok((row.text(0)?, place))
        })
        .collect()
}

/// Keys with their sizes that are to become garbage.
pub(crate) struct Unknown {
    pub(crate) keys: Vec<(String, i64)>,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn discard_unknown(
    tx: &mut Transaction,
    unknown: &Unknown,
) -> Result<Vec<String>, MetadataError> {
    let values = args![&Rows::new(&unknown.keys)?, unknown.garbage_not_before];
    let rows = tx.fetch_all(DISCARD_UNKNOWN, values).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// Bytes that are there and wrong.
pub(crate) struct Wrong {
    pub(crate) digest: Digest,
    pub(crate) storage_key: String,
    pub(crate) size: u64,
    pub(crate) garbage_not_before: i64,
}

pub(crate) async fn forget_wrong(tx: &mut Transaction, wrong: &Wrong) -> Result<bool, MetadataError> {
    let forgotten = fill::Forgotten {
        digest: wrong.digest.clone(),
        storage_key: wrong.storage_key.clone(),
        garbage_not_before: wrong.garbage_not_before,
    };
    if !fill::forget(tx, &forgotten).await? {
        return Ok(false);
    }
    tx.execute(WEIGH, args![&wrong.storage_key, signed(wrong.size)])
        .await?;
    Ok(true)
}
