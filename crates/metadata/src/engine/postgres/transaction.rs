//! Transactions.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Postgres as Dialect;
use sqlx::pool::PoolConnection;

use super::failure::{bounded, classify, is_broken, is_conflict, spoils};
use super::{LONG_STATEMENT, PATIENCE, Postgres, STATEMENT, wrap};
use crate::MetadataError;
use crate::sql::{Row, Statement, Value};

/// How a transaction begins.
pub(super) struct Beginning {
    action: &'static str,
    sql: &'static str,
    /// What the server takes for one of its statements.
    limit: Duration,
}

pub(super) const WRITE: Beginning = Beginning {
    action: "begin transaction",
    sql: "BEGIN ISOLATION LEVEL READ COMMITTED",
    limit: STATEMENT,
};

pub(super) const READ: Beginning = Beginning {
    action: "begin snapshot",
    sql: "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = '600s'",
    limit: LONG_STATEMENT,
};

const TAKE_TIME: Statement = Statement::new("allow long statements", "SET LOCAL statement_timeout = '600s'");

const IN_TURN: Statement = Statement::new("wait for turn", "SELECT pg_advisory_xact_lock($1)");

/// Whether a transaction that failed is worth another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    No,
    /// Another one was in its way, or its connection broke before the commit was sent: nothing has happened.
    Yes,
}

/// A transaction. Dropped, it is rolled back.
///
/// A connection whose state is not known for certain is closed, which rolls back whatever is open.
pub(crate) struct PostgresTransaction {
    engine: Arc<Postgres>,
    connection: PoolConnection<Dialect>,
    state: State,
    again: Again,
    limit: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A statement was refused. The server would answer a COMMIT with a rollback.
    Refused,
    /// The connection is of no use any more.
    Spoiled,
    /// Committed or rolled back.
    Over,
}

impl Drop for PostgresTransaction {
    fn drop(&mut self) {
        if self.state != State::Over {
            self.connection.close_on_drop();
        }
    }
}

impl PostgresTransaction {
    /// Tries the next connection if the server has closed one meanwhile.
    pub(super) async fn begin(engine: &Arc<Postgres>, beginning: &Beginning) -> Result<Self, MetadataError> {
        let mut stale = 0;
        loop {
            let mut transaction = Self {
                engine: Arc::clone(engine),
                connection: engine.connection(beginning.action).await?,
                state: State::Spoiled,
                again: Again::No,
                limit: beginning.limit,
            };
            match transaction.control(beginning.sql).await {
                Ok(()) => {
                    transaction.state = State::Open;
                    return Ok(transaction);
                }
                Err(error) if is_broken(&error) && stale < engine.connections => stale += 1,
                Err(error) => return Err(classify(beginning.action, error)),
            }
        }
    }

    pub(crate) async fn execute(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<u64, MetadataError> {
        let query = self.engine.query(statement, values);
        let result = bounded(self.patience(), query.execute(&mut *self.connection)).await;
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
        let row = bounded(self.patience(), query.fetch_optional(&mut *self.connection)).await;
        row.map(|row| row.map(|row| wrap(statement, row)))
            .map_err(|source| self.failed(statement.action, source))
    }

    pub(crate) async fn fetch_all(
        &mut self,
        statement: Statement,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, MetadataError> {
        let query = self.engine.query(statement, values);
        let rows = bounded(self.patience(), query.fetch_all(&mut *self.connection)).await;
        rows.map(|rows| rows.into_iter().map(|row| wrap(statement, row)).collect())
            .map_err(|source| self.failed(statement.action, source))
    }

    /// Lets each statement read everything.
    pub(crate) async fn take_time(&mut self) -> Result<(), MetadataError> {
        self.execute(TAKE_TIME, Vec::new()).await?;
        self.limit = LONG_STATEMENT;
        Ok(())
    }

    /// Waits until no other transaction has this turn, and keeps it until the end.
    pub(crate) async fn in_turn(&mut self, turn: i64) -> Result<(), MetadataError> {
        self.execute(IN_TURN, vec![turn.into()]).await.map(drop)
    }

    /// If this fails in another way than by a refusal, the server may or may not have committed.
    pub(crate) async fn commit(mut self) -> Result<(), MetadataError> {
        let action = "commit transaction";
        if self.state != State::Open {
            self.roll_back().await;
            return Err(MetadataError::Failed {
                action,
                source: "one of its statements has failed".into(),
            });
        }
        self.state = State::Spoiled;
        self.control("COMMIT")
            .await
            .map_err(|source| classify(action, source))?;
        self.state = State::Over;
        Ok(())
    }

    pub(crate) async fn roll_back(mut self) {
        // If this fails the connection is closed; the first error is the one to report.
        if self.state != State::Spoiled && self.control("ROLLBACK").await.is_ok() {
            self.state = State::Over;
        }
    }

    /// Whether to run the transaction again.
    pub(crate) fn again(&self) -> Again {
        self.again
    }

    fn failed(&mut self, action: &'static str, source: sqlx::Error) -> MetadataError {
        if is_conflict(&source) || is_broken(&source) {
            self.again = Again::Yes;
        }
        self.state = if spoils(&source) {
            State::Spoiled
        } else {
            State::Refused
        };
        classify(action, source)
    }

    /// Begins or ends the transaction.
    async fn control(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let done = sqlx::raw_sql(sql).execute(&mut *self.connection);
        bounded(STATEMENT + PATIENCE, done).await.map(drop)
    }

    fn patience(&self) -> Duration {
        self.limit + PATIENCE
    }
}
