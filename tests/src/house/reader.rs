//! A second look at the database of a registry, beside it or after it.

use std::path::Path;

use quayside_metadata::{Metadata, PostgresSettings};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Executor as _, Row as _};

/// Either engine, for statements that both understand.
pub(super) enum Reader {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Reader {
    /// Of the file, if there is no URL.
    pub(super) async fn open(file: &Path, url: Option<&str>) -> Self {
        if let Some(url) = url {
            let pool = PgPoolOptions::new().max_connections(1).connect(url).await;
            return Self::Postgres(pool.unwrap());
        }
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
        Self::Sqlite(pool.await.unwrap())
    }

    pub(super) async fn number(&self, query: &'static str) -> i64 {
        match self {
            Self::Sqlite(pool) => pool.fetch_one(query).await.unwrap().get(0),
            Self::Postgres(pool) => pool.fetch_one(query).await.unwrap().get(0),
        }
    }

    pub(super) async fn text(&self, query: &'static str) -> String {
        match self {
            Self::Sqlite(pool) => pool.fetch_one(query).await.unwrap().get(0),
            Self::Postgres(pool) => pool.fetch_one(query).await.unwrap().get(0),
        }
    }

    /// As [`Self::number`], with a text for the parameter `$1`.
    pub(super) async fn number_with(&self, query: &'static str, text: &str) -> i64 {
        match self {
            Self::Sqlite(pool) => {
                let row = sqlx::query(query).bind(text).fetch_one(pool).await;
                row.unwrap().get(0)
            }
            Self::Postgres(pool) => {
                let row = sqlx::query(query).bind(text).fetch_one(pool).await;
                row.unwrap().get(0)
            }
        }
    }

    /// Rows of a text and a number.
    pub(super) async fn pairs(&self, query: &'static str) -> Vec<(String, i64)> {
        match self {
            Self::Sqlite(pool) => {
                let rows = pool.fetch_all(query).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
            Self::Postgres(pool) => {
                let rows = pool.fetch_all(query).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// The database as the registry opens it.
pub(super) async fn open(file: &Path, url: Option<&str>) -> Metadata {
    match url {
        None => Metadata::open_sqlite(file).await.unwrap(),
        Some(url) => {
            let settings = PostgresSettings {
                url: url.to_owned().into(),
                connections: 4,
            };
            Metadata::open_postgres(&settings).await.unwrap()
        }
    }
}
