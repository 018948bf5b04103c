//! `PostgreSQL`: one server, any number of processes.
//!
//! READ COMMITTED with the row locks that the queries name. Whatever two transactions do to each other all the
//! same is told by a code, and the whole transaction is run again (ENGINE §1.3).

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Postgres as Dialect, SqlSafeStr};

use crate::MetadataError;
use crate::schema::{self, Words};
use crate::sql::{Cells, Row, Statement, Value};

const WORDS: Words = Words {
    id: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    blob: "BYTEA",
    // Names, digests and keys are compared and listed byte by byte, whatever the database's own order is.
    text: "TEXT COLLATE \"C\"",
};

/// How long a call waits for a connection before the database counts as unavailable.
const TURN: Duration = Duration::from_secs(5);
/// A server that hangs must not hold a request for long either.
const STATEMENT_LIMIT: &str = "10s";

/// How a database is reached.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database?sslmode=verify-full&sslrootcert=/path`.
    pub url: SecretString,
    /// The most connections that one process opens.
    pub connections: u32,
}

/// A database that other processes use as well.
#[derive(Debug)]
pub(crate) struct Postgres {
    pool: PgPool,
    /// Statements in this engine's words, by the words they are written in.
    translated: RwLock<HashMap<&'static str, Arc<str>>>,
}

impl Postgres {
    pub(crate) async fn open(settings: &PostgresSettings) -> Result<Self, MetadataError> {
        let options = PgConnectOptions::from_str(settings.url.expose_secret())
            // The text of the error repeats parts of the URL.
            .map_err(|_| MetadataError::Url)?
            .application_name("quayside")
            .options([
                ("statement_timeout", STATEMENT_LIMIT),
                ("idle_in_transaction_session_timeout", STATEMENT_LIMIT),
            ])
            .disable_statement_logging();
        let pool = PgPoolOptions::new()
            .max_connections(settings.connections)
            .acquire_timeout(TURN)
            // What fails on a connection that the server has closed is tried again on another one.
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .map_err(|source| classify("open database", source))?;
        // Under an advisory lock; of several processes that start at once one does it.
        schema::migrator(&WORDS)
            .run(&pool)
            .await
            .map_err(migration_failed)?;
        Ok(Self {
            pool,
            translated: RwLock::default(),
        })
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }

    pub(crate) async fn fetch_optional(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, MetadataError> {
        let mut found = self
            .query(statement, values.clone())
            .fetch_optional(&self.pool)
            .await;
        if found.as_ref().is_err_and(is_broken) {
            found = self.query(statement, values).fetch_optional(&self.pool).await;
        }
        found
            .map(|row| row.map(|row| wrap(statement, row)))
            .map_err(|source| classify(statement.action, source))
    }

    pub(crate) async fn fetch_all(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        let mut found = self.query(statement, values.clone()).fetch_all(&self.pool).await;
        if found.as_ref().is_err_and(is_broken) {
            found = self.query(statement, values).fetch_all(&self.pool).await;
        }
        found
            .map(|rows| rows.into_iter().map(|row| wrap(statement, row)).collect())
            .map_err(|source| classify(statement.action, source))
    }

    pub(crate) async fn begin(self: &Arc<Self>) -> Result<PostgresTransaction, MetadataError> {
        self.begin_with("begin transaction", "BEGIN").await
    }

    /// A transaction that only reads, all of it as of its first statement.
    pub(crate) async fn begin_snapshot(self: &Arc<Self>) -> Result<PostgresTransaction, MetadataError> {
        let statement = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        self.begin_with("begin snapshot", statement).await
    }

    async fn begin_with(
        self: &Arc<Self>,
        action: &'static str,
        statement: &'static str,
    ) -> Result<PostgresTransaction, MetadataError> {
        let begun = self.pool.begin_with(statement).await;
        Ok(PostgresTransaction {
            engine: Arc::clone(self),
            transaction: begun.map_err(|source| classify(action, source))?,
            again: Again::No,
        })
    }

    fn query(&self, statement: Statement, values: Vec<Value>) -> Query<'static, Dialect, PgArguments> {
        let sql = self.translate(statement.sql);
        let query = sqlx::query(AssertSqlSafe(sql).into_sql_str());
        values.into_iter().fold(query, |query, value| match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::OptionalText(value) => query.bind(value),
            Value::Flag(value) => query.bind(value),
            Value::Bytes(value) => query.bind(Vec::from(value)),
        })
    }

    fn translate(&self, sql: &'static str) -> Arc<str> {
        let known = self.translated.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(sql) = known.get(sql) {
            return Arc::clone(sql);
        }
        drop(known);
        let mut known = self.translated.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(sql).or_insert_with(|| in_our_words(sql).into()))
    }
}

/// Whether a transaction that failed is worth a second run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    No,
    /// Another one was in its way, or its connection broke before the commit was sent: nothing has happened.
    Yes,
}

