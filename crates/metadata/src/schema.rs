//! The tables, made or brought up to date when a database is opened.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The words in which the engines' table definitions differ.
pub(crate) struct Words {
    /// A number that the engine gives to each row.
    pub(crate) id: &'static str,
    /// Bytes.
    pub(crate) blob: &'static str,
    /// Text that is compared byte by byte.
    pub(crate) text: &'static str,
}

/// Every migration ever released, oldest first. A released one never changes.
///
/// Processes of the release before go on while one runs, and after it: it only adds what they do not mind. What is
/// obsolete goes in the release after that.
const MIGRATIONS: &[(i64, &str, &str)] = &[(1, "tables", include_str!("../migrations/0001_tables.sql"))];

/// The migrations in an engine's words.
pub(crate) fn migrator(words: &Words) -> Migrator {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        let sql = sql
            .replace("$ID", words.id)
            .replace("$BLOB", words.blob)
            .replace("$TEXT", words.text);
        Migration::new(
            *version,
            (*description).into(),
            MigrationType::Simple,
            sqlx::AssertSqlSafe(sql).into_sql_str(),
            false,
        )
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    // During a rolling upgrade processes of the version before go on, and may start again.
    migrator.set_ignore_missing(true);
    migrator
}
