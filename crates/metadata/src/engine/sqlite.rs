//! `SQLite`: one file, one process, one writer.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, error::DatabaseError};

use crate::MetadataError;
use crate::schema::{self, Words};
use crate::sql::{Cells, Row, Statement, Value};

/// Numbers are never given twice: what is remembered of a row that went must not come to mean another.
const WORDS: Words = Words {
    id: "INTEGER PRIMARY KEY AUTOINCREMENT",
    blob: "BLOB",
    text: "TEXT",
};

/// Readers wait for nobody in WAL mode, so a few connections keep two cores busy.
const READERS: u32 = 4;

/// How long a call waits for its turn before the database counts as unavailable.
const TURN: Duration = Duration::from_secs(10);

/// A database file that this process alone has open.
#[derive(Debug)]
pub(crate) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Locked while the file is open; the lock goes with the process.
    lock: File,
}

impl Sqlite {
    pub(crate) async fn open(path: &Path) -> Result<Self, MetadataError> {
        let lock = lock_beside(path)?;
        // The file holds the generated signing key: it is ours alone from its first moment on. Its
        // companions inherit the mode.
        private_file(path)?;

        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        let writer = pool(1)
            .connect_with(options.clone())
            .await
            .map_err(|source| classify("open database", source))?;
        schema::migrator(&WORDS)
            .run(&writer)
            .await
            .map_err(migration_failed)?;
        let readers = pool(READERS)
            .connect_with(options.read_only(true))
            .await
            .map_err(|source| classify("open database for reading", source))?;
        Ok(Self {
            writer,
            readers,
            lock,
        })
    }

    pub(crate) async fn close(&self) {
        self.readers.close().await;
        // The last connection to close folds the write-ahead log into the file.
        self.writer.close().await;
        // Nobody can be told of a failure here, and the lock goes with the process anyway.
        let _ = self.lock.unlock();
    }

    pub(crate) async fn fetch_optional(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, MetadataError> {
        let row = query(statement, values).fetch_optional(&self.readers).await;
        row.map(|row| row.map(|row| wrap(statement, row)))
            .map_err(|source| classify(statement.action, source))
    }

    pub(crate) async fn fetch_all(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        let rows = query(statement, values).fetch_all(&self.readers).await;
        rows.map(|rows| rows.into_iter().map(|row| wrap(statement, row)).collect())
            .map_err(|source| classify(statement.action, source))
    }

    /// Counts the instructions of the virtual machine that runs statements, of every connection from now
    /// on. Each row that is read takes one at least, and how long an instruction takes does not matter.
    #[cfg(test)]
    pub(crate) async fn count_instructions(&self) -> std::sync::Arc<std::sync::atomic::AtomicU64> {
        use std::sync::atomic::{AtomicU64, Ordering};

        let count = std::sync::Arc::new(AtomicU64::new(0));
        let mut connections = vec![self.writer.acquire().await.unwrap()];
        for _ in 0..READERS {
            connections.push(self.readers.acquire().await.unwrap());
        }
        for connection in &mut connections {
            let count = std::sync::Arc::clone(&count);
            let mut handle = connection.lock_handle().await.unwrap();
            handle.set_progress_handler(1, move || {
                count.fetch_add(1, Ordering::Relaxed);
                true
            });
        }
        count
    }

    pub(crate) async fn begin(&self) -> Result<SqliteTransaction, MetadataError> {
        // Taking the write lock at once makes every later statement free of "locked".
        SqliteTransaction::begin(&self.writer, "begin transaction", "BEGIN IMMEDIATE").await
    }

    /// A transaction that only reads, all of it as of its first statement.
    pub(crate) async fn begin_snapshot(&self) -> Result<SqliteTransaction, MetadataError> {
        SqliteTransaction::begin(&self.readers, "begin snapshot", "BEGIN").await
    }
}

/// A transaction of the writer or of a reader.
///
/// sqlx has transactions of its own, but counts their depth: `SQLite` ends a transaction by itself when it cannot write
/// (full disk, I/O error), and the depth of such a connection would be wrong for good. A connection whose state is
/// not known for certain is closed instead, which rolls back whatever is open, and the pool opens another one.
pub(crate) struct SqliteTransaction {
    connection: PoolConnection<sqlx::Sqlite>,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    /// There may be an open transaction.
    Unclear,
    /// There is none: committed or rolled back.
    Over,
}

impl Drop for SqliteTransaction {
    fn drop(&mut self) {
        if self.state == State::Unclear {
            self.connection.close_on_drop();
        }
    }
}

impl SqliteTransaction {
    async fn begin(
        pool: &SqlitePool,
        action: &'static str,
        sql: &'static str,
    ) -> Result<Self, MetadataError> {
        let connection = pool.acquire().await;
        let connection = connection.map_err(|source| classify(action, source))?;
        let mut transaction = Self {
            connection,
            state: State::Unclear,
        };
        transaction.control(action, sql).await?;
        Ok(transaction)
    }

