//! Two registries in this process that act as one: one database, one bucket, one clock.

use std::path::PathBuf;

use quayside_test_servers::{Postgres, Versitygw};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use super::{Bucket, House, HouseBuilder};

/// Two replicas and what they share.
pub struct Pair {
    /// One of them.
    pub first: House,
    /// The other one.
    pub second: House,
    database: PgPool,
    _servers: (Postgres, Versitygw),
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// [`Pair::first`].
    First,
    /// [`Pair::second`].
    Second,
}

impl Pair {
    /// Two replicas, each as `build` describes it.
    pub async fn start(build: impl Fn(HouseBuilder, Which) -> HouseBuilder) -> Self {
        let (postgres, server) = (Postgres::start(), Versitygw::start());
        let bucket = Bucket::create(&server, "blobs");
        let url = postgres.create_database("quayside");
        let builder = || House::builder().database(&url).blobs_in_bucket(&bucket);
        let first = build(builder(), Which::First).start().await;
        let second = build(builder().clock_of(&first), Which::Second).start().await;
        let database = PgPoolOptions::new().max_connections(1).connect(&url).await;
        Self {
            first,
            second,
            database: database.unwrap(),
            _servers: (postgres, server),
        }
    }

    /// One number from the database.
    pub async fn number(&self, query: &'static str) -> i64 {
        self.first.number(query).await
    }

    /// Changes rows behind the back of both.
    pub async fn execute(&self, query: &'static str) {
        sqlx::query(query).execute(&self.database).await.unwrap();
    }

    /// Every object of the bucket that holds a blob.
    pub fn objects(&self) -> Vec<PathBuf> {
        self.first.files()
    }
}
