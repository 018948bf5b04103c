//! Single values that the registry keeps: generated keys, the storage id.

use crate::MetadataError;
use crate::engine::{Engine, Transaction};
use crate::sql::{Statement, Value, args};

const READ: Statement = Statement::new("read setting", "SELECT value FROM setting WHERE name = $1");

const INSERT: Statement = Statement::new(
    "insert setting",
    "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING",
);

const REPLACE: Statement = Statement::new(
    "replace setting",
    "INSERT INTO setting (name, value) VALUES ($1, $2)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
);

pub(crate) async fn read(engine: &Engine, name: &str) -> Result<Option<Vec<u8>>, MetadataError> {
    let row = engine.fetch_optional(READ, args![name]).await?;
    row.map(|row| row.bytes(0)).transpose()
}

/// A setting to be stored.
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: bytes::Bytes,
}

pub(crate) async fn read_or_insert(
    tx: &mut Transaction,
    setting: &Setting,
) -> Result<Vec<u8>, MetadataError> {
    let values: Vec<Value> = args![&setting.name, &setting.value];
    tx.execute(INSERT, values).await?;
    tx.fetch_one(READ, args![&setting.name]).await?.bytes(0)
}

pub(crate) async fn replace(tx: &mut Transaction, setting: &Setting) -> Result<(), MetadataError> {
    tx.execute(REPLACE, args![&setting.name, &setting.value]).await?;
    Ok(())
}
