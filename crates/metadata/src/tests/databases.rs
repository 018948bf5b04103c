//! Every contract on `PostgreSQL`, in few databases of one server: to make them takes longer than most contracts.

use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, join_all};
use quayside_test_servers::Postgres;

use super::fixture::Fixture;
use crate::sql::{Statement, args};
use crate::{Metadata, PostgresSettings};

/// What holds on a fresh database, and its name.
pub(super) type Contract = (&'static str, fn(Fixture) -> BoxFuture<'static, ()>);

/// How many contracts are looked at at once.
const AT_ONCE: usize = 4;

/// A fixture in a database that is as good as new.
async fn fresh(url: &str) -> Fixture {
    const EMPTY: Statement = Statement::new(
        "empty database",
        "TRUNCATE organization, repository, manifest, blob, manifest_blob, manifest_child, tag, content, proof,
                  fill, garbage, lease, setting RESTART IDENTITY",
    );
    let settings = PostgresSettings {
        url: url.into(),
        connections: 1,
    };
    let metadata = Metadata::open_postgres(&settings).await.unwrap();
    let work = metadata.engine().write((), |tx, ()| {
        Box::pin(async move { tx.execute(EMPTY, args![]).await.map(drop) })
    });
    work.await.unwrap();
    metadata.close().await;
    Fixture::postgres(url.to_owned()).await
}

/// Looks at every contract, also when one does not hold.
pub(super) async fn hold(contracts: Vec<Contract>) {
    let server = Postgres::start();
    let waiting = Arc::new(Mutex::new(contracts.into_iter()));
    let lanes = (0..AT_ONCE).map(|lane| {
        let url = server.create_database(&format!("lane{lane}"));
        let waiting = Arc::clone(&waiting);
        async move {
            let mut broken = Vec::new();
            loop {
                let next = waiting.lock().unwrap().next();
                let Some((name, contract)) = next else {
                    return broken;
                };
                let db = fresh(&url).await;
                let metadata = db.metadata.clone();
                if tokio::spawn(contract(db)).await.is_err() {
                    broken.push(name);
                }
                metadata.close().await;
            }
        }
    });
    let broken = join_all(lanes).await.concat();
    assert!(broken.is_empty(), "on PostgreSQL these do not hold: {broken:?}");
}

/// What gives a fresh database each time, when nobody uses the last one any more.
pub(super) fn fixtures() -> impl Fn() -> BoxFuture<'static, Fixture> {
    let server = Postgres::start();
    server.create_database("quayside");
    move || {
        let url = server.url("quayside");
        Box::pin(async move { fresh(&url).await })
    }
}
