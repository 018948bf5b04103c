//! `PostgreSQL`: one server, any number of processes.
//!
//! READ COMMITTED with the row locks that the queries name. Whatever two transactions do to each other all the
//! same is told by a code, and the whole transaction is run again (ENGINE §1.3).
//!
//! A server that does not answer holds nobody for long (O2): a call waits [`TURN`] for a connection that works, and
//! no longer for a statement than the server itself is told to take.

mod failure;
mod transaction;
mod words;

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Postgres as Dialect, SqlSafeStr};

use crate::MetadataError;
use crate::schema::{self, Words};
use crate::sql::{Cells, Row, Statement, Value};
use failure::{bounded, classify, is_broken, migration_failed, spoils};
pub(crate) use transaction::{Again, PostgresTransaction};
use transaction::{READ, WRITE};

const WORDS: Words = Words {
    id: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    blob: "BYTEA",
    // Names, digests and keys are compared and listed byte by byte, whatever the database's own order is.
    text: "TEXT COLLATE \"C\"",
};

/// How long a call waits for a connection before the database counts as unavailable.
const TURN: Duration = Duration::from_secs(3);
/// A connection that was used a moment ago is taken to work. Another one is asked, for at most [`PING`].
const FRESH: Duration = Duration::from_secs(1);
const PING: Duration = Duration::from_secs(1);
/// Before a middlebox forgets it.
const IDLE: Duration = Duration::from_mins(4);
/// How long the server takes over a statement, the locks that it waits for included.
const STATEMENT: Duration = Duration::from_secs(10);
/// The same where everything may have to be read, for nobody who waits.
const LONG_STATEMENT: Duration = Duration::from_mins(10);
/// How much later than the server we lose patience: only if it says nothing at all.
const PATIENCE: Duration = Duration::from_secs(2);

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
    connections: u32,
    /// Statements in this engine's words, by the words they are written in.
    translated: RwLock<HashMap<&'static str, Arc<str>>>,
}

impl Postgres {
    pub(crate) async fn open(settings: &PostgresSettings) -> Result<Self, MetadataError> {
        let url = settings.url.expose_secret();
        if !(url.starts_with("postgres://") || url.starts_with("postgresql://")) {
            return Err(MetadataError::Url);
        }
        let options = PgConnectOptions::from_str(url)
            // The text of the error repeats parts of the URL.
            .map_err(|_| MetadataError::Url)?
            .application_name("quayside")
            .disable_statement_logging();
        migrate(options.clone()).await?;
        let options = options.options([
            ("statement_timeout", millis(STATEMENT)),
            ("idle_in_transaction_session_timeout", millis(STATEMENT)),
            // What it estimates of our lists of parameters is far too much: that neither a scan of a table nor a
            // program compiled for the plan ever pays.
            ("random_page_cost", "1.1".to_owned()),
            ("jit", "off".to_owned()),
        ]);
        Ok(Self {
            pool: pool(settings.connections).connect_lazy_with(options),
            connections: settings.connections,
            translated: RwLock::default(),
        })
    }

    pub(crate) async fn close(&self) {
        // A server that is silent is not waited for; the process is about to end.
        let _ = tokio::time::timeout(TURN, self.pool.close()).await;
    }

    pub(crate) async fn fetch_optional(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, MetadataError> {
        let read = self.read(statement, values, |query, connection| {
            Box::pin(query.fetch_optional(connection))
        });
        Ok(read.await?.map(|row| wrap(statement, row)))
    }

    pub(crate) async fn fetch_all(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        let read = self.read(statement, values, |query, connection| {
            Box::pin(query.fetch_all(connection))
        });
        let rows = read.await?;
        Ok(rows.into_iter().map(|row| wrap(statement, row)).collect())
    }

    /// Runs a statement that changes nothing. A connection that the server has closed meanwhile says nothing about
    /// the server, so the next one is tried.
    async fn read<T, F>(&self, statement: Statement, values: Vec<Value>, run: F) -> Result<T, MetadataError>
    where
        F: for<'c> Fn(Prepared, &'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    {
        let mut stale = 0;
        loop {
            let mut connection = self.connection(statement.action).await?;
            let query = self.query(statement, values.clone());
            let answer = bounded(STATEMENT + PATIENCE, run(query, &mut connection)).await;
            let Err(error) = answer else {
                return answer.map_err(|source| classify(statement.action, source));
            };
            if spoils(&error) {
                connection.close_on_drop();
            }
            if stale == self.connections || !is_broken(&error) {
                return Err(classify(statement.action, error));
            }
            stale += 1;
        }
    }

    pub(crate) async fn begin(self: &Arc<Self>) -> Result<PostgresTransaction, MetadataError> {
        PostgresTransaction::begin(self, &WRITE).await
    }

    /// A transaction that only reads, all of it as of its first statement.
    pub(crate) async fn begin_snapshot(self: &Arc<Self>) -> Result<PostgresTransaction, MetadataError> {
        PostgresTransaction::begin(self, &READ).await
    }

    async fn connection(&self, action: &'static str) -> Result<PoolConnection<Dialect>, MetadataError> {
        let connection = self.pool.acquire().await;
        connection.map_err(|source| classify(action, source))
    }

    fn query(&self, statement: Statement, values: Vec<Value>) -> Prepared {
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
        Arc::clone(
            known
                .entry(sql)
                .or_insert_with(|| words::in_our_words(sql).into()),
        )
    }
}

type Prepared = Query<'static, Dialect, PgArguments>;

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(TURN)
        .idle_timeout(IDLE)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for >= FRESH {
                    bounded(PING, connection.ping()).await?;
                }
                Ok(true)
            })
        })
}

/// Makes or updates the tables. Of several processes that start at once one does it, under an advisory lock, and the
/// others wait as long as it takes: on a connection that has no limit for statements.
async fn migrate(options: PgConnectOptions) -> Result<(), MetadataError> {
    let alone = pool(1)
        .connect_with(options)
        .await
        .map_err(|source| classify("open database", source))?;
    let migrator = schema::migrator(&WORDS);
    let migrated = if is_current(&alone, &migrator).await {
        Ok(())
    } else {
        migrator.run(&alone).await
    };
    alone.close().await;
    migrated.map_err(migration_failed)
}

/// Whether there is nothing to migrate. The migrator would find so as well, but not without the right to make tables.
async fn is_current(pool: &PgPool, migrator: &Migrator) -> bool {
    let applied = sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations");
    // If that fails, or one is not as it was released, the migrator says why.
    let applied: Vec<(i64, Vec<u8>, bool)> = applied.fetch_all(pool).await.unwrap_or_default();
    applied.iter().all(|(.., success)| *success)
        && migrator.iter().all(|known| {
            let mut applied = applied.iter();
            applied.any(|(version, checksum, _)| *version == known.version && **checksum == *known.checksum)
        })
}

fn millis(limit: Duration) -> String {
    format!("{}ms", limit.as_millis())
}

fn wrap(statement: Statement, row: PgRow) -> Row {
    Row {
        action: statement.action,
        row: Cells::Postgres(row),
    }
}
