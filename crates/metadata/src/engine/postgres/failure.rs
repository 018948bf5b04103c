//! What an error of `PostgreSQL` means.

use std::io;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

use crate::MetadataError;

/// The answer, or an I/O error if there is none for so long. The connection is then of no use any more.
pub(super) async fn bounded<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))
}

/// The connection is gone, not necessarily the server: it was restarted, or a proxy between has closed it.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() != io::ErrorKind::TimedOut,
        // admin_shutdown, crash_shutdown, cannot_connect_now, connection_failure and the like.
        sqlx::Error::Database(error) => code(error.as_ref())
            .is_some_and(|code| code.starts_with("08") || ["57P01", "57P02"].contains(&code)),
        _ => false,
    }
}

/// The connection is not used again. One to a server that has become a standby may lead to the primary the next time.
pub(super) fn spoils(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(refusal) = error else {
        return true;
    };
    is_broken(error) || code(refusal.as_ref()) == Some(READ_ONLY)
}

/// Serialization failure, deadlock, foreign key, unique: two transactions were in each other's way.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else {
        return false;
    };
    code(error.as_ref()).is_some_and(|code| ["40001", "40P01", "23503", "23505"].contains(&code))
}

pub(super) fn migration_failed(source: MigrateError) -> MetadataError {
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
pub(super) fn classify(action: &'static str, source: sqlx::Error) -> MetadataError {
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

const READ_ONLY: &str = "25006";

/// Connections, who may connect, resources, shutdowns, a standby that cannot write, limits of time, a full disk, and
/// conflicts that were not resolved by trying again: none of them is a fault of a statement.
fn is_state_of_the_server(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    ["08", "28", "3D", "40", "53", "57", "58"].contains(&class)
        || [READ_ONLY, "55P03", "25P03"].contains(&code)
}

fn code(error: &dyn DatabaseError) -> Option<&str> {
    error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .map(sqlx::postgres::PgDatabaseError::code)
}
