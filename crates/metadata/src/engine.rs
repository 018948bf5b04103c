//! The engine behind the queries: reads on their own, writes in transactions.

mod postgres;
mod sqlite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use quayside_failpoints::Steps;

use crate::MetadataError;
use crate::sql::{Row, Statement, Value};
pub use postgres::PostgresSettings;
use postgres::{Again, Postgres, PostgresTransaction};
use sqlite::{Sqlite, SqliteTransaction};

/// The engines that there are.
#[derive(Debug)]
pub(crate) enum Engine {
    Sqlite(Sqlite),
    Postgres(Arc<Postgres>),
}

/// How often a transaction is run that others are in the way of.
const ATTEMPTS: u32 = 4;

/// How long it waits, once, twice and three times, so that they can go on.
const PAUSE: Duration = Duration::from_millis(10);

impl Engine {
    pub(crate) async fn open_sqlite(path: &Path) -> Result<Self, MetadataError> {
        Ok(Self::Sqlite(Sqlite::open(path).await?))
    }

    pub(crate) async fn open_postgres(settings: &PostgresSettings) -> Result<Self, MetadataError> {
        Ok(Self::Postgres(Arc::new(Postgres::open(settings).await?)))
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(engine) => engine.close().await,
            Self::Postgres(engine) => engine.close().await,
        }
    }

    /// One read of one row, outside any transaction.
    pub(crate) async fn fetch_optional(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, MetadataError> {
        match self {
            Self::Sqlite(engine) => engine.fetch_optional(statement, values).await,
            Self::Postgres(engine) => engine.fetch_optional(statement, values).await,
        }
    }

    /// One read of many rows, outside any transaction.
    pub(crate) async fn fetch_all(
        &self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        match self {
            Self::Sqlite(engine) => engine.fetch_all(statement, values).await,
            Self::Postgres(engine) => engine.fetch_all(statement, values).await,
        }
    }

    /// Runs `work` in a transaction and commits it if it succeeds.
    ///
    /// It runs as a task of its own: a caller that goes away neither cuts the work short nor leaves
    /// the writer inside a transaction. `work` can be run again, for engines that ask for a retry.
    pub(crate) async fn write<D, T, E, F>(self: &Arc<Self>, data: D, work: F) -> Result<T, E>
    where
        D: Send + Sync + 'static,
        T: Send + 'static,
        E: From<MetadataError> + Send + 'static,
        F: for<'t> Fn(&'t mut Transaction, &'t D) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        let engine = Arc::clone(self);
        let task = tokio::spawn(async move {
            for attempt in 1..ATTEMPTS {
                if let Run::Ended(result) = engine.attempt(&data, &work).await {
                    return result;
                }
                tokio::time::sleep(PAUSE * attempt).await;
            }
            match engine.attempt(&data, &work).await {
                Run::Ended(result) => result,
                Run::Conflicted(error) => Err(error),
            }
        });
        task.await
            .unwrap_or_else(|failure| Err(interrupted(failure).into()))
    }

    async fn attempt<D, T, E, F>(&self, data: &D, work: &F) -> Run<T, E>
    where
        E: From<MetadataError>,
        F: for<'t> Fn(&'t mut Transaction, &'t D) -> BoxFuture<'t, Result<T, E>>,
    {
        let mut transaction = match self.begin(Steps::of::<F>()).await {
            Ok(transaction) => transaction,
            Err(error) => return Run::Ended(Err(error.into())),
        };
        match work(&mut transaction, data).await {
            Ok(value) => Run::Ended(transaction.commit().await.map(|()| value).map_err(E::from)),
            Err(error) => {
                let again = transaction.again();
                transaction.roll_back().await;
                match again {
                    Again::No => Run::Ended(Err(error)),
                    Again::Yes => Run::Conflicted(error),
                }
            }
        }
    }

    /// Runs `work` on the database as it is at one moment. It may change nothing. Writers do not wait for it, nor it
    /// for them; but what the log of writes has had since cannot be dropped from it before it ends.
    pub(crate) async fn snapshot<D, T, E, F>(&self, data: &D, work: F) -> Result<T, E>
    where
        E: From<MetadataError>,
        F: for<'t> FnOnce(&'t mut Transaction, &'t D) -> BoxFuture<'t, Result<T, E>>,
    {
        let kind = match self {
            Self::Sqlite(engine) => Kind::Sqlite(engine.begin_snapshot().await?),
            Self::Postgres(engine) => Kind::Postgres(engine.begin_snapshot().await?),
        };
        let mut transaction = Transaction { kind, steps: None };
        let result = work(&mut transaction, data).await;
        transaction.roll_back().await;
        result
    }

    #[cfg(test)]
    pub(crate) async fn count_instructions(&self) -> Arc<std::sync::atomic::AtomicU64> {
        match self {
            Self::Sqlite(engine) => engine.count_instructions().await,
            Self::Postgres(_) => panic!("only SQLite counts what its statements do"),
        }
    }

    async fn begin(&self, steps: Steps) -> Result<Transaction, MetadataError> {
        let kind = match self {
            Self::Sqlite(engine) => Kind::Sqlite(engine.begin().await?),
            Self::Postgres(engine) => Kind::Postgres(engine.begin().await?),
        };
        Ok(Transaction {
            kind,
            steps: Some(steps),
        })
    }
}