/// A write transaction. Dropped, it is rolled back.
pub(crate) struct PostgresTransaction {
    engine: Arc<Postgres>,
    transaction: sqlx::Transaction<'static, Dialect>,
    again: Again,
}

impl PostgresTransaction {
    pub(crate) async fn execute(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<u64, MetadataError> {
        let query = self.engine.query(statement, values);
        let result = query.execute(&mut *self.transaction).await;
        result
            .map(|result| result.rows_affected())
            .map_err(|source| self.failed(statement.action, source))
    }

    pub(crate) async fn fetch_optional(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, MetadataError> {
        let query = self.engine.query(statement, values);
        let row = query.fetch_optional(&mut *self.transaction).await;
        row.map(|row| row.map(|row| wrap(statement, row)))
            .map_err(|source| self.failed(statement.action, source))
    }

    pub(crate) async fn fetch_all(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        let query = self.engine.query(statement, values);
        let rows = query.fetch_all(&mut *self.transaction).await;
        rows.map(|rows| rows.into_iter().map(|row| wrap(statement, row)).collect())
            .map_err(|source| self.failed(statement.action, source))
    }

    pub(crate) async fn commit(self) -> Result<(), MetadataError> {
        let committed = self.transaction.commit().await;
        committed.map_err(|source| classify("commit transaction", source))
    }

    pub(crate) async fn roll_back(self) {
        // If this fails the connection is closed; the first error is the one to report.
        let _ = self.transaction.rollback().await;
    }

    /// Whether to run the transaction again.
    pub(crate) fn again(&self) -> Again {
        self.again
    }

    fn failed(&mut self, action: &'static str, source: sqlx::Error) -> MetadataError {
        if is_conflict(&source) || is_broken(&source) {
            self.again = Again::Yes;
        }
        classify(action, source)
    }
}

/// The statement as `PostgreSQL` spells it, see `sql.rs`.
fn in_our_words(sql: &str) -> String {
    let sql = sql
        .replace("/* FOR UPDATE */", "FOR UPDATE")
        .replace("/* FOR UPDATE SKIP LOCKED */", "FOR UPDATE SKIP LOCKED");
    let mut translated = String::with_capacity(sql.len() + 64);
    let mut rest = sql.as_str();
    while let Some((before, after)) = rest.split_once("json_each(") {
        let (parameter, after) = after.split_once(')').unwrap_or((after, ""));
        translated.push_str(before);
        translated.push_str("jsonb_array_elements(");
        translated.push_str(parameter);
        translated.push_str("::jsonb)");
        rest = after;
    }
    translated.push_str(rest);
    translated
}

fn wrap(statement: Statement, row: PgRow) -> Row {
    Row {
        action: statement.action,
        row: Cells::Postgres(row),
    }
}

/// The connection is gone, not necessarily the server: it was restarted, or a proxy between has closed it.
fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // admin_shutdown, crash_shutdown, cannot_connect_now, connection_failure and the like.
        sqlx::Error::Database(error) => code(error.as_ref())
            .is_some_and(|code| code.starts_with("08") || ["57P01", "57P02"].contains(&code)),
        _ => false,
    }
}

/// Serialization failure, deadlock, foreign key, unique: two transactions were in each other's way.
fn is_conflict(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    code(error.as_ref()).is_some_and(|code| ["40001", "40P01", "23503", "23505"].contains(&code))
}

fn migration_failed(source: MigrateError) -> MetadataError {
    let action = "migrate database";
    match source {
        MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => classify(action, source),
        source => MetadataError::Failed {
            action,
            source: source.into(),
        },
    }
}

/// What an error means for the caller.
fn classify(action: &'static str, source: sqlx::Error) -> MetadataError {
    let unavailable = match &source {
        sqlx::Error::Database(error) => code(error.as_ref()).is_some_and(is_state_of_the_server),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => false,
    };
    let source = source.into();
    if unavailable {
        MetadataError::Unavailable { action, source }
    } else {
        MetadataError::Failed { action, source }
    }
}

/// Connections, resources, shutdowns, a standby that cannot write, limits of time, and conflicts that were not
/// resolved by trying again: none of them is a fault of a statement.
fn is_state_of_the_server(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    ["08", "53", "57", "58", "40"].contains(&class) || ["25006", "55P03", "25P03"].contains(&code)
}

fn code(error: &dyn DatabaseError) -> Option<&str> {
    error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .map(sqlx::postgres::PgDatabaseError::code)
}

#[cfg(test)]
mod tests {
    use super::in_our_words;

    #[test]
    fn lists_and_locks_are_spelled_the_other_way() {
        assert_eq!(
            in_our_words("SELECT value ->> 0 FROM json_each($12) WHERE a IN (b) /* FOR UPDATE */"),
            "SELECT value ->> 0 FROM jsonb_array_elements($12::jsonb) WHERE a IN (b) FOR UPDATE"
        );
        assert_eq!(
            in_our_words("x /* FOR UPDATE SKIP LOCKED */"),
            "x FOR UPDATE SKIP LOCKED"
        );
    }
}
