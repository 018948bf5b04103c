//! Statements, values and rows, the same for both engines.
//!
//! The query files are written once, in the SQL that `SQLite` and `PostgreSQL` share. What they do not
//! share is spelled the `SQLite` way and is for an engine to translate as it prepares a statement:
//!
//! - `json_each($n)`: a [`Rows`] parameter as a table whose `value` is one row, read with
//!   `value ->> 0` and a CAST where it is a number. `jsonb_array_elements($n::jsonb)` elsewhere.
//! - `/* FOR UPDATE */`, `/* FOR UPDATE SKIP LOCKED */`, `/* FOR NO KEY UPDATE */`, `/* FOR SHARE */`: the row
//!   lock where writers are many; the single writer needs none.
//!
//! `CROSS JOIN` means a join in the written order, for `SQLite`'s planner, which knows nothing of how
//! many rows a table has. `PostgreSQL`'s knows, and takes it for an inner join.

use bytes::Bytes;
use quayside_oci::Digest;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Postgres, Row as _, Sqlite};

use crate::{ManifestId, MetadataError, OrganizationId, RepositoryId};

/// One statement, and what it is for, verb first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Statement {
    pub(crate) action: &'static str,
    pub(crate) sql: &'static str,
}

impl Statement {
    pub(crate) const fn new(action: &'static str, sql: &'static str) -> Self {
        Self { action, sql }
    }
}

/// A parameter of a statement.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(i64),
    Text(String),
    OptionalText(Option<String>),
    Flag(bool),
    Bytes(Bytes),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<OrganizationId> for Value {
    fn from(value: OrganizationId) -> Self {
        Self::Int(value.0)
    }
}

impl From<RepositoryId> for Value {
    fn from(value: RepositoryId) -> Self {
        Self::Int(value.0)
    }
}

impl From<ManifestId> for Value {
    fn from(value: ManifestId) -> Self {
        Self::Int(value.0)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<&Digest> for Value {
    fn from(value: &Digest) -> Self {
        Self::Text(value.as_str().to_owned())
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::OptionalText(value.clone())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl From<&Bytes> for Value {
    fn from(value: &Bytes) -> Self {
        Self::Bytes(value.clone())
    }
}

impl From<&Rows> for Value {
    fn from(value: &Rows) -> Self {
        Self::Text(value.0.clone())
    }
}

/// A table as one parameter: a JSON array of rows, each an array of columns.
#[derive(Clone, Debug)]
pub(crate) struct Rows(String);

impl Rows {
    /// `rows` are tuples or arrays.
    pub(crate) fn new<R: Serialize>(rows: &[R]) -> Result<Self, MetadataError> {
        let json = serde_json::to_string(rows).map_err(|source| MetadataError::Failed {
            action: "encode statement parameter",
            source: source.into(),
        })?;
        Ok(Self(json))
    }

    /// A table of one column of manifests.
    pub(crate) fn manifests(manifests: &[ManifestId]) -> Result<Self, MetadataError> {
        let rows: Vec<(i64,)> = manifests.iter().map(|manifest| (manifest.0,)).collect();
        Self::new(&rows)
    }
}

/// The parameters of a statement, `$1` first.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::sql::Value::from($value)),*] };
}
pub(crate) use args;

/// One row of an answer. Columns count from 0.
pub(crate) struct Row {
    pub(crate) action: &'static str,
    pub(crate) row: Cells,
}

/// The values of a row, as its engine gives them.
pub(crate) enum Cells {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    fn get<'r, T>(&'r self, column: usize) -> Result<T, MetadataError>
    where
        T: sqlx::Decode<'r, Sqlite> + sqlx::Decode<'r, Postgres>,
    {
        match &self.row {
            Cells::Sqlite(row) => row.try_get_unchecked(column),
            Cells::Postgres(row) => row.try_get_unchecked(column),
        }
        .map_err(|source| self.corrupt(source))
    }

    /// The error for a value that we never write.
    pub(crate) fn corrupt(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> MetadataError {
        MetadataError::Corrupt {
            action: self.action,
            source: source.into(),
        }
    }

    pub(crate) fn int(&self, column: usize) -> Result<i64, MetadataError> {
        self.get(column)
    }

    /// A number of bytes or of things.
    pub(crate) fn count(&self, column: usize) -> Result<u64, MetadataError> {
        u64::try_from(self.int(column)?).map_err(|source| self.corrupt(source))
    }

    pub(crate) fn optional_count(&self, column: usize) -> Result<Option<u64>, MetadataError> {
        let value: Option<i64> = self.get(column)?;
        value
            .map(u64::try_from)
            .transpose()
            .map_err(|source| self.corrupt(source))
    }

    pub(crate) fn flag(&self, column: usize) -> Result<bool, MetadataError> {
        self.get(column)
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, MetadataError> {
        self.get(column)
    }

    pub(crate) fn optional_text(&self, column: usize) -> Result<Option<String>, MetadataError> {
        self.get(column)
    }

    pub(crate) fn bytes(&self, column: usize) -> Result<Vec<u8>, MetadataError> {
        self.get(column)
    }

    pub(crate) fn digest(&self, column: usize) -> Result<Digest, MetadataError> {
        let text: &str = self.get(column)?;
        Digest::parse(text).map_err(|source| self.corrupt(source))
    }

    pub(crate) fn manifest(&self, column: usize) -> Result<ManifestId, MetadataError> {
        Ok(ManifestId(self.int(column)?))
    }

    pub(crate) fn repository(&self, column: usize) -> Result<RepositoryId, MetadataError> {
        Ok(RepositoryId(self.int(column)?))
    }

    pub(crate) fn organization(&self, column: usize) -> Result<OrganizationId, MetadataError> {
        Ok(OrganizationId(self.int(column)?))
    }
}

/// A size as the engines keep it. Sizes are bounded far below (M12), so nothing is cut off.
pub(crate) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
