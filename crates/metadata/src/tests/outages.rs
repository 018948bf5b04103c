//! A server that goes away, comes back, hangs or turns read-only under a process that stays (O2).

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join_all;
use quayside_test_servers::Postgres;
use tokio::time::Instant;

use super::fixture::{Fixture, Made, TTL, identity, image};
use crate::sql::{Statement, args};
use crate::{AdmitError, Hold, Metadata, MetadataError, PostgresSettings, Unlimited};

/// No call takes longer, on a machine that is busy.
const BOUND: Duration = Duration::from_secs(10);

fn settings(url: &str, connections: u32) -> PostgresSettings {
    PostgresSettings {
        url: url.into(),
        connections,
    }
}

async fn start() -> (Postgres, Fixture) {
    let server = Postgres::start();
    let db = Fixture::postgres(server.create_database("quayside")).await;
    (server, db)
}

/// Uses several connections at once, so that the pool has them.
async fn open_connections(db: &Fixture) {
    const SLOW: Statement = Statement::new("take a moment", "SELECT 1 FROM pg_sleep(0.05)");
    let reads = (0..6).map(|_| db.metadata.engine().fetch_optional(SLOW, args![]));
    assert!(join_all(reads).await.iter().all(Result::is_ok));
}

async fn admit(db: &Fixture, made: &Made) -> Result<(), MetadataError> {
    let hold = Hold::Pin { ends_at: TTL };
    let admission = made.admission(db.acme, "app", hold, 0);
    match db.metadata.admit(&admission, Arc::new(Unlimited)).await {
        Ok(_) => Ok(()),
        Err(AdmitError::Metadata(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

fn assert_unavailable<T: std::fmt::Debug>(result: &Result<T, MetadataError>) {
    assert!(
        matches!(result, Err(MetadataError::Unavailable { .. })),
        "{result:?}"
    );
}

/// A read and a write fail soon, in the way that says "later".
async fn assert_down(db: &Fixture) {
    let begun = Instant::now();
    assert_unavailable(&db.metadata.tag(db.acme, "app", "1").await);
    assert_unavailable(&admit(db, &image("refused", &[("layer", 10)])).await);
    assert!(begun.elapsed() < 2 * BOUND, "{:?}", begun.elapsed());
}

/// Everything works, and nothing of what failed is there.
async fn assert_up(db: &Fixture) {
    let refused = image("refused", &[]).digest;
    assert_eq!(
        db.metadata.manifest(db.acme, "app", &refused).await.unwrap(),
        None
    );
    admit(db, &image("accepted", &[("layer", 10)])).await.unwrap();
    db.assert_consistent().await;
}

/// O2: a server that is stopped is unavailable after seconds, and nobody has to open it again.
#[tokio::test]
async fn stopped_server_is_unavailable_and_heals() {
    let (mut server, db) = start().await;
    open_connections(&db).await;
    server.stop();
    assert_down(&db).await;
    server.go_on();
    assert_up(&db).await;
}

/// O2: a restart between two calls is not noticed, however many connections it has cost.
#[tokio::test]
async fn restart_is_not_noticed() {
    let (mut server, db) = start().await;
    for _ in 0..2 {
        open_connections(&db).await;
        server.stop();
        server.go_on();
        assert_eq!(db.metadata.tag(db.acme, "app", "1").await.unwrap(), None);
        open_connections(&db).await;
        server.stop();
        server.go_on();
        assert_up(&db).await;
    }
}

/// O2: a server that hangs costs seconds, also those who use a connection that it has accepted.
#[tokio::test]
async fn hung_server_is_unavailable_and_heals() {
    let (server, db) = start().await;
    open_connections(&db).await;
    // A connection that was used within the second before is not asked first.
    tokio::time::sleep(Duration::from_secs(1)).await;
    signal("-STOP", &server);
    assert_down(&db).await;
    signal("-CONT", &server);
    assert_up(&db).await;
}

/// To the server and to the processes that it has started, which have begun sessions of their own.
fn signal(signal: &str, server: &Postgres) {
    let pid = server.pid().unwrap().to_string();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let done = Command::new("kill")
        .arg(signal)
        .arg(&pid)
        .args(children.split_whitespace())
        .status();
    assert!(done.unwrap().success());
}

/// O2: a server that has become a standby takes no writes, and is read all the same. Its connections are not kept.
#[tokio::test]
async fn read_only_server_is_unavailable_for_writes() {
    const DEMOTE: Statement = Statement::new("demote", "ALTER SYSTEM SET default_transaction_read_only = on");
    const PROMOTE: Statement = Statement::new("promote", "ALTER SYSTEM RESET default_transaction_read_only");
    const RELOAD: Statement = Statement::new("reload", "SELECT 1 FROM pg_reload_conf()");
    let (_server, db) = start().await;
    let engine = db.metadata.engine();
    engine.fetch_all(DEMOTE, args![]).await.unwrap();
    engine.fetch_all(RELOAD, args![]).await.unwrap();
    let deadline = Instant::now() + BOUND;
    let refused = loop {
        // The server reads its settings when it gets to it.
        match admit(&db, &image(&format!("{:?}", Instant::now()), &[])).await {
            Ok(()) => assert!(Instant::now() < deadline, "it still writes"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(refused, MetadataError::Unavailable { .. }),
        "{refused:?}"
    );
    assert_eq!(db.metadata.tag(db.acme, "app", "1").await.unwrap(), None);
    engine.fetch_all(PROMOTE, args![]).await.unwrap();
    engine.fetch_all(RELOAD, args![]).await.unwrap();
    let deadline = Instant::now() + BOUND;
    while let Err(error) = admit(&db, &image("accepted", &[])).await {
        assert!(Instant::now() < deadline, "{error:?}");
    }
    assert_up(&db).await;
}

/// ENGINE §1.3, O2: a connection that is cut inside a transaction costs another run of it. One that is cut at the
/// commit is an error, because nobody knows what became of it.
#[tokio::test]
async fn cut_connection_costs_another_run() {
    const CUT: Statement = Statement::new(
        "cut connections",
        "SELECT 1 FROM pg_stat_activity
         WHERE CASE WHEN datname = current_database() AND state = 'idle in transaction'
                    THEN pg_terminate_backend(pid, 5000) END",
    );
    const INSERT: Statement = Statement::new("insert", "INSERT INTO setting (name, value) VALUES ($1, 'x')");
    let (_server, db) = start().await;
    let runs = Arc::new(AtomicU32::new(0));
    let write = |name: &'static str, cut_before_commit: u32| {
        let other = Arc::clone(db.metadata.engine());
        let data = (other, Arc::clone(&runs), name);
        db.metadata.engine().write(data, move |tx, (other, runs, name)| {
            async move {
                tx.execute(INSERT, args![*name]).await?;
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    other.fetch_all(CUT, args![]).await?;
                }
                let more = format!("{name} more");
                if runs.load(Ordering::Relaxed) > cut_before_commit {
                    tx.execute(INSERT, args![&more]).await?;
                }
                Ok::<_, MetadataError>(())
            }
            .boxed()
        })
    };

    write("inside", 0).await.unwrap();
    assert_eq!(runs.swap(0, Ordering::Relaxed), 2);
    assert_unavailable(&write("at the end", 1).await);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(db.count("SELECT COUNT(*) FROM setting").await, 2);
}

/// C1, O2: a process opens as many connections as it may and no more; who gets none is told so after seconds.
#[tokio::test]
async fn pool_that_is_used_up_is_unavailable() {
    const CONNECTIONS: &str = "SELECT COUNT(*) FROM pg_stat_activity
                               WHERE datname = current_database() AND application_name = 'quayside'";
    let (server, db) = start().await;
    db.metadata.close().await;
    let metadata = Metadata::open_postgres(&settings(&server.url("quayside"), 2))
        .await
        .unwrap();
    let db = Fixture { metadata, ..db };
    let (leave, may_go) = tokio::sync::watch::channel(false);
    let holders: Vec<_> = (0..2)
        .map(|_| {
            let engine = Arc::clone(db.metadata.engine());
            let may_go = may_go.clone();
            tokio::spawn(async move {
                let held = engine.write(may_go, |_, may_go| {
                    let mut may_go = may_go.clone();
                    async move {
                        may_go.wait_for(|may| *may).await.unwrap();
                        Ok::<_, MetadataError>(())
                    }
                    .boxed()
                });
                held.await
            })
        })
        .collect();
    let watcher = Metadata::open_postgres(&settings(&server.url("quayside"), 1))
        .await
        .unwrap();
    let count = Statement::new("count", CONNECTIONS);
    let deadline = Instant::now() + BOUND;
    loop {
        let row = watcher
            .engine()
            .fetch_optional(count, args![])
            .await
            .unwrap()
            .unwrap();
        if row.count(0).unwrap() == 3 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "two connections and the one of the watcher"
        );
    }
    assert_down(&db).await;
    let row = watcher
        .engine()
        .fetch_optional(count, args![])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.count(0).unwrap(), 3);
    leave.send(true).unwrap();
    for holder in holders {
        holder.await.unwrap().unwrap();
    }
    assert_up(&db).await;
}

/// C4: of several processes that find no tables one makes them, and the others wait for it, with one connection each.
#[tokio::test]
async fn several_processes_make_the_tables_once() {
    let server = Postgres::start();
    let url = server.create_database("quayside");
    let opened = join_all((0..6).map(async |_| {
        let metadata = Metadata::open_postgres(&settings(&url, 1)).await?;
        metadata.sync_organizations(&[identity("acme")], &[], 1).await
    }));
    let opened: Vec<_> = opened.await.into_iter().map(Result::unwrap).collect();
    assert!(opened.iter().all(|ids| *ids == opened[0]), "{opened:?}");
}

/// O2, C1: whoever cannot be reached, does not know us or has no such database is told apart from a URL that is none.
#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let server = Postgres::start();
    let url = server.url("nothing");
    let absent = Metadata::open_postgres(&settings(&url, 1)).await.map(drop);
    assert_unavailable(&absent);
    let refused = "postgres://quayside:secret@127.0.0.1:1/quayside";
    let begun = Instant::now();
    let refused = Metadata::open_postgres(&settings(refused, 1)).await.map(drop);
    assert!(!format!("{refused:?}").contains("secret"));
    assert_unavailable(&refused);
    assert!(begun.elapsed() < BOUND);
    let none = Metadata::open_postgres(&settings("mysql://quayside:secret@localhost", 1))
        .await
        .map(drop);
    assert!(matches!(none, Err(MetadataError::Url)), "{none:?}");
    assert!(!format!("{none:?}").contains("secret"));
}
