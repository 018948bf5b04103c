//! Callers that go away, databases that fail.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::future::poll_fn;

use super::fixture::{Fixture, TTL, digest, identity, image, key};
use crate::sql::{Statement, args};
use crate::{AdmitError, FillIntent, Hold, Metadata, MetadataError, Unlimited};

/// G3, B2: a client that disconnects in the middle of an admission neither leaves half of one behind
/// nor keeps the writer in a transaction.
pub(super) async fn caller_that_goes_away_does_not_block_the_writer(db: Fixture) {
    for round in 0..50 {
        let made = image(&format!("image {round}"), &[("base", 10)]);
        let hold = Hold::Tag {
            name: "1",
            ends_at: TTL,
            checked_at: 0,
        };
        let admission = made.admission(db.acme, "app", hold, 0);
        let mut admission = Box::pin(db.metadata.admit(&admission, Arc::new(Unlimited)));
        // Polled a few times, then dropped.
        for _ in 0..round % 5 {
            let step = poll_fn(|context| Poll::Ready(admission.poll_unpin(context))).await;
            if step.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    db.tag("app", "last", &image("last", &[]), 1).await;
    db.assert_consistent().await;
}

/// O2: a database that was closed is unavailable, not broken.
pub(super) async fn closed_database_is_unavailable(db: Fixture) {
    db.metadata.close().await;

    let read = db.metadata.tag(db.acme, "app", "1").await;
    assert!(matches!(read, Err(MetadataError::Unavailable { .. })));
    let made = image("app", &[]);
    let hold = Hold::Pin { ends_at: TTL };
    let write = db
        .metadata
        .admit(&made.admission(db.acme, "app", hold, 0), Arc::new(Unlimited))
        .await;
    let unavailable = matches!(
        write,
        Err(AdmitError::Metadata(MetadataError::Unavailable { .. }))
    );
    assert!(unavailable);
}

/// O2: a transaction that finds no room changes nothing, and the next one that does is written.
pub(super) async fn writes_again_after_the_disk_was_full(db: Fixture) {
    // Of this connection, until it is closed: the file may not grow.
    const NO_ROOM: Statement = Statement::new("leave no room", "PRAGMA max_page_count = 1");
    for round in 0..3 {
        let limited = db.metadata.engine().write((), |tx, ()| {
            async { tx.execute(NO_ROOM, args![]).await.map(drop) }.boxed()
        });
        limited.await.unwrap();
        let names: Vec<_> = (0..2_000).map(|layer| format!("{round} {layer}")).collect();
        let layers: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
        let large = image("large", &layers);
        let hold = Hold::Pin { ends_at: TTL };
        let full = db
            .metadata
            .admit(&large.admission(db.acme, "app", hold, 0), Arc::new(Unlimited))
            .await;
        assert!(
            matches!(full, Err(AdmitError::Metadata(MetadataError::Unavailable { .. }))),
            "{full:?}"
        );
        db.tag("app", &round.to_string(), &image("small", &[]), 0).await;
        db.assert_consistent().await;
    }
}

/// C4: a second process is refused, naming the path, and may come after the first has gone.
#[tokio::test]
async fn second_process_is_refused() {
    let db = Fixture::sqlite().await;
    let path = db.directory.path().join("quayside.db");

    let second = Metadata::open_sqlite(&path).await.unwrap_err();
    assert!(matches!(second, MetadataError::InUse { .. }));
    assert!(second.to_string().contains(path.to_str().unwrap()));

    db.metadata.close().await;
    assert!(Metadata::open_sqlite(&path).await.is_ok());
}

/// A6: the file holds a signing key; nobody else may read it or its companions.
#[tokio::test]
async fn files_are_private() {
    let db = Fixture::sqlite().await;
    db.tag("app", "1", &image("app", &[]), 0).await;
    let mut files = 0;
    for entry in std::fs::read_dir(db.directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
        files += 1;
    }
    assert!(files >= 3, "database, lock and log");
}

/// O2: a full disk refuses what adds bytes, changes nothing, and heals by itself.
#[tokio::test]
async fn full_disk_is_unavailable_and_heals() {
    let db = Fixture::sqlite().await;
    let large = image("large", &vec![("layer", 1); 2000]);
    let hold = Hold::Pin { ends_at: TTL };

    db.run("PRAGMA max_page_count = 1", args![]).await;
    let refused = db
        .metadata
        .admit(&large.admission(db.acme, "app", hold, 0), Arc::new(Unlimited))
        .await;
    let unavailable = matches!(
        refused,
        Err(AdmitError::Metadata(MetadataError::Unavailable { .. }))
    );
    assert!(unavailable, "{refused:?}");
    assert_eq!(
        db.metadata.manifest(db.acme, "app", &large.digest).await.unwrap(),
        None
    );

    db.run("PRAGMA max_page_count = 1000000", args![]).await;
    assert!(
        db.metadata
            .admit(&large.admission(db.acme, "app", hold, 0), Arc::new(Unlimited))
            .await
            .is_ok()
    );
    db.assert_consistent().await;
}

/// O2: a file that is no database is reported as corrupt, not as an outage.
#[tokio::test]
async fn foreign_file_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quayside.db");
    std::fs::write(&path, "no database at all, ".repeat(500)).unwrap();

    let opened = Metadata::open_sqlite(&path).await;

    assert!(matches!(opened, Err(MetadataError::Corrupt { .. })), "{opened:?}");
}

/// G3: a process that dies at any instant leaves whole transactions; its fills are garbage at the
/// next start.
#[test]
fn killed_process_leaves_whole_transactions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("quayside.db");
    for round in 0..5_u32 {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (started, enough) = std::sync::mpsc::channel();
        let opened = runtime.block_on(Metadata::open_sqlite(&path)).unwrap();
        runtime.spawn(async move {
            let wanted = [identity("acme")];
            let acme = opened.sync_organizations(&wanted, &[], 0).await.unwrap()[0];
            for pull in 0.. {
                let made = image(&format!("{round} {pull}"), &[("base", 10), ("other", 20)]);
                let hold = Hold::Tag {
                    name: "1",
                    ends_at: TTL,
                    checked_at: pull,
                };
                let admission = made.admission(acme, "app", hold, pull);
                opened.admit(&admission, Arc::new(Unlimited)).await.unwrap();
                let token = format!("{round} {pull}");
                let intent = FillIntent {
                    storage_key: key(&token),
                    address: String::new(),
                    token,
                    digest: digest("base"),
                    size: 10,
                    scope: None,
                    expires_at: 0,
                };
                opened.record_fill(intent).await.unwrap();
                let _ = started.send(());
            }
        });
        for _ in 0..=round {
            enough.recv().unwrap();
        }
        // Whatever is running is dropped where it stands.
        runtime.shutdown_timeout(Duration::from_secs(10));

        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let again = Metadata::open_sqlite(&path).await.unwrap();
            assert_eq!(again.recount().await.unwrap(), []);
            assert!(again.abandon_all_fills(0).await.unwrap() > u64::from(round));
            assert_eq!(again.recount().await.unwrap(), []);
            again.close().await;
        });
    }
}