    pub(crate) async fn execute(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<u64, MetadataError> {
        let result = query(statement, values).execute(&mut *self.connection).await;
        result
            .map(|result| result.rows_affected())
            .map_err(|source| classify(statement.action, source))
    }

    pub(crate) async fn fetch_optional(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, MetadataError> {
        let row = query(statement, values)
            .fetch_optional(&mut *self.connection)
            .await;
        row.map(|row| row.map(|row| wrap(statement, row)))
            .map_err(|source| classify(statement.action, source))
    }

    pub(crate) async fn fetch_all(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        let rows = query(statement, values).fetch_all(&mut *self.connection).await;
        rows.map(|rows| rows.into_iter().map(|row| wrap(statement, row)).collect())
            .map_err(|source| classify(statement.action, source))
    }

    pub(crate) async fn commit(mut self) -> Result<(), MetadataError> {
        self.control("commit transaction", "COMMIT").await?;
        self.state = State::Over;
        Ok(())
    }

    pub(crate) async fn roll_back(mut self) {
        // If this fails the connection is closed; the first error is the one to report.
        if self.control("roll back transaction", "ROLLBACK").await.is_ok() {
            self.state = State::Over;
        }
    }

    /// Begins or ends the transaction.
    async fn control(&mut self, action: &'static str, sql: &'static str) -> Result<(), MetadataError> {
        let done = sqlx::query(sql).execute(&mut *self.connection).await;
        done.map(drop).map_err(|source| classify(action, source))
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(TURN)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

fn query(statement: Statement, values: Vec<Value>) -> Query<'static, sqlx::Sqlite, SqliteArguments> {
    let query = sqlx::query(statement.sql);
    values.into_iter().fold(query, |query, value| match value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::OptionalText(value) => query.bind(value),
        Value::Flag(value) => query.bind(value),
        Value::Bytes(value) => query.bind(Vec::from(value)),
    })
}

fn wrap(statement: Statement, row: SqliteRow) -> Row {
    Row {
        action: statement.action,
        row: Cells::Sqlite(row),
    }
}

/// Takes the lock that keeps a second process away (C4).
fn lock_beside(path: &Path) -> Result<File, MetadataError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let lock = private_file(&beside)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(MetadataError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(MetadataError::Open { path: beside, source }),
    }
}

/// Opens a file that only we may read, and makes it, and the directory it is in, if need be.
fn private_file(path: &Path) -> Result<File, MetadataError> {
    let failed = |source: io::Error| MetadataError::Open {
        path: path.to_owned(),
        source,
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)
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
    use sqlx::Error;
    match &source {
        Error::Database(error) => match primary_code(error.as_ref()) {
            // BUSY LOCKED NOMEM READONLY INTERRUPT IOERR FULL CANTOPEN: the state of the system.
            Some(5..=10 | 13 | 14) => MetadataError::Unavailable {
                action,
                source: source.into(),
            },
            // CORRUPT NOTADB: the state of the file.
            Some(11 | 26) => MetadataError::Corrupt {
                action,
                source: source.into(),
            },
            _ => MetadataError::Failed {
                action,
                source: source.into(),
            },
        },
        Error::Io(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => {
            MetadataError::Unavailable {
                action,
                source: source.into(),
            }
        }
        _ => MetadataError::Failed {
            action,
            source: source.into(),
        },
    }
}

/// The low byte of `SQLite`'s result code; the rest only refines it.
fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    let code: i32 = error.code()?.parse().ok()?;
    Some(code & 0xff)
}
