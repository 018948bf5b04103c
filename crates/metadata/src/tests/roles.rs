//! Who may make tables, and who only uses them.

use quayside_test_servers::Postgres;
use sqlx::{Connection as _, PgConnection};

use crate::{Metadata, PostgresSettings, Taken};

fn settings(url: &str) -> PostgresSettings {
    PostgresSettings {
        url: url.into(),
        connections: 1,
    }
}

/// C4: what one role has migrated another one uses that may make no tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_there_are_used_without_the_right_to_make_any() {
    let server = Postgres::start();
    let owner = server.create_database("quayside");
    let mut admin = PgConnection::connect(&owner).await.unwrap();
    let mut run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&mut admin).await.unwrap();
    };
    run("REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE server LOGIN").await;
    let server_settings = settings(&owner.replacen("quayside@", "server@", 1));
    assert!(
        Metadata::open_postgres(&server_settings).await.is_err(),
        "no tables"
    );

    let migrated = Metadata::open_postgres(&settings(&owner)).await.unwrap();
    migrated.close().await;
    run("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO server").await;

    let metadata = Metadata::open_postgres(&server_settings).await.unwrap();
    let taken = metadata.take_lease("worker", "a", 0, 10).await.unwrap();
    assert_eq!(taken, Taken::Ours);
    metadata.close().await;
}