/// What came of running a transaction once.
enum Run<T, E> {
    Ended(Result<T, E>),
    /// Others were in its way: nothing has happened, and another time it may go through.
    Conflicted(E),
}

fn interrupted(failure: tokio::task::JoinError) -> MetadataError {
    let action = "run transaction";
    if failure.is_cancelled() {
        MetadataError::Unavailable {
            action,
            source: failure.into(),
        }
    } else {
        MetadataError::Failed {
            action,
            source: failure.into(),
        }
    }
}

/// A transaction that is running. Dropped, it is rolled back.
pub(crate) struct Transaction {
    kind: Kind,
    /// None of what only reads: nothing is lost if the process dies there.
    steps: Option<Steps>,
}

/// What transactions do one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// Renewals in batches.
    Renew,
    /// The organizations of a file.
    Organizations,
}

impl Turn {
    /// The same in every release: processes of two of them meet on one database.
    const fn number(self) -> i64 {
        match self {
            Self::Renew => 0x7175_6179_0001,
            Self::Organizations => 0x7175_6179_0002,
        }
    }
}

enum Kind {
    Sqlite(SqliteTransaction),
    Postgres(PostgresTransaction),
}

impl Transaction {
    /// Runs a statement and says how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<u64, MetadataError> {
        let changed = match &mut self.kind {
            Kind::Sqlite(transaction) => transaction.execute(statement, values).await,
            Kind::Postgres(transaction) => transaction.execute(statement, values).await,
        };
        self.ran(statement);
        changed
    }

    pub(crate) async fn fetch_optional(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Option<Row>, MetadataError> {
        let row = match &mut self.kind {
            Kind::Sqlite(transaction) => transaction.fetch_optional(statement, values).await,
            Kind::Postgres(transaction) => transaction.fetch_optional(statement, values).await,
        };
        self.ran(statement);
        row
    }

    pub(crate) async fn fetch_all(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        let rows = match &mut self.kind {
            Kind::Sqlite(transaction) => transaction.fetch_all(statement, values).await,
            Kind::Postgres(transaction) => transaction.fetch_all(statement, values).await,
        };
        self.ran(statement);
        rows
    }

    /// The row of a statement that always gives one.
    pub(crate) async fn fetch_one(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Row, MetadataError> {
        self.fetch_optional(statement, values)
            .await?
            .ok_or_else(|| MetadataError::Corrupt {
                action: statement.action,
                source: "no row in the answer".into(),
            })
    }

    fn again(&self) -> Again {
        match &self.kind {
            Kind::Sqlite(_) => Again::No,
            Kind::Postgres(transaction) => transaction.again(),
        }
    }

    /// Whether nobody else can write before this transaction ends, so that no row needs a lock.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.kind, Kind::Sqlite(_))
    }

    /// Waits until no other transaction has this turn, and keeps it until the end. For those that would else lock
    /// the same rows in any order.
    pub(crate) async fn in_turn(&mut self, turn: Turn) -> Result<(), MetadataError> {
        match &mut self.kind {
            Kind::Sqlite(_) => Ok(()),
            Kind::Postgres(transaction) => transaction.in_turn(turn.number()).await,
        }
    }

    /// Lets its statements read everything. Nobody waits for them.
    pub(crate) async fn take_time(&mut self) -> Result<(), MetadataError> {
        match &mut self.kind {
            Kind::Sqlite(_) => Ok(()),
            Kind::Postgres(transaction) => transaction.take_time().await,
        }
    }

    async fn commit(self) -> Result<(), MetadataError> {
        match self.kind {
            Kind::Sqlite(transaction) => transaction.commit().await?,
            Kind::Postgres(transaction) => transaction.commit().await?,
        }
        if let Some(steps) = &self.steps {
            steps.committed();
        }
        Ok(())
    }

    fn ran(&mut self, statement: Statement) {
        if let Some(steps) = &mut self.steps {
            steps.ran(statement.action);
        }
    }

    async fn roll_back(self) {
        match self.kind {
            Kind::Sqlite(transaction) => transaction.roll_back().await,
            Kind::Postgres(transaction) => transaction.roll_back().await,
        }
    }
}
